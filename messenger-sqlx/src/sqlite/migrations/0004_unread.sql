-- What is needed to tell people of what they have not read.

-- Since when there may be text messages that somebody was to be told of, the first of them, how often the chat was claimed
-- to look at them, and until when it is claimed. A program of the release before sets none of them: its messages are
-- found together with the next one that a newer program sends in the same chat.
ALTER TABLE messenger_chats ADD COLUMN unread_since INTEGER;
ALTER TABLE messenger_chats ADD COLUMN unread_seq INTEGER;
ALTER TABLE messenger_chats ADD COLUMN unread_claims INTEGER;
ALTER TABLE messenger_chats ADD COLUMN unread_leased_until INTEGER;
CREATE INDEX messenger_chats_by_unread ON messenger_chats (unread_since) WHERE unread_since IS NOT NULL;

-- About which messages the member wants to be told: null all, 1 mentions, 2 none.
ALTER TABLE messenger_members ADD COLUMN notify_level INTEGER;
-- The last message that the member was told of, when, how many times since the read mark has moved, and where that was.
ALTER TABLE messenger_members ADD COLUMN notified_seq INTEGER;
ALTER TABLE messenger_members ADD COLUMN notified_at INTEGER;
ALTER TABLE messenger_members ADD COLUMN notified_times INTEGER;
ALTER TABLE messenger_members ADD COLUMN notified_read INTEGER;

ALTER TABLE messenger_users ADD COLUMN language TEXT;
ALTER TABLE messenger_users ADD COLUMN time_zone TEXT;
-- Minutes of the day.
ALTER TABLE messenger_users ADD COLUMN quiet_from INTEGER;
ALTER TABLE messenger_users ADD COLUMN quiet_to INTEGER;
-- How many mails in a row were refused, and since when the address gets none because of that.
ALTER TABLE messenger_users ADD COLUMN mail_refusals INTEGER;
ALTER TABLE messenger_users ADD COLUMN mail_suppressed_at INTEGER;
-- When the person was last told of something, and how many times since when.
ALTER TABLE messenger_users ADD COLUMN notified_at INTEGER;
ALTER TABLE messenger_users ADD COLUMN notified_since INTEGER;
ALTER TABLE messenger_users ADD COLUMN notified_times INTEGER;
CREATE INDEX messenger_users_by_last_seen ON messenger_users (last_seen_at, id) WHERE last_seen_at IS NOT NULL;
