-- Which order of transactions this is: another one in another cluster, and after a failover or a restore, which begin a
-- new timeline.
CREATE OR REPLACE FUNCTION {schema}.messenger_history() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        SELECT hashtextextended(s.system_identifier || '/' || c.timeline_id, 0)
        FROM pg_control_system() AS s, pg_control_checkpoint() AS c
    );
EXCEPTION WHEN insufficient_privilege THEN
    -- Some who run PostgreSQL for others keep this from them.
    RETURN 0;
END
$$;

-- Each function is one intent in one exchange with the server. What a statement in it reads is what was committed
-- when that statement began, so what follows a lock sees all that was done under the lock before.
-- Locks are taken in this order, and of each kind by rising keys: chats, users, members.

-- Appends one message and answers with its numbers. Those are null if it was not stored: then `stored_id` is the
-- message that the sender stored before under the same client id, or null for somebody who is no member or is erased, or
-- whose peer in a direct chat is.
CREATE OR REPLACE FUNCTION {schema}.messenger_append_message(
    p_id uuid, p_chat uuid, p_sender uuid, p_body bytea, p_client_id text, p_fingerprint bytea, p_reply_to uuid,
    p_at bigint,
    OUT new_seq bigint, OUT new_revision bigint, OUT stored_id uuid
) LANGUAGE plpgsql AS $$
DECLARE
    new_texts bigint;
    low uuid;
    high uuid;
BEGIN
    SELECT m.id INTO stored_id FROM {schema}.messenger_messages AS m
    WHERE m.client_id = p_client_id AND m.sender_id = p_sender;
    IF FOUND THEN
        PERFORM FROM {schema}.messenger_members AS p
        WHERE p.chat_id = p_chat AND p.user_id = p_sender AND p.left_at IS NULL
            AND (SELECT u.erased_at FROM {schema}.messenger_users AS u WHERE u.id = p_sender) IS NULL;
        IF NOT FOUND THEN
            stored_id := NULL;
        END IF;
        RETURN;
    END IF;

    UPDATE {schema}.messenger_chats AS c
    SET revision = c.revision + 1, last_seq = c.last_seq + 1, texts = c.texts + 1, activity_at = p_at,
        commit_no = pg_current_xact_id()::text::bigint, unread_since = coalesce(c.unread_since, p_at),
        unread_seq = CASE WHEN c.unread_since IS NULL THEN c.last_seq + 1 ELSE c.unread_seq END
    WHERE c.id = p_chat
    RETURNING c.last_seq, c.revision, c.texts, c.pair_low, c.pair_high INTO new_seq, new_revision, new_texts, low, high;
    -- From here on nobody joins or leaves the chat. Who is erased is asked without a lock: an erasure that is committed
    -- later looks for messages under the lock of the chat, and finds this one.
    UPDATE {schema}.messenger_members AS p
    SET read_seq = new_seq, read_texts = new_texts, delivered_seq = new_seq
    WHERE p.chat_id = p_chat AND p.user_id = p_sender AND p.left_at IS NULL
        AND (
            SELECT max(u.erased_at) FROM {schema}.messenger_users AS u WHERE u.id = ANY (ARRAY[p_sender, low, high])
        ) IS NULL;
    IF FOUND THEN
        INSERT INTO {schema}.messenger_messages (id, chat_id, sender_id, seq, created_revision, revision, texts,
            created_at, kind, reply_to, client_id, fingerprint, body)
        VALUES (p_id, p_chat, p_sender, new_seq, new_revision, new_revision, new_texts, p_at, 0, p_reply_to,
            p_client_id, p_fingerprint, p_body);
    ELSE
        -- Nobody has seen the numbers that were given out.
        UPDATE {schema}.messenger_chats AS c
        SET revision = c.revision - 1, last_seq = c.last_seq - 1, texts = c.texts - 1,
            activity_at = coalesce((
                SELECT m.created_at FROM {schema}.messenger_messages AS m
                WHERE m.chat_id = c.id AND m.seq = c.last_seq - 1
            ), c.created_at),
            unread_since = CASE WHEN c.unread_seq < c.last_seq THEN c.unread_since END
        WHERE c.id = p_chat;
        new_seq := NULL;
        new_revision := NULL;
    END IF;
