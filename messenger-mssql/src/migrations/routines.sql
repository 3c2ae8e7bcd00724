-- A list comes as one argument: records of a fixed length, one after the other, with numbers as binary(n) becomes them.
-- A function for each kind of list makes rows of it, with the place of each, from 1. Measured against JSON and
-- table-valued parameters, it costs the least on both sides: nothing is parsed, nothing is asked twice, and no table is
-- made. The longest list has as many records as messenger_numbers has rows.

-- Ids: 16 bytes.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_ids (@ids varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@ids) / 16) t.n AS place, CAST(SUBSTRING(@ids, 16 * t.n - 15, 16) AS binary(16)) AS id
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@ids) / 16 ORDER BY t.n
);
GO

-- Ids with a number each, a moment or a revision: 16 and 8 bytes.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_numbered (@numbered varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@numbered) / 24) t.n AS place,
        CAST(SUBSTRING(@numbered, 24 * t.n - 23, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@numbered, 24 * t.n - 7, 8) AS bigint) AS number
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@numbered) / 24 ORDER BY t.n
);
GO

-- People whose place in a chat changes: 16 bytes; 1 byte, which is 0 for one who is added, 1 for one who is removed, 2 for
-- one who is given a role; the role, 1 byte.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_people (@people varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@people) / 18) t.n AS place,
        CAST(SUBSTRING(@people, 18 * t.n - 17, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@people, 18 * t.n - 1, 1) AS tinyint) AS change,
        CAST(SUBSTRING(@people, 18 * t.n, 1) AS tinyint) AS role
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@people) / 18 ORDER BY t.n
);
GO

-- Chats with new messages: 16 bytes; how many messages, 4; when the last one was sent, 8.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_heads (@heads varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@heads) / 28) t.n AS place,
        CAST(SUBSTRING(@heads, 28 * t.n - 27, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@heads, 28 * t.n - 11, 4) AS int) AS messages,
        CAST(SUBSTRING(@heads, 28 * t.n - 7, 8) AS bigint) AS moment
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@heads) / 28 ORDER BY t.n
);
GO

-- Those who send to these chats: the place of the chat, 4 bytes; the person, 16; how many of the chat's new messages come
-- after the person's last one, 4.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_senders (@senders varbinary(max), @heads varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@senders) / 24) t.n AS place,
        CAST(SUBSTRING(@heads, 28 * CAST(SUBSTRING(@senders, 24 * t.n - 23, 4) AS int) - 27, 16) AS binary(16)) AS chat,
        CAST(SUBSTRING(@senders, 24 * t.n - 19, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@senders, 24 * t.n - 3, 4) AS int) AS later
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@senders) / 24 ORDER BY t.n
);
GO

-- Messages to these chats: the place of the chat, 4 bytes; how many of its new messages come after this one, 4; the id, 16;
-- the sender, 16; the moment, 8; and where in @bytes, from 1, there is more of it: the text, at 4 bytes, of a length of 4
-- bytes; the client id, likewise, with the fingerprint right behind it; the message that it answers, at 4 bytes. A place 0
-- stands for null.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_messages (
    @messages varbinary(max), @heads varbinary(max), @bytes varbinary(max)
) RETURNS TABLE AS RETURN (
    SELECT r.place, CAST(SUBSTRING(@heads, 28 * r.head - 27, 16) AS binary(16)) AS chat, r.later, r.id, r.sender, r.moment,
        SUBSTRING(@bytes, r.body, r.body_length) AS body, SUBSTRING(@bytes, r.name, r.name_length) AS client_id,
        SUBSTRING(@bytes, r.name + r.name_length, 16) AS fingerprint, SUBSTRING(@bytes, r.reply, 16) AS reply_to
    FROM (
        SELECT TOP (DATALENGTH(@messages) / 68) t.n AS place,
            CAST(SUBSTRING(@messages, 68 * t.n - 67, 4) AS int) AS head,
            CAST(SUBSTRING(@messages, 68 * t.n - 63, 4) AS int) AS later,
            CAST(SUBSTRING(@messages, 68 * t.n - 59, 16) AS binary(16)) AS id,
            CAST(SUBSTRING(@messages, 68 * t.n - 43, 16) AS binary(16)) AS sender,
            CAST(SUBSTRING(@messages, 68 * t.n - 27, 8) AS bigint) AS moment,
            CAST(SUBSTRING(@messages, 68 * t.n - 19, 4) AS int) AS body,
            CAST(SUBSTRING(@messages, 68 * t.n - 15, 4) AS int) AS body_length,
            NULLIF(CAST(SUBSTRING(@messages, 68 * t.n - 11, 4) AS int), 0) AS name,
            CAST(SUBSTRING(@messages, 68 * t.n - 7, 4) AS int) AS name_length,
            NULLIF(CAST(SUBSTRING(@messages, 68 * t.n - 3, 4) AS int), 0) AS reply
        FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@messages) / 68 ORDER BY t.n
    ) AS r
);
GO

-- System messages: the id, 16 bytes; whose doing it is, 16; the moment, 8; where the text begins in @bytes, from 1, 4; its
-- length, 4.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_notes (@notes varbinary(max), @bytes varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@notes) / 48) t.n AS place,
        CAST(SUBSTRING(@notes, 48 * t.n - 47, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@notes, 48 * t.n - 31, 16) AS binary(16)) AS sender,
        CAST(SUBSTRING(@notes, 48 * t.n - 15, 8) AS bigint) AS moment,
        SUBSTRING(@bytes, CAST(SUBSTRING(@notes, 48 * t.n - 7, 4) AS int), CAST(SUBSTRING(@notes, 48 * t.n - 3, 4) AS int))
            AS note
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@notes) / 48 ORDER BY t.n
);
GO

-- Marks to be moved: the chat, 16 bytes; the person, 16; where to, 8; whether it is the read mark, 1.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_steps (@steps varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@steps) / 41) t.n AS place,
        CAST(SUBSTRING(@steps, 41 * t.n - 40, 16) AS binary(16)) AS chat,
        CAST(SUBSTRING(@steps, 41 * t.n - 24, 16) AS binary(16)) AS person,
        CAST(SUBSTRING(@steps, 41 * t.n - 8, 8) AS bigint) AS seq,
        CAST(SUBSTRING(@steps, 41 * t.n, 1) AS tinyint) AS is_read
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@steps) / 41 ORDER BY t.n
);
GO

-- Each procedure is one intent in one exchange with the server. It answers with the rows of one SELECT or OUTPUT, and
-- its return code says what became of it: 0 done, 1 not found, 2 changed meanwhile, 4 the username is taken, 5 the
-- address is taken, 6 the id is taken. After an error nothing of it is done, so that it can be run again: nothing that
-- can fail comes after its COMMIT. Parameters are longer than the columns, because what is too long for a parameter is cut
-- without a word, and what is too long for a column is an error.
--
-- Locks are taken in this order, and of each kind by rising keys: chats, users, members. A row is locked by updating it,
-- which holds whatever the isolation level and the versions of rows. Where many are updated at once, what is joined is in
-- order, and the joins are loops in that order, which ask for the rows they lock and for no others. The server may still
-- fetch rows of pages that it has to read in another order: then one of two is chosen to be run again.

-- Tells which order the numbers of commits are of, and up to which of them everything is committed, so that it is in what
-- is read afterwards; null and 0 if there are none.
-- Numbers begin anew in another database and in one that was restored, and after a failover that lost something: then the
-- server gives it another recovery fork, and Azure another physical name. Whoever may not see that has the id alone.
CREATE OR ALTER PROCEDURE {schema}.messenger_settled @history bigint OUTPUT, @settled bigint OUTPUT
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @id uniqueidentifier, @fork nvarchar(400);
    SELECT @history = NULL, @settled = 0;
    SELECT @id = history FROM {schema}.messenger_commits;
    IF @id IS NULL RETURN 0;
    SET @settled = CAST(MIN_ACTIVE_ROWVERSION() AS bigint) - 1;
    -- Azure SQL Database and Fabric have no such view.
    IF CAST(SERVERPROPERTY('EngineEdition') AS int) IN (5, 12)
        SELECT @fork = physical_database_name FROM sys.databases WHERE name = DB_NAME();
    ELSE
        SELECT @fork = CONCAT(database_guid, N'/', recovery_fork_guid) FROM sys.database_recovery_status
        WHERE database_id = DB_ID();
    SET @history = CAST(SUBSTRING(HASHBYTES('SHA2_256', CONCAT(@id, N'/', @fork)), 1, 8) AS bigint);
    RETURN 0;
END;
GO

