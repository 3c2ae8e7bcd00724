-- Data keys of a wrapper that encrypts, each wrapped by a key that is not in here. The owner is a person, or 16 zeros. A key
-- that was destroyed keeps its row, so that none comes back under its id.
CREATE TABLE {schema}.messenger_keys (
    owner           binary(16)      NOT NULL,
    number          int             NOT NULL,
    wrapped         varbinary(256)  NULL,
    created_at      bigint          NOT NULL,
    destroyed_at    bigint          NULL,
    CONSTRAINT messenger_keys_pkey PRIMARY KEY CLUSTERED (owner, number)
);
