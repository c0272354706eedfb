//! The sums of P2, a day at a time: each day is a range of an index, and the whole is the sum of the days.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DayLedger, Imbalance, SendsLedger, SourceLedger, Sums};
use crate::domain::{End, Micros, SendState};
use crate::store::StoreError;
use crate::store::sql::{Tx, args};

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Everything that can be added up by day and source.
pub(super) struct Added {
    pub(super) whole: Sums,
    pub(super) days: Vec<DayLedger>,
    pub(super) sources: Vec<SourceLedger>,
    pub(super) imbalances: Vec<Imbalance>,
}

pub(super) async fn add_up(tx: &mut Tx, since: Option<Micros>) -> Result<Added, StoreError> {
    let since = since.unwrap_or(Micros(0));
    let (mut whole, mut days, mut sources) = (Sums::none(), Vec::new(), BTreeMap::<String, Sums>::new());
    let mut next = first_after(tx, since).await?;
    while let Some(first) = next {
        let begins = Micros(first.0 - first.0.rem_euclid(DAY));
        let ends = Micros(begins.0 + DAY);
        let mut day = Sums::none();
        for (source, sums) in day_by_source(tx, begins.max(since), ends).await? {
            day.add(&sums);
            sources.entry(source).or_insert_with(Sums::none).add(&sums);
        }
        whole.add(&day);
        days.push(DayLedger { day: begins.to_string().chars().take(10).collect(), sums: day });
        next = first_after(tx, ends).await?;
    }
    let imbalances = equations(tx, since, &whole).await?;
    let sources = sources.into_iter().map(|(source, sums)| SourceLedger { source, sums }).collect();
    Ok(Added { whole, days, sources, imbalances })
}

/// The first moment at or after `at` of which there is something to add up.
async fn first_after(tx: &mut Tx, at: Micros) -> Result<Option<Micros>, StoreError> {
    let mut first = None;
    for sql in [
        "SELECT min(accepted_at) AS at FROM inbox WHERE accepted_at >= $1",
        "SELECT min(created_at) AS at FROM outbox WHERE created_at >= $1",
        "SELECT min(seen_at) AS at FROM duplicate WHERE seen_at >= $1",
    ] {
        let found: Option<Micros> = tx.one(sql, args![at]).await?.get("at")?;
        first = match (first, found) {
            (Some(first), Some(found)) => Some(found.min(first)),
            (first, found) => first.or(found),
        };
    }
    Ok(first)
}

async fn day_by_source(tx: &mut Tx, from: Micros, to: Micros) -> Result<BTreeMap<String, Sums>, StoreError> {
    let mut sources = BTreeMap::new();
    events(tx, from, to, &mut sources).await?;
    sends(tx, from, to, &mut sources).await?;
    let sql = "SELECT COALESCE(i.source, 'unknown') AS source, count(*) AS n FROM duplicate d \
               LEFT JOIN inbox i ON i.id = d.event_id WHERE d.seen_at >= $1 AND d.seen_at < $2 GROUP BY 1";
    for row in tx.all(sql, args![from, to]).await? {
        of(&mut sources, row.get("source")?).duplicates += row.get::<i64>("n")?;
    }
    Ok(sources)
}

async fn events(tx: &mut Tx, from: Micros, to: Micros, sources: &mut BTreeMap<String, Sums>) -> Result<(), StoreError> {
    let sql = "SELECT source, state, late, count(*) AS n FROM inbox \
               WHERE accepted_at >= $1 AND accepted_at < $2 GROUP BY source, state, late";
    for row in tx.all(sql, args![from, to]).await? {
        let (n, state): (i64, String) = (row.get("n")?, row.get("state")?);
        let sums = of(sources, row.get("source")?);
        sums.accepted += n;
        sums.late += if row.get("late")? { n } else { 0 };
        match state.parse::<End>() {
            Ok(end) => *sums.ended.entry(end.as_str()).or_default() += n,
            // A state that nobody knows is in no sum, so that the equation shows it.
            Err(_) if state == "pending" => sums.pending += n,
            Err(_) => {}
        }
    }
    Ok(())
}

async fn sends(tx: &mut Tx, from: Micros, to: Micros, sources: &mut BTreeMap<String, Sums>) -> Result<(), StoreError> {
    let sql = "SELECT source, state, count(*) AS n, count(*) - count(closed_at) AS unclosed FROM outbox \
               WHERE created_at >= $1 AND created_at < $2 GROUP BY source, state";
    for row in tx.all(sql, args![from, to]).await? {
        let (n, state): (i64, String) = (row.get("n")?, row.get("state")?);
        let sums = of(sources, row.get("source")?);
        sums.sends.committed += n;
        let Ok(state) = state.parse::<SendState>() else { continue };
        match state {
            SendState::Queued | SendState::Sending => sums.sends.open += n,
            SendState::Accepted => sums.sends.accepted += n,
            SendState::Unknown => {
                sums.sends.unknown += n;
                sums.unknown_sends += row.get::<i64>("unclosed")?;
            }
            SendState::Superseded => sums.sends.superseded += n,
            SendState::Dead => sums.sends.dead += n,
        }
    }
    Ok(())
}

fn of(sources: &mut BTreeMap<String, Sums>, source: String) -> &mut Sums {
    sources.entry(source).or_insert_with(Sums::none)
}

/// What the sums must come to, against counts of their own.
async fn equations(tx: &mut Tx, since: Micros, whole: &Sums) -> Result<Vec<Imbalance>, StoreError> {
    let mut found = Vec::new();
    let mut must = |what: String, holds: bool| {
        if !holds {
            // The rows behind it are named by the checks, with their age; a sum has none.
            found.push(Imbalance { what, age_seconds: 0, settling: true });
        }
    };
    let accepted: i64 =
        tx.one("SELECT count(*) AS n FROM inbox WHERE accepted_at >= $1", args![since]).await?.get("n")?;
    let ended: i64 = whole.ended.values().sum();
    let sum = format!("accepted {accepted} is not ended {ended} + pending {}", whole.pending);
    must(sum, accepted == ended + whole.pending);
    let committed: i64 =
        tx.one("SELECT count(*) AS n FROM outbox WHERE created_at >= $1", args![since]).await?.get("n")?;
    let SendsLedger { accepted, superseded, unknown, dead, open, .. } = &whole.sends;
    let states = accepted + superseded + unknown + dead + open;
    must(format!("committed sends {committed} are not the sum of their states {states}"), committed == states);
    Ok(found)
}

/// How long before `now` the newest of these moments lies.
pub(super) fn age(now: Micros, newest: impl IntoIterator<Item = Option<Micros>>) -> Duration {
    newest.into_iter().flatten().max().map_or(Duration::MAX, |newest| now.since(newest))
}