-- Stores an account and its first session.
CREATE OR ALTER PROCEDURE {schema}.messenger_create_user
    @id binary(16), @username nvarchar(4000), @display_name nvarchar(4000), @display_folded varbinary(8000),
    @email varbinary(max), @email_key varbinary(8000), @password_hash nvarchar(4000), @created_at bigint,
    @session binary(16), @token_hash binary(32), @device nvarchar(4000) = NULL, @session_at bigint, @expires_at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE username = @username) RETURN 4;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE email_key = @email_key AND email_key IS NOT NULL) RETURN 5;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id) RETURN 6;
    BEGIN TRANSACTION;
    INSERT INTO {schema}.messenger_users (id, username, display_name, display_folded, email, email_key, password_hash,
        notify_email, created_at, [version], memberships)
    VALUES (@id, @username, @display_name, @display_folded, @email, @email_key, @password_hash, 1, @created_at, 1, 0);
    INSERT INTO {schema}.messenger_sessions (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
    VALUES (@token_hash, @session, @id, @device, @session_at, @session_at, @expires_at);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Changes what is given, and answers with the account: for nodes that know of no preferences.
CREATE OR ALTER PROCEDURE {schema}.messenger_update_user
    @id binary(16), @expected bigint, @display_name nvarchar(4000) = NULL, @display_folded varbinary(8000) = NULL,
    @email varbinary(max) = NULL, @email_key varbinary(8000) = NULL, @notify_email bit = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_users SET
        display_name = COALESCE(@display_name, display_name), display_folded = COALESCE(@display_folded, display_folded),
        email = COALESCE(@email, email), email_key = COALESCE(@email_key, email_key),
        notify_email = COALESCE(@notify_email, notify_email), [version] = [version] + 1
    WHERE id = @id AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    SELECT id, username, display_name, email, email_key, password_hash, notify_email, created_at, last_seen_at, erased_at,
        [version], memberships
    FROM {schema}.messenger_users WHERE id = @id;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Changes what is given, the preferences all together, and answers with the account. With an address, what is known of mail to
-- it begins anew.
CREATE OR ALTER PROCEDURE {schema}.messenger_update_account
    @id binary(16), @expected bigint, @display_name nvarchar(4000) = NULL, @display_folded varbinary(8000) = NULL,
    @email varbinary(max) = NULL, @email_key varbinary(8000) = NULL, @notify_email bit = NULL, @preferences bit = 0,
    @language nvarchar(4000) = NULL, @time_zone nvarchar(4000) = NULL, @quiet_from bigint = NULL, @quiet_to bigint = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_users SET
        display_name = COALESCE(@display_name, display_name), display_folded = COALESCE(@display_folded, display_folded),
        email = COALESCE(@email, email), email_key = COALESCE(@email_key, email_key),
        notify_email = COALESCE(@notify_email, notify_email), [version] = [version] + 1,
        mail_refusals = CASE WHEN @email_key IS NULL THEN mail_refusals ELSE NULL END,
        mail_suppressed_at = CASE WHEN @email_key IS NULL THEN mail_suppressed_at ELSE NULL END,
        email_confirmed_key = CASE WHEN @email_key IS NULL
            OR (@email_key = email_key AND DATALENGTH(@email_key) = DATALENGTH(email_key)) THEN email_confirmed_key ELSE NULL END,
        email_confirmed_at = CASE WHEN @email_key IS NULL
            OR (@email_key = email_key AND DATALENGTH(@email_key) = DATALENGTH(email_key)) THEN email_confirmed_at ELSE NULL END,
        language = CASE @preferences WHEN 1 THEN @language ELSE language END,
        time_zone = CASE @preferences WHEN 1 THEN @time_zone ELSE time_zone END,
        quiet_from = CASE @preferences WHEN 1 THEN @quiet_from ELSE quiet_from END,
        quiet_to = CASE @preferences WHEN 1 THEN @quiet_to ELSE quiet_to END
    WHERE id = @id AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    SELECT id, username, display_name, email, email_key, password_hash, notify_email, created_at, last_seen_at, erased_at,
        [version], memberships, language, time_zone, quiet_from, quiet_to, mail_refusals, mail_suppressed_at, notified_at,
        notified_since, notified_times, email_confirmed_key, email_confirmed_at
    FROM {schema}.messenger_users WHERE id = @id;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Answers with the sessions that ended.
CREATE OR ALTER PROCEDURE {schema}.messenger_change_password
    @id binary(16), @expected bigint, @password_hash nvarchar(4000), @keep binary(16) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_users SET password_hash = @password_hash, [version] = [version] + 1
    WHERE id = @id AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id WHERE user_id = @id AND (@keep IS NULL OR id <> @keep);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Leaves only the id of an account, and answers with the sessions that ended: for nodes that erase what else there is of it
-- before.
CREATE OR ALTER PROCEDURE {schema}.messenger_erase_user
    @id binary(16), @expected bigint, @username nvarchar(4000), @display_name nvarchar(4000), @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_hold_lock SET taken = taken + 1 WHERE only_row = 1;
    UPDATE {schema}.messenger_users SET
        username = @username, display_name = @display_name, display_folded = NULL, email = NULL, email_key = NULL,
        password_hash = NULL, notify_email = 0, last_seen_at = NULL, erased_at = @at, [version] = [version] + 1,
        language = NULL, time_zone = NULL, quiet_from = NULL, quiet_to = NULL, mail_refusals = NULL,
        mail_suppressed_at = NULL, notified_at = NULL, notified_since = NULL, notified_times = NULL,
        email_confirmed_key = NULL, email_confirmed_at = NULL
    WHERE id = @id AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_holds WHERE kind = 1 AND id = @id)
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 8;
    END;
    DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id WHERE user_id = @id;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Leaves only the id of an account, enqueues @jobs, if there are any, and answers with the sessions that ended, each after a
-- 0, beside what is said of the jobs.
CREATE OR ALTER PROCEDURE {schema}.messenger_erase_account
    @id binary(16), @expected bigint, @username nvarchar(4000), @display_name nvarchar(4000), @at bigint,
    @jobs varbinary(max) = NULL, @bytes varbinary(max) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_hold_lock SET taken = taken + 1 WHERE only_row = 1;
    UPDATE {schema}.messenger_users SET
        username = @username, display_name = @display_name, display_folded = NULL, email = NULL, email_key = NULL,
        password_hash = NULL, notify_email = 0, last_seen_at = NULL, erased_at = @at, [version] = [version] + 1,
        language = NULL, time_zone = NULL, quiet_from = NULL, quiet_to = NULL, mail_refusals = NULL,
        mail_suppressed_at = NULL, notified_at = NULL, notified_since = NULL, notified_times = NULL,
        email_confirmed_key = NULL, email_confirmed_at = NULL
    WHERE id = @id AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_holds WHERE kind = 1 AND id = @id)
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 8;
    END;
    DELETE FROM {schema}.messenger_sessions OUTPUT CAST(0 AS int) AS place, deleted.id WHERE user_id = @id;
    IF @jobs IS NOT NULL EXEC {schema}.messenger_enqueue_jobs @jobs = @jobs, @bytes = @bytes;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- @seen are people with moments, each once, by rising ids.
CREATE OR ALTER PROCEDURE {schema}.messenger_set_last_seen @seen varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    UPDATE u SET last_seen_at = CASE WHEN u.last_seen_at > a.number THEN u.last_seen_at ELSE a.number END
    FROM {schema}.messenger_unpack_numbered(@seen) AS a
    INNER LOOP JOIN {schema}.messenger_users AS u ON u.id = a.id
    WHERE u.erased_at IS NULL
    OPTION (FORCE ORDER);
    RETURN 0;
END;
GO

-- Answers with the sessions that ended: for nodes that don't say which version of the account they know.
CREATE OR ALTER PROCEDURE {schema}.messenger_create_session
    @id binary(16), @token_hash binary(32), @user binary(16), @device nvarchar(4000) = NULL, @created_at bigint,
    @expires_at bigint, @max bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    -- Those who log in at the same time are let in one after the other, and not while the account is erased.
    UPDATE {schema}.messenger_users SET [version] = [version] WHERE id = @user AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 1;
    END;
    INSERT INTO {schema}.messenger_sessions (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
    VALUES (@token_hash, @id, @user, @device, @created_at, @created_at, @expires_at);
    DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id
    WHERE id IN (
        SELECT s.id FROM {schema}.messenger_sessions AS s WHERE s.user_id = @user
        ORDER BY s.last_used_at DESC, s.id DESC OFFSET @max ROWS
    );
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Stores a session if the account has this version, and answers with the sessions that ended.
CREATE OR ALTER PROCEDURE {schema}.messenger_begin_session
    @id binary(16), @token_hash binary(32), @user binary(16), @expected bigint, @device nvarchar(4000) = NULL,
    @created_at bigint, @expires_at bigint, @max bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    -- Those who log in at the same time are let in one after the other, and not while the account is changed.
    UPDATE {schema}.messenger_users SET [version] = [version]
    WHERE id = @user AND [version] = @expected AND erased_at IS NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @user AND erased_at IS NULL) RETURN 2;
        RETURN 1;
    END;
    INSERT INTO {schema}.messenger_sessions (token_hash, id, user_id, device, created_at, last_used_at, expires_at)
    VALUES (@token_hash, @id, @user, @device, @created_at, @created_at, @expires_at);
    DELETE FROM {schema}.messenger_sessions OUTPUT deleted.id
    WHERE id IN (
        SELECT s.id FROM {schema}.messenger_sessions AS s WHERE s.user_id = @user
        ORDER BY s.last_used_at DESC, s.id DESC OFFSET @max ROWS
    );
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Opens the direct chat of two people, or finds it. @low is the lower id; @first is the one who comes first in the chat's
-- list. Answers with the chat and whether it was made.
CREATE OR ALTER PROCEDURE {schema}.messenger_open_direct
    @id binary(16), @low binary(16), @high binary(16), @first binary(16), @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @found binary(16), @live int;
    SELECT @found = id FROM {schema}.messenger_chats WHERE pair_low = @low AND pair_high = @high AND pair_low IS NOT NULL;
    IF @found IS NOT NULL
    BEGIN
        SELECT @live = COUNT(*) FROM {schema}.messenger_users WHERE id IN (@low, @high) AND erased_at IS NULL;
        IF @live < 2 RETURN 1;
        SELECT @found, CAST(0 AS bit);
        RETURN 0;
    END;

    BEGIN TRANSACTION;
    -- Of those who open it at the same time, one is let in after the other.
    UPDATE {schema}.messenger_users SET memberships = memberships + 1 WHERE id = @low AND erased_at IS NULL;
    SET @live = @@ROWCOUNT;
    UPDATE {schema}.messenger_users SET memberships = memberships + 1 WHERE id = @high AND erased_at IS NULL;
    SET @live = @live + @@ROWCOUNT;
    IF @live < 2
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 1;
    END;
    SELECT @found = id FROM {schema}.messenger_chats WHERE pair_low = @low AND pair_high = @high AND pair_low IS NOT NULL;
    IF @found IS NOT NULL
    BEGIN
        ROLLBACK TRANSACTION;
        SELECT @found, CAST(0 AS bit);
        RETURN 0;
    END;
    INSERT INTO {schema}.messenger_chats (id, revision, last_seq, texts, activity_at, roster_version, created_at,
        member_count, kind, pair_low, pair_high)
    VALUES (@id, 0, 0, 0, @at, 1, @at, 2, 0, @low, @high);
    INSERT INTO {schema}.messenger_members (chat_id, user_id, joined_at, join_order, read_seq, read_texts, delivered_seq,
        role)
    VALUES
        (@id, @low, @at, CASE @first WHEN @low THEN 1 ELSE 2 END, 0, 0, 0, 0),
        (@id, @high, @at, CASE @first WHEN @low THEN 2 ELSE 1 END, 0, 0, 0, 0);
    COMMIT TRANSACTION;
    SELECT @id, CAST(1 AS bit);
    RETURN 0;
END;
GO

