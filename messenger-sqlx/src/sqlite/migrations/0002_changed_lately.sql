-- What was edited or deleted lately. What was written lately is found by its id, which rises with time. The indexes contain
-- only what was changed.
CREATE INDEX messenger_messages_by_edit ON messenger_messages (edited_at) WHERE edited_at IS NOT NULL;
CREATE INDEX messenger_messages_by_deletion ON messenger_messages (deleted_at) WHERE deleted_at IS NOT NULL;
