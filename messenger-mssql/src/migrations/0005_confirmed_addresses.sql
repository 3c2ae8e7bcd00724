-- Which address was confirmed, by its key, and when. Kept with the key, because nodes of the release before change the
-- address and not this: what was confirmed is not taken for the one that took its place.
ALTER TABLE {schema}.messenger_users ADD email_confirmed_key varbinary(320) NULL;
GO
ALTER TABLE {schema}.messenger_users ADD email_confirmed_at bigint NULL;
