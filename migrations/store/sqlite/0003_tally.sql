-- What each life of an ingress vouches for: every number up to `upto` was decided. `verified` is how far its numbers
-- have been looked for in the store; what was absent then is in `missing`, so no number below it is looked for again.
CREATE TABLE ingress (
    id          BLOB PRIMARY KEY,
    upto        INTEGER NOT NULL DEFAULT 0,
    verified    INTEGER NOT NULL DEFAULT 0,
    finished    INTEGER NOT NULL DEFAULT 0,
    first_at    INTEGER NOT NULL,
    heard_at    INTEGER NULL
);
INSERT INTO ingress (id, first_at) SELECT instance, min(accepted_at) FROM inbox GROUP BY instance;

-- Numbers that a tally names: 'given_up' got no confirm, 'recovered' got one after all.
CREATE TABLE tally_span (
    instance    BLOB NOT NULL REFERENCES ingress (id),
    kind        TEXT NOT NULL,
    first_no    INTEGER NOT NULL,
    last_no     INTEGER NOT NULL,
    checked     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (instance, kind, first_no, last_no)
);
CREATE INDEX tally_span_unchecked ON tally_span (instance) WHERE kind = 'recovered' AND NOT checked;

-- Numbers that were looked for and are not here. kind is 'absent', or 'detour' where intake itself sent the message
-- back into the queue. due is a reading of the intake's clock: by then it had to be here.
CREATE TABLE missing (
    instance    BLOB NOT NULL REFERENCES ingress (id),
    sequence    INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    vouched     INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    checked     INTEGER NOT NULL,
    PRIMARY KEY (instance, sequence)
);
CREATE INDEX missing_checked ON missing (checked);

-- The intake's clock: microseconds during which some worker was taking in. It stands still while none does.
CREATE TABLE intake_clock (
    id          INTEGER PRIMARY KEY,
    running     INTEGER NOT NULL,
    beat_at     INTEGER NOT NULL,
    audited_at  INTEGER NOT NULL
);
INSERT INTO intake_clock (id, running, beat_at, audited_at) VALUES (1, 0, 0, 0);

-- What must be empty, so that looking costs nothing; and what the ledger reads in part.
CREATE INDEX inbox_strange ON inbox (accepted_at) WHERE state NOT IN
    ('pending', 'replied', 'joined', 'blocked', 'handed_off', 'recorded', 'dead', 'discarded', 'erased');
CREATE INDEX inbox_untimed ON inbox (accepted_at) WHERE state <> 'pending' AND ended_at IS NULL;
CREATE INDEX inbox_misplaced ON inbox (accepted_at)
    WHERE state = 'pending' AND (ended_at IS NOT NULL OR conversation_id IS NULL OR seq IS NULL);
CREATE INDEX outbox_strange ON outbox (created_at) WHERE state NOT IN
    ('queued', 'sending', 'accepted', 'unknown', 'superseded', 'dead');
CREATE INDEX conversation_open ON conversation (id) WHERE done <> tail;
CREATE INDEX duplicate_seen ON duplicate (seen_at);
