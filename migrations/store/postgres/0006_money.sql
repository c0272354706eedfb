-- What a call of a model cost, and what it was allowed to. Money is whole nano-units of its currency; a NULL cost is one
-- that nobody knows. Until held_until a call is under way; after it the call is charged as it was reserved.
ALTER TABLE attempt ADD COLUMN provider text NULL;
ALTER TABLE attempt ADD COLUMN policy text NULL;
ALTER TABLE attempt ADD COLUMN prices text NULL;
ALTER TABLE attempt ADD COLUMN currency text NULL;
ALTER TABLE attempt ADD COLUMN reserved bigint NULL;
ALTER TABLE attempt ADD COLUMN cost bigint NULL;
ALTER TABLE attempt ADD COLUMN millis bigint NULL;
ALTER TABLE attempt ADD COLUMN budgets text NULL;
ALTER TABLE attempt ADD COLUMN held_until timestamptz NULL;
CREATE INDEX attempt_held ON attempt (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX attempt_started ON attempt (started_at);

-- What each budget has given out: costs that are known, and for calls under way what they may cost at most. A row never
-- holds more than its cap.
CREATE TABLE budget (
    scope   text PRIMARY KEY,
    amount  bigint NOT NULL,
    calls   bigint NOT NULL,
    last_at timestamptz NOT NULL
);
CREATE INDEX budget_last ON budget (last_at);
