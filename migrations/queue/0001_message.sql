-- Everything the embedded queue holds: waiting, out under a lease, waiting in a retry tier, or dead.
-- Times are microseconds since 1970 UTC. While a message is out, available_at is the end of its lease, so that one
-- index answers "what may be delivered now" for new, retried and abandoned messages alike.
CREATE TABLE message (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    lane         TEXT    NOT NULL CHECK (lane IN ('work', 'dead')),
    event_id     BLOB    NOT NULL,
    body         BLOB    NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    deliveries   INTEGER NOT NULL DEFAULT 0,
    available_at INTEGER NOT NULL,
    leased_until INTEGER,
    lease_owner  BLOB,
    reason       TEXT,
    published_at INTEGER NOT NULL
) STRICT;

CREATE INDEX message_available ON message (lane, available_at, id);

-- What was delivered too often without being settled: almost always empty, so that looking costs nothing.
CREATE INDEX message_worn ON message (available_at) WHERE lane = 'work' AND deliveries >= 20;
