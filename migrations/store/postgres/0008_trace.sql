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

-- What rules hit in committed turns, one row a hit: rule names and constant words, never text. event_id is NULL for a
-- draft. decided tells the hit that decided.
CREATE TABLE turn_hit (
    turn_id         uuid NOT NULL REFERENCES turn (id),
    ordinal         bigint NOT NULL,
    event_id        uuid NULL,
    hit_at          timestamptz NOT NULL,
    rule            text NOT NULL,
    kind            text NOT NULL,
    stage           text NOT NULL,
    action          text NOT NULL,
    mode            text NOT NULL,
    reason          text NOT NULL,
    decided         boolean NOT NULL,
    PRIMARY KEY (turn_id, ordinal)
);
CREATE INDEX turn_hit_at ON turn_hit (hit_at);
