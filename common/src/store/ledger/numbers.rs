//! The numbers of ingresses in the ledger: what was vouched for and is not here, what nobody vouches for.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::{Imbalance, InstanceLedger};
use crate::domain::{Micros, Span, Tally};
use crate::store::StoreError;
use crate::store::sql::{Tx, args};
use crate::store::tally::{Known, TOP, absent, has_arrived, instance_of, running, size, spans, without};

/// How many lost numbers are named.
const NAMED: i64 = 1_000;
/// How many ingresses are told of that have nothing to tell.
const QUIET: usize = 20;

/// All ingresses together, and those worth telling of.
pub(super) struct Numbers {
    pub(super) lost: i64,
    pub(super) stuck: i64,
    pub(super) unvouched: i64,
    pub(super) told: Vec<InstanceLedger>,
    pub(super) imbalances: Vec<Imbalance>,
}

/// What `missing` holds of one ingress.
#[derive(Clone, Debug, Default)]
struct Missing {
    waiting: i64,
    lost: i64,
    stuck: i64,
    unvouched: i64,
    /// Microseconds of running intake since the first of the lost was due.
    overdue: i64,
}

pub(super) async fn instances(tx: &mut Tx, since: Micros, patience: Duration) -> Result<Numbers, StoreError> {
    let now = tx.now();
    let mut numbers = Numbers { lost: 0, stuck: 0, unvouched: 0, told: Vec::new(), imbalances: Vec::new() };
    let mut missing = missing(tx).await?;
    let sql = "SELECT * FROM ingress WHERE COALESCE(heard_at, first_at) >= $1 OR id IN (SELECT instance FROM missing) \
               ORDER BY COALESCE(heard_at, first_at) DESC, id";
    for row in tx.all(sql, args![since]).await? {
        let known = Known::read(&row)?;
        let missing = missing.remove(&known.id).unwrap_or_default();
        let unvouched = missing.unvouched + tail(tx, &known).await?;
        numbers.lost += missing.lost;
        numbers.stuck += missing.stuck;
        numbers.unvouched += unvouched;
        let trouble = missing.lost + missing.stuck + missing.waiting + unvouched > 0;
        if !trouble && numbers.told.len() >= QUIET {
            continue;
        }
        let told = told(tx, &known, &missing, unvouched, now).await?;
        let age = patience + Duration::from_micros(u64::try_from(missing.overdue).unwrap_or(0));
        let mut broken = |what: String| numbers.imbalances.push(Imbalance::new(what, age, patience));
        if told.lost > 0 {
            broken(format!("ingress {}: {}, vouched for, never arrived", told.instance, named(told.lost, &told)));
        }
        if told.stuck > 0 {
            let which = numbered(told.stuck);
            broken(format!("ingress {}: {which} went back into the broker and is stuck there", told.instance));
        }
        numbers.told.push(told);
    }
    Ok(numbers)
}

/// Everything missing, counted by ingress. Empty, or short, while all is well.
async fn missing(tx: &mut Tx) -> Result<BTreeMap<Uuid, Missing>, StoreError> {
    const SQL: &str = concat!(
        "SELECT instance, kind, vouched, due <= $1 AS overdue, count(*) AS n, min(due) AS due FROM missing m \
         WHERE NOT ",
        has_arrived!(),
        " GROUP BY instance, kind, vouched, due <= $1"
    );
    let running = running(tx).await?;
    let mut found: BTreeMap<Uuid, Missing> = BTreeMap::new();
    for row in tx.all(SQL, args![running]).await? {
        let of = found.entry(row.get("instance")?).or_default();
        let (n, kind): (i64, String) = (row.get("n")?, row.get("kind")?);
        let counter = match (kind == "detour", row.get("vouched")?, row.get("overdue")?) {
            (true, _, true) => &mut of.stuck,
            (false, true, true) => &mut of.lost,
            (false, false, _) => &mut of.unvouched,
            (true, _, false) | (false, true, false) => &mut of.waiting,
        };
        *counter += n;
        of.overdue = of.overdue.max(running - row.get::<i64>("due")?);
    }
    Ok(found)
}

/// Absent numbers beyond what was vouched or looked for.
async fn tail(tx: &mut Tx, known: &Known) -> Result<i64, StoreError> {
    let top = tx.one(TOP, args![known.id]).await?.get::<Option<i64>>("top")?.unwrap_or(0);
    let mark = known.upto.max(known.verified);
    if top <= mark {
        return Ok(0);
    }
    let absent = absent(tx, known.id, mark, top).await?;
    if absent.is_empty() {
        return Ok(0);
    }
    let sql = "SELECT sequence FROM missing WHERE instance = $1 AND sequence > $2";
    let rows = tx.all(sql, args![known.id, mark]).await?;
    let entered = rows.iter().map(|row| row.get("sequence")).collect::<Result<_, StoreError>>()?;
    let absent = without(&absent, &Tally::spans(entered));
    Ok(size(&without(&absent, &spans(tx, known.id, "recovered").await?)))
}

async fn told(
    tx: &mut Tx,
    known: &Known,
    missing: &Missing,
    unvouched: i64,
    now: Micros,
) -> Result<InstanceLedger, StoreError> {
    let given_up = spans(tx, known.id, "given_up").await?;
    let recovered = spans(tx, known.id, "recovered").await?;
    Ok(InstanceLedger {
        instance: instance_of(known.id),
        first_at: known.first_at,
        heard_at: known.heard_at,
        state: match (known.finished, known.ended(now)) {
            (true, _) => "finished",
            (false, true) => "silent",
            (false, false) => "running",
        },
        upto: known.upto,
        verified: known.verified,
        given_up: size(&without(&given_up, &recovered)),
        waiting: missing.waiting,
        lost: missing.lost,
        lost_numbers: if missing.lost > 0 { lost(tx, known.id).await? } else { Vec::new() },
        stuck: missing.stuck,
        unvouched,
    })
}

async fn lost(tx: &mut Tx, instance: Uuid) -> Result<Vec<Span>, StoreError> {
    const SQL: &str = concat!(
        "SELECT sequence FROM missing m WHERE instance = $1 AND kind = 'absent' AND vouched AND due <= $2 AND NOT ",
        has_arrived!(),
        " ORDER BY sequence LIMIT $3"
    );
    let running = running(tx).await?;
    let rows = tx.all(SQL, args![instance, running, NAMED]).await?;
    Ok(Tally::spans(rows.iter().map(|row| row.get("sequence")).collect::<Result<_, StoreError>>()?))
}

/// So many numbers, the first of them by name.
fn named(count: i64, told: &InstanceLedger) -> String {
    const SPANS: usize = 5;
    let one = |(first, last): &Span| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let spans: Vec<_> = told.lost_numbers.iter().take(SPANS).map(one).collect();
    let more = if told.lost_numbers.len() > SPANS { ", …" } else { "" };
    format!("{} ({}{more})", numbered(count), spans.join(", "))
}

fn numbered(count: i64) -> String {
    if count == 1 { "1 number".to_owned() } else { format!("{count} numbers") }
}
