-- How long messages are kept.

-- How many seconds, if the chat has a time of its own. Up to which message the chat was looked through for what is older, the
-- time of the first one after that (null: not looked at yet), and when that one is older than the chat's own time. Nodes of
-- the release before set none of them, and need not.
ALTER TABLE {schema}.messenger_chats
    ADD COLUMN IF NOT EXISTS retention_secs bigint,
    ADD COLUMN IF NOT EXISTS purge_seq bigint,
    ADD COLUMN IF NOT EXISTS kept_since bigint,
    ADD COLUMN IF NOT EXISTS purge_at bigint;

-- What is under a legal hold: 0 a chat, 1 a person.
CREATE TABLE {schema}.messenger_holds (
    kind            smallint NOT NULL,
    id              uuid     NOT NULL,
    reason          text     NOT NULL,
    held_at         bigint   NOT NULL,
    PRIMARY KEY (kind, id)
);

-- Who sets a hold, purges, or erases an account locks this row first: so a hold is seen by all that comes after it, and waits
-- for what came before it.
CREATE TABLE {schema}.messenger_hold_lock (
    is_row          boolean  NOT NULL PRIMARY KEY
);
INSERT INTO {schema}.messenger_hold_lock (is_row) VALUES (true);

-- What was purged, one row for each step; they stay for good.
CREATE TABLE {schema}.messenger_purges (
    id              uuid     NOT NULL PRIMARY KEY,
    chat_id         uuid     NOT NULL,
    purged_at       bigint   NOT NULL,
    -- All of it was older than this.
    before_at       bigint   NOT NULL,
    -- For how many seconds messages were kept, and whether that was the chat's own time.
    retention_secs  bigint   NOT NULL,
    first_seq       bigint   NOT NULL,
    last_seq        bigint   NOT NULL,
    messages        bigint   NOT NULL,
    is_own          boolean  NOT NULL
);

-- Making these keeps writers waiting while all chats are read once. Where there are very many, make the columns and the
-- indexes before, these with CREATE INDEX CONCURRENTLY and under these names.
CREATE INDEX IF NOT EXISTS messenger_chats_by_age ON {schema}.messenger_chats (kept_since);
CREATE INDEX IF NOT EXISTS messenger_chats_by_purge ON {schema}.messenger_chats (purge_at) WHERE purge_at IS NOT NULL;
