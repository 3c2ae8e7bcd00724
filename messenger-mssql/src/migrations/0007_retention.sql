-- How long messages are kept.
-- How many seconds, if the chat has a time of its own. Up to which message the chat was looked through for what is older, the
-- time of the first one after that (null: not looked at yet), and when that one is older than the chat's own time. Nodes of
-- the release before set none of them, and need not.
ALTER TABLE {schema}.messenger_chats ADD retention_secs bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD purge_seq bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD kept_since bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD purge_at bigint NULL;
GO
-- What is under a legal hold: 0 a chat, 1 a person.
CREATE TABLE {schema}.messenger_holds (
    kind            smallint        NOT NULL,
    id              binary(16)      NOT NULL,
    reason          nvarchar(400)   NOT NULL,
    held_at         bigint          NOT NULL,
    CONSTRAINT messenger_holds_pkey PRIMARY KEY CLUSTERED (kind, id)
);
GO
-- Who sets a hold, purges, or erases an account updates this row first: so a hold is seen by all that comes after it, and waits
-- for what came before it.
CREATE TABLE {schema}.messenger_hold_lock (
    only_row        smallint        NOT NULL CONSTRAINT messenger_hold_lock_pkey PRIMARY KEY CLUSTERED,
    taken           bigint          NOT NULL
);
INSERT INTO {schema}.messenger_hold_lock (only_row, taken) VALUES (1, 0);
GO
-- What was purged, one row for each step; they stay for good.
CREATE TABLE {schema}.messenger_purges (
    id              binary(16)      NOT NULL CONSTRAINT messenger_purges_pkey PRIMARY KEY CLUSTERED,
    chat_id         binary(16)      NOT NULL,
    purged_at       bigint          NOT NULL,
    -- All of it was older than this.
    before_at       bigint          NOT NULL,
    -- For how many seconds messages were kept, and whether that was the chat's own time.
    retention_secs  bigint          NOT NULL,
    is_own          bit             NOT NULL,
    first_seq       bigint          NOT NULL,
    last_seq        bigint          NOT NULL,
    messages        bigint          NOT NULL
);
GO
-- All chats are read once to make these, while writers wait.
CREATE NONCLUSTERED INDEX messenger_chats_by_age ON {schema}.messenger_chats (kept_since);
GO
CREATE NONCLUSTERED INDEX messenger_chats_by_purge ON {schema}.messenger_chats (purge_at) WHERE purge_at IS NOT NULL;
