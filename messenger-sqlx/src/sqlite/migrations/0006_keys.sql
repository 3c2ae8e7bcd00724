-- Data keys of a wrapper that encrypts, each wrapped by a key that is not in here. The owner is a person, or 16 zeros. A key
-- that was destroyed keeps its row, so that none comes back under its id.
CREATE TABLE messenger_keys (
    owner           BLOB    NOT NULL CHECK (length(owner) = 16),
    number          INTEGER NOT NULL CHECK (number BETWEEN 1 AND 2147483647),
    wrapped         BLOB    CHECK (length(wrapped) <= 256),
    created_at      INTEGER NOT NULL,
    destroyed_at    INTEGER,
    PRIMARY KEY (owner, number)
) STRICT, WITHOUT ROWID;
