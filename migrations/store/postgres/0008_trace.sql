-- How claims ended that committed nothing. behind is the position of the last turn before; equal ends in the same place
-- are one row that counts, so that an outage of hours is one line and not a thousand.
CREATE TABLE turn_note (
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    behind          bigint NOT NULL,
    ending          text NOT NULL,
    class           text NOT NULL,
    times           bigint NOT NULL,
    fence           bigint NOT NULL,
    worker          uuid NOT NULL,
    policy          text NULL,
    first_at        timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    again_at        timestamptz NULL,
    PRIMARY KEY (conversation_id, behind, ending, class)
);
CREATE INDEX turn_note_last ON turn_note (last_at);
