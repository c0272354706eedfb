//! Tallies, and the search for what an ingress vouched for and intake never saw.
//!
//! **What is looked for.** An ingress numbers its envelopes; a tally says up to which number everything is decided and
//! what of it was given up. Of the rest, each number must be here: in the inbox, or among the duplicates, or kept as a
//! letter that nobody can take in. Per life of an ingress one mark, `verified`, moves over its numbers; each is looked
//! for once, with the index, and what is absent becomes a row of `missing`. So looking costs by what is new and by what
//! is wrong, never by what was ever taken in. `missing` is gone through again and again, and a row whose number has
//! come in after all is dropped: a loss heals by itself.
//!
//! **When it is lost.** A tally travels behind the messages that it counts, through the same queue, so with its arrival
//! the queue has been read past them: a backlog, however long, makes nothing lost. What can still delay a message is
//! that a worker held it unsettled and died, and that nobody took in since. Hence the intake's clock: it advances from
//! beat to beat of workers that have just reached both the store and a queue with a consumer on it, and stands still
//! across any pause longer than a beat may take. A number is lost when this clock has run for `lost_after` since it was
//! found absent. An hour's outage of intake, of the broker or of the store adds nothing to it.
//!
//! **What intake sent back.** A message that intake itself moved to a retry tier or to the dead queue is a `detour`: it
//! is somewhere in the broker. It is due when the tier's time and `lost_after` have run; from then on it counts as stuck
//! in the broker, which AMQP cannot show (such a message is neither ready nor unacked there), and not as lost.
//!
//! **In any order.** Vouched for is what is recovered, or at or below `upto` and not given up. All three only grow, so
//! tallies may come late, twice or out of order. A tally that was itself lost leaves its numbers to the next one's
//! `upto`; what it would have given up then shows as lost, rightly: something that the queue had confirmed is gone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::sql::{Row, Tx, args};
use super::{Admitted, Store, StoreError};
use crate::domain::{InstanceId, Micros, Span, Tally};
use crate::envelope::Header;

/// Numbers looked for in one transaction, and transactions in one round.
const STEP: i64 = 20_000;
const STEPS: usize = 25;
/// Absent numbers looked for again in one round.
const AGAIN: i64 = 1_000;
/// An ingress of which nothing was heard for so long has ended: its tail will not be vouched for.
const SILENT: Duration = Duration::from_secs(600);
/// An ingress of which nothing was heard for so long is looked at only for what it vouched for.
const FORGOTTEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far the mark stays behind an ingress that runs and whose tallies do not come.
const TAIL: i64 = 10_000;

/// The lives of ingresses that this process has entered already.
#[derive(Clone, Debug, Default)]
pub(super) struct Met(Arc<Mutex<HashSet<Uuid>>>);

/// The numbers of an instance that are here within `($2, $3]`.
macro_rules! arrived {
    () => {
        "SELECT sequence FROM inbox WHERE instance = $1 AND sequence > $2 AND sequence <= $3 \
         UNION SELECT sequence FROM duplicate WHERE instance = $1 AND sequence > $2 AND sequence <= $3 \
         UNION SELECT sequence FROM dead WHERE instance = $1 AND sequence > $2 AND sequence <= $3"
    };
}

/// The highest number of an instance that is here.
pub(super) const TOP: &str = "SELECT max(top) AS top FROM \
    (SELECT max(sequence) AS top FROM inbox WHERE instance = $1 \
     UNION ALL SELECT max(sequence) AS top FROM duplicate WHERE instance = $1 \
     UNION ALL SELECT max(sequence) AS top FROM dead WHERE instance = $1) tops";

/// Whether the number of a row `m` of `missing` is here after all.
macro_rules! has_arrived {
    () => {
        "(EXISTS (SELECT 1 FROM inbox i WHERE i.instance = m.instance AND i.sequence = m.sequence) \
          OR EXISTS (SELECT 1 FROM duplicate d WHERE d.instance = m.instance AND d.sequence = m.sequence) \
          OR EXISTS (SELECT 1 FROM dead l WHERE l.instance = m.instance AND l.sequence = m.sequence))"
    };
}
pub(super) use has_arrived;

/// An ingress as the store knows it.
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) upto: i64,
    pub(super) verified: i64,
    pub(super) finished: bool,
    pub(super) first_at: Micros,
    pub(super) heard_at: Option<Micros>,
}

impl Known {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            upto: row.get("upto")?,
            verified: row.get("verified")?,
            finished: row.get("finished")?,
            first_at: row.get("first_at")?,
            heard_at: row.get("heard_at")?,
        })
    }

    /// Whether it will not speak again.
    pub(super) fn ended(&self, now: Micros) -> bool {
        self.finished || now.since(self.heard_at.unwrap_or(self.first_at)) >= SILENT
    }
}

