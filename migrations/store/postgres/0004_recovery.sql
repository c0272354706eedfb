-- Which dead letter a held conversation waits for. held itself is as old as the table.
ALTER TABLE conversation ADD COLUMN held_by uuid NULL;
CREATE INDEX conversation_held ON conversation (waiting_since) WHERE held;
CREATE INDEX conversation_held_by ON conversation (held_by) WHERE held_by IS NOT NULL;
