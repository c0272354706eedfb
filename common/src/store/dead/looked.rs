//! Looking: whoever opens what people said leaves behind which letters these were, before the first is opened.

use super::super::sql::Tx;
use super::super::{Store, StoreError};
use super::DeadFilter;
use super::search::Search;
use crate::digest::hex_digest;
use crate::domain::DeadId;

/// Letters that the audit names one by one; of more it keeps their number and hash.
const NAMED: usize = 1_000;

impl Store {
    /// Writes down that somebody is about to look into the letters that a filter means. The filter as it stood then:
    /// what dies later is not looked into unsaid.
    ///
    /// # Errors
    /// [`StoreError::Refused`], [`StoreError::Absent`], [`StoreError::Unavailable`].
    pub async fn audit_looked(
        &self,
        who: &str,
        action: &'static str,
        filter: &DeadFilter,
        why: &str,
    ) -> Result<DeadFilter, StoreError> {
        let now = self.main.now().await? + std::time::Duration::from_micros(1);
        let until = filter.until.map_or(now, |until| until.min(now));
        let filter = DeadFilter { until: Some(until), ..filter.clone() };
        filter.check()?;
        let mut tx = self.main.snapshot().await?;
        let ids = ids(&mut tx, &filter).await?;
        drop(tx);
        self.audit(who, action, &told(&ids, &filter)?, Some(why)).await?;
        Ok(filter)
    }
}

async fn ids(tx: &mut Tx, filter: &DeadFilter) -> Result<Vec<DeadId>, StoreError> {
    let mut ids = Vec::new();
    Search::new(tx, filter, filter.state).await?.each(tx, |letter| ids.push(letter.id)).await?;
    Ok(ids)
}

/// A selection for the audit: how many, which by their hash and, where they are few, by name, and what was asked for.
pub(super) fn told(ids: &[DeadId], filter: &DeadFilter) -> Result<String, StoreError> {
    let words = DeadFilter { ids: Vec::new(), limit: 0, after: None, ..filter.clone() };
    let words = serde_json::to_string(&words).map_err(|error| StoreError::Broken(error.to_string()))?;
    let mut told = format!("{} letters, sha256 {}, filter {words}", ids.len(), hash_of(ids));
    if ids.len() <= NAMED {
        for (before, id) in std::iter::once(", ids ").chain(std::iter::repeat(" ")).zip(ids) {
            told.push_str(before);
            told.push_str(&id.to_string());
        }
    }
    Ok(told)
}

/// SHA-256 over ids in their order, each with a line's end.
pub(super) fn hash_of(ids: &[DeadId]) -> String {
    let mut lines = String::with_capacity(ids.len() * 37);
    for id in ids {
        lines.push_str(&id.to_string());
        lines.push('\n');
    }
    hex_digest(lines.as_bytes(), 64)
}
