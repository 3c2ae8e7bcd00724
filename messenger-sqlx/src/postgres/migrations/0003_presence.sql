-- Who is online. Nothing of it has to last: the tables are unlogged, and empty after a crash. Nodes notice it by the epoch, and
-- give them their people again.

CREATE UNLOGGED TABLE {schema}.messenger_presence (
    user_id      uuid     NOT NULL PRIMARY KEY,
    -- The end of the last lease, or when the last one was given back, whichever is later: microseconds since 1970, as all times.
    ends_at      bigint   NOT NULL,
    -- When a lease was last given back, or was found to have ended.
    gone_at      bigint   NOT NULL,
    -- The leases, and when each ends.
    connections  uuid[]   NOT NULL,
    ends         bigint[] NOT NULL,
    -- Whether the person has not been here before this row.
    is_new       boolean  NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX messenger_presence_by_end ON {schema}.messenger_presence (ends_at);

-- One row; none after a crash.
CREATE UNLOGGED TABLE {schema}.messenger_presence_epoch (
    is_row       boolean  NOT NULL PRIMARY KEY CHECK (is_row),
    -- A random value that no other state of the tables has.
    epoch        uuid     NOT NULL,
    -- Until when nodes may be giving their leases again. Nobody goes offline before.
    settles_at   bigint   NOT NULL
);

INSERT INTO {schema}.messenger_presence_epoch (is_row, epoch, settles_at) VALUES (true, gen_random_uuid(), 0);
