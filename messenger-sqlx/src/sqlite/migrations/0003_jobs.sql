-- Background jobs. A row changes a few times and is removed some time after its end.
CREATE TABLE messenger_jobs (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind            TEXT    NOT NULL,
    -- 0 high, 1 normal, 2 low.
    priority        INTEGER NOT NULL CHECK (priority IN (0, 1, 2)),
    -- 0 waiting, 1 blocked, 2 running; ended: 3 done, 4 dead, 5 cancelled.
    state           INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    run_at          INTEGER NOT NULL,
    attempt         INTEGER NOT NULL,
    max_attempts    INTEGER NOT NULL,
    -- How often it was claimed: the number of its last claim.
    claims          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    leased_until    INTEGER,
    ended_at        INTEGER,
    -- The job that must have been done before.
    after_id        BLOB,
    unique_key      TEXT,
    -- Why it failed last.
    reason          TEXT,
    payload         BLOB    NOT NULL
) STRICT;

-- What is due, in the order in which it is claimed.
CREATE INDEX messenger_jobs_by_time ON messenger_jobs (kind, priority, run_at, id) WHERE state = 0;
-- Those whose worker has died.
CREATE INDEX messenger_jobs_by_lease ON messenger_jobs (kind, leased_until) WHERE state = 2;
-- Those that wait for another.
CREATE INDEX messenger_jobs_by_parent ON messenger_jobs (after_id, kind) WHERE state = 1;
-- A key is used by one job that has not ended, and by those that were done for as long as others want it.
CREATE UNIQUE INDEX messenger_jobs_by_key ON messenger_jobs (kind, unique_key)
    WHERE state < 3 AND unique_key IS NOT NULL;
CREATE INDEX messenger_jobs_by_done_key ON messenger_jobs (kind, unique_key, created_at)
    WHERE state = 3 AND unique_key IS NOT NULL;
-- What has ended: to be listed and counted, and to be removed.
CREATE INDEX messenger_jobs_by_state ON messenger_jobs (state, id, kind) WHERE state >= 3;
CREATE INDEX messenger_jobs_by_end ON messenger_jobs (ended_at) WHERE state IN (3, 5);

-- The kinds of jobs that are paused.
CREATE TABLE messenger_job_pauses (
    kind            TEXT    NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- When jobs that recur are due next.
CREATE TABLE messenger_schedules (
    name            TEXT    NOT NULL PRIMARY KEY,
    rule_text       TEXT    NOT NULL,
    next_at         INTEGER NOT NULL,
    -- The job that was enqueued last.
    last_job        BLOB
) STRICT, WITHOUT ROWID;
