//! The last while in figures, each counted in the store by an index and never assumed: who reads zeros may believe them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::sql::{Row, args};
use super::{HandoffCounts, Store, StoreError};
use crate::domain::Micros;

/// Times read at once.
const PAGE: i64 = 5_000;
/// Buckets of answer times, each 2 % wider than the one before, from a millisecond to days.
const BUCKETS: usize = 1_000;
const WIDER: f64 = 1.02;

/// Figures of what was taken in, decided and sent since a moment, and of what waits now.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Since when.
    pub since: Micros,
    /// Until when: the moment of this snapshot.
    pub at: Micros,
    /// Messages taken in.
    pub messages: i64,
    /// By where they stand now.
    pub by_state: BTreeMap<String, i64>,
    /// Messages that surfaced after their successor was answered.
    pub late: i64,
    /// Messages about something else than the business, as a rule of kind `topic` judged, in whatever mode.
    pub off_topic: i64,
    /// Messages answered with a model's words.
    pub by_model: i64,
    /// Messages answered with the policy's own words or kept ones: no model was asked for them.
    pub without_model: i64,
    /// How long answers took, from taken in to committed.
    pub latency: Latency,
    /// What rules hit, the most frequent first.
    pub rules: Vec<RuleHits>,
    /// Turns committed, by how they ended.
    pub turns: BTreeMap<String, i64>,
    /// Claims that committed nothing, by how they ended.
    pub without_commit: BTreeMap<String, i64>,
    /// Calls of models.
    pub models: Vec<ModelCalls>,
    /// Sends committed, by where they stand now.
    pub sends: BTreeMap<String, i64>,
    /// Dead letters made.
    pub dead: i64,
    /// Dead letters that wait for a person now.
    pub dead_open: i64,
    /// Sends of which nobody knows whether they arrived, now.
    pub unknown_open: i64,
    /// Conversations that people have or are called for, now, by who has the floor.
    pub floors: BTreeMap<String, i64>,
    /// People called, by team; those that no team is named for under an empty name.
    pub called: BTreeMap<String, i64>,
    /// What waits for people now, and how they answered in the last day.
    pub handoffs: HandoffCounts,
    /// Messages that await their turn, now.
    pub pending: i64,
    /// How long the oldest conversation that nobody serves has been due, in seconds.
    pub oldest_waiting_seconds: f64,
}

/// How long answers took, in milliseconds; `None` where there was none. Exact to 2 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Answers.
    pub answers: u64,
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 95 of 100 took no longer.
    pub p95_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
}

/// How often a rule hit.
#[derive(Clone, Debug, Serialize)]
pub struct RuleHits {
    /// The rule.
    pub rule: String,
    /// What it looked at.
    pub stage: String,
    /// What follows where it is enforced.
    pub action: String,
    /// Whether it was.
    pub mode: String,
    /// Hits.
    pub hits: i64,
    /// Hits that decided what became of the message or draft.
    pub decided: i64,
}

/// Calls of one model that ended alike.
#[derive(Clone, Debug, Serialize)]
pub struct ModelCalls {
    /// The model.
    pub model: String,
    /// `open`, `answered` or `failed`.
    pub state: String,
    /// Why it failed, in a word.
    pub error: Option<String>,
    /// Calls.
    pub calls: i64,
    /// Tokens read.
    pub tokens_in: i64,
    /// Tokens written.
    pub tokens_out: i64,
    /// The currency of the cost.
    pub currency: Option<String>,
    /// What they cost, in billionths of it; calls of unknown price count nothing.
    pub cost_nano: i64,
}

impl Snapshot {
    /// Everything that went wrong: calls that failed, dead letters, turns whose own code or store failed.
    #[must_use]
    pub fn errors(&self) -> i64 {
        let failed: i64 = self.models.iter().filter(|calls| calls.state == "failed").map(|calls| calls.calls).sum();
        let broken = ["panicked", "store_failed"].iter().filter_map(|ending| self.without_commit.get(*ending));
        failed + self.dead + broken.sum::<i64>()
    }
}

