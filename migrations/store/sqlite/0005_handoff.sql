-- Since when the floor stands with whoever has it, renewed by every act of a person's; floor_until is not used any more.
-- heard_at is when the customer last had a word while the floor was not the assistant's; returned_at when it last came
-- back to the assistant.
ALTER TABLE conversation ADD COLUMN floor_since INTEGER NULL;
ALTER TABLE conversation ADD COLUMN heard_at INTEGER NULL;
ALTER TABLE conversation ADD COLUMN returned_at INTEGER NULL;
UPDATE conversation SET floor_since = floor_until - 43200000000 WHERE floor <> 'assistant';
CREATE INDEX conversation_floor_since ON conversation (floor, floor_since) WHERE floor <> 'assistant';

-- A stretch of a conversation that people have: from the call, or from the moment in which somebody came uncalled,
-- until the assistant is back. Written and closed in the transaction that moves the floor, so a conversation has one open
-- row at most. evidence is sealed.
CREATE TABLE handoff (
    id              BLOB PRIMARY KEY,
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    contact_id      BLOB NOT NULL REFERENCES contact (id),
    turn_id         BLOB NULL,
    rule            TEXT NOT NULL,
    asked           INTEGER NOT NULL,
    team            TEXT NULL,
    priority        TEXT NOT NULL,
    evidence        BLOB NULL,
    waiting_since   INTEGER NOT NULL,
    opened_at       INTEGER NOT NULL,
    due_at          INTEGER NULL,
    sla             TEXT NOT NULL,
    remind_at       INTEGER NULL,
    reminders       INTEGER NOT NULL DEFAULT 0,
    claimed_at      INTEGER NULL,
    claimed_by      TEXT NULL,
    first_answer_at INTEGER NULL,
    closed_at       INTEGER NULL,
    position        INTEGER NULL,
    outcome         TEXT NULL
);
CREATE UNIQUE INDEX handoff_open ON handoff (conversation_id) WHERE closed_at IS NULL;
CREATE INDEX handoff_conversation ON handoff (conversation_id, opened_at);
CREATE INDEX handoff_remind ON handoff (remind_at) WHERE remind_at IS NOT NULL;
CREATE INDEX handoff_opened ON handoff (opened_at);

-- Words to teams: an outbox of its own. body is sealed with the contact's key.
CREATE TABLE notice (
    id              BLOB PRIMARY KEY,
    handoff_id      BLOB NOT NULL REFERENCES handoff (id),
    conversation_id BLOB NOT NULL REFERENCES conversation (id),
    contact_id      BLOB NOT NULL REFERENCES contact (id),
    destination     TEXT NOT NULL,
    kind            TEXT NOT NULL,
    state           TEXT NOT NULL,
    body            BLOB NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_at         INTEGER NULL,
    sender          BLOB NULL,
    deadline        INTEGER NULL,
    error           TEXT NULL,
    created_at      INTEGER NOT NULL,
    ended_at        INTEGER NULL
);
CREATE INDEX notice_open ON notice (created_at) WHERE state IN ('queued', 'sending');
CREATE INDEX notice_handoff ON notice (handoff_id);
CREATE INDEX notice_conversation ON notice (conversation_id);
CREATE INDEX notice_ended ON notice (ended_at) WHERE state IN ('refused', 'unknown');
