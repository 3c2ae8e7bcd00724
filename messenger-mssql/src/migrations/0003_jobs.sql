-- Background jobs. A row changes a few times and is removed some time after its end.
CREATE TABLE {schema}.messenger_jobs (
    id              binary(16)      NOT NULL CONSTRAINT messenger_jobs_pkey PRIMARY KEY CLUSTERED,
    run_at          bigint          NOT NULL,
    created_at      bigint          NOT NULL,
    leased_until    bigint          NULL,
    ended_at        bigint          NULL,
    attempt         bigint          NOT NULL,
    max_attempts    bigint          NOT NULL,
    -- How often it was claimed: the number of its last claim.
    claims          bigint          NOT NULL,
    -- 0 high, 1 normal, 2 low.
    priority        tinyint         NOT NULL,
    -- 0 waiting, 1 blocked, 2 running; ended: 3 done, 4 dead, 5 cancelled.
    state           tinyint         NOT NULL,
    -- The job that must have been done before.
    after_id        binary(16)      NULL,
    kind            varbinary(64)   NOT NULL,
    unique_key      varbinary(200)  NULL,
    -- Why it failed last, as UTF-8.
    reason          varbinary(8000) NULL,
    payload         varbinary(max)  NOT NULL
);
-- What is due, in the order in which it is claimed.
CREATE NONCLUSTERED INDEX messenger_jobs_by_time ON {schema}.messenger_jobs (kind, priority, run_at, id)
    WHERE state = 0;
-- Those whose worker has died.
CREATE NONCLUSTERED INDEX messenger_jobs_by_lease ON {schema}.messenger_jobs (kind, leased_until)
    INCLUDE (priority, run_at) WHERE state = 2;
-- Those that wait for another.
CREATE NONCLUSTERED INDEX messenger_jobs_by_parent ON {schema}.messenger_jobs (after_id, kind) WHERE state = 1;
-- A key is used by one job that has not ended, and by those that were done for as long as others want it.
CREATE UNIQUE NONCLUSTERED INDEX messenger_jobs_by_key ON {schema}.messenger_jobs (kind, unique_key)
    WHERE state < 3 AND unique_key IS NOT NULL;
CREATE NONCLUSTERED INDEX messenger_jobs_by_done_key ON {schema}.messenger_jobs (kind, unique_key, created_at)
    WHERE state = 3 AND unique_key IS NOT NULL;
-- What has ended: to be listed and counted, and to be removed.
CREATE NONCLUSTERED INDEX messenger_jobs_by_state ON {schema}.messenger_jobs (state, id, kind) WHERE state >= 3;
CREATE NONCLUSTERED INDEX messenger_jobs_by_end ON {schema}.messenger_jobs (ended_at) WHERE state IN (3, 5);
GO

-- The kinds of jobs that are paused.
CREATE TABLE {schema}.messenger_job_pauses (
    kind            varbinary(64)   NOT NULL CONSTRAINT messenger_job_pauses_pkey PRIMARY KEY CLUSTERED
);
GO

-- When jobs that recur are due next.
CREATE TABLE {schema}.messenger_schedules (
    name            varbinary(64)   NOT NULL CONSTRAINT messenger_schedules_pkey PRIMARY KEY CLUSTERED,
    rule_text       varbinary(200)  NOT NULL,
    next_at         bigint          NOT NULL,
    -- The job that was enqueued last.
    last_job        binary(16)      NULL
);
