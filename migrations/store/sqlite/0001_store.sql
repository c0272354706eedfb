-- People. A contact is a random id; aliases are keyed pseudonyms of their addresses, so rotation never splits one.
CREATE TABLE contact (
    id          BLOB PRIMARY KEY,
    opted_out   INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
);

CREATE TABLE alias (
    digest      BLOB PRIMARY KEY,
    key_id      TEXT NOT NULL,
    contact_id  BLOB NOT NULL REFERENCES contact (id),
    created_at  INTEGER NOT NULL
);
CREATE INDEX alias_contact ON alias (contact_id);

-- Addresses whose person was erased: checked inside the intake transaction.
CREATE TABLE tombstone (
    digest      BLOB PRIMARY KEY,
    key_id      TEXT NOT NULL,
    erased_at   INTEGER NOT NULL
);

-- One row is the order of a conversation. tail counts messages taken in, done those that have ended, so work is
-- pending exactly while done < tail. A claim raises fence; whoever holds an older one is a zombie. Turns and
-- deliveries are claimed apart (lease_*, send_*). epoch changes whenever the floor does.
CREATE TABLE conversation (
    id              BLOB PRIMARY KEY,
    source          TEXT NOT NULL,
    provider        TEXT NOT NULL,
    account         TEXT NOT NULL,
    contact_id      BLOB NOT NULL REFERENCES contact (id),
    party           BLOB NOT NULL,
    locale          TEXT NULL,
    tail            INTEGER NOT NULL DEFAULT 0,
    done            INTEGER NOT NULL DEFAULT 0,
    position        INTEGER NOT NULL DEFAULT 0,
    fence           INTEGER NOT NULL DEFAULT 0,
    lease_owner     BLOB NULL,
    lease_until     INTEGER NULL,
    next_at         INTEGER NULL,
    settle_at       INTEGER NULL,
    settle_by       INTEGER NULL,
    waiting_since   INTEGER NULL,
    holding_at      INTEGER NULL,
    claims          INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,
    one_by_one      INTEGER NOT NULL DEFAULT 0,
    held            INTEGER NOT NULL DEFAULT 0,
    floor           TEXT NOT NULL DEFAULT 'assistant',
    floor_by        TEXT NULL,
    floor_until     INTEGER NULL,
    epoch           INTEGER NOT NULL DEFAULT 0,
    sends           INTEGER NOT NULL DEFAULT 0,
    send_fence      INTEGER NOT NULL DEFAULT 0,
    send_owner      BLOB NULL,
    send_until      INTEGER NULL,
    send_next_at    INTEGER NULL,
    last_inbound_at INTEGER NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (source, account, contact_id)
);
CREATE INDEX conversation_waiting ON conversation (waiting_since) WHERE done < tail AND NOT held;
CREATE INDEX conversation_floor ON conversation (floor_until) WHERE floor <> 'assistant';
CREATE INDEX conversation_contact ON conversation (contact_id);
CREATE INDEX conversation_lease ON conversation (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX conversation_send_lease ON conversation (send_owner) WHERE send_owner IS NOT NULL;

-- Every accepted event, once. state is 'pending' or one of the ends of P2.
CREATE TABLE inbox (
    id              BLOB PRIMARY KEY,
    source          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    contact_id      BLOB NULL REFERENCES contact (id),
    conversation_id BLOB NULL REFERENCES conversation (id),
    seq             INTEGER NULL,
    first_seq       INTEGER NULL,
    position        INTEGER NULL,
    state           TEXT NOT NULL,
    reason          TEXT NULL,
    received_at     INTEGER NOT NULL,
    instance        BLOB NOT NULL,
    sequence        INTEGER NOT NULL,
    previous        BLOB NULL,
    accepted_at     INTEGER NOT NULL,
    ended_at        INTEGER NULL,
    said_at         INTEGER NULL,
    late            INTEGER NOT NULL DEFAULT 0,
    trace           TEXT NOT NULL,
    secret          TEXT NOT NULL,
    turn_id         BLOB NULL,
    body            BLOB NULL
);
CREATE INDEX inbox_pending ON inbox (conversation_id, received_at, instance, sequence) WHERE state = 'pending';
CREATE INDEX inbox_conversation ON inbox (conversation_id, position);
CREATE INDEX inbox_order ON inbox (conversation_id, received_at);
CREATE INDEX inbox_accepted ON inbox (accepted_at);
CREATE INDEX inbox_instance ON inbox (instance, sequence);
CREATE INDEX inbox_turn ON inbox (turn_id);

-- A second envelope of an event that is already in the inbox: it counts as arrived, not as accepted.
CREATE TABLE duplicate (
    instance        BLOB NOT NULL,
    sequence        INTEGER NOT NULL,
    event_id        BLOB NOT NULL,
    seen_at         INTEGER NOT NULL,
    PRIMARY KEY (instance, sequence)
);

-- One committed turn; trace is its sealed decision path.
CREATE TABLE turn (
    id              BLOB PRIMARY KEY,
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    position        INTEGER NOT NULL,
    fence           INTEGER NOT NULL,
    worker          BLOB NOT NULL,
    outcome         TEXT NOT NULL,
    messages        INTEGER NOT NULL,
    policy          TEXT NOT NULL,
    model           TEXT NULL,
    started_at      INTEGER NOT NULL,
    committed_at    INTEGER NOT NULL,
    traceparent     TEXT NOT NULL,
    trace           BLOB NOT NULL
);
CREATE INDEX turn_conversation ON turn (conversation_id, position);
CREATE INDEX turn_committed ON turn (committed_at);

-- One call of a model, written before it and closed after it; the answer is stored before anything uses it.
CREATE TABLE attempt (
    id              BLOB PRIMARY KEY,
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    fence           INTEGER NOT NULL,
    model           TEXT NOT NULL,
    prompt_hash     TEXT NOT NULL,
    state           TEXT NOT NULL,
    error           TEXT NULL,
    tokens_in       INTEGER NULL,
    tokens_out      INTEGER NULL,
    tokens_cached   INTEGER NULL,
    answer          BLOB NULL,
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER NULL
);
CREATE INDEX attempt_conversation ON attempt (conversation_id, prompt_hash);

-- What goes out, one row per part, strictly in order within a conversation.
CREATE TABLE outbox (
    id              BLOB PRIMARY KEY,
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    contact_id      BLOB NOT NULL REFERENCES contact (id),
    source          TEXT NOT NULL,
    turn_id         BLOB NULL,
    ordinal         INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    part            INTEGER NOT NULL,
    parts           INTEGER NOT NULL,
    author          TEXT NOT NULL,
    person          TEXT NULL,
    purpose         TEXT NOT NULL,
    locale          TEXT NOT NULL,
    epoch           INTEGER NOT NULL,
    state           TEXT NOT NULL,
    body            BLOB NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_at         INTEGER NULL,
    sender          BLOB NULL,
    deadline        INTEGER NULL,
    created_at      INTEGER NOT NULL,
    begun_at        INTEGER NULL,
    ended_at        INTEGER NULL,
    closed_at       INTEGER NULL,
    status          INTEGER NOT NULL DEFAULT 0,
    status_at       INTEGER NULL,
    error           TEXT NULL,
    provider_digest BLOB NULL,
    trace           TEXT NOT NULL,
    UNIQUE (conversation_id, ordinal)
);
CREATE INDEX outbox_open ON outbox (conversation_id, ordinal) WHERE state IN ('queued', 'sending');
CREATE INDEX outbox_unknown ON outbox (ended_at) WHERE state = 'unknown' AND closed_at IS NULL;
CREATE INDEX outbox_unknown_of ON outbox (conversation_id) WHERE state = 'unknown' AND closed_at IS NULL;
CREATE INDEX outbox_turn ON outbox (turn_id);
CREATE INDEX outbox_provider ON outbox (provider_digest) WHERE provider_digest IS NOT NULL;
CREATE INDEX outbox_created ON outbox (created_at);

-- Statuses that came before we learned the provider's id of the send; kept seven days.
CREATE TABLE status_early (
    event_id        BLOB PRIMARY KEY,
    provider_digest BLOB NOT NULL,
    status          INTEGER NOT NULL,
    error           TEXT NULL,
    seen_at         INTEGER NOT NULL
);
CREATE INDEX status_early_digest ON status_early (provider_digest);

-- What could not be answered, sent or even read, until a person resolves it.
CREATE TABLE dead (
    id              BLOB PRIMARY KEY,
    event_id        BLOB NULL,
    send_id         BLOB NULL,
    conversation_id BLOB NULL,
    contact_id      BLOB NULL,
    source          TEXT NOT NULL,
    stage           TEXT NOT NULL,
    class           TEXT NOT NULL,
    error           TEXT NOT NULL,
    fingerprint     TEXT NOT NULL,
    attempts        INTEGER NOT NULL,
    policy          TEXT NOT NULL,
    build           TEXT NOT NULL,
    state           TEXT NOT NULL,
    why             TEXT NULL,
    body            BLOB NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
);
CREATE INDEX dead_state ON dead (state, created_at);
CREATE INDEX dead_event ON dead (event_id);
CREATE INDEX dead_send ON dead (send_id);

-- Who did what by hand, and why.
CREATE TABLE audit (
    id              BLOB PRIMARY KEY,
    at              INTEGER NOT NULL,
    who             TEXT NOT NULL,
    action          TEXT NOT NULL,
    target          TEXT NOT NULL,
    why             TEXT NULL
);
CREATE INDEX audit_at ON audit (at);

-- What customers allow.
CREATE TABLE consent (
    event_id        BLOB PRIMARY KEY,
    contact_id      BLOB NOT NULL REFERENCES contact (id),
    scope           TEXT NOT NULL,
    given           INTEGER NOT NULL,
    at              INTEGER NOT NULL
);
