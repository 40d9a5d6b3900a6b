-- The portal shows on how many nodes an announcement is live: it asks at which position of the feed the
-- announcement last changed.
create index feed_entry_by_object on feed_entry (object_id, position);