-- Makes a group with its first message, or finds the one that its creator made under the same client id. @members are
-- people who are added, the creator first; @locked are the same by rising ids. Answers with the chat, whether it was made,
-- and the fingerprint of the request that made it.
CREATE OR ALTER PROCEDURE {schema}.messenger_create_group
    @id binary(16), @creator binary(16), @title nvarchar(4000), @at bigint, @client_id varbinary(8000) = NULL,
    @fingerprint binary(16) = NULL, @members varbinary(max), @locked varbinary(max), @message binary(16),
    @sender binary(16), @note varbinary(max), @message_at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @found binary(16), @mark binary(16), @count int;
    IF @client_id IS NOT NULL
        SELECT @found = id, @mark = fingerprint FROM {schema}.messenger_chats
        WHERE creator_id = @creator AND client_id = @client_id AND client_id IS NOT NULL;
    IF @found IS NOT NULL
    BEGIN
        SELECT @found, CAST(0 AS bit), @mark;
        RETURN 0;
    END;
    SET @count = DATALENGTH(@locked) / 16;

    BEGIN TRANSACTION;
    UPDATE u SET memberships = u.memberships + 1
    FROM {schema}.messenger_unpack_ids(@locked) AS a
    INNER LOOP JOIN {schema}.messenger_users AS u ON u.id = a.id
    WHERE u.erased_at IS NULL
    OPTION (FORCE ORDER);
    IF @@ROWCOUNT <> @count
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 1;
    END;
    -- Made meanwhile by a repetition of the request, which had the lock before.
    IF @client_id IS NOT NULL
        SELECT @found = id, @mark = fingerprint FROM {schema}.messenger_chats
        WHERE creator_id = @creator AND client_id = @client_id AND client_id IS NOT NULL;
    IF @found IS NOT NULL
    BEGIN
        ROLLBACK TRANSACTION;
        SELECT @found, CAST(0 AS bit), @mark;
        RETURN 0;
    END;
    INSERT INTO {schema}.messenger_chats (id, revision, last_seq, texts, activity_at, roster_version, created_at,
        member_count, kind, creator_id, client_id, fingerprint, title)
    VALUES (@id, 1, 1, 0, @message_at, 1, @at, @count, 1, @creator, @client_id, @fingerprint, @title);
    INSERT INTO {schema}.messenger_members (chat_id, user_id, joined_at, join_order, read_seq, read_texts, delivered_seq,
        role)
    SELECT @id, a.id, @at, a.place, 0, 0, 0, a.role FROM {schema}.messenger_unpack_people(@members) AS a;
    INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts, created_at,
        kind, is_changed, body)
    VALUES (@id, 1, @message, @sender, 1, 1, 0, @message_at, 1, 0, @note);
    COMMIT TRANSACTION;
    SELECT @id, CAST(1 AS bit), @fingerprint;
    RETURN 0;
END;
GO

-- Changes members, roles or title, and writes the messages that say so. @people have each id once; @added are those who are
-- added, by rising ids, and @touched all of them. Answers with the chat after the change.
CREATE OR ALTER PROCEDURE {schema}.messenger_change_roster
    @chat binary(16), @expected bigint, @at bigint, @title nvarchar(4000) = NULL, @people varbinary(max),
    @added varbinary(max), @touched varbinary(max), @notes varbinary(max), @bytes varbinary(max), @noted_at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @last_seq bigint, @revision bigint, @texts bigint, @commit bigint, @noted int, @joined bigint, @members int,
        @removed int;
    SET @noted = DATALENGTH(@notes) / 48;

    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_chats SET roster_version = roster_version + 1
    WHERE id = @chat AND roster_version = @expected;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_chats WHERE id = @chat) RETURN 2;
        RETURN 1;
    END;
    SELECT @last_seq = last_seq, @revision = revision, @texts = texts, @commit = CAST(commit_no AS bigint),
        @members = member_count
    FROM {schema}.messenger_chats WHERE id = @chat;
    -- While nothing is held that whoever moves a mark waits for.
    SELECT @joined = COALESCE(MAX(join_order), 0) FROM {schema}.messenger_members WHERE chat_id = @chat;
    SELECT @removed = COUNT(*)
    FROM {schema}.messenger_unpack_people(@people) AS a
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = @chat AND p.user_id = a.id
    WHERE a.change = 1 AND p.left_at IS NULL;
    SET @members = @members + DATALENGTH(@added) / 16 - @removed;
    IF DATALENGTH(@added) > 0
    BEGIN
        UPDATE u SET memberships = u.memberships + 1
        FROM {schema}.messenger_unpack_ids(@added) AS a
        INNER LOOP JOIN {schema}.messenger_users AS u ON u.id = a.id
        WHERE u.erased_at IS NULL
        OPTION (FORCE ORDER);
        IF @@ROWCOUNT <> DATALENGTH(@added) / 16
        BEGIN
            ROLLBACK TRANSACTION;
            RETURN 1;
        END;
    END;
    IF DATALENGTH(@people) > 0
    BEGIN
        -- Before they are changed in another order, and without those who were never in the chat.
        UPDATE p SET role = p.role
        FROM {schema}.messenger_unpack_ids(@touched) AS a
        INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = @chat AND p.user_id = a.id
        OPTION (FORCE ORDER);
        UPDATE p SET
            role = CASE a.change WHEN 1 THEN p.role ELSE a.role END,
            joined_at = CASE a.change WHEN 0 THEN @at ELSE p.joined_at END,
            join_order = CASE a.change WHEN 0 THEN @joined + a.place ELSE p.join_order END,
            left_at = CASE a.change WHEN 0 THEN NULL WHEN 1 THEN @at ELSE p.left_at END,
            left_commit = CASE a.change WHEN 0 THEN NULL WHEN 1 THEN @commit ELSE p.left_commit END,
            muted_until = CASE a.change WHEN 0 THEN NULL ELSE p.muted_until END,
            notify_level = CASE a.change WHEN 0 THEN NULL ELSE p.notify_level END,
            read_seq = CASE WHEN a.change = 0 AND p.read_seq < @last_seq THEN @last_seq ELSE p.read_seq END,
            read_texts = CASE WHEN a.change = 0 AND p.read_texts < @texts THEN @texts ELSE p.read_texts END,
            delivered_seq = CASE WHEN a.change = 0 AND p.delivered_seq < @last_seq THEN @last_seq ELSE p.delivered_seq END
        FROM {schema}.messenger_unpack_people(@people) AS a
        INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = @chat AND p.user_id = a.id
        WHERE a.change = 0 OR p.left_at IS NULL
        OPTION (FORCE ORDER);
        INSERT INTO {schema}.messenger_members (chat_id, user_id, joined_at, join_order, read_seq, read_texts,
            delivered_seq, role)
        SELECT @chat, a.id, @at, @joined + a.place, @last_seq, @texts, @last_seq, a.role
        FROM {schema}.messenger_unpack_people(@people) AS a
        WHERE a.change = 0
            AND NOT EXISTS (SELECT 1 FROM {schema}.messenger_members AS p WHERE p.chat_id = @chat AND p.user_id = a.id)
        OPTION (LOOP JOIN, FORCE ORDER);
    END;

    INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts, created_at,
        kind, is_changed, body)
    SELECT @chat, @last_seq + a.place, a.id, a.sender, @revision + a.place, @revision + a.place, @texts, a.moment, 1, 0,
        a.note
    FROM {schema}.messenger_unpack_notes(@notes, @bytes) AS a;
    UPDATE {schema}.messenger_chats SET
        title = COALESCE(@title, title), revision = revision + @noted, last_seq = last_seq + @noted,
        member_count = @members, activity_at = @noted_at
    WHERE id = @chat;
    SELECT id, kind, title, created_at, revision, last_seq, texts, member_count, roster_version
    FROM {schema}.messenger_chats WHERE id = @chat;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Appends one message and answers with its numbers. Those are null if it was not stored: then the third column is the
-- message that the sender stored before under the same client id, or null for somebody who is no member or is erased, or
-- whose peer in a direct chat is.
CREATE OR ALTER PROCEDURE {schema}.messenger_append_message
    @id binary(16), @chat binary(16), @sender binary(16), @body varbinary(max), @client_id varbinary(8000) = NULL,
    @fingerprint binary(16) = NULL, @reply_to binary(16) = NULL, @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @stored binary(16), @seq bigint, @revision bigint, @texts bigint, @low binary(16), @high binary(16),
        @erased int;
    IF @client_id IS NOT NULL
        SELECT @stored = id FROM {schema}.messenger_messages
        WHERE client_id = @client_id AND sender_id = @sender AND client_id IS NOT NULL;
    IF @stored IS NOT NULL
    BEGIN
        IF NOT EXISTS (
            SELECT 1 FROM {schema}.messenger_members WHERE chat_id = @chat AND user_id = @sender AND left_at IS NULL
        ) OR EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @sender AND erased_at IS NOT NULL)
            SET @stored = NULL;
        SELECT @seq, @revision, @stored;
        RETURN 0;
    END;

    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_chats SET
        revision = revision + 1, last_seq = last_seq + 1, texts = texts + 1, activity_at = @at,
        unread_since = COALESCE(unread_since, @at),
        unread_seq = CASE WHEN unread_since IS NULL THEN last_seq + 1 ELSE unread_seq END
    WHERE id = @chat;
    SELECT @seq = last_seq, @revision = revision, @texts = texts, @low = pair_low, @high = pair_high
    FROM {schema}.messenger_chats WHERE id = @chat;
    -- An erasure that is committed later looks for messages under the lock of the chat, and finds this one. Before members
    -- are locked: others lock people before members.
    SELECT @erased = COUNT(*) FROM {schema}.messenger_users
    WHERE id IN (@sender, @low, @high) AND erased_at IS NOT NULL;
    -- From here on nobody joins or leaves the chat.
    UPDATE {schema}.messenger_members SET read_seq = @seq, read_texts = @texts, delivered_seq = @seq
    WHERE chat_id = @chat AND user_id = @sender AND left_at IS NULL AND @erased = 0;
    IF @@ROWCOUNT = 0
    BEGIN
        -- Nobody has seen the numbers that were given out.
        ROLLBACK TRANSACTION;
        SELECT CAST(NULL AS bigint), CAST(NULL AS bigint), @stored;
        RETURN 0;
    END;
    INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts, created_at,
        kind, is_changed, reply_to, client_id, fingerprint, body)
    VALUES (@chat, @seq, @id, @sender, @revision, @revision, @texts, @at, 0, 0, @reply_to, @client_id, @fingerprint,
        @body);
    COMMIT TRANSACTION;
    SELECT @seq, @revision, @stored;
    RETURN 0;
END;
GO

