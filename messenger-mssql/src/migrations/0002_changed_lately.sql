-- What was edited or deleted lately. What was written lately is found by its id, which rises with time. The indexes contain
-- only what was changed.
CREATE NONCLUSTERED INDEX messenger_messages_by_edit ON {schema}.messenger_messages (edited_at)
    WHERE edited_at IS NOT NULL;
GO
CREATE NONCLUSTERED INDEX messenger_messages_by_deletion ON {schema}.messenger_messages (deleted_at)
    WHERE deleted_at IS NOT NULL;
