-- People. A contact is a random id; aliases are keyed pseudonyms of their addresses, so rotation never splits one.
CREATE TABLE contact (
    id          uuid PRIMARY KEY,
    opted_out   boolean NOT NULL DEFAULT FALSE,
    created_at  timestamptz NOT NULL
);

CREATE TABLE alias (
    digest      bytea PRIMARY KEY,
    key_id      text NOT NULL,
    contact_id  uuid NOT NULL REFERENCES contact (id),
    created_at  timestamptz NOT NULL
);
CREATE INDEX alias_contact ON alias (contact_id);

-- Addresses whose person was erased: checked inside the intake transaction.
CREATE TABLE tombstone (
    digest      bytea PRIMARY KEY,
    key_id      text NOT NULL,
    erased_at   timestamptz NOT NULL
);

-- One row is the order of a conversation. tail counts messages taken in, done those that have ended, so work is
-- pending exactly while done < tail. A claim raises fence; whoever holds an older one is a zombie. Turns and
-- deliveries are claimed apart (lease_*, send_*). epoch changes whenever the floor does.
CREATE TABLE conversation (
    id              uuid PRIMARY KEY,
    source          text NOT NULL,
    provider        text NOT NULL,
    account         text NOT NULL,
    contact_id      uuid NOT NULL REFERENCES contact (id),
    party           bytea NOT NULL,
    locale          text NULL,
    tail            bigint NOT NULL DEFAULT 0,
    done            bigint NOT NULL DEFAULT 0,
    position        bigint NOT NULL DEFAULT 0,
    fence           bigint NOT NULL DEFAULT 0,
    lease_owner     uuid NULL,
    lease_until     timestamptz NULL,
    next_at         timestamptz NULL,
    settle_at       timestamptz NULL,
    settle_by       timestamptz NULL,
    waiting_since   timestamptz NULL,
    holding_at      timestamptz NULL,
    claims          bigint NOT NULL DEFAULT 0,
    attempts        bigint NOT NULL DEFAULT 0,
    one_by_one      boolean NOT NULL DEFAULT FALSE,
    held            boolean NOT NULL DEFAULT FALSE,
    floor           text NOT NULL DEFAULT 'assistant',
    floor_by        text NULL,
    floor_until     timestamptz NULL,
    epoch           bigint NOT NULL DEFAULT 0,
    sends           bigint NOT NULL DEFAULT 0,
    send_fence      bigint NOT NULL DEFAULT 0,
    send_owner      uuid NULL,
    send_until      timestamptz NULL,
    send_next_at    timestamptz NULL,
    last_inbound_at timestamptz NULL,
    created_at      timestamptz NOT NULL,
    UNIQUE (source, account, contact_id)
);
CREATE INDEX conversation_waiting ON conversation (waiting_since) WHERE done < tail AND NOT held;
CREATE INDEX conversation_floor ON conversation (floor_until) WHERE floor <> 'assistant';
CREATE INDEX conversation_contact ON conversation (contact_id);
CREATE INDEX conversation_lease ON conversation (lease_owner) WHERE lease_owner IS NOT NULL;
CREATE INDEX conversation_send_lease ON conversation (send_owner) WHERE send_owner IS NOT NULL;

-- Every accepted event, once. state is 'pending' or one of the ends of P2.
CREATE TABLE inbox (
    id              uuid PRIMARY KEY,
    source          text NOT NULL,
    kind            text NOT NULL,
    contact_id      uuid NULL REFERENCES contact (id),
    conversation_id uuid NULL REFERENCES conversation (id),
    seq             bigint NULL,
    first_seq       bigint NULL,
    position        bigint NULL,
    state           text NOT NULL,
    reason          text NULL,
    received_at     timestamptz NOT NULL,
    instance        uuid NOT NULL,
    sequence        bigint NOT NULL,
    previous        uuid NULL,
    accepted_at     timestamptz NOT NULL,
    ended_at        timestamptz NULL,
    said_at         timestamptz NULL,
    late            boolean NOT NULL DEFAULT FALSE,
    trace           text NOT NULL,
    secret          text NOT NULL,
    turn_id         uuid NULL,
    body            bytea NULL
);
CREATE INDEX inbox_pending ON inbox (conversation_id, received_at, instance, sequence) WHERE state = 'pending';
CREATE INDEX inbox_conversation ON inbox (conversation_id, position);
CREATE INDEX inbox_order ON inbox (conversation_id, received_at);
CREATE INDEX inbox_accepted ON inbox (accepted_at);
CREATE INDEX inbox_instance ON inbox (instance, sequence);
CREATE INDEX inbox_turn ON inbox (turn_id);