-- Appends a batch in which nothing is refused. @heads are the chats by rising ids, @senders those who send, once for each
-- chat, by place and id. Answers with the seq and the revision that the chats had before, in order; or with nothing, and
-- nothing is done, if somebody is no member or is erased, as the peer in a direct chat may be. What was stored before is
-- found by the indexes, and an error.
CREATE OR ALTER PROCEDURE {schema}.messenger_append_messages
    @heads varbinary(max), @senders varbinary(max), @messages varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @erased int;
    BEGIN TRANSACTION;
    UPDATE c SET
        revision = c.revision + a.messages, last_seq = c.last_seq + a.messages, texts = c.texts + a.messages,
        activity_at = a.moment, unread_since = COALESCE(c.unread_since, a.moment),
        unread_seq = CASE WHEN c.unread_since IS NULL THEN c.last_seq + 1 ELSE c.unread_seq END
    FROM {schema}.messenger_unpack_heads(@heads) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.id
    OPTION (FORCE ORDER);
    IF @@ROWCOUNT <> DATALENGTH(@heads) / 28
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 0;
    END;
    -- As for one message.
    SELECT @erased = COUNT(*)
    FROM {schema}.messenger_unpack_senders(@senders, @heads) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.chat
    INNER LOOP JOIN {schema}.messenger_users AS u ON u.id IN (a.id, c.pair_low, c.pair_high)
    WHERE u.erased_at IS NOT NULL
    OPTION (FORCE ORDER);
    IF @erased > 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 0;
    END;
    -- From here on nobody joins or leaves the chats.
    UPDATE p SET
        read_seq = c.last_seq - a.later, read_texts = c.texts - a.later, delivered_seq = c.last_seq - a.later
    FROM {schema}.messenger_unpack_senders(@senders, @heads) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.chat
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.id
    WHERE p.left_at IS NULL
    OPTION (FORCE ORDER);
    IF @@ROWCOUNT <> DATALENGTH(@senders) / 24
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 0;
    END;
    INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts, created_at,
        kind, is_changed, reply_to, client_id, fingerprint, body)
    SELECT a.chat, c.last_seq - a.later, a.id, a.sender, c.revision - a.later, c.revision - a.later, c.texts - a.later,
        a.moment, 0, 0, a.reply_to, a.client_id, a.fingerprint, a.body
    FROM {schema}.messenger_unpack_messages(@messages, @heads, @bytes) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.chat
    OPTION (FORCE ORDER);
    SELECT c.last_seq - a.messages, c.revision - a.messages
    FROM {schema}.messenger_unpack_heads(@heads) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.id
    ORDER BY a.place
    OPTION (FORCE ORDER);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Appends what can be appended of any batch, one message after the other. Answers with its place for each message that is
-- not from a stranger or somebody who is erased, nor new to somebody who is: its numbers; or nulls, and whether its id is that of another message; and the message that the
-- sender stored before under the same client id.
CREATE OR ALTER PROCEDURE {schema}.messenger_append_some_messages
    @heads varbinary(max), @messages varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @asked TABLE (place int NOT NULL PRIMARY KEY, chat binary(16) NOT NULL, id binary(16) NOT NULL,
        sender binary(16) NOT NULL, moment bigint NOT NULL, client_id varbinary(64) NULL, fingerprint binary(16) NULL,
        reply_to binary(16) NULL, body varbinary(max) NULL);
    DECLARE @said TABLE (place int NOT NULL PRIMARY KEY, chat binary(16) NOT NULL, sender binary(16) NOT NULL,
        seq bigint NULL, revision bigint NULL, texts bigint NULL, is_taken bit NOT NULL, stored binary(16) NULL);
    DECLARE @place int, @last int, @id binary(16), @chat binary(16), @sender binary(16), @client_id varbinary(64),
        @moment bigint, @stored binary(16), @is_taken bit, @seq bigint, @revision bigint, @texts bigint,
        @low binary(16), @high binary(16), @erased int;
    INSERT INTO @asked (place, chat, id, sender, moment, client_id, fingerprint, reply_to, body)
    SELECT a.place, a.chat, a.id, a.sender, a.moment, a.client_id, a.fingerprint, a.reply_to, a.body
    FROM {schema}.messenger_unpack_messages(@messages, @heads, @bytes) AS a;
    SELECT @place = 1, @last = DATALENGTH(@messages) / 68;

    BEGIN TRANSACTION;
    -- From here on nobody joins or leaves the chats, or appends to them.
    UPDATE c SET revision = c.revision
    FROM {schema}.messenger_unpack_heads(@heads) AS a
    INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.id
    OPTION (FORCE ORDER);
    WHILE @place <= @last
    BEGIN
        SELECT @id = id, @chat = chat, @sender = sender, @client_id = client_id, @moment = moment, @stored = NULL,
            @is_taken = 0, @seq = NULL, @revision = NULL, @texts = NULL
        FROM @asked WHERE place = @place;
        IF EXISTS (
            SELECT 1 FROM {schema}.messenger_members WHERE chat_id = @chat AND user_id = @sender AND left_at IS NULL
        ) AND NOT EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @sender AND erased_at IS NOT NULL)
        BEGIN
            SELECT @low = pair_low, @high = pair_high FROM {schema}.messenger_chats WHERE id = @chat;
            SELECT @erased = COUNT(*) FROM {schema}.messenger_users
            WHERE id IN (@low, @high) AND erased_at IS NOT NULL;
            IF @client_id IS NOT NULL
                SELECT @stored = id FROM {schema}.messenger_messages
                WHERE client_id = @client_id AND sender_id = @sender AND client_id IS NOT NULL;
            IF @stored IS NULL AND EXISTS (SELECT 1 FROM {schema}.messenger_messages WHERE id = @id) SET @is_taken = 1;
            IF @stored IS NULL AND @is_taken = 0 AND @erased = 0
            BEGIN
                UPDATE {schema}.messenger_chats SET
                    revision = revision + 1, last_seq = last_seq + 1, texts = texts + 1, activity_at = @moment,
                    unread_since = COALESCE(unread_since, @moment),
                    unread_seq = CASE WHEN unread_since IS NULL THEN last_seq + 1 ELSE unread_seq END
                WHERE id = @chat;
                SELECT @seq = last_seq, @revision = revision, @texts = texts FROM {schema}.messenger_chats
                WHERE id = @chat;
                INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts,
                    created_at, kind, is_changed, reply_to, client_id, fingerprint, body)
                SELECT @chat, @seq, @id, @sender, @revision, @revision, @texts, @moment, 0, 0, a.reply_to, @client_id,
                    a.fingerprint, a.body
                FROM @asked AS a WHERE a.place = @place;
            END;
            IF @stored IS NOT NULL OR @erased = 0
                INSERT INTO @said (place, chat, sender, seq, revision, texts, is_taken, stored)
                VALUES (@place, @chat, @sender, @seq, @revision, @texts, @is_taken, @stored);
        END;
        SET @place = @place + 1;
    END;
    UPDATE p SET read_seq = a.seq, read_texts = a.texts, delivered_seq = a.seq
    FROM (
        SELECT TOP (2147483647) s.chat, s.sender, MAX(s.seq) AS seq, MAX(s.texts) AS texts FROM @said AS s
        WHERE s.seq IS NOT NULL GROUP BY s.chat, s.sender ORDER BY s.chat, s.sender
    ) AS a
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.sender
    OPTION (FORCE ORDER);
    SELECT s.place, s.seq, s.revision, s.is_taken, m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind,
        m.sender_id, m.body, m.client_id, m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at
    FROM @said AS s LEFT JOIN {schema}.messenger_messages AS m ON m.id = s.stored;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Moves marks forward. Answers for each with its place: the marks before, how far it goes, the chat's texts and members,
-- and how many texts stand up to there.
CREATE OR ALTER PROCEDURE {schema}.messenger_move_markers @steps varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @step TABLE (place int NOT NULL PRIMARY KEY, chat binary(16) NOT NULL, person binary(16) NOT NULL,
        is_read bit NOT NULL, seq bigint NOT NULL, all_texts bigint NOT NULL, member_count int NOT NULL,
        texts bigint NOT NULL);
    DECLARE @before TABLE (place int NOT NULL PRIMARY KEY, read_seq bigint NOT NULL, read_texts bigint NOT NULL,
        delivered_seq bigint NOT NULL);
    -- Before any lock is held: who appends to a chat holds the chat and waits for members.
    INSERT INTO @step (place, chat, person, is_read, seq, all_texts, member_count, texts)
    SELECT a.place, a.chat, a.person, a.is_read, g.seq, c.texts, c.member_count,
        ISNULL(m.texts, 0)
    FROM {schema}.messenger_unpack_steps(@steps) AS a
    JOIN {schema}.messenger_chats AS c ON c.id = a.chat
    CROSS APPLY (SELECT CASE WHEN a.seq < c.last_seq THEN a.seq ELSE c.last_seq END AS seq) AS g
    LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = a.chat AND m.seq = g.seq
    OPTION (LOOP JOIN, FORCE ORDER);

    BEGIN TRANSACTION;
    UPDATE p SET read_seq = p.read_seq
    FROM (SELECT DISTINCT TOP (2147483647) s.chat, s.person FROM @step AS s ORDER BY s.chat, s.person) AS a
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.person
    OPTION (FORCE ORDER);
    INSERT INTO @before (place, read_seq, read_texts, delivered_seq)
    SELECT s.place, p.read_seq, p.read_texts, p.delivered_seq
    FROM @step AS s
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = s.chat AND p.user_id = s.person
    WHERE p.left_at IS NULL
    OPTION (FORCE ORDER);
    UPDATE p SET
        read_seq = CASE WHEN a.read_seq > p.read_seq THEN a.read_seq ELSE p.read_seq END,
        read_texts = CASE WHEN a.read_texts > p.read_texts THEN a.read_texts ELSE p.read_texts END,
        delivered_seq = CASE WHEN a.seq > p.delivered_seq THEN a.seq ELSE p.delivered_seq END
    FROM (
        SELECT s.chat, s.person, MAX(s.seq) AS seq, MAX(CASE s.is_read WHEN 1 THEN s.seq ELSE 0 END) AS read_seq,
            MAX(CASE s.is_read WHEN 1 THEN s.texts ELSE 0 END) AS read_texts
        FROM @step AS s JOIN @before AS b ON b.place = s.place GROUP BY s.chat, s.person
    ) AS a
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.person
    OPTION (FORCE ORDER);
    SELECT s.place, b.read_seq, b.read_texts, b.delivered_seq, s.seq, s.all_texts, s.member_count, s.texts
    FROM @step AS s JOIN @before AS b ON b.place = s.place;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Gives a message a new text, unless its author is erased, or makes it a tombstone if there is none, and answers with the
