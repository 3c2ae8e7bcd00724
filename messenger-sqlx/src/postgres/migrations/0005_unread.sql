-- What is needed to tell people of what they have not read.

-- Since when there may be text messages that somebody was to be told of, the first of them, how often the chat was claimed
-- to look at them, and until when it is claimed. The functions set the first two, so nodes of the release before do, too.
ALTER TABLE {schema}.messenger_chats
    ADD COLUMN IF NOT EXISTS unread_since bigint,
    ADD COLUMN IF NOT EXISTS unread_seq bigint,
    ADD COLUMN IF NOT EXISTS unread_claims bigint,
    ADD COLUMN IF NOT EXISTS unread_leased_until bigint;

-- About which messages the member wants to be told (null all, 1 mentions, 2 none); the last message that the member was told
-- of, when, how many times since the read mark has moved, and where that was.
ALTER TABLE {schema}.messenger_members
    ADD COLUMN IF NOT EXISTS notify_level smallint,
    ADD COLUMN IF NOT EXISTS notified_seq bigint,
    ADD COLUMN IF NOT EXISTS notified_at bigint,
    ADD COLUMN IF NOT EXISTS notified_read bigint,
    ADD COLUMN IF NOT EXISTS notified_times integer;

-- The quiet hours are minutes of the day. How many mails in a row were refused, and since when the address gets none because
-- of that. When the person was last told of something, and how many times since when.
ALTER TABLE {schema}.messenger_users
    ADD COLUMN IF NOT EXISTS language text,
    ADD COLUMN IF NOT EXISTS time_zone text,
    ADD COLUMN IF NOT EXISTS quiet_from smallint,
    ADD COLUMN IF NOT EXISTS quiet_to smallint,
    ADD COLUMN IF NOT EXISTS mail_refusals integer,
    ADD COLUMN IF NOT EXISTS mail_suppressed_at bigint,
    ADD COLUMN IF NOT EXISTS notified_at bigint,
    ADD COLUMN IF NOT EXISTS notified_since bigint,
    ADD COLUMN IF NOT EXISTS notified_times integer;

-- Making these keeps writers waiting while all chats and all people are read once. Where there are very many, make the
-- columns and the indexes before, these with CREATE INDEX CONCURRENTLY and under these names.
CREATE INDEX IF NOT EXISTS messenger_chats_by_unread ON {schema}.messenger_chats (unread_since)
    WHERE unread_since IS NOT NULL;
CREATE INDEX IF NOT EXISTS messenger_users_by_last_seen ON {schema}.messenger_users (last_seen_at, id)
    WHERE last_seen_at IS NOT NULL;
