-- Data keys of a wrapper that encrypts, each wrapped by a key that is not in here. The owner is a person, or 16 zeros. A key
-- that was destroyed keeps its row, so that none comes back under its id. Keys are short enough to stay in their row.
CREATE TABLE {schema}.messenger_keys (
    owner           uuid    NOT NULL,
    number          integer NOT NULL CHECK (number > 0),
    wrapped         bytea   CHECK (octet_length(wrapped) <= 256),
    created_at      bigint  NOT NULL,
    destroyed_at    bigint,
    PRIMARY KEY (owner, number)
);