-- message as it is then.
CREATE OR ALTER PROCEDURE {schema}.messenger_change_message
    @chat binary(16), @message binary(16), @expected bigint, @body varbinary(max) = NULL, @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @revision bigint;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_chats SET revision = revision + 1 WHERE id = @chat;
    IF @body IS NOT NULL AND EXISTS (
        SELECT 1 FROM {schema}.messenger_messages AS m JOIN {schema}.messenger_users AS u ON u.id = m.sender_id
        WHERE m.id = @message AND m.chat_id = @chat AND u.erased_at IS NOT NULL
    )
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 3;
    END;
    SELECT @revision = revision FROM {schema}.messenger_chats WHERE id = @chat;
    UPDATE {schema}.messenger_messages SET
        revision = @revision, is_changed = 1, body = @body,
        fingerprint = CASE WHEN @body IS NULL THEN NULL ELSE fingerprint END,
        edited_at = CASE WHEN @body IS NULL THEN edited_at ELSE @at END,
        deleted_at = CASE WHEN @body IS NULL THEN @at ELSE deleted_at END
    WHERE id = @message AND chat_id = @chat AND revision = @expected;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_messages WHERE id = @message AND chat_id = @chat) RETURN 2;
        RETURN 1;
    END;
    SELECT id, chat_id, seq, created_revision, revision, kind, sender_id, body, client_id, fingerprint, reply_to,
        created_at, edited_at, deleted_at
    FROM {schema}.messenger_messages WHERE id = @message;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Makes tombstones of at most @limit of a person's texts in a chat, the oldest first, and answers with them; with nothing
-- only if none is left.
CREATE OR ALTER PROCEDURE {schema}.messenger_erase_messages @chat binary(16), @sender binary(16), @at bigint, @limit bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @found TABLE (seq bigint NOT NULL PRIMARY KEY);
    DECLARE @live TABLE (seq bigint NOT NULL PRIMARY KEY, nth bigint NOT NULL);
    DECLARE @revision bigint, @erased int, @is_all bit, @last_seq bigint;
    WHILE 1 = 1
    BEGIN
        -- There is no index for this rare errand, so they are looked for where nobody has to wait for it. Those stored since
        -- then are few, and are looked for under the lock of the chat: nobody is storing more.
        SET @last_seq = NULL;
        SELECT @last_seq = last_seq FROM {schema}.messenger_chats WHERE id = @chat;
        IF @last_seq IS NULL RETURN 0;
        SET @is_all = 0;
        DELETE FROM @found;
        INSERT INTO @found (seq)
        SELECT TOP (@limit) seq FROM {schema}.messenger_messages
        WHERE chat_id = @chat AND sender_id = @sender AND kind = 0 AND deleted_at IS NULL ORDER BY seq;
        IF @@ROWCOUNT = 0 SET @is_all = 1;

        BEGIN TRANSACTION;
        UPDATE {schema}.messenger_chats SET revision = revision WHERE id = @chat;
        SELECT @revision = revision FROM {schema}.messenger_chats WHERE id = @chat;
        IF @is_all = 1
            INSERT INTO @found (seq)
            SELECT TOP (@limit) seq FROM {schema}.messenger_messages
            WHERE chat_id = @chat AND seq > @last_seq AND sender_id = @sender AND kind = 0 AND deleted_at IS NULL
            ORDER BY seq;
        INSERT INTO @live (seq, nth)
        SELECT m.seq, ROW_NUMBER() OVER (ORDER BY m.seq)
        FROM @found AS f INNER LOOP JOIN {schema}.messenger_messages AS m ON m.chat_id = @chat AND m.seq = f.seq
        WHERE m.deleted_at IS NULL;
        SET @erased = @@ROWCOUNT;
        IF @erased > 0
        BEGIN
            UPDATE m SET
                revision = @revision + l.nth, is_changed = 1, body = NULL, fingerprint = NULL, deleted_at = @at
            FROM @live AS l INNER LOOP JOIN {schema}.messenger_messages AS m ON m.chat_id = @chat AND m.seq = l.seq;
            UPDATE {schema}.messenger_chats SET revision = revision + @erased WHERE id = @chat;
            SELECT m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind, m.sender_id, m.body, m.client_id,
                m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at
            FROM @live AS l INNER LOOP JOIN {schema}.messenger_messages AS m ON m.chat_id = @chat AND m.seq = l.seq;
        END;
        COMMIT TRANSACTION;
        -- None are left of those that were found if others deleted them meanwhile; there may be more.
        IF @erased > 0 OR @is_all = 1 RETURN 0;
    END;
END;
GO

-- Jobs: the id, 16 bytes; where in @bytes, from 1, the kind is, 4, and its length, 4; the priority, 1; when it is due, 8; how
-- often it is tried, 8; where its unique key is, 4, and its length, 4; whether the key counts since a moment, 1, and since
-- which, 8; where the id of the job is that it waits for, 4; when it was enqueued, 8; where the payload is, 4, and its length,
-- 4. A place 0 stands for null.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_jobs (@jobs varbinary(max), @bytes varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT r.place, r.id, SUBSTRING(@bytes, r.kind, r.kind_length) AS kind, r.priority, r.run_at, r.max_attempts,
        SUBSTRING(@bytes, r.name, r.name_length) AS unique_key, CASE r.has_since WHEN 1 THEN r.since END AS since,
        SUBSTRING(@bytes, r.parent, 16) AS after_id, r.created_at, SUBSTRING(@bytes, r.payload, r.payload_length) AS payload
    FROM (
        SELECT TOP (DATALENGTH(@jobs) / 78) t.n AS place,
            CAST(SUBSTRING(@jobs, 78 * t.n - 77, 16) AS binary(16)) AS id,
            CAST(SUBSTRING(@jobs, 78 * t.n - 61, 4) AS int) AS kind,
            CAST(SUBSTRING(@jobs, 78 * t.n - 57, 4) AS int) AS kind_length,
            CAST(SUBSTRING(@jobs, 78 * t.n - 53, 1) AS tinyint) AS priority,
            CAST(SUBSTRING(@jobs, 78 * t.n - 52, 8) AS bigint) AS run_at,
            CAST(SUBSTRING(@jobs, 78 * t.n - 44, 8) AS bigint) AS max_attempts,
            NULLIF(CAST(SUBSTRING(@jobs, 78 * t.n - 36, 4) AS int), 0) AS name,
            CAST(SUBSTRING(@jobs, 78 * t.n - 32, 4) AS int) AS name_length,
            CAST(SUBSTRING(@jobs, 78 * t.n - 28, 1) AS tinyint) AS has_since,
            CAST(SUBSTRING(@jobs, 78 * t.n - 27, 8) AS bigint) AS since,
            NULLIF(CAST(SUBSTRING(@jobs, 78 * t.n - 19, 4) AS int), 0) AS parent,
            CAST(SUBSTRING(@jobs, 78 * t.n - 15, 8) AS bigint) AS created_at,
            CAST(SUBSTRING(@jobs, 78 * t.n - 7, 4) AS int) AS payload,
            CAST(SUBSTRING(@jobs, 78 * t.n - 3, 4) AS int) AS payload_length
        FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@jobs) / 78 ORDER BY t.n
    ) AS r
);
GO

-- Kinds of which jobs are asked for: where in @bytes, from 1, the kind is, 4 bytes; its length, 4; how many jobs, 8.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_kinds (@kinds varbinary(max), @bytes varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@kinds) / 16) t.n AS place,
        SUBSTRING(@bytes, CAST(SUBSTRING(@kinds, 16 * t.n - 15, 4) AS int), CAST(SUBSTRING(@kinds, 16 * t.n - 11, 4) AS int))
            AS kind,
        CAST(SUBSTRING(@kinds, 16 * t.n - 7, 8) AS bigint) AS most
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@kinds) / 16 ORDER BY t.n
);
GO

-- Ends of claims: the job, 16 bytes; the number of the claim, 8; the outcome, 1, which is 0 done, 1 failed, 2 dead, 3 snoozed;
-- when it is due again, 8; where in @bytes, from 1, the reason is, 4, and its length, 4. A place 0 stands for null.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_ends (@ends varbinary(max), @bytes varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@ends) / 41) t.n AS place,
        CAST(SUBSTRING(@ends, 41 * t.n - 40, 16) AS binary(16)) AS id,
        CAST(SUBSTRING(@ends, 41 * t.n - 24, 8) AS bigint) AS claims,
        CAST(SUBSTRING(@ends, 41 * t.n - 16, 1) AS tinyint) AS outcome,
        CAST(SUBSTRING(@ends, 41 * t.n - 15, 8) AS bigint) AS run_at,
        SUBSTRING(@bytes, NULLIF(CAST(SUBSTRING(@ends, 41 * t.n - 7, 4) AS int), 0), CAST(SUBSTRING(@ends, 41 * t.n - 3, 4) AS int))
            AS reason
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@ends) / 41 ORDER BY t.n
);
GO

-- Stores jobs that have no unique key and wait for no other, and answers with the ids of those that were not there.
CREATE OR ALTER PROCEDURE {schema}.messenger_insert_jobs @jobs varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @new TABLE (place int NOT NULL PRIMARY KEY, id binary(16) NOT NULL);
    BEGIN TRANSACTION;
    INSERT INTO @new (place, id)
    SELECT a.place, a.id FROM {schema}.messenger_unpack_jobs(@jobs, @bytes) AS a
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.messenger_jobs AS j WHERE j.id = a.id);
    INSERT INTO {schema}.messenger_jobs (id, run_at, created_at, attempt, max_attempts, claims, priority, state, kind, payload)
    SELECT a.id, a.run_at, a.created_at, 0, a.max_attempts, 0, a.priority, 0, a.kind, a.payload
    FROM {schema}.messenger_unpack_jobs(@jobs, @bytes) AS a JOIN @new AS n ON n.place = a.place;
    SELECT id FROM @new;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Stores jobs, each of which sees those before it, and answers for each that was passed over with its place and the job that
