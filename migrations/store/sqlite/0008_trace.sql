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

-- What rules hit in committed turns, one row a hit: rule names and constant words, never text. event_id is NULL for a
-- draft. decided tells the hit that decided.
CREATE TABLE turn_hit (
    turn_id         BLOB NOT NULL REFERENCES turn (id),
    ordinal         INTEGER NOT NULL,
    event_id        BLOB NULL,
    hit_at          INTEGER NOT NULL,
    rule            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    stage           TEXT NOT NULL,
    action          TEXT NOT NULL,
    mode            TEXT NOT NULL,
    reason          TEXT NOT NULL,
    decided         INTEGER NOT NULL,
    PRIMARY KEY (turn_id, ordinal)
);
CREATE INDEX turn_hit_at ON turn_hit (hit_at);
