-- How long messages are kept.

-- How many seconds, if the chat has a time of its own. Up to which message the chat was looked through for what is older, the
-- time of the first one after that (null: not looked at yet), and when that one is older than the chat's own time. A program
-- of the release before sets none of them, and need not.
ALTER TABLE messenger_chats ADD COLUMN retention_secs INTEGER;
ALTER TABLE messenger_chats ADD COLUMN purge_seq INTEGER;
ALTER TABLE messenger_chats ADD COLUMN kept_since INTEGER;
ALTER TABLE messenger_chats ADD COLUMN purge_at INTEGER;
CREATE INDEX messenger_chats_by_age ON messenger_chats (kept_since);
CREATE INDEX messenger_chats_by_purge ON messenger_chats (purge_at) WHERE purge_at IS NOT NULL;

-- What is under a legal hold.
CREATE TABLE messenger_holds (
    -- 0 a chat, 1 a person.
    kind            INTEGER NOT NULL CHECK (kind IN (0, 1)),
    id              BLOB    NOT NULL CHECK (length(id) = 16),
    reason          TEXT    NOT NULL,
    held_at         INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

-- What was purged, one row for each step; they stay for good.
CREATE TABLE messenger_purges (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    chat_id         BLOB    NOT NULL,
    purged_at       INTEGER NOT NULL,
    -- All of it was older than this.
    before_at       INTEGER NOT NULL,
    -- For how many seconds messages were kept, and whether that was the chat's own time.
    retention_secs  INTEGER NOT NULL,
    is_own          INTEGER NOT NULL,
    first_seq       INTEGER NOT NULL,
    last_seq        INTEGER NOT NULL,
    messages        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