-- is there already or has its key. That others have stored the same key meanwhile is found by the index, and an error.
CREATE OR ALTER PROCEDURE {schema}.messenger_enqueue_jobs @jobs varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @asked TABLE (place int NOT NULL PRIMARY KEY, id binary(16) NOT NULL, kind varbinary(64) NOT NULL,
        priority tinyint NOT NULL, run_at bigint NOT NULL, max_attempts bigint NOT NULL, unique_key varbinary(200) NULL,
        since bigint NULL, after_id binary(16) NULL, created_at bigint NOT NULL, payload varbinary(max) NOT NULL);
    DECLARE @said TABLE (place int NOT NULL PRIMARY KEY, existing binary(16) NOT NULL);
    DECLARE @place int, @last int, @id binary(16), @kind varbinary(64), @key varbinary(200), @since bigint,
        @after binary(16), @existing binary(16), @parent tinyint;
    INSERT INTO @asked (place, id, kind, priority, run_at, max_attempts, unique_key, since, after_id, created_at, payload)
    SELECT a.place, a.id, a.kind, a.priority, a.run_at, a.max_attempts, a.unique_key, a.since, a.after_id, a.created_at,
        a.payload
    FROM {schema}.messenger_unpack_jobs(@jobs, @bytes) AS a;
    SELECT @place = 1, @last = DATALENGTH(@jobs) / 78;

    BEGIN TRANSACTION;
    -- From here on none of those ends that others wait for.
    UPDATE j SET claims = j.claims
    FROM (
        SELECT DISTINCT TOP (2147483647) a.after_id FROM @asked AS a WHERE a.after_id IS NOT NULL ORDER BY a.after_id
    ) AS p
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = p.after_id
    OPTION (FORCE ORDER);
    WHILE @place <= @last
    BEGIN
        SELECT @id = id, @kind = kind, @key = unique_key, @since = since, @after = after_id, @existing = NULL, @parent = NULL
        FROM @asked WHERE place = @place;
        SELECT @existing = id FROM {schema}.messenger_jobs WHERE id = @id;
        IF @existing IS NULL AND @key IS NOT NULL
            SELECT @existing = id FROM {schema}.messenger_jobs
            WHERE state < 3 AND unique_key IS NOT NULL AND kind = @kind AND unique_key = @key;
        IF @existing IS NULL AND @since IS NOT NULL
            SELECT TOP (1) @existing = id FROM {schema}.messenger_jobs
            WHERE state = 3 AND unique_key IS NOT NULL AND kind = @kind AND unique_key = @key AND created_at >= @since
            ORDER BY created_at;
        IF @existing IS NULL
        BEGIN
            IF @after IS NOT NULL SELECT @parent = state FROM {schema}.messenger_jobs WHERE id = @after;
            INSERT INTO {schema}.messenger_jobs (id, run_at, created_at, ended_at, attempt, max_attempts, claims, priority,
                state, after_id, kind, unique_key, payload)
            SELECT a.id, a.run_at, a.created_at, CASE @parent WHEN 5 THEN a.created_at END, 0, a.max_attempts, 0, a.priority,
                CASE WHEN @parent IS NULL OR @parent = 3 THEN 0 WHEN @parent = 5 THEN 5 ELSE 1 END,
                a.after_id, a.kind, a.unique_key, a.payload
            FROM @asked AS a WHERE a.place = @place;
            -- The one that had the key when it was looked for may have been done since.
            IF @since IS NOT NULL
            BEGIN
                SELECT TOP (1) @existing = id FROM {schema}.messenger_jobs
                WHERE state = 3 AND unique_key IS NOT NULL AND kind = @kind AND unique_key = @key AND created_at >= @since
                ORDER BY created_at;
                IF @existing IS NOT NULL DELETE FROM {schema}.messenger_jobs WHERE id = @id;
            END;
        END;
        IF @existing IS NOT NULL INSERT INTO @said (place, existing) VALUES (@place, @existing);
        SET @place = @place + 1;
    END;
    SELECT place, existing FROM @said;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Claims what is due of each kind, up to its limit, and answers with it: those that wait, by priority, and those whose worker
-- has died. What others have locked is left to them; what they have claimed where there are no such locks is seen when it is
-- claimed. A job that had its last attempt is dead.
CREATE OR ALTER PROCEDURE {schema}.messenger_claim_jobs
    @kinds varbinary(max), @bytes varbinary(max), @now bigint, @until bigint, @abandoned varbinary(8000)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @kind_asked TABLE (place int NOT NULL PRIMARY KEY, kind varbinary(64) NOT NULL, most bigint NOT NULL);
    DECLARE @due TABLE (id binary(16) NOT NULL PRIMARY KEY, priority tinyint NOT NULL, run_at bigint NOT NULL);
    DECLARE @taken TABLE (id binary(16) NOT NULL PRIMARY KEY);
    DECLARE @place int, @last int, @kind varbinary(64), @most bigint, @left bigint, @priority tinyint;
    INSERT INTO @kind_asked (place, kind, most)
    SELECT a.place, a.kind, a.most FROM {schema}.messenger_unpack_kinds(@kinds, @bytes) AS a;
    SELECT @place = 1, @last = DATALENGTH(@kinds) / 16;

    BEGIN TRANSACTION;
    WHILE @place <= @last
    BEGIN
        SELECT @kind = kind, @most = most, @left = most, @priority = 0 FROM @kind_asked WHERE place = @place;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_job_pauses WHERE kind = @kind) SET @left = 0;
        IF @left > 0
            INSERT INTO @due (id, priority, run_at)
            SELECT TOP (@most) j.id, j.priority, j.run_at
            FROM {schema}.messenger_jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK)
            WHERE j.state = 2 AND j.kind = @kind AND j.leased_until < @now ORDER BY j.leased_until;
        WHILE @left > 0 AND @priority <= 2
        BEGIN
            INSERT INTO @due (id, priority, run_at)
            SELECT TOP (@left) j.id, j.priority, j.run_at
            FROM {schema}.messenger_jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK)
            WHERE j.state = 0 AND j.kind = @kind AND j.priority = @priority AND j.run_at <= @now ORDER BY j.run_at, j.id;
            SELECT @left = @left - @@ROWCOUNT, @priority = @priority + 1;
        END;
        INSERT INTO @taken (id) SELECT TOP (@most) d.id FROM @due AS d ORDER BY d.priority, d.run_at, d.id;
        DELETE FROM @due;
        SET @place = @place + 1;
    END;
    UPDATE j SET state = 4, leased_until = NULL, ended_at = @now, reason = @abandoned
    FROM @taken AS t
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = t.id
    WHERE j.state = 2 AND j.leased_until < @now AND j.attempt >= j.max_attempts
    OPTION (FORCE ORDER);
    UPDATE {schema}.messenger_jobs SET state = 2, attempt = attempt + 1, claims = claims + 1, leased_until = @until
    OUTPUT inserted.id, inserted.claims, inserted.kind, inserted.payload, inserted.attempt, inserted.max_attempts,
        inserted.run_at, inserted.created_at, inserted.priority
    WHERE id IN (SELECT t.id FROM @taken AS t) AND (state = 0 OR state = 2 AND leased_until < @now);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Extends leases, and answers with the claims that are still held. @claims are jobs with the numbers of claims, by rising ids.
CREATE OR ALTER PROCEDURE {schema}.messenger_renew_jobs @claims varbinary(max), @until bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE j SET leased_until = CASE WHEN j.leased_until > @until THEN j.leased_until ELSE @until END
    FROM {schema}.messenger_unpack_numbered(@claims) AS a
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = a.id
    WHERE j.state = 2 AND j.claims = a.number
    OPTION (FORCE ORDER);
    -- A claim that is lost is never held again, so these are the same.
    SELECT j.id, j.claims
    FROM {schema}.messenger_unpack_numbered(@claims) AS a
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = a.id
    WHERE j.state = 2 AND j.claims = a.number
    OPTION (FORCE ORDER);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Ends claims, each given once, by rising ids, and answers with those that were held. Those that waited for what is done go on.
CREATE OR ALTER PROCEDURE {schema}.messenger_finish_jobs @ends varbinary(max), @bytes varbinary(max), @now bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @end TABLE (id binary(16) NOT NULL, claims bigint NOT NULL, outcome tinyint NOT NULL, run_at bigint NOT NULL,
        reason varbinary(8000) NULL, PRIMARY KEY (id, claims));
    DECLARE @held TABLE (id binary(16) NOT NULL PRIMARY KEY, claims bigint NOT NULL, outcome tinyint NOT NULL);
    INSERT INTO @end (id, claims, outcome, run_at, reason)
    SELECT a.id, a.claims, a.outcome, a.run_at, a.reason FROM {schema}.messenger_unpack_ends(@ends, @bytes) AS a;

    BEGIN TRANSACTION;
    UPDATE j SET claims = j.claims
    FROM (SELECT TOP (2147483647) e.id, e.claims FROM @end AS e ORDER BY e.id) AS a
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = a.id
    WHERE j.claims = a.claims
    OPTION (FORCE ORDER);
    INSERT INTO @held (id, claims, outcome)
    SELECT e.id, e.claims, e.outcome
    FROM @end AS e
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = e.id
    WHERE j.state = 2 AND j.claims = e.claims
    OPTION (FORCE ORDER);
    UPDATE j SET
        state = CASE WHEN e.outcome = 0 THEN 3
            WHEN e.outcome = 2 OR e.outcome = 1 AND j.attempt >= j.max_attempts THEN 4 ELSE 0 END,
        ended_at = CASE WHEN e.outcome IN (0, 2) OR e.outcome = 1 AND j.attempt >= j.max_attempts THEN @now END,
        run_at = CASE WHEN e.outcome = 3 OR e.outcome = 1 AND j.attempt < j.max_attempts THEN e.run_at ELSE j.run_at END,
        attempt = CASE e.outcome WHEN 3 THEN j.attempt - 1 ELSE j.attempt END,
        reason = COALESCE(e.reason, j.reason), leased_until = NULL
    FROM @held AS h
    INNER LOOP JOIN @end AS e ON e.id = h.id AND e.claims = h.claims
    INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = h.id
    OPTION (FORCE ORDER);
    UPDATE c SET state = 0
    FROM @held AS h
    INNER LOOP JOIN {schema}.messenger_jobs AS c ON c.after_id = h.id
    WHERE h.outcome = 0 AND c.state = 1
    OPTION (FORCE ORDER);
    SELECT id, claims FROM @held;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Changes a job by hand, and answers with it as it was before: @change is 0 to put it back, 1 to cancel it, 2 to drop it. Those
