//! Groups: letters by what killed them, with what an operator weighs first: how many, since when, since which build.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::super::sql::{Row, Tx, args};
use super::super::{Store, StoreError};
use super::DeadFilter;
use super::search::{NEWEST, Words, causes};
use crate::domain::{ContactId, ConversationId, DeadState, Micros};

/// Letters of one cause: the same class at the same stage with the same normalised error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadGroup {
    /// What groups them.
    pub fingerprint: String,
    /// The class.
    pub class: String,
    /// The stage.
    pub stage: String,
    /// The normalised error.
    pub error: String,
    /// Letters.
    pub count: i64,
    /// Letters that wait for a person.
    pub open: i64,
    /// When the first died.
    pub first_at: Micros,
    /// When the last died first.
    pub last_at: Micros,
    /// The builds that gave them up.
    pub builds: Vec<String>,
    /// People affected.
    pub contacts: i64,
    /// Whether nothing like it had died before the build asked about first gave something up.
    pub new: bool,
}

macro_rules! grouped {
    ($what:literal, $by:literal) => {
        concat!(
            "SELECT c.fingerprint AS fingerprint, ",
            $what,
            " FROM dead d JOIN dead_cause c ON c.id = d.cause \
             WHERE d.created_at >= $1 AND d.created_at < $2 AND ($3 IS NULL OR d.state = $3) \
               AND ($4 IS NULL OR d.contact_id = $4) AND ($5 IS NULL OR d.conversation_id = $5) AND d.cause IN (",
            causes!("$6", "$7", "$8", "$9", "$10"),
            ") GROUP BY c.fingerprint",
            $by
        )
    };
}

impl Store {
    /// Letters by cause, the last to have struck first. With a build, a group is new when nothing like it had died
    /// before that build gave something up first; the letters' ids are of no account here.
    ///
    /// # Errors
    /// As [`dead_letters`](Self::dead_letters).
    pub async fn dead_groups(
        &self,
        filter: &DeadFilter,
        new_since_build: Option<&str>,
    ) -> Result<Vec<DeadGroup>, StoreError> {
        filter.check()?;
        let mut tx = self.main.snapshot().await?;
        let words = Words::of(&mut tx, filter).await?;
        let values = args![
            filter.since.unwrap_or(Micros(0)),
            filter.until.unwrap_or(NEWEST.0),
            filter.state.map(DeadState::as_str),
            filter.contact.map(ContactId::uuid),
            filter.conversation.map(ConversationId::uuid),
            words.group.as_deref(),
            filter.class.as_deref(),
            filter.stage.as_deref(),
            words.source(),
            words.text.as_deref(),
        ];
        let mut builds: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in tx.all(grouped!("d.build AS build", ", d.build ORDER BY d.build"), values).await? {
            builds.entry(row.get("fingerprint")?).or_default().push(row.get("build")?);
        }
        let seen = seen_before(&mut tx, new_since_build).await?;
        let sql = grouped!(
            "min(c.class) AS class, min(c.stage) AS stage, min(c.error) AS error, count(*) AS n, \
             sum(CASE WHEN d.state = 'open' THEN 1 ELSE 0 END) AS waiting, min(d.created_at) AS first_at, \
             max(d.created_at) AS last_at, count(DISTINCT d.contact_id) AS contacts",
            " ORDER BY last_at DESC, fingerprint"
        );
        let group = |row: &Row| {
            let fingerprint: String = row.get("fingerprint")?;
            let cause = (row.get("stage")?, row.get("class")?, row.get("error")?);
            let new = seen.as_ref().is_some_and(|seen| !seen.contains(&cause));
            let builds = builds.remove(&fingerprint).unwrap_or_default();
            let (stage, class, error) = cause;
            let (first_at, last_at) = (row.get("first_at")?, row.get("last_at")?);
            let (count, open, contacts) = (row.get("n")?, row.get("waiting")?, row.get("contacts")?);
            Ok(DeadGroup { fingerprint, class, stage, error, count, open, first_at, last_at, builds, contacts, new })
        };
        tx.all(sql, values).await?.iter().map(group).collect()
    }
}

/// What had died, as stage, class and error, before this build gave its first letter up; `None` without a build, or
/// when it gave up nothing.
async fn seen_before(
    tx: &mut Tx,
    build: Option<&str>,
) -> Result<Option<HashSet<(String, String, String)>>, StoreError> {
    let Some(build) = build else { return Ok(None) };
    let first = "SELECT min(at) AS at FROM failure WHERE build = $1 AND outcome = 'dead'";
    let Some(at) = tx.one(first, args![build]).await?.get::<Option<Micros>>("at")? else { return Ok(None) };
    let sql = "SELECT stage, class, error FROM failure WHERE outcome = 'dead' AND at < $1 GROUP BY stage, class, error";
    let rows = tx.all(sql, args![at]).await?;
    rows.iter()
        .map(|row| Ok((row.get("stage")?, row.get("class")?, row.get("error")?)))
        .collect::<Result<_, _>>()
        .map(Some)
}
