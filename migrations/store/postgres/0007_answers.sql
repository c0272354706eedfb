-- Answers of the model's that are said again for a while. Never about a person; the question is kept as a keyed hash.
CREATE TABLE saved_answer (
    question    text PRIMARY KEY,
    answer      bytea NOT NULL,
    saved_at    timestamptz NOT NULL,
    ends_at     timestamptz NOT NULL
);
CREATE INDEX saved_answer_age ON saved_answer (saved_at);
CREATE INDEX saved_answer_end ON saved_answer (ends_at);