-- that wait for one that is cancelled or dropped are cancelled, and those that wait for them.
CREATE OR ALTER PROCEDURE {schema}.messenger_change_job @id binary(16), @change bigint, @now bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @cancelled TABLE (id binary(16) NOT NULL PRIMARY KEY, depth int NOT NULL);
    DECLARE @state tinyint, @leased_until bigint, @depth int, @found int;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_jobs SET claims = claims WHERE id = @id;
    SELECT @state = state, @leased_until = leased_until FROM {schema}.messenger_jobs WHERE id = @id;
    IF @state IS NULL
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 1;
    END;
    IF @change = 0 AND @state IN (1, 2) OR @change = 1 AND @state >= 3 OR @change = 2 AND @leased_until >= @now
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 2;
    END;
    SELECT j.id, j.kind, j.payload, j.priority, j.state, j.run_at, j.attempt, j.max_attempts, j.unique_key, j.after_id,
        j.created_at, j.leased_until, j.ended_at, j.reason
    FROM {schema}.messenger_jobs AS j WHERE j.id = @id;
    IF @change = 0
        UPDATE {schema}.messenger_jobs SET
            state = 0, run_at = @now, attempt = CASE WHEN state >= 3 THEN 0 ELSE attempt END, ended_at = NULL
        WHERE id = @id;
    IF @change = 1
        UPDATE {schema}.messenger_jobs SET state = 5, leased_until = NULL, ended_at = @now WHERE id = @id;
    IF @change = 2
        DELETE FROM {schema}.messenger_jobs WHERE id = @id;
    SELECT @depth = 0, @found = CASE @change WHEN 0 THEN 0 ELSE 1 END;
    IF @found = 1 INSERT INTO @cancelled (id, depth) VALUES (@id, 0);
    WHILE @found > 0
    BEGIN
        INSERT INTO @cancelled (id, depth)
        SELECT j.id, @depth + 1
        FROM @cancelled AS c INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.after_id = c.id
        WHERE c.depth = @depth AND j.state = 1;
        SELECT @found = @@ROWCOUNT, @depth = @depth + 1;
        UPDATE j SET state = 5, ended_at = @now
        FROM @cancelled AS c INNER LOOP JOIN {schema}.messenger_jobs AS j ON j.id = c.id
        WHERE c.depth = @depth AND j.state = 1;
    END;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Sets the next time of a schedule, if it is where it is expected to be, or not there if @expected is null; and enqueues its
-- job, @jobs with the id @job, if there is one. Answers with what is said of the job.
CREATE OR ALTER PROCEDURE {schema}.messenger_move_schedule
    @name varbinary(8000), @rule varbinary(8000), @expected bigint = NULL, @next_at bigint, @job binary(16) = NULL,
    @jobs varbinary(max) = NULL, @bytes varbinary(max) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @moved int, @was_there int;
    BEGIN TRANSACTION;
    IF @expected IS NULL
    BEGIN
        INSERT INTO {schema}.messenger_schedules (name, rule_text, next_at)
        SELECT @name, @rule, @next_at WHERE NOT EXISTS (SELECT 1 FROM {schema}.messenger_schedules WHERE name = @name);
        SET @moved = @@ROWCOUNT;
    END
    ELSE
    BEGIN
        UPDATE {schema}.messenger_schedules SET rule_text = @rule, next_at = @next_at
        WHERE name = @name AND next_at = @expected;
        SET @moved = @@ROWCOUNT;
    END;
    IF @moved = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 2;
    END;
    IF @job IS NOT NULL
    BEGIN
        SELECT @was_there = COUNT(*) FROM {schema}.messenger_jobs WHERE id = @job;
        EXEC {schema}.messenger_enqueue_jobs @jobs = @jobs, @bytes = @bytes;
        IF @was_there = 0
            UPDATE {schema}.messenger_schedules SET last_job = @job
            WHERE name = @name AND EXISTS (SELECT 1 FROM {schema}.messenger_jobs WHERE id = @job);
    END;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Ranges of messages: the chat, 16 bytes; the message before the first one, 8; the last one, 8.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_ranges (@ranges varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT TOP (DATALENGTH(@ranges) / 32) t.n AS place,
        CAST(SUBSTRING(@ranges, 32 * t.n - 31, 16) AS binary(16)) AS chat,
        CAST(SUBSTRING(@ranges, 32 * t.n - 15, 8) AS bigint) AS after_seq,
        CAST(SUBSTRING(@ranges, 32 * t.n - 7, 8) AS bigint) AS up_to
    FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@ranges) / 32 ORDER BY t.n
);
GO

-- Claims chats in which there may be something unread since @due or longer, and answers with them. What others have locked is
-- left to them; what they have claimed where there are no such locks is seen when it is claimed.
CREATE OR ALTER PROCEDURE {schema}.messenger_claim_unread @due bigint, @now bigint, @until bigint, @most bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @taken TABLE (id binary(16) NOT NULL PRIMARY KEY);
    BEGIN TRANSACTION;
    INSERT INTO @taken (id)
    SELECT TOP (@most) c.id FROM {schema}.messenger_chats AS c WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK)
    WHERE c.unread_since IS NOT NULL AND c.unread_since <= @due
        AND (c.unread_leased_until IS NULL OR c.unread_leased_until < @now)
    ORDER BY c.unread_since;
    UPDATE {schema}.messenger_chats SET unread_claims = COALESCE(unread_claims, 0) + 1, unread_leased_until = @until
    OUTPUT inserted.id, inserted.unread_claims, inserted.unread_since, inserted.last_seq
    WHERE id IN (SELECT t.id FROM @taken AS t) AND unread_since IS NOT NULL AND unread_since <= @due
        AND (unread_leased_until IS NULL OR unread_leased_until < @now);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Ends the claim of a chat that was looked at for messages up to @due. The next message is the first one that was sent
-- later, or stored after the one of seq @last_seq.
CREATE OR ALTER PROCEDURE {schema}.messenger_finish_unread @chat binary(16), @number bigint, @due bigint, @last_seq bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @first bigint, @next bigint, @next_seq bigint;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_chats SET unread_leased_until = NULL
    WHERE id = @chat AND unread_claims = @number AND unread_leased_until IS NOT NULL AND unread_since IS NOT NULL;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 2;
    END;
    -- From here on nobody appends to the chat.
    SELECT @first = unread_seq FROM {schema}.messenger_chats WHERE id = @chat;
    SELECT TOP (1) @next = m.created_at, @next_seq = m.seq FROM {schema}.messenger_messages AS m
    WHERE m.chat_id = @chat AND m.seq >= @first AND m.kind = 0 AND m.deleted_at IS NULL
        AND (m.created_at > @due OR m.seq > @last_seq)
    ORDER BY m.seq;
    UPDATE {schema}.messenger_chats SET unread_since = @next, unread_seq = @next_seq WHERE id = @chat;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Records that a person is told of these ranges, by rising chats, and enqueues @jobs, if there are any.
CREATE OR ALTER PROCEDURE {schema}.messenger_record_notified
    @user binary(16), @expected bigint = NULL, @at bigint, @since bigint, @times bigint, @ranges varbinary(max),
    @jobs varbinary(max) = NULL, @bytes varbinary(max) = NULL
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_users SET notified_at = @at, notified_since = @since, notified_times = @times
    WHERE id = @user AND erased_at IS NULL AND (notified_at = @expected OR notified_at IS NULL AND @expected IS NULL);
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 2;
    END;
    UPDATE p SET notified_seq = a.up_to, notified_at = @at, notified_read = p.read_seq, notified_times = 1 +
        CASE WHEN p.read_seq > p.notified_read THEN 0 ELSE COALESCE(p.notified_times, 0) END
    FROM {schema}.messenger_unpack_ranges(@ranges) AS a
    INNER LOOP JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = @user
    WHERE p.left_at IS NULL AND a.after_seq = CASE WHEN COALESCE(p.notified_seq, 0) > p.read_seq THEN p.notified_seq ELSE p.read_seq END
    OPTION (FORCE ORDER);
    IF @@ROWCOUNT <> DATALENGTH(@ranges) / 32
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 2;
    END;
    IF @jobs IS NOT NULL EXEC {schema}.messenger_enqueue_jobs @jobs = @jobs, @bytes = @bytes;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Wrapped keys: the owner, 16 bytes; the number, 8; when it was made, 8; whether it was destroyed, 1, and when, 8; where in
-- @bytes, from 1, it is, 4, and its length, 4. A place 0 stands for null.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_keys (@keys varbinary(max), @bytes varbinary(max)) RETURNS TABLE AS RETURN (
    SELECT r.place, r.owner, r.number, r.created_at, CASE r.is_destroyed WHEN 1 THEN r.moment END AS destroyed_at,
        SUBSTRING(@bytes, r.wrapped, r.wrapped_length) AS wrapped
    FROM (
        SELECT TOP (DATALENGTH(@keys) / 49) t.n AS place,
            CAST(SUBSTRING(@keys, 49 * t.n - 48, 16) AS binary(16)) AS owner,
            CAST(SUBSTRING(@keys, 49 * t.n - 32, 8) AS bigint) AS number,
            CAST(SUBSTRING(@keys, 49 * t.n - 24, 8) AS bigint) AS created_at,
            CAST(SUBSTRING(@keys, 49 * t.n - 16, 1) AS tinyint) AS is_destroyed,
            CAST(SUBSTRING(@keys, 49 * t.n - 15, 8) AS bigint) AS moment,
            NULLIF(CAST(SUBSTRING(@keys, 49 * t.n - 7, 4) AS int), 0) AS wrapped,
            CAST(SUBSTRING(@keys, 49 * t.n - 3, 4) AS int) AS wrapped_length
        FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@keys) / 49 ORDER BY t.n
    ) AS r
);
GO

-- Keys that are wrapped anew: the owner, 16 bytes; the number, 8; where in @bytes, from 1, what is expected is, 4, and its
-- length, 4; where what takes its place is, 4, and its length, 4.
CREATE OR ALTER FUNCTION {schema}.messenger_unpack_rewraps (@rewraps varbinary(max), @bytes varbinary(max))
RETURNS TABLE AS RETURN (
    SELECT r.place, r.owner, r.number, SUBSTRING(@bytes, r.expected, r.expected_length) AS expected,
        SUBSTRING(@bytes, r.wrapped, r.wrapped_length) AS wrapped
    FROM (
        SELECT TOP (DATALENGTH(@rewraps) / 40) t.n AS place,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 39, 16) AS binary(16)) AS owner,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 23, 8) AS bigint) AS number,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 15, 4) AS int) AS expected,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 11, 4) AS int) AS expected_length,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 7, 4) AS int) AS wrapped,
            CAST(SUBSTRING(@rewraps, 40 * t.n - 3, 4) AS int) AS wrapped_length
        FROM {schema}.messenger_numbers AS t WHERE t.n <= DATALENGTH(@rewraps) / 40 ORDER BY t.n
    ) AS r
);
GO

