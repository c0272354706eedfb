-- Since when the floor stands with whoever has it, renewed by every act of a person's; floor_until is not used any more.
-- heard_at is when the customer last had a word while the floor was not the assistant's; returned_at when it last came
-- back to the assistant.
ALTER TABLE conversation ADD COLUMN floor_since timestamptz NULL;
ALTER TABLE conversation ADD COLUMN heard_at timestamptz NULL;
ALTER TABLE conversation ADD COLUMN returned_at timestamptz NULL;
UPDATE conversation SET floor_since = floor_until - interval '12 hours' WHERE floor <> 'assistant';
CREATE INDEX conversation_floor_since ON conversation (floor, floor_since) WHERE floor <> 'assistant';

-- A stretch of a conversation that people have: from the call, or from the moment in which somebody came uncalled,
-- until the assistant is back. Written and closed in the transaction that moves the floor, so a conversation has one open
-- row at most. evidence is sealed.
CREATE TABLE handoff (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    contact_id      uuid NOT NULL REFERENCES contact (id),
    turn_id         uuid NULL,
    rule            text NOT NULL,
    asked           boolean NOT NULL,
    team            text NULL,
    priority        text NOT NULL,
    evidence        bytea NULL,
    waiting_since   timestamptz NOT NULL,
    opened_at       timestamptz NOT NULL,
    due_at          timestamptz NULL,
    sla             text NOT NULL,
    remind_at       timestamptz NULL,
    reminders       bigint NOT NULL DEFAULT 0,
    claimed_at      timestamptz NULL,
    claimed_by      text NULL,
    first_answer_at timestamptz NULL,
    closed_at       timestamptz NULL,
    position        bigint NULL,
    outcome         text NULL
);
CREATE UNIQUE INDEX handoff_open ON handoff (conversation_id) WHERE closed_at IS NULL;
CREATE INDEX handoff_conversation ON handoff (conversation_id, opened_at);
CREATE INDEX handoff_remind ON handoff (remind_at) WHERE remind_at IS NOT NULL;
CREATE INDEX handoff_opened ON handoff (opened_at);

-- Words to teams: an outbox of its own. body is sealed with the contact's key.
CREATE TABLE notice (
    id              uuid PRIMARY KEY,
    handoff_id      uuid NOT NULL REFERENCES handoff (id),
    conversation_id uuid NOT NULL REFERENCES conversation (id),
    contact_id      uuid NOT NULL REFERENCES contact (id),
    destination     text NOT NULL,
    kind            text NOT NULL,
    state           text NOT NULL,
    body            bytea NOT NULL,
    attempts        bigint NOT NULL DEFAULT 0,
    next_at         timestamptz NULL,
    sender          uuid NULL,
    deadline        timestamptz NULL,
    error           text NULL,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz NULL
);
CREATE INDEX notice_open ON notice (created_at) WHERE state IN ('queued', 'sending');
CREATE INDEX notice_handoff ON notice (handoff_id);
CREATE INDEX notice_conversation ON notice (conversation_id);
CREATE INDEX notice_ended ON notice (ended_at) WHERE state IN ('refused', 'unknown');
