-- Each contact's own data key, wrapped by a store key. Lives apart from the data: left out of the main backup, so
-- that destroying a row here is what erases a person everywhere.
CREATE TABLE contact_key (
    contact_id  BLOB PRIMARY KEY,
    wrapped     BLOB NOT NULL,
    created_at  INTEGER NOT NULL
);
