-- What is needed to tell people of what they have not read.
-- Since when there may be text messages that somebody was to be told of, the first of them, how often the chat was claimed
-- to look at them, and until when it is claimed. The procedures set the first two, so nodes of the release before do, too.
ALTER TABLE {schema}.messenger_chats ADD unread_since bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD unread_seq bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD unread_claims bigint NULL;
ALTER TABLE {schema}.messenger_chats ADD unread_leased_until bigint NULL;
GO
-- About which messages the member wants to be told (null all, 1 mentions, 2 none); the last message that the member was told
-- of, when, how many times since the read mark has moved, and where that was.
ALTER TABLE {schema}.messenger_members ADD notify_level smallint NULL;
ALTER TABLE {schema}.messenger_members ADD notified_seq bigint NULL;
ALTER TABLE {schema}.messenger_members ADD notified_at bigint NULL;
ALTER TABLE {schema}.messenger_members ADD notified_read bigint NULL;
ALTER TABLE {schema}.messenger_members ADD notified_times int NULL;
GO
-- The quiet hours are minutes of the day. How many mails in a row were refused, and since when the address gets none because
-- of that. When the person was last told of something, and how many times since when.
ALTER TABLE {schema}.messenger_users ADD language nvarchar(64) NULL;
ALTER TABLE {schema}.messenger_users ADD time_zone nvarchar(64) NULL;
ALTER TABLE {schema}.messenger_users ADD quiet_from smallint NULL;
ALTER TABLE {schema}.messenger_users ADD quiet_to smallint NULL;
ALTER TABLE {schema}.messenger_users ADD mail_refusals int NULL;
ALTER TABLE {schema}.messenger_users ADD mail_suppressed_at bigint NULL;
ALTER TABLE {schema}.messenger_users ADD notified_at bigint NULL;
ALTER TABLE {schema}.messenger_users ADD notified_since bigint NULL;
ALTER TABLE {schema}.messenger_users ADD notified_times int NULL;
GO
-- All chats and all people are read once to make these, while writers wait.
CREATE NONCLUSTERED INDEX messenger_chats_by_unread ON {schema}.messenger_chats (unread_since)
    WHERE unread_since IS NOT NULL;
GO
CREATE NONCLUSTERED INDEX messenger_users_by_last_seen ON {schema}.messenger_users (last_seen_at, id)
    WHERE last_seen_at IS NOT NULL;
