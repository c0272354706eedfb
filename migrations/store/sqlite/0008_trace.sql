-- How claims ended that committed nothing. behind is the position of the last turn before; equal ends in the same place
-- are one row that counts, so that an outage of hours is one line and not a thousand.
CREATE TABLE turn_note (
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    behind          INTEGER NOT NULL,
    ending          TEXT NOT NULL,
    class           TEXT NOT NULL,
    times           INTEGER NOT NULL,
    fence           INTEGER NOT NULL,
    worker          BLOB NOT NULL,
    policy          TEXT NULL,
    first_at        INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    again_at        INTEGER NULL,
    PRIMARY KEY (conversation_id, behind, ending, class)
);
CREATE INDEX turn_note_last ON turn_note (last_at);
