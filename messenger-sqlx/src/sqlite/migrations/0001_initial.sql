-- Ids are the 16 bytes of a UUID, times are microseconds since 1970.
-- There are no foreign keys: nothing but sessions is ever deleted, and every write looks at the rows it depends on.

CREATE TABLE messenger_users (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    username        TEXT    NOT NULL UNIQUE,
    display_name    TEXT    NOT NULL,
    -- In lower case, to be searched; null once erased.
    display_folded  TEXT,
    email           BLOB,
    email_key       BLOB    UNIQUE,
    password_hash   TEXT,
    notify_email    INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    last_seen_at    INTEGER,
    erased_at       INTEGER,
    version         INTEGER NOT NULL,
    memberships     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who can be found by their username. The erased keep one, and there may be very many of them in a row.
CREATE INDEX messenger_users_by_live_username ON messenger_users (username) WHERE display_folded IS NOT NULL;
-- With the username, so that those of the same name are in order, too.
CREATE INDEX messenger_users_by_display_name ON messenger_users (display_folded, username)
    WHERE display_folded IS NOT NULL;

CREATE TABLE messenger_sessions (
    -- SHA-256 of the token: every request looks a session up by it.
    token_hash      BLOB    NOT NULL PRIMARY KEY CHECK (length(token_hash) = 32),
    id              BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    user_id         BLOB    NOT NULL,
    device          TEXT,
    created_at      INTEGER NOT NULL,
    last_used_at    INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX messenger_sessions_by_user ON messenger_sessions (user_id);
CREATE INDEX messenger_sessions_by_end ON messenger_sessions (expires_at);

CREATE TABLE messenger_chats (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    -- 0 direct, 1 group.
    kind            INTEGER NOT NULL CHECK (kind IN (0, 1)),
    title           TEXT,
    -- Of a direct chat: the lower user id, then the higher.
    pair            BLOB    CHECK (length(pair) = 32),
    -- Of a group: who made it, and what their client called the request.
    creator_id      BLOB,
    client_id       TEXT,
    fingerprint     BLOB    CHECK (length(fingerprint) = 16),
    created_at      INTEGER NOT NULL,
    -- The moment of the last message, else of opening.
    activity_at     INTEGER NOT NULL,
    -- The head: the numbers last given out.
    revision        INTEGER NOT NULL,
    last_seq        INTEGER NOT NULL,
    texts           INTEGER NOT NULL,
    member_count    INTEGER NOT NULL,
    roster_version  INTEGER NOT NULL,
    -- The commit that changed it last.
    commit_no       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The order of commits: which one it is, and the last commit that changed a chat.
CREATE TABLE messenger_commits (
    only            INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    history         INTEGER NOT NULL,
    last            INTEGER NOT NULL
) STRICT;

INSERT INTO messenger_commits (only, history, last) VALUES (1, random(), 0);

CREATE UNIQUE INDEX messenger_chats_by_pair ON messenger_chats (pair) WHERE pair IS NOT NULL;
CREATE UNIQUE INDEX messenger_chats_by_client_id ON messenger_chats (creator_id, client_id)
    WHERE client_id IS NOT NULL;

-- Everybody who is or ever was in a chat.
CREATE TABLE messenger_members (
    chat_id         BLOB    NOT NULL,
    user_id         BLOB    NOT NULL,
    -- 0 member, 1 admin, 2 owner.
    role            INTEGER NOT NULL CHECK (role IN (0, 1, 2)),
    joined_at       INTEGER NOT NULL,
    -- Orders those who joined at the same moment, too.
    join_order      INTEGER NOT NULL,
    left_at         INTEGER,
    -- The commit in which they left.
    left_commit     INTEGER,
    read_seq        INTEGER NOT NULL,
    -- The `texts` of the message at `read_seq`: unread is the chat's `texts` less this.
    read_texts      INTEGER NOT NULL,
    delivered_seq   INTEGER NOT NULL,
    muted_until     INTEGER,
    PRIMARY KEY (chat_id, user_id)
) STRICT, WITHOUT ROWID;

-- With all that is asked of the chats of a person, whose members' rows lie far from each other.
CREATE INDEX messenger_members_by_user ON messenger_members (user_id, chat_id, left_at, left_commit);

-- In the order of writing, so that a batch of messages in many chats fills a few pages of the file, and what is
-- scattered over it is only the small entries of the indexes. Every page that a commit touches is synced with it.
CREATE TABLE messenger_messages (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    chat_id          BLOB    NOT NULL,
    seq              INTEGER NOT NULL,
    sender_id        BLOB    NOT NULL,
    -- 0 text, 1 system.
    kind             INTEGER NOT NULL CHECK (kind IN (0, 1)),
    created_revision INTEGER NOT NULL,
    revision         INTEGER NOT NULL,
    -- How many text messages stand in the chat up to and including this one.
    texts            INTEGER NOT NULL,
    body             BLOB,
    client_id        TEXT,
    fingerprint      BLOB    CHECK (length(fingerprint) = 16),
    reply_to         BLOB,
    created_at       INTEGER NOT NULL,
    edited_at        INTEGER,
    deleted_at       INTEGER
) STRICT;

CREATE UNIQUE INDEX messenger_messages_by_seq ON messenger_messages (chat_id, seq);
-- The client id first: if it rises with time, as a UUIDv7 does, the newest entries of all senders are neighbours.
CREATE UNIQUE INDEX messenger_messages_by_client_id ON messenger_messages (client_id, sender_id)
    WHERE client_id IS NOT NULL;
-- Only what was changed: the revisions of all else rise with seq.
CREATE UNIQUE INDEX messenger_messages_by_change ON messenger_messages (chat_id, revision)
    WHERE revision > created_revision;