impl Store {
    /// Figures since a moment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: no figure is given then.
    pub async fn snapshot(&self, since: Micros) -> Result<Snapshot, StoreError> {
        let at = self.main.now().await?;
        let (mut by_state, mut late) = (BTreeMap::new(), 0);
        for row in self.main.read(MESSAGES, args![since]).await? {
            let count: i64 = row.get("messages")?;
            *by_state.entry(row.get("state")?).or_insert(0) += count;
            late += if row.get::<bool>("late")? { count } else { 0 };
        }
        let waiting = self.main.read_one(PENDING, args![]).await?;
        Ok(Snapshot {
            since,
            at,
            messages: by_state.values().sum(),
            by_state,
            late,
            off_topic: self.figure(OFF_TOPIC, since).await?,
            by_model: self.figure(BY_MODEL, since).await?,
            without_model: self.figure(WITHOUT_MODEL, since).await?,
            latency: self.latency(since).await?,
            rules: self.main.read(RULES, args![since]).await?.iter().map(rule_hits).collect::<Result<_, _>>()?,
            turns: self.words(TURNS, since).await?,
            without_commit: self.words(NOTES, since).await?,
            models: self.main.read(MODELS, args![since]).await?.iter().map(calls).collect::<Result<_, _>>()?,
            sends: self.words(SENDS, since).await?,
            dead: self.figure(DEAD, since).await?,
            dead_open: self.main.read_one(DEAD_OPEN, args![]).await?.get("figure")?,
            unknown_open: self.main.read_one(UNKNOWN, args![]).await?.get("figure")?,
            floors: counted(&self.main.read(FLOORS, args![]).await?)?,
            called: self.words(CALLED, since).await?,
            handoffs: self.handoff_counts().await?,
            pending: waiting.get("figure")?,
            oldest_waiting_seconds: self.oldest_waiting().await?.as_secs_f64(),
        })
    }

    async fn figure(&self, sql: &'static str, since: Micros) -> Result<i64, StoreError> {
        self.main.read_one(sql, args![since]).await?.get("figure")
    }

    async fn words(&self, sql: &'static str, since: Micros) -> Result<BTreeMap<String, i64>, StoreError> {
        counted(&self.main.read(sql, args![since]).await?)
    }

    /// Page by page, into buckets: however many answers there were, memory stays the same.
    async fn latency(&self, since: Micros) -> Result<Latency, StoreError> {
        let mut buckets = vec![0_u64; BUCKETS];
        let (mut from, mut last) = (since, Uuid::nil());
        loop {
            let rows = self.main.read(ANSWERS, args![from, last, PAGE]).await?;
            for row in &rows {
                let (taken_in, ended): (Micros, Micros) = (row.get("accepted_at")?, row.get("ended_at")?);
                buckets[bucket(ended.since(taken_in))] += 1;
                (from, last) = (taken_in, row.get("id")?);
            }
            if rows.is_empty() {
                return Ok(latency_of(&buckets));
            }
        }
    }
}

fn bucket(taken: Duration) -> usize {
    let millis = (taken.as_secs_f64() * 1e3).max(1.0);
    ((millis.ln() / WIDER.ln()) as usize).min(BUCKETS - 1)
}

