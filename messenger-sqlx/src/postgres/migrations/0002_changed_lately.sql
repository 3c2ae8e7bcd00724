-- What was edited or deleted lately. What was written lately is found by its id, which rises with time. The indexes contain
-- only what was changed.
-- Making them keeps writers waiting while all messages are read once. Where there are very many, make them before, with
-- CREATE INDEX CONCURRENTLY and under these names.
CREATE INDEX IF NOT EXISTS messenger_messages_by_edit ON {schema}.messenger_messages (edited_at)
    WHERE edited_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS messenger_messages_by_deletion ON {schema}.messenger_messages (deleted_at)
    WHERE deleted_at IS NOT NULL;