-- Stores the keys that are not there, each given once, by rising ids, and answers with what is then there. That others have
-- stored one of them meanwhile is found by the index, and an error.
CREATE OR ALTER PROCEDURE {schema}.messenger_create_keys @keys varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    INSERT INTO {schema}.messenger_keys (owner, number, wrapped, created_at, destroyed_at)
    SELECT a.owner, a.number, a.wrapped, a.created_at, a.destroyed_at
    FROM {schema}.messenger_unpack_keys(@keys, @bytes) AS a
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.messenger_keys AS k WHERE k.owner = a.owner AND k.number = a.number);
    SELECT k.owner, k.number, k.wrapped, k.created_at, k.destroyed_at
    FROM {schema}.messenger_unpack_keys(@keys, @bytes) AS a
    INNER LOOP JOIN {schema}.messenger_keys AS k ON k.owner = a.owner AND k.number = a.number
    OPTION (FORCE ORDER);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Wraps anew those keys, each given once, by rising ids, that are wrapped as expected, and answers with their number.
CREATE OR ALTER PROCEDURE {schema}.messenger_rewrap_keys @rewraps varbinary(max), @bytes varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @done bigint;
    BEGIN TRANSACTION;
    -- Bytes that differ in zeros at the end alone are equal to the server.
    UPDATE k SET wrapped = a.wrapped
    FROM {schema}.messenger_unpack_rewraps(@rewraps, @bytes) AS a
    INNER LOOP JOIN {schema}.messenger_keys AS k ON k.owner = a.owner AND k.number = a.number
    WHERE k.wrapped = a.expected AND DATALENGTH(k.wrapped) = DATALENGTH(a.expected)
    OPTION (FORCE ORDER);
    SET @done = @@ROWCOUNT;
    SELECT @done;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Destroys the keys of a person, and the first one also if there is none. That others have stored it meanwhile is found by
-- the index, and an error.
CREATE OR ALTER PROCEDURE {schema}.messenger_destroy_keys @owner binary(16), @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    INSERT INTO {schema}.messenger_keys (owner, number, created_at, destroyed_at)
    SELECT @owner, 1, @at, @at
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.messenger_keys WHERE owner = @owner AND number = 1);
    UPDATE {schema}.messenger_keys SET wrapped = NULL, destroyed_at = @at WHERE owner = @owner AND wrapped IS NOT NULL;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Sets for how many seconds messages of a group are kept, writes the message that says so, and answers with the chat after
-- that.
CREATE OR ALTER PROCEDURE {schema}.messenger_set_retention
    @chat binary(16), @expected bigint, @retention bigint = NULL, @message binary(16), @sender binary(16),
    @note varbinary(max), @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_chats SET
        roster_version = roster_version + 1, revision = revision + 1, last_seq = last_seq + 1, activity_at = @at,
        retention_secs = @retention, purge_at = COALESCE(kept_since, created_at) + @retention * 1000000
    WHERE id = @chat AND roster_version = @expected;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        IF EXISTS (SELECT 1 FROM {schema}.messenger_chats WHERE id = @chat) RETURN 2;
        RETURN 1;
    END;
    INSERT INTO {schema}.messenger_messages (chat_id, seq, id, sender_id, created_revision, revision, texts, created_at,
        kind, is_changed, body)
    SELECT id, last_seq, @message, @sender, revision, revision, texts, @at, 1, 0, @note
    FROM {schema}.messenger_chats WHERE id = @chat;
    SELECT id, kind, title, created_at, revision, last_seq, texts, member_count, roster_version
    FROM {schema}.messenger_chats WHERE id = @chat;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Looks through the next @limit messages of a chat, up to the first one that is not overdue, makes tombstones of those that
-- are, and records that. Answers with whether there may be more, and the tombstones, or nulls; with nothing if the chat keeps
-- all of it.
CREATE OR ALTER PROCEDURE {schema}.messenger_purge
    @id binary(16), @chat binary(16), @now bigint, @retention bigint = NULL, @limit bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @live TABLE (seq bigint NOT NULL PRIMARY KEY, nth bigint NOT NULL);
    DECLARE @own bigint, @kept bigint, @from bigint, @to bigint, @end bigint, @last_seq bigint, @revision bigint,
        @before bigint, @since bigint, @purged int, @more int;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_hold_lock SET taken = taken + 1 WHERE only_row = 1;
    UPDATE {schema}.messenger_chats SET revision = revision WHERE id = @chat;
    SELECT @own = retention_secs, @from = COALESCE(purge_seq, 0), @last_seq = last_seq, @revision = revision
    FROM {schema}.messenger_chats WHERE id = @chat;
    SET @kept = CASE WHEN @own IS NULL OR @own > @retention THEN @retention ELSE @own END;
    IF @from IS NULL OR @kept IS NULL
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 0;
    END;
    IF EXISTS (SELECT 1 FROM {schema}.messenger_holds WHERE kind = 0 AND id = @chat)
    BEGIN
        UPDATE {schema}.messenger_chats SET kept_since = @now, purge_at = @now + retention_secs * 1000000 WHERE id = @chat;
        COMMIT TRANSACTION;
        RETURN 0;
    END;

    SET @before = @now - @kept * 1000000;
    SET @to = CASE WHEN @from + @limit < @last_seq THEN @from + @limit ELSE @last_seq END;
    SELECT TOP (1) @end = m.seq, @since = m.created_at FROM {schema}.messenger_messages AS m
    WHERE m.chat_id = @chat AND m.seq > @from AND m.seq <= @to AND m.created_at >= @before ORDER BY m.seq;
    IF @end IS NOT NULL SET @to = @end - 1;
    ELSE IF @last_seq - @from < @limit SET @since = @now;
    INSERT INTO @live (seq, nth)
    SELECT m.seq, ROW_NUMBER() OVER (ORDER BY m.seq) FROM {schema}.messenger_messages AS m
    WHERE m.chat_id = @chat AND m.seq > @from AND m.seq <= @to AND m.deleted_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM {schema}.messenger_holds AS h WHERE h.kind = 1 AND h.id = m.sender_id);
    SET @purged = @@ROWCOUNT;
    IF @purged > 0
    BEGIN
        UPDATE m SET revision = @revision + l.nth, is_changed = 1, body = NULL, fingerprint = NULL, deleted_at = @now
        FROM @live AS l INNER LOOP JOIN {schema}.messenger_messages AS m ON m.chat_id = @chat AND m.seq = l.seq;
        INSERT INTO {schema}.messenger_purges (id, chat_id, purged_at, before_at, retention_secs, is_own, first_seq,
            last_seq, messages)
        SELECT @id, @chat, @now, @before, @kept, CASE WHEN @own = @kept THEN 1 ELSE 0 END, MIN(l.seq), MAX(l.seq), @purged
        FROM @live AS l;
    END;
    UPDATE {schema}.messenger_chats SET
        purge_seq = @to, revision = revision + @purged, kept_since = COALESCE(@since, kept_since),
        purge_at = CASE WHEN @since IS NULL THEN purge_at ELSE @since + retention_secs * 1000000 END
    WHERE id = @chat;
    SET @more = CASE WHEN @since IS NULL THEN 1 ELSE 0 END;
    SELECT CAST(@more AS bit), m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind, m.sender_id, m.body,
        m.client_id, m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at
    FROM (SELECT 1 AS one) AS o
    LEFT JOIN @live AS l ON o.one = 1
    LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = @chat AND m.seq = l.seq;
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Puts a chat (@kind 0) or a person (1) under a hold, and answers with whether it was not before.
CREATE OR ALTER PROCEDURE {schema}.messenger_hold @kind bigint, @id binary(16), @reason nvarchar(4000), @at bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @is_new int;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_hold_lock SET taken = taken + 1 WHERE only_row = 1;
    IF @kind = 0 AND NOT EXISTS (SELECT 1 FROM {schema}.messenger_chats WHERE id = @id)
        OR @kind = 1 AND NOT EXISTS (SELECT 1 FROM {schema}.messenger_users WHERE id = @id AND erased_at IS NULL)
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN 1;
    END;
    INSERT INTO {schema}.messenger_holds (kind, id, reason, held_at)
    SELECT @kind, @id, @reason, @at
    WHERE NOT EXISTS (SELECT 1 FROM {schema}.messenger_holds WHERE kind = @kind AND id = @id);
    SET @is_new = @@ROWCOUNT;
    SELECT CAST(@is_new AS bit);
    COMMIT TRANSACTION;
    RETURN 0;
END;
GO

-- Ends the hold of a chat (@kind 0) or a person (1), and answers with whether there was one.
CREATE OR ALTER PROCEDURE {schema}.messenger_release @kind bigint, @id binary(16)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    DECLARE @was_held int;
    BEGIN TRANSACTION;
    UPDATE {schema}.messenger_hold_lock SET taken = taken + 1 WHERE only_row = 1;
    DELETE FROM {schema}.messenger_holds WHERE kind = @kind AND id = @id;
    SET @was_held = @@ROWCOUNT;
    IF @kind = 0
        UPDATE {schema}.messenger_chats SET
            kept_since = NULL, purge_seq = NULL, purge_at = CASE WHEN retention_secs IS NULL THEN NULL ELSE 0 END
        WHERE id = @id;
    ELSE
        -- By rising chats, as all others lock them.
        UPDATE c SET
            kept_since = NULL, purge_seq = NULL, purge_at = CASE WHEN c.retention_secs IS NULL THEN NULL ELSE 0 END
        FROM (
            SELECT TOP (9223372036854775807) p.chat_id FROM {schema}.messenger_members AS p
            WHERE p.user_id = @id ORDER BY p.chat_id
        ) AS a
        INNER LOOP JOIN {schema}.messenger_chats AS c ON c.id = a.chat_id
        OPTION (FORCE ORDER);
    SELECT CAST(@was_held AS bit);
    COMMIT TRANSACTION;
    RETURN 0;
END;