impl Store {
    /// Enters the life of an ingress, once per process.
    pub(super) async fn meet(&self, instance: Uuid) -> Result<(), StoreError> {
        let known = |met: &Met| met.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&instance);
        if known(&self.met) {
            return Ok(());
        }
        let now = self.main.now().await?;
        let sql = "INSERT INTO ingress (id, first_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.main.write(sql, args![instance, now]).await?;
        self.met.0.lock().unwrap_or_else(PoisonError::into_inner).insert(instance);
        Ok(())
    }

    /// Notes what an ingress vouches for. Again, late or out of order changes nothing.
    pub(super) async fn note_tally(&self, header: &Header, tally: &Tally) -> Result<Admitted, StoreError> {
        let instance = header.instance.uuid();
        let mut tx = self.main.begin().await?;
        let now = tx.now();
        // The heir of a spool speaks for the dead without a mark of its own: the dead stays silent.
        let heard = (tally.upto > 0 || tally.last).then_some(now);
        let sql = "INSERT INTO ingress (id, upto, finished, first_at, heard_at) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (id) DO UPDATE SET \
                     upto = CASE WHEN excluded.upto > ingress.upto THEN excluded.upto ELSE ingress.upto END, \
                     finished = ingress.finished OR excluded.finished, \
                     heard_at = COALESCE(excluded.heard_at, ingress.heard_at)";
        tx.run(sql, args![instance, tally.upto, tally.last, now, heard]).await?;
        for span in &tally.given_up {
            give_up(&mut tx, instance, *span).await?;
        }
        for span in &tally.recovered {
            note_span(&mut tx, instance, "recovered", *span).await?;
        }
        let due = self.due(&mut tx, Duration::ZERO).await?;
        let sql = "UPDATE missing SET vouched = TRUE, due = CASE WHEN kind = 'absent' THEN $3 ELSE due END \
                   WHERE instance = $1 AND sequence <= $2 AND NOT vouched";
        tx.run(sql, args![instance, tally.upto, due]).await?;
        tx.commit().await?;
        Ok(Admitted::Tallied)
    }

    /// Notes that intake is about to send a delivery back into the queue, to come again after `delay`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_detour(&self, header: &Header, delay: Duration) -> Result<(), StoreError> {
        if header.sequence < 1 {
            return Ok(());
        }
        let instance = header.instance.uuid();
        self.meet(instance).await?;
        let mut tx = self.main.begin().await?;
        let due = self.due(&mut tx, delay).await?;
        let sql = "INSERT INTO missing (instance, sequence, kind, vouched, due, checked) \
                   VALUES ($1, $2, 'detour', FALSE, $3, 0) \
                   ON CONFLICT (instance, sequence) DO UPDATE SET kind = 'detour', due = excluded.due";
        tx.run(sql, args![instance, header.sequence, due]).await?;
        tx.commit().await
    }

    /// Notes the number of an envelope that is not kept, since its event is known or kept already.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn note_duplicate(&self, header: &Header) -> Result<(), StoreError> {
        let sql = "INSERT INTO duplicate (instance, sequence, event_id, seen_at) SELECT $1, $2, $3, $4 \
                   WHERE NOT EXISTS (SELECT 1 FROM inbox WHERE instance = $1 AND sequence = $2) \
                     AND NOT EXISTS (SELECT 1 FROM dead WHERE instance = $1 AND sequence = $2) \
                   ON CONFLICT DO NOTHING";
        if header.sequence < 1 {
            return Ok(());
        }
        let now = self.main.now().await?;
        let values = args![header.instance.uuid(), header.sequence, header.event_id.uuid(), now];
        self.main.write(sql, values).await.map(drop)
    }

    /// One beat of the intake's clock: some worker has just reached the queue, with a consumer on it, and the store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn intake_runs(&self) -> Result<(), StoreError> {
        let now = self.main.now().await?.0;
        let longest = micros(self.timing.longest_beat());
        let sql = "UPDATE intake_clock SET beat_at = $1, \
                     running = running + CASE WHEN $1 - beat_at <= $2 THEN $1 - beat_at ELSE 0 END \
                   WHERE id = 1 AND beat_at < $1";
        self.main.write(sql, args![now, longest]).await.map(drop)
    }

    /// One round of looking for numbers: every worker asks, and one of them does it. True: this one did.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the next round goes on from there.
    pub async fn look_for_numbers(&self) -> Result<bool, StoreError> {
        let now = self.main.now().await?;
        let period = micros(self.timing.beat());
        let sql = "UPDATE intake_clock SET audited_at = $1 WHERE id = 1 AND audited_at <= $1 - $2";
        if self.main.write(sql, args![now.0, period]).await? == 0 {
            return Ok(false);
        }
        self.look_again(now).await?;
        let mut steps = STEPS;
        // One of which nothing was heard for so long has told all it will; its messages are looked for by then.
        let sql = "SELECT * FROM ingress \
                   WHERE (NOT finished AND COALESCE(heard_at, first_at) >= $1) OR verified < upto";
        for row in self.main.read(sql, args![now - FORGOTTEN]).await? {
            let known = Known::read(&row)?;
            let target = self.target(&known, now).await?;
            let mut from = known.verified;
            while from < target && steps > 0 {
                let upto = target.min(from + STEP);
                self.look_through(known.id, from, upto).await?;
                (from, steps) = (upto, steps - 1);
            }
        }
        self.look_for_recovered().await?;
        Ok(true)
    }

    /// How far an ingress's numbers can be looked for now.
    async fn target(&self, known: &Known, now: Micros) -> Result<i64, StoreError> {
        let top = self.main.read_one(TOP, args![known.id]).await?.get::<Option<i64>>("top")?.unwrap_or(0);
        let tail = if known.ended(now) { 0 } else { TAIL };
        Ok(known.upto.max(top - tail))
    }

    /// Looks for the numbers `(from, upto]` and moves the mark over them, unless somebody has.
    async fn look_through(&self, instance: Uuid, from: i64, upto: i64) -> Result<(), StoreError> {
        let mut tx = self.main.begin().await?;
        // The row is held from here on: a tally that comes meanwhile waits, and then sees what is missing.
        let sql = "UPDATE ingress SET verified = $3 WHERE id = $1 AND verified = $2 RETURNING upto";
        let Some(row) = tx.maybe(sql, args![instance, from, upto]).await? else { return Ok(()) };
        let vouched: i64 = row.get("upto")?;
        let absent = absent(&mut tx, instance, from, upto).await?;
        if !absent.is_empty() {
            let given_up = spans(&mut tx, instance, "given_up").await?;
            let due = self.due(&mut tx, Duration::ZERO).await?;
            for (first, last) in without(&absent, &given_up) {
                for (first, last, vouched) in [(first, last.min(vouched), true), (first.max(vouched + 1), last, false)]
                {
                    miss(&mut tx, instance, (first, last), vouched, due).await?;
                }
            }
        }
        tx.commit().await
    }

    async fn look_for_recovered(&self) -> Result<(), StoreError> {
        let sql =
            "SELECT instance, first_no, last_no FROM tally_span WHERE kind = 'recovered' AND NOT checked LIMIT 100";
        for row in self.main.read(sql, &[]).await? {
            let instance: Uuid = row.get("instance")?;
            let (first, last): Span = (row.get("first_no")?, row.get("last_no")?);
            let mut tx = self.main.begin().await?;
            let due = self.due(&mut tx, Duration::ZERO).await?;
            for span in absent(&mut tx, instance, first - 1, last).await? {
                miss(&mut tx, instance, span, true, due).await?;
            }
            let sql = "UPDATE tally_span SET checked = TRUE \
                       WHERE instance = $1 AND kind = 'recovered' AND first_no = $2 AND last_no = $3";
            tx.run(sql, args![instance, first, last]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Drops what was missing and has come in, the longest unlooked-for first.
    async fn look_again(&self, now: Micros) -> Result<(), StoreError> {
        const HEAL: &str = concat!(
            "DELETE FROM missing AS m WHERE (instance, sequence) IN \
               (SELECT instance, sequence FROM missing ORDER BY checked LIMIT $1) AND ",
            has_arrived!()
        );
        let mut tx = self.main.begin().await?;
        let before: i64 = tx.one("SELECT count(*) AS n FROM missing", &[]).await?.get("n")?;
        if before > 0 {
            tx.run(HEAL, args![AGAIN]).await?;
        }
        if before > AGAIN {
            let sql = "UPDATE missing SET checked = $1 WHERE (instance, sequence) IN \
                         (SELECT instance, sequence FROM missing ORDER BY checked LIMIT $2)";
            tx.run(sql, args![now.0, AGAIN]).await?;
        }
        tx.commit().await
    }

    /// What the intake's clock will show when something may no longer be absent.
    async fn due(&self, tx: &mut Tx, delay: Duration) -> Result<i64, StoreError> {
        Ok(running(tx).await? + micros(delay) + micros(self.timing.lost_after))
    }
}

/// What the intake's clock shows.
pub(super) async fn running(tx: &mut Tx) -> Result<i64, StoreError> {
    tx.one("SELECT running FROM intake_clock WHERE id = 1", &[]).await?.get("running")
}

async fn note_span(tx: &mut Tx, instance: Uuid, kind: &'static str, (first, last): Span) -> Result<(), StoreError> {
    let sql = "INSERT INTO tally_span (instance, kind, first_no, last_no) VALUES ($1, $2, $3, $4) \
               ON CONFLICT DO NOTHING";
    if (1..=last).contains(&first) {
        tx.run(sql, args![instance, kind, first, last]).await?;
    }
    Ok(())
}

/// Given up is not missed, unless it was recovered: that is looked for anew.
async fn give_up(tx: &mut Tx, instance: Uuid, span: Span) -> Result<(), StoreError> {
    note_span(tx, instance, "given_up", span).await?;
    let (first, last) = span;
    let sql = "DELETE FROM missing WHERE instance = $1 AND sequence >= $2 AND sequence <= $3 AND kind = 'absent'";
    tx.run(sql, args![instance, first, last]).await?;
    let sql = "UPDATE tally_span SET checked = FALSE \
               WHERE instance = $1 AND kind = 'recovered' AND first_no <= $3 AND last_no >= $2";
    tx.run(sql, args![instance, first, last]).await.map(drop)
}

/// Enters absent numbers; one that is there already is vouched for if either says so.
async fn miss(tx: &mut Tx, instance: Uuid, span: Span, vouched: bool, due: i64) -> Result<(), StoreError> {
    let sql = "INSERT INTO missing (instance, sequence, kind, vouched, due, checked) \
               WITH RECURSIVE number (n) AS \
                 (SELECT CAST($2 AS bigint) UNION ALL SELECT n + 1 FROM number WHERE n < $3) \
               SELECT $1, n, 'absent', $4, $5, 0 FROM number WHERE TRUE \
               ON CONFLICT (instance, sequence) DO UPDATE SET \
                 due = CASE WHEN missing.vouched OR missing.kind = 'detour' THEN missing.due ELSE excluded.due END, \
                 vouched = missing.vouched OR excluded.vouched";
    if span.0 <= span.1 {
        tx.run(sql, args![instance, span.0, span.1, vouched, due]).await?;
    }
    Ok(())
}

/// The numbers of `(from, upto]` that are not here.
pub(super) async fn absent(tx: &mut Tx, instance: Uuid, from: i64, upto: i64) -> Result<Vec<Span>, StoreError> {
    const SQL: &str = concat!(
        "SELECT before + 1 AS first_no, sequence - 1 AS last_no FROM \
           (SELECT sequence, lag(sequence, 1, CAST($2 AS bigint)) OVER (ORDER BY sequence) AS before FROM (",
        arrived!(),
        " UNION SELECT CAST($3 AS bigint) + 1) here) steps WHERE sequence > before + 1 ORDER BY sequence"
    );
    let rows = tx.all(SQL, args![instance, from, upto]).await?;
    rows.iter().map(|row| Ok((row.get("first_no")?, row.get("last_no")?))).collect()
}

/// What an instance's tallies named, joined.
pub(super) async fn spans(tx: &mut Tx, instance: Uuid, kind: &'static str) -> Result<Vec<Span>, StoreError> {
    let sql = "SELECT first_no, last_no FROM tally_span WHERE instance = $1 AND kind = $2 ORDER BY first_no";
    let rows = tx.all(sql, args![instance, kind]).await?;
    let mut joined: Vec<Span> = Vec::new();
    for row in rows {
        let (first, last): Span = (row.get("first_no")?, row.get("last_no")?);
        match joined.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    Ok(joined)
}

/// Spans less others; both sorted and apart.
pub(super) fn without(spans: &[Span], less: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    for &(mut first, last) in spans {
        for &(from, upto) in less {
            if upto < first || from > last {
                continue;
            }
            if from > first {
                left.push((first, from - 1));
            }
            first = upto + 1;
        }
        if first <= last {
            left.push((first, last));
        }
    }
    left
}

/// How many numbers spans hold.
pub(super) fn size(spans: &[Span]) -> i64 {
    spans.iter().map(|(first, last)| last - first + 1).sum()
}

pub(super) fn instance_of(id: Uuid) -> InstanceId {
    InstanceId::from_uuid(id)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_without_others_keep_what_lies_between() {
        assert_eq!(without(&[(1, 10)], &[(2, 3), (5, 5), (9, 12)]), [(1, 1), (4, 4), (6, 8)]);
        assert_eq!(without(&[(1, 4), (6, 9)], &[(3, 7)]), [(1, 2), (8, 9)]);
        assert_eq!(without(&[(1, 4)], &[]), [(1, 4)]);
        assert_eq!(without(&[(2, 4)], &[(1, 9)]), []);
        assert_eq!(size(&[(1, 2), (8, 9)]), 4);
    }
}