fn latency_of(buckets: &[u64]) -> Latency {
    let answers: u64 = buckets.iter().sum();
    let quantile = |share: f64| {
        let wanted = (answers as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = buckets.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        // A bucket's upper end: no answer is told to have been quicker than it was.
        at.filter(|_| answers > 0).map(|at| WIDER.powi(i32::try_from(at + 1).unwrap_or(i32::MAX)).round())
    };
    Latency { answers, p50_ms: quantile(0.5), p95_ms: quantile(0.95), p99_ms: quantile(0.99) }
}

fn counted(rows: &[Row]) -> Result<BTreeMap<String, i64>, StoreError> {
    rows.iter().map(|row| Ok((row.get("word")?, row.get("figure")?))).collect()
}

fn rule_hits(row: &Row) -> Result<RuleHits, StoreError> {
    Ok(RuleHits {
        rule: row.get("rule")?,
        stage: row.get("stage")?,
        action: row.get("action")?,
        mode: row.get("mode")?,
        hits: row.get("hits")?,
        decided: row.get("decided")?,
    })
}

fn calls(row: &Row) -> Result<ModelCalls, StoreError> {
    Ok(ModelCalls {
        model: row.get("model")?,
        state: row.get("state")?,
        error: row.get("error")?,
        calls: row.get("calls")?,
        tokens_in: row.get("tokens_in")?,
        tokens_out: row.get("tokens_out")?,
        currency: row.get("currency")?,
        cost_nano: row.get("cost")?,
    })
}

const MESSAGES: &str = "SELECT state, late, count(*) AS messages FROM inbox \
    WHERE accepted_at >= $1 AND kind = 'message' GROUP BY state, late";
const OFF_TOPIC: &str = "SELECT count(DISTINCT h.event_id) AS figure FROM turn_hit h JOIN inbox i ON i.id = h.event_id \
    WHERE h.hit_at >= $1 AND h.kind = 'topic' AND h.reason = 'off_topic' AND i.accepted_at >= $1";
const BY_MODEL: &str = "SELECT count(*) AS figure FROM inbox i JOIN turn t ON t.id = i.turn_id \
    WHERE i.accepted_at >= $1 AND i.kind = 'message' AND i.state IN ('replied', 'joined') AND t.model IS NOT NULL";
const WITHOUT_MODEL: &str = "SELECT count(*) AS figure FROM inbox i JOIN turn t ON t.id = i.turn_id \
    WHERE i.accepted_at >= $1 AND i.kind = 'message' AND i.state IN ('replied', 'joined') AND t.model IS NULL \
      AND t.outcome = 'answered'";
const CALLED: &str = "SELECT COALESCE(team, '') AS word, count(*) AS figure FROM handoff WHERE opened_at >= $1 GROUP BY COALESCE(team, '')";
const ANSWERS: &str = "SELECT id, accepted_at, ended_at FROM inbox WHERE accepted_at >= $1 AND kind = 'message' \
    AND state = 'replied' AND ended_at IS NOT NULL AND (accepted_at > $1 OR id > $2) ORDER BY accepted_at, id LIMIT $3";
const RULES: &str = "SELECT rule, stage, action, mode, count(*) AS hits, \
    CAST(sum(CASE WHEN decided THEN 1 ELSE 0 END) AS bigint) AS decided FROM turn_hit WHERE hit_at >= $1 \
    GROUP BY rule, stage, action, mode ORDER BY hits DESC, rule";
const TURNS: &str = "SELECT outcome AS word, count(*) AS figure FROM turn WHERE committed_at >= $1 GROUP BY outcome";
const NOTES: &str = "SELECT ending AS word, CAST(sum(times) AS bigint) AS figure FROM turn_note WHERE last_at >= $1 \
    GROUP BY ending";
const MODELS: &str = "SELECT model, state, error, currency, count(*) AS calls, \
    CAST(COALESCE(sum(tokens_in), 0) AS bigint) AS tokens_in, CAST(COALESCE(sum(tokens_out), 0) AS bigint) AS tokens_out, \
    CAST(COALESCE(sum(cost), 0) AS bigint) AS cost FROM attempt WHERE started_at >= $1 \
    GROUP BY model, state, error, currency ORDER BY calls DESC, model, state, error";
const SENDS: &str = "SELECT state AS word, count(*) AS figure FROM outbox WHERE created_at >= $1 GROUP BY state";
const DEAD: &str = "SELECT count(*) AS figure FROM dead WHERE created_at >= $1";
const DEAD_OPEN: &str = "SELECT count(*) AS figure FROM dead WHERE state = 'open'";
const UNKNOWN: &str = "SELECT count(*) AS figure FROM outbox WHERE state = 'unknown' AND closed_at IS NULL";
const FLOORS: &str =
    "SELECT floor AS word, count(*) AS figure FROM conversation WHERE floor <> 'assistant' GROUP BY floor";
const PENDING: &str =
    "SELECT CAST(COALESCE(sum(tail - done), 0) AS bigint) AS figure FROM conversation WHERE done <> tail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_their_bucket_and_never_told_shorter_than_they_were() {
        let mut buckets = vec![0; BUCKETS];
        for millis in 1..=1_000 {
            buckets[bucket(Duration::from_millis(millis))] += 1;
        }
        let latency = latency_of(&buckets);
        assert_eq!(latency.answers, 1_000);
        for (told, exact) in [(latency.p50_ms, 500.0), (latency.p95_ms, 950.0), (latency.p99_ms, 990.0)] {
            let told = told.unwrap();
            assert!(told >= exact && told <= exact * 1.03, "{told} for {exact}");
        }
        assert_eq!(latency_of(&vec![0; BUCKETS]), Latency::default());
        assert!(bucket(Duration::from_secs(86_400 * 365)) < BUCKETS);
    }
}
