-- Background jobs. A row changes a few times, each time in other indexes, and is removed some time after its end.
CREATE TABLE {schema}.messenger_jobs (
    id              uuid     NOT NULL PRIMARY KEY,
    run_at          bigint   NOT NULL,
    created_at      bigint   NOT NULL,
    leased_until    bigint,
    ended_at        bigint,
    attempt         bigint   NOT NULL,
    max_attempts    bigint   NOT NULL,
    -- How often it was claimed: the number of its last claim.
    claims          bigint   NOT NULL,
    -- 0 high, 1 normal, 2 low.
    priority        smallint NOT NULL,
    -- 0 waiting, 1 blocked, 2 running; ended: 3 done, 4 dead, 5 cancelled.
    state           smallint NOT NULL,
    -- The job that must have been done before.
    after_id        uuid,
    kind            text     COLLATE "C" NOT NULL,
    unique_key      text     COLLATE "C",
    -- Why it failed last.
    reason          text,
    payload         bytea    NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- What is due, in the order in which it is claimed.
CREATE INDEX messenger_jobs_by_time ON {schema}.messenger_jobs (kind, priority, run_at, id) WHERE state = 0;
-- Those whose worker has died.
CREATE INDEX messenger_jobs_by_lease ON {schema}.messenger_jobs (kind, leased_until) WHERE state = 2;
-- Those that wait for another.
CREATE INDEX messenger_jobs_by_parent ON {schema}.messenger_jobs (after_id, kind) WHERE state = 1;
-- A key is used by one job that has not ended, and by those that were done for as long as others want it.
CREATE UNIQUE INDEX messenger_jobs_by_key ON {schema}.messenger_jobs (kind, unique_key)
    WHERE state < 3 AND unique_key IS NOT NULL;
CREATE INDEX messenger_jobs_by_done_key ON {schema}.messenger_jobs (kind, unique_key, created_at)
    WHERE state = 3 AND unique_key IS NOT NULL;
-- What has ended: to be listed and counted, and to be removed.
CREATE INDEX messenger_jobs_by_state ON {schema}.messenger_jobs (state, id, kind) WHERE state >= 3;
CREATE INDEX messenger_jobs_by_end ON {schema}.messenger_jobs (ended_at) WHERE state IN (3, 5);

-- The kinds of jobs that are paused.
CREATE TABLE {schema}.messenger_job_pauses (
    kind            text     COLLATE "C" NOT NULL PRIMARY KEY
);

-- When jobs that recur are due next.
CREATE TABLE {schema}.messenger_schedules (
    name            text     COLLATE "C" NOT NULL PRIMARY KEY,
    rule_text       text     NOT NULL,
    next_at         bigint   NOT NULL,
    -- The job that was enqueued last.
    last_job        uuid
);