END
$$;

-- Appends a batch in which nothing is refused and nothing was stored before. `p_heads` are the chats, by rising ids,
-- `p_counts` how many messages go to each, and `p_activities` when its last one was sent. `p_places` says for each
-- message which of the chats it goes to, from 1, and `p_nths` which of the chat's new messages it is, from 1. The members
-- who send are given once for each chat, with the last of their messages. Answers with the numbers that the chats had
-- before; or with nulls, and nothing is done, if there is somebody who is no member or is erased, as the peer in a direct
-- chat may be, or something that was stored before.
CREATE OR REPLACE FUNCTION {schema}.messenger_append_messages(
    p_heads uuid[], p_counts bigint[], p_activities bigint[],
    p_member_places integer[], p_members uuid[], p_member_nths bigint[],
    p_places integer[], p_nths bigint[], p_ids uuid[], p_senders uuid[], p_bodies bytea[], p_client_ids text[],
    p_fingerprints bytea[], p_replies uuid[], p_times bigint[],
    OUT seqs bigint[], OUT revisions bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    texts bigint[];
    lows uuid[];
    highs uuid[];
    this_commit CONSTANT bigint := pg_current_xact_id()::text::bigint;
BEGIN
    SELECT array_agg(h.last_seq), array_agg(h.revision), array_agg(h.texts), array_agg(h.pair_low),
        array_agg(h.pair_high)
    INTO seqs, revisions, texts, lows, highs
    FROM (
        SELECT c.last_seq, c.revision, c.texts, c.pair_low, c.pair_high FROM {schema}.messenger_chats AS c
        WHERE c.id = ANY (p_heads) ORDER BY c.id FOR NO KEY UPDATE
    ) AS h;
    IF cardinality(seqs) IS DISTINCT FROM cardinality(p_heads)
        OR EXISTS (
            SELECT FROM unnest(p_client_ids, p_senders) AS a (client_id, sender)
            JOIN {schema}.messenger_messages AS m ON m.client_id = a.client_id AND m.sender_id = a.sender
        )
        OR cardinality(p_members) <> (
            SELECT count(*) FROM (
                SELECT FROM unnest(p_member_places, p_members) AS a (place, member)
                JOIN {schema}.messenger_members AS p ON p.chat_id = p_heads[a.place] AND p.user_id = a.member
                WHERE p.left_at IS NULL ORDER BY p.chat_id, p.user_id FOR NO KEY UPDATE OF p
            ) AS l
        )
        OR EXISTS (
            SELECT FROM unnest(p_member_places, p_members) AS a (place, member)
            WHERE (
                SELECT max(u.erased_at) FROM {schema}.messenger_users AS u
                WHERE u.id = ANY (ARRAY[a.member, lows[a.place], highs[a.place]])
            ) IS NOT NULL
        )
    THEN
        seqs := NULL;
        revisions := NULL;
        RETURN;
    END IF;

    INSERT INTO {schema}.messenger_messages (id, chat_id, sender_id, seq, created_revision, revision, texts,
        created_at, kind, reply_to, client_id, fingerprint, body)
    SELECT a.id, p_heads[a.place], a.sender, seqs[a.place] + a.nth, revisions[a.place] + a.nth,
        revisions[a.place] + a.nth, texts[a.place] + a.nth, a.at, 0, a.reply_to, a.client_id, a.fingerprint, a.body
    FROM unnest(p_places, p_nths, p_ids, p_senders, p_bodies, p_client_ids, p_fingerprints, p_replies, p_times)
        AS a (place, nth, id, sender, body, client_id, fingerprint, reply_to, at);

    UPDATE {schema}.messenger_chats AS c
    SET revision = c.revision + a.count, last_seq = c.last_seq + a.count, texts = c.texts + a.count,
        activity_at = a.activity_at, commit_no = this_commit, unread_since = coalesce(c.unread_since, a.activity_at),
        unread_seq = CASE WHEN c.unread_since IS NULL THEN c.last_seq + 1 ELSE c.unread_seq END
    FROM unnest(p_heads, p_counts, p_activities) AS a (id, count, activity_at) WHERE c.id = a.id;

    UPDATE {schema}.messenger_members AS p
    SET read_seq = seqs[a.place] + a.nth, read_texts = texts[a.place] + a.nth, delivered_seq = seqs[a.place] + a.nth
    FROM unnest(p_member_places, p_members, p_member_nths) AS a (place, member, nth)
    WHERE p.chat_id = p_heads[a.place] AND p.user_id = a.member;
END
$$;

-- Appends what can be appended of a batch, in which no id comes twice, nor a client id of one sender, and answers with
-- its place in the batch, from 1, for each message that was stored now or before, as for one message, and for each whose
-- id is that of another one.
CREATE OR REPLACE FUNCTION {schema}.messenger_append_some_messages(
    p_ids uuid[], p_chats uuid[], p_senders uuid[], p_bodies bytea[], p_client_ids text[], p_fingerprints bytea[],
    p_replies uuid[], p_times bigint[]
) RETURNS TABLE (place bigint, new_seq bigint, new_revision bigint, stored_id uuid, is_taken boolean) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM {schema}.messenger_chats AS c WHERE c.id = ANY (p_chats) ORDER BY c.id FOR NO KEY UPDATE;
    PERFORM FROM {schema}.messenger_members AS p
    JOIN unnest(p_chats, p_senders) AS a (chat, sender) ON p.chat_id = a.chat AND p.user_id = a.sender
    ORDER BY p.chat_id, p.user_id FOR NO KEY UPDATE OF p;

    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.*, c.last_seq, c.revision, c.texts, s.id AS stored, t.id IS NOT NULL AS taken, (
                SELECT max(u.erased_at) FROM {schema}.messenger_users AS u WHERE u.id = ANY (ARRAY[c.pair_low, c.pair_high])
            ) IS NOT NULL AS is_over
        FROM unnest(p_ids, p_chats, p_senders, p_bodies, p_client_ids, p_fingerprints, p_replies, p_times)
            WITH ORDINALITY AS a (id, chat, sender, body, client_id, fingerprint, reply_to, at, place)
        JOIN {schema}.messenger_chats AS c ON c.id = a.chat
        JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.sender AND p.left_at IS NULL
        LEFT JOIN {schema}.messenger_messages AS s ON s.client_id = a.client_id AND s.sender_id = a.sender
        LEFT JOIN {schema}.messenger_messages AS t ON t.id = a.id
        WHERE (SELECT u.erased_at FROM {schema}.messenger_users AS u WHERE u.id = a.sender) IS NULL
    ),
    fresh AS MATERIALIZED (
        SELECT f.*, row_number() OVER (PARTITION BY f.chat ORDER BY f.place) AS nth
        FROM asked AS f WHERE f.stored IS NULL AND NOT f.taken AND NOT f.is_over
    ),
    inserted AS (
        INSERT INTO {schema}.messenger_messages (id, chat_id, sender_id, seq, created_revision, revision, texts,
            created_at, kind, reply_to, client_id, fingerprint, body)
        SELECT f.id, f.chat, f.sender, f.last_seq + f.nth, f.revision + f.nth, f.revision + f.nth, f.texts + f.nth,
            f.at, 0, f.reply_to, f.client_id, f.fingerprint, f.body
        FROM fresh AS f
    ),
    heads AS (
        UPDATE {schema}.messenger_chats AS c
        SET revision = c.revision + f.nth, last_seq = c.last_seq + f.nth, texts = c.texts + f.nth, activity_at = f.at,
            commit_no = pg_current_xact_id()::text::bigint, unread_since = coalesce(c.unread_since, f.at),
            unread_seq = CASE WHEN c.unread_since IS NULL THEN c.last_seq + 1 ELSE c.unread_seq END
        FROM (SELECT DISTINCT ON (l.chat) l.chat, l.nth, l.at FROM fresh AS l ORDER BY l.chat, l.nth DESC) AS f
        WHERE c.id = f.chat
    ),
    marks AS (
        UPDATE {schema}.messenger_members AS p
        SET read_seq = f.seq, read_texts = f.texts, delivered_seq = f.seq
        FROM (
            SELECT l.chat, l.sender, max(l.last_seq + l.nth) AS seq, max(l.texts + l.nth) AS texts
            FROM fresh AS l GROUP BY l.chat, l.sender ORDER BY l.chat, l.sender
        ) AS f
        WHERE p.chat_id = f.chat AND p.user_id = f.sender
    )
    SELECT f.place, f.last_seq + f.nth, f.revision + f.nth, NULL::uuid, false FROM fresh AS f
    UNION ALL
    SELECT f.place, NULL, NULL, f.stored, f.stored IS NULL FROM asked AS f
    WHERE f.stored IS NOT NULL OR f.taken AND NOT f.is_over;
