-- What letters have in common: class, stage and normalised error (the fingerprint), source and tags. Few rows, so that
-- words are looked for here, and letters are then found by what they share.
CREATE TABLE dead_cause (
    id              text PRIMARY KEY,
    fingerprint     text NOT NULL,
    class           text NOT NULL,
    stage           text NOT NULL,
    error           text NOT NULL,
    source          text NOT NULL,
    tags            text NOT NULL
);
CREATE INDEX dead_cause_group ON dead_cause (fingerprint);

-- The place of a letter's event: instance and sequence are its envelope's, also where intake never had it. origin is
-- what may be kept only once: an undeliverable envelope, an imported letter.
ALTER TABLE dead ADD COLUMN cause text NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN tags text NOT NULL DEFAULT '';
ALTER TABLE dead ADD COLUMN prompt text NULL;
ALTER TABLE dead ADD COLUMN edited_from uuid NULL;
ALTER TABLE dead ADD COLUMN place bigint NULL;
ALTER TABLE dead ADD COLUMN received_at timestamptz NULL;
ALTER TABLE dead ADD COLUMN instance uuid NULL;
ALTER TABLE dead ADD COLUMN sequence bigint NULL;
ALTER TABLE dead ADD COLUMN origin text NULL;

INSERT INTO dead_cause (id, fingerprint, class, stage, error, source, tags)
    SELECT fingerprint || ' ' || source, fingerprint, min(class), min(stage), min(error), source, ''
    FROM dead GROUP BY fingerprint, source;
UPDATE dead SET cause = fingerprint || ' ' || source,
    place = (SELECT first_seq FROM inbox i WHERE i.id = dead.event_id),
    received_at = (SELECT i.received_at FROM inbox i WHERE i.id = dead.event_id),
    instance = (SELECT i.instance FROM inbox i WHERE i.id = dead.event_id),
    sequence = (SELECT i.sequence FROM inbox i WHERE i.id = dead.event_id);

DROP INDEX dead_state;
CREATE INDEX dead_newest ON dead (created_at, id);
CREATE INDEX dead_by_state ON dead (state, created_at, id);
CREATE INDEX dead_by_cause ON dead (cause, created_at, id);
CREATE INDEX dead_by_cause_state ON dead (cause, state, created_at, id);
CREATE INDEX dead_by_contact ON dead (contact_id, created_at, id);
CREATE INDEX dead_by_conversation ON dead (conversation_id, created_at, id);
CREATE INDEX dead_edited_from ON dead (edited_from) WHERE edited_from IS NOT NULL;
CREATE INDEX dead_instance ON dead (instance, sequence) WHERE instance IS NOT NULL;
CREATE UNIQUE INDEX dead_origin ON dead (origin) WHERE origin IS NOT NULL;

-- Every failed attempt at an event or a send. dead_id is the letter that came of it; while something is held, equal
-- failures are one row that counts.
CREATE TABLE failure (
    id              uuid PRIMARY KEY,
    subject         uuid NOT NULL,
    dead_id         uuid NULL,
    at              timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    times           bigint NOT NULL,
    worker          uuid NULL,
    build           text NOT NULL,
    stage           text NOT NULL,
    class           text NOT NULL,
    error           text NOT NULL,
    outcome         text NOT NULL
);
CREATE INDEX failure_subject ON failure (subject);
CREATE INDEX failure_dead ON failure (dead_id);
CREATE INDEX failure_stale ON failure (last_at) WHERE dead_id IS NULL;
CREATE UNIQUE INDEX failure_held ON failure (subject, worker, build, stage, class, error)
    WHERE outcome = 'held' AND dead_id IS NULL;

INSERT INTO failure (id, subject, dead_id, at, last_at, times, worker, build, stage, class, error, outcome)
    SELECT id, COALESCE(event_id, send_id, id), id, updated_at, updated_at, 1, NULL, build, stage, class, error, 'dead'
    FROM dead;

-- What an edit changed, sealed like the letter it made.
CREATE TABLE dead_edit (
    dead_id         uuid PRIMARY KEY,
    edited_from     uuid NOT NULL,
    who             text NOT NULL,
    why             text NOT NULL,
    at              timestamptz NOT NULL,
    diff            bytea NOT NULL
);

-- A frozen selection of letters, run again. rate is in letters per thousand seconds.
CREATE TABLE replay (
    id              uuid PRIMARY KEY,
    who             text NOT NULL,
    why             text NOT NULL,
    mode            text NOT NULL,
    note            bytea NULL,
    filter          text NOT NULL,
    rate            bigint NULL,
    ladder          boolean NOT NULL,
    letters         bigint NOT NULL,
    hash            text NOT NULL,
    state           text NOT NULL,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz NULL
);
CREATE INDEX replay_created ON replay (created_at);
CREATE INDEX replay_open ON replay (created_at) WHERE state IN ('running', 'halted');

-- Its letters in the order in which they run. A letter belongs to one open replay at most.
CREATE TABLE replay_item (
    replay_id       uuid NOT NULL REFERENCES replay (id),
    ordinal         bigint NOT NULL,
    dead_id         uuid NOT NULL,
    conversation_id uuid NULL,
    state           text NOT NULL,
    result          text NULL,
    dispatched_at   timestamptz NULL,
    ended_at        timestamptz NULL,
    PRIMARY KEY (replay_id, ordinal)
);
CREATE UNIQUE INDEX replay_item_claim ON replay_item (dead_id) WHERE state IN ('waiting', 'running');
CREATE INDEX replay_item_state ON replay_item (replay_id, state, ordinal);
CREATE INDEX replay_item_order ON replay_item (replay_id, conversation_id, ordinal);

-- The letter whose replay this send ends.
ALTER TABLE outbox ADD COLUMN dead_id uuid NULL;
CREATE INDEX outbox_dead ON outbox (dead_id) WHERE dead_id IS NOT NULL;

-- Who held the lease before a claim that found it run out.
ALTER TABLE conversation ADD COLUMN last_owner uuid NULL;
