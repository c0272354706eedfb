-- What a call of a model cost, and what it was allowed to. Money is whole nano-units of its currency; a NULL cost is one
-- that nobody knows. Until held_until a call is under way; after it the call is charged as it was reserved.
ALTER TABLE attempt ADD COLUMN provider TEXT NULL;
ALTER TABLE attempt ADD COLUMN policy TEXT NULL;
ALTER TABLE attempt ADD COLUMN prices TEXT NULL;
ALTER TABLE attempt ADD COLUMN currency TEXT NULL;
ALTER TABLE attempt ADD COLUMN reserved INTEGER NULL;
ALTER TABLE attempt ADD COLUMN cost INTEGER NULL;
ALTER TABLE attempt ADD COLUMN millis INTEGER NULL;
ALTER TABLE attempt ADD COLUMN budgets TEXT NULL;
ALTER TABLE attempt ADD COLUMN held_until INTEGER NULL;
CREATE INDEX attempt_held ON attempt (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX attempt_started ON attempt (started_at);

-- What each budget has given out: costs that are known, and for calls under way what they may cost at most. A row never
-- holds more than its cap.
CREATE TABLE budget (
    scope   TEXT PRIMARY KEY NOT NULL,
    amount  INTEGER NOT NULL,
    calls   INTEGER NOT NULL,
    last_at INTEGER NOT NULL
);
CREATE INDEX budget_last ON budget (last_at);