END
$$;

-- Moves marks forward. Answers for each with its place in the batch, from 1: the marks before, how far it goes and how
-- many texts stand up to there, and the chat's texts and members.
CREATE OR REPLACE FUNCTION {schema}.messenger_move_markers(
    p_chats uuid[], p_users uuid[], p_seqs bigint[], p_reads boolean[]
) RETURNS TABLE (
    place bigint, read_seq bigint, read_texts bigint, delivered_seq bigint, seq bigint, all_texts bigint,
    member_count integer, texts bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM {schema}.messenger_members AS p
    JOIN unnest(p_chats, p_users) AS a (chat, person) ON p.chat_id = a.chat AND p.user_id = a.person
    ORDER BY p.chat_id, p.user_id FOR NO KEY UPDATE OF p;

    RETURN QUERY
    WITH found AS MATERIALIZED (
        SELECT a.place, a.chat, a.person, a.is_read, p.read_seq, p.read_texts, p.delivered_seq,
            least(a.seq, c.last_seq) AS seq, c.texts AS all_texts, c.member_count, coalesce((
                SELECT m.texts FROM {schema}.messenger_messages AS m
                WHERE m.chat_id = a.chat AND m.seq = least(a.seq, c.last_seq)
            ), 0) AS texts
        FROM unnest(p_chats, p_users, p_seqs, p_reads) WITH ORDINALITY AS a (chat, person, seq, is_read, place)
        JOIN {schema}.messenger_members AS p ON p.chat_id = a.chat AND p.user_id = a.person AND p.left_at IS NULL
        JOIN {schema}.messenger_chats AS c ON c.id = a.chat
    ),
    moved AS (
        UPDATE {schema}.messenger_members AS p
        SET read_seq = greatest(p.read_seq, f.read_seq), read_texts = greatest(p.read_texts, f.read_texts),
            delivered_seq = greatest(p.delivered_seq, f.seq)
        FROM (
            SELECT g.chat, g.person, max(g.seq) AS seq, max(g.seq) FILTER (WHERE g.is_read) AS read_seq,
                max(g.texts) FILTER (WHERE g.is_read) AS read_texts
            FROM found AS g GROUP BY g.chat, g.person
        ) AS f
        WHERE p.chat_id = f.chat AND p.user_id = f.person
            AND (f.seq > p.delivered_seq OR f.read_seq > p.read_seq)
    )
    SELECT f.place, f.read_seq, f.read_texts, f.delivered_seq, f.seq, f.all_texts, f.member_count, f.texts
    FROM found AS f;
END
$$;

-- Gives a message a new text, or makes it a tombstone if there is none, and answers with the message as it is then;
-- with nothing if it is not of revision `p_expected`, or is to get a text while its author is erased. The columns are named, because a row of the table itself gets
-- another type under those who wait for its lock while a migration adds a column.
CREATE OR REPLACE FUNCTION {schema}.messenger_replace_message(
    p_chat uuid, p_message uuid, p_expected bigint, p_body bytea, p_at bigint
) RETURNS TABLE (
    id uuid, chat_id uuid, seq bigint, created_revision bigint, revision bigint, kind smallint, sender_id uuid,
    body bytea, client_id text, fingerprint bytea, reply_to uuid, created_at bigint, edited_at bigint, deleted_at bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    new_revision bigint;
BEGIN
    UPDATE {schema}.messenger_chats AS c
    SET revision = c.revision + 1, commit_no = pg_current_xact_id()::text::bigint WHERE c.id = p_chat
    RETURNING c.revision INTO new_revision;

    RETURN QUERY
    UPDATE {schema}.messenger_messages AS m
    SET revision = new_revision, body = p_body,
        fingerprint = CASE WHEN p_body IS NOT NULL THEN m.fingerprint END,
        edited_at = CASE WHEN p_body IS NOT NULL THEN p_at ELSE m.edited_at END,
        deleted_at = CASE WHEN p_body IS NULL THEN p_at ELSE m.deleted_at END
    WHERE m.id = p_message AND m.chat_id = p_chat AND m.revision = p_expected
        AND (p_body IS NULL OR (
            SELECT u.erased_at FROM {schema}.messenger_users AS u WHERE u.id = m.sender_id
        ) IS NULL)
    RETURNING m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind, m.sender_id, m.body, m.client_id,
        m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at;

    IF NOT FOUND THEN
        UPDATE {schema}.messenger_chats AS c SET revision = c.revision - 1 WHERE c.id = p_chat;
    END IF;
END
$$;

-- Stores jobs, all or none, but passes over those that are there already and those whose key is in use, and answers for
-- each of these with its place, from 1, and the job that is there. In one round no id comes twice, nor a key of one kind,
-- and no job waits for another one.
CREATE OR REPLACE FUNCTION {schema}.messenger_enqueue_jobs(
    p_rounds integer[], p_ids uuid[], p_kinds text[], p_priorities smallint[], p_run_ats bigint[],
    p_max_attempts bigint[], p_keys text[], p_sinces bigint[], p_afters uuid[], p_created_ats bigint[], p_payloads bytea[]
) RETURNS TABLE (place bigint, existing uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    has_afters CONSTANT boolean := cardinality(array_remove(p_afters, NULL)) > 0;
    has_sinces CONSTANT boolean := cardinality(array_remove(p_sinces, NULL)) > 0;
    -- The places of a round that are still without an answer; null for all of them.
    unanswered bigint[];
    asked bigint;
    stored uuid[];
    again bigint[];
    said record;
BEGIN
    FOR this_round IN 1 .. (SELECT max(r.round) FROM unnest(p_rounds) AS r (round)) LOOP
        IF has_afters THEN
            -- From here on none of them ends.
            PERFORM FROM {schema}.messenger_jobs AS j WHERE j.id = ANY (p_afters) ORDER BY j.id FOR SHARE;
        END IF;
        unanswered := NULL;
        LOOP
            -- A key that others are storing, or giving back, is waited for: in this order, so that nobody waits for who
            -- waits for them.
            WITH given AS MATERIALIZED (
                SELECT a.* FROM unnest(p_ids, p_kinds, p_priorities, p_run_ats, p_max_attempts, p_keys, p_sinces,
                    p_afters, p_created_ats, p_payloads, p_rounds) WITH ORDINALITY
                    AS a (id, kind, priority, run_at, max_attempts, key, since, after, created_at, payload, round, place)
                WHERE a.round = this_round AND (unanswered IS NULL OR a.place = ANY (unanswered))
            ),
            new AS (
                INSERT INTO {schema}.messenger_jobs (id, run_at, created_at, ended_at, attempt, max_attempts, claims,
                    priority, state, after_id, kind, unique_key, payload)
                SELECT a.id, a.run_at, a.created_at, CASE WHEN p.state = 5 THEN a.created_at END, 0, a.max_attempts, 0,
                    a.priority, CASE WHEN p.state IS NULL OR p.state = 3 THEN 0 WHEN p.state = 5 THEN 5 ELSE 1 END,
                    a.after, a.kind, a.key, a.payload
                FROM given AS a
                LEFT JOIN {schema}.messenger_jobs AS p ON p.id = a.after
                WHERE a.since IS NULL OR NOT EXISTS (
                    SELECT FROM {schema}.messenger_jobs AS j
                    WHERE j.state = 3 AND j.kind = a.kind AND j.unique_key = a.key AND j.created_at >= a.since
                )
                ORDER BY a.kind, a.key, a.id
                ON CONFLICT DO NOTHING
                RETURNING id
            )
            SELECT (SELECT count(*) FROM given), coalesce((SELECT array_agg(n.id) FROM new AS n), '{}')
            INTO asked, stored;
            EXIT WHEN asked = cardinality(stored) AND NOT has_sinces;

            -- This sees what was committed meanwhile, also that a job which had its key until now was done.
            again := '{}';
            FOR said IN
                SELECT f.* FROM (
                    SELECT a.place, a.id, a.id = ANY (stored) AS is_new, coalesce(
                        CASE WHEN a.id <> ALL (stored) THEN coalesce(
                            (SELECT j.id FROM {schema}.messenger_jobs AS j WHERE j.id = a.id),
                            (SELECT j.id FROM {schema}.messenger_jobs AS j
                                WHERE j.state < 3 AND j.kind = a.kind AND j.unique_key = a.key)
                        ) END,
                        (SELECT j.id FROM {schema}.messenger_jobs AS j
                            WHERE j.state = 3 AND j.kind = a.kind AND j.unique_key = a.key AND j.created_at >= a.since
                            ORDER BY j.created_at LIMIT 1)
                    ) AS existing
                    FROM unnest(p_ids, p_kinds, p_keys, p_sinces, p_rounds) WITH ORDINALITY
                        AS a (id, kind, key, since, round, place)
                    WHERE a.round = this_round AND (unanswered IS NULL OR a.place = ANY (unanswered))
                ) AS f
                WHERE NOT f.is_new OR f.existing IS NOT NULL
            LOOP
                IF said.existing IS NULL THEN
                    -- The one that was in its way has ended or is gone.
                    again := again || said.place;
                    CONTINUE;
                END IF;
                IF said.is_new THEN
                    DELETE FROM {schema}.messenger_jobs AS j WHERE j.id = said.id;
                END IF;
                place := said.place;
                existing := said.existing;
                RETURN NEXT;
            END LOOP;
            EXIT WHEN again = '{}';
            unanswered := again;
        END LOOP;
    END LOOP;
END
$$;

-- Claims what is due of each kind, up to its limit: those that wait, by priority, and those whose worker has died. What
-- others have locked is left to them. A job that had its last attempt is dead.
CREATE OR REPLACE FUNCTION {schema}.messenger_claim_jobs(
    p_kinds text[], p_limits bigint[], p_now bigint, p_until bigint, p_abandoned text
) RETURNS TABLE (
    id uuid, claims bigint, kind text, payload bytea, attempt bigint, max_attempts bigint, run_at bigint, created_at bigint,
    priority smallint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    this_limit bigint;
    abandoned uuid[];
    waiting uuid[];
    any_abandoned boolean := false;
    taken uuid[] := '{}';
BEGIN
    FOR n IN 1 .. cardinality(p_kinds) LOOP
        this_limit := p_limits[n];
        CONTINUE WHEN EXISTS (SELECT FROM {schema}.messenger_job_pauses AS p WHERE p.kind = p_kinds[n]);
        abandoned := ARRAY (
            SELECT j.id FROM {schema}.messenger_jobs AS j
            WHERE j.state = 2 AND j.kind = p_kinds[n] AND j.leased_until < p_now
            ORDER BY j.leased_until LIMIT this_limit FOR NO KEY UPDATE SKIP LOCKED
        );
        waiting := '{}';
        FOR this_priority IN 0 .. 2 LOOP
            EXIT WHEN cardinality(waiting) >= this_limit;
            waiting := waiting || ARRAY (
                SELECT j.id FROM {schema}.messenger_jobs AS j
                WHERE j.state = 0 AND j.kind = p_kinds[n] AND j.priority = this_priority AND j.run_at <= p_now
                ORDER BY j.run_at, j.id LIMIT this_limit - cardinality(waiting) FOR NO KEY UPDATE SKIP LOCKED
            );
        END LOOP;
        IF abandoned <> '{}' THEN
            any_abandoned := true;
            waiting := ARRAY (
                SELECT j.id FROM {schema}.messenger_jobs AS j WHERE j.id = ANY (abandoned || waiting)
                ORDER BY j.priority, j.run_at, j.id LIMIT this_limit
            );
        END IF;
        taken := taken || waiting;
    END LOOP;
    IF any_abandoned THEN
        UPDATE {schema}.messenger_jobs AS j
        SET state = 4, leased_until = NULL, ended_at = p_now, reason = p_abandoned
        WHERE j.id = ANY (taken) AND j.attempt >= j.max_attempts;
    END IF;
    IF taken <> '{}' THEN
        RETURN QUERY
        UPDATE {schema}.messenger_jobs AS j
        SET state = 2, attempt = j.attempt + 1, claims = j.claims + 1, leased_until = p_until
        WHERE j.id = ANY (taken) AND j.state <> 4
        RETURNING j.id, j.claims, j.kind, j.payload, j.attempt, j.max_attempts, j.run_at, j.created_at, j.priority;
    END IF;
END
$$;

-- Ends claims, each given once, by rising ids, and answers with those that were held. Outcomes: 0 done, 1 failed, 2 dead,
-- 3 snoozed. Those that waited for what is done go on.
CREATE OR REPLACE FUNCTION {schema}.messenger_finish_jobs(
    p_ids uuid[], p_claims bigint[], p_outcomes smallint[], p_run_ats bigint[], p_reasons text[], p_now bigint
) RETURNS TABLE (id uuid, claims bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    finished uuid[];
    finished_claims bigint[];
    done uuid[];
BEGIN
    WITH given AS MATERIALIZED (
        SELECT a.* FROM unnest(p_ids, p_claims, p_outcomes, p_run_ats, p_reasons)
            AS a (id, claims, outcome, run_at, reason)
    ),
    ended AS (
        UPDATE {schema}.messenger_jobs AS j SET
            state = CASE WHEN a.outcome = 0 THEN 3
                WHEN a.outcome = 2 OR a.outcome = 1 AND j.attempt >= j.max_attempts THEN 4 ELSE 0 END,
            ended_at = CASE WHEN a.outcome IN (0, 2) OR a.outcome = 1 AND j.attempt >= j.max_attempts THEN p_now END,
            run_at = CASE WHEN a.outcome = 3 OR a.outcome = 1 AND j.attempt < j.max_attempts THEN a.run_at
                ELSE j.run_at END,
            attempt = CASE a.outcome WHEN 3 THEN j.attempt - 1 ELSE j.attempt END,
            reason = coalesce(a.reason, j.reason),
            leased_until = NULL
        FROM given AS a
        WHERE j.id = a.id AND j.state = 2 AND j.claims = a.claims
        RETURNING j.id, j.claims, j.state
    )
    SELECT array_agg(e.id), array_agg(e.claims), array_agg(e.id) FILTER (WHERE e.state = 3)
    INTO finished, finished_claims, done FROM ended AS e;
    IF done IS NOT NULL THEN
        -- This sees those that others have enqueued while they kept these from ending.
        UPDATE {schema}.messenger_jobs AS j SET state = 0 WHERE j.state = 1 AND j.after_id = ANY (done);
    END IF;
    RETURN QUERY SELECT f.id, f.claims FROM unnest(finished, finished_claims) AS f (id, claims);
END
$$;

-- Ends the claim of a chat that was looked at for messages up to `p_due`, and tells whether it was held. The next message
-- is the first one that was sent later, or stored after the one of seq `p_last_seq`: what was sent meanwhile is seen,
-- because it was stored under the lock.
CREATE OR REPLACE FUNCTION {schema}.messenger_finish_unread(
    p_chat uuid, p_number bigint, p_due bigint, p_last_seq bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first_seq bigint;
    next_at bigint;
    next_seq bigint;
BEGIN
    SELECT c.unread_seq INTO first_seq FROM {schema}.messenger_chats AS c
    WHERE c.id = p_chat AND c.unread_claims = p_number AND c.unread_leased_until IS NOT NULL
        AND c.unread_since IS NOT NULL
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT m.created_at, m.seq INTO next_at, next_seq FROM {schema}.messenger_messages AS m
    WHERE m.chat_id = p_chat AND m.seq >= first_seq AND m.kind = 0 AND m.deleted_at IS NULL
        AND (m.created_at > p_due OR m.seq > p_last_seq)
    ORDER BY m.seq LIMIT 1;
    UPDATE {schema}.messenger_chats AS c
    SET unread_since = next_at, unread_seq = next_seq, unread_leased_until = NULL WHERE c.id = p_chat;
    RETURN true;
END
$$;