-- A second envelope of an event that is already in the inbox: it counts as arrived, not as accepted.
CREATE TABLE duplicate (
    instance        uuid NOT NULL,
    sequence        bigint NOT NULL,
    event_id        uuid NOT NULL,
    seen_at         timestamptz NOT NULL,
    PRIMARY KEY (instance, sequence)
);

-- One committed turn; trace is its sealed decision path.
CREATE TABLE turn (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    position        bigint NOT NULL,
    fence           bigint NOT NULL,
    worker          uuid NOT NULL,
    outcome         text NOT NULL,
    messages        bigint NOT NULL,
    policy          text NOT NULL,
    model           text NULL,
    started_at      timestamptz NOT NULL,
    committed_at    timestamptz NOT NULL,
    traceparent     text NOT NULL,
    trace           bytea NOT NULL
);
CREATE INDEX turn_conversation ON turn (conversation_id, position);
CREATE INDEX turn_committed ON turn (committed_at);

-- One call of a model, written before it and closed after it; the answer is stored before anything uses it.
CREATE TABLE attempt (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    fence           bigint NOT NULL,
    model           text NOT NULL,
    prompt_hash     text NOT NULL,
    state           text NOT NULL,
    error           text NULL,
    tokens_in       bigint NULL,
    tokens_out      bigint NULL,
    tokens_cached   bigint NULL,
    answer          bytea NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz NULL
);
CREATE INDEX attempt_conversation ON attempt (conversation_id, prompt_hash);

-- What goes out, one row per part, strictly in order within a conversation.
CREATE TABLE outbox (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    contact_id      uuid NOT NULL REFERENCES contact (id),
    source          text NOT NULL,
    turn_id         uuid NULL,
    ordinal         bigint NOT NULL,
    position        bigint NOT NULL,
    part            bigint NOT NULL,
    parts           bigint NOT NULL,
    author          text NOT NULL,
    person          text NULL,
    purpose         text NOT NULL,
    locale          text NOT NULL,
    epoch           bigint NOT NULL,
    state           text NOT NULL,
    body            bytea NOT NULL,
    attempts        bigint NOT NULL DEFAULT 0,
    next_at         timestamptz NULL,
    sender          uuid NULL,
    deadline        timestamptz NULL,
    created_at      timestamptz NOT NULL,
    begun_at        timestamptz NULL,
    ended_at        timestamptz NULL,
    closed_at       timestamptz NULL,
    status          bigint NOT NULL DEFAULT 0,
    status_at       timestamptz NULL,
    error           text NULL,
    provider_digest bytea NULL,
    trace           text NOT NULL,
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
    event_id        uuid PRIMARY KEY,
    provider_digest bytea NOT NULL,
    status          bigint NOT NULL,
    error           text NULL,
    seen_at         timestamptz NOT NULL
);
CREATE INDEX status_early_digest ON status_early (provider_digest);

-- What could not be answered, sent or even read, until a person resolves it.
CREATE TABLE dead (
    id              uuid PRIMARY KEY,
    event_id        uuid NULL,
    send_id         uuid NULL,
    conversation_id uuid NULL,
    contact_id      uuid NULL,
    source          text NOT NULL,
    stage           text NOT NULL,
    class           text NOT NULL,
    error           text NOT NULL,
    fingerprint     text NOT NULL,
    attempts        bigint NOT NULL,
    policy          text NOT NULL,
    build           text NOT NULL,
    state           text NOT NULL,
    why             text NULL,
    body            bytea NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
CREATE INDEX dead_state ON dead (state, created_at);
CREATE INDEX dead_event ON dead (event_id);
CREATE INDEX dead_send ON dead (send_id);

-- Who did what by hand, and why.
CREATE TABLE audit (
    id              uuid PRIMARY KEY,
    at              timestamptz NOT NULL,
    who             text NOT NULL,
    action          text NOT NULL,
    target          text NOT NULL,
    why             text NULL
);
CREATE INDEX audit_at ON audit (at);

-- What customers allow.
CREATE TABLE consent (
    event_id        uuid PRIMARY KEY,
    contact_id      uuid NOT NULL REFERENCES contact (id),
    scope           text NOT NULL,
    given           boolean NOT NULL,
    at              timestamptz NOT NULL
);
