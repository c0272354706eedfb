//! A million dead letters on PostgreSQL: how long every filter of `dead list` takes through the store, and whether any
//! of them reads the whole table.

use std::time::Instant;

use anyhow::Context;
use common::config::{Keys, QueueSecrets, Secret, StoreUrl, Timing};
use common::domain::{ContactId, ConversationId, DeadId, DeadState, Micros, ReplayMode, SourceName};
use common::seal::{Key, Keyring, Pseudonyms};
use common::store::{Clock, DeadFilter, NewReplay, Store};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::figures::{percentile, table, verdict};
use crate::say;

const LETTERS: i64 = 1_000_000;
const GROUPS: i64 = 400;
const CONTACTS: i64 = 150_000;
/// Questions asked of each filter, each with other values.
const ASKED: i64 = 100;
/// Letters to a page.
const PAGE: i64 = 100;
/// What a search may take, in milliseconds.
const TARGET: f64 = 200.0;
/// Letters of the frozen replay.
const REPLAYED: i64 = 10_000;
const CLASSES: [&str; 8] =
    ["transient", "rate_limited", "outage", "misconfigured", "refused", "context", "rejected", "stale"];

/// Causes and letters: few causes have most letters, and most letters are resolved.
const FILL: [&str; 5] = [
    "INSERT INTO dead_cause (id, fingerprint, class, stage, error, source, tags)
     SELECT left(md5('f' || g), 16) || ' ' || s || CASE WHEN t = '' THEN '' ELSE ' ' || t END, left(md5('f' || g), 16),
       (ARRAY['transient','rate_limited','outage','misconfigured','refused','context','rejected','stale'])[1 + g % 8],
       CASE WHEN g % 3 = 0 THEN 'send' ELSE 'turn' END,
       (ARRAY['socket closed by peer','http # from provider','no answer within #','prompt is too long'])[1 + g % 4]
         || ' case ' || translate(to_hex(g), '0123456789', 'ghijklmnop'), s, t
     FROM generate_series(1, $1) g, unnest(ARRAY['whatsapp','shop','voice']) s, unnest(ARRAY['','imported']) t",
    "INSERT INTO dead (id, conversation_id, contact_id, source, stage, class, error, fingerprint, attempts, policy, build,
       state, created_at, updated_at, cause, tags)
     SELECT gen_random_uuid(), md5('v' || n % $3)::uuid, md5('c' || n % $3)::uuid, c.source, c.stage, c.class, c.error,
       c.fingerprint, 3, 'v1', 'build-' || n % 20,
       CASE WHEN n % 10 < 7 THEN 'resolved' WHEN n % 10 < 9 THEN 'open' ELSE 'discarded' END,
       now() - n * interval '30 seconds', now(), c.id, c.tags
     FROM (SELECT n, 1 + floor($1 * power(random(), 3))::bigint AS g, floor(3 * random())::int AS s, random() AS t
           FROM generate_series(1, $2) n) r
     JOIN LATERAL (SELECT left(md5('f' || r.g), 16) || ' ' || (ARRAY['whatsapp','shop','voice'])[1 + r.s]
         || CASE WHEN r.t < 0.02 THEN ' imported' ELSE '' END AS id) k ON true
     JOIN dead_cause c ON c.id = k.id",
    "INSERT INTO failure (id, subject, dead_id, at, last_at, times, build, stage, class, error, outcome)
     SELECT gen_random_uuid(), id, id, created_at, created_at, 1, build, stage, class, error, 'dead' FROM dead",
    "VACUUM ANALYZE dead",
    "ANALYZE",
];

/// What a question is made from: letters drawn by lot.
struct Drawn {
    id: DeadId,
    contact: ContactId,
    conversation: ConversationId,
    at: Micros,
    fingerprint: String,
    error: String,
}

type Question = fn(&Drawn, i64) -> DeadFilter;

/// Every filter of `dead list`, and the ones that are worst for an index.
const QUESTIONS: [(&str, Question); 20] = [
    ("none", |_, _| DeadFilter::default()),
    ("a later page", |drawn, _| DeadFilter { after: Some((drawn.at, drawn.id)), ..DeadFilter::default() }),
    ("--state open", |_, _| DeadFilter { state: Some(DeadState::Open), ..DeadFilter::default() }),
    ("--state replaying (none)", |_, _| DeadFilter { state: Some(DeadState::Replaying), ..DeadFilter::default() }),
    ("--group", |drawn, _| DeadFilter { group: Some(drawn.fingerprint.clone()), ..DeadFilter::default() }),
    ("--group --state open", |drawn, _| DeadFilter {
        group: Some(drawn.fingerprint.clone()),
        state: Some(DeadState::Open),
        ..DeadFilter::default()
    }),
    ("--class", |_, n| DeadFilter { class: Some(class(n)), ..DeadFilter::default() }),
    ("--stage", |_, n| DeadFilter { stage: Some(["turn", "send"][(n % 2) as usize].into()), ..DeadFilter::default() }),
    ("--source", |_, n| DeadFilter { source: source(n), ..DeadFilter::default() }),
    ("--contact", |drawn, _| DeadFilter { contact: Some(drawn.contact), ..DeadFilter::default() }),
    ("--contact --class", |drawn, n| DeadFilter {
        contact: Some(drawn.contact),
        class: Some(class(n)),
        ..DeadFilter::default()
    }),
    ("--conversation", |drawn, _| DeadFilter { conversation: Some(drawn.conversation), ..DeadFilter::default() }),
    ("--since", |drawn, _| DeadFilter { since: Some(drawn.at), ..DeadFilter::default() }),
    ("--until", |drawn, _| DeadFilter { until: Some(drawn.at), ..DeadFilter::default() }),
    ("--text, an error's words", |drawn, _| DeadFilter { text: Some(drawn.error.clone()), ..DeadFilter::default() }),
    ("--text, a quarter of all", |_, _| DeadFilter { text: Some("socket closed".into()), ..DeadFilter::default() }),
    ("--text, a tag", |_, _| DeadFilter { text: Some("imported".into()), ..DeadFilter::default() }),
    ("--text, nothing has it", |_, n| DeadFilter { text: Some(format!("nothing has {n}")), ..DeadFilter::default() }),
    ("--class --source --state --until", |drawn, n| DeadFilter {
        class: Some(class(n)),
        source: source(n),
        state: Some(DeadState::Open),
        until: Some(drawn.at),
        ..DeadFilter::default()
    }),
    ("--text --since --state", |drawn, _| DeadFilter {
        text: Some("case".into()),
        since: Some(drawn.at),
        state: Some(DeadState::Discarded),
        ..DeadFilter::default()
    }),
];

fn class(n: i64) -> String {
    CLASSES[(n % 8) as usize].to_owned()
}

fn source(n: i64) -> Option<SourceName> {
    SourceName::parse(["whatsapp", "shop", "voice"][(n % 3) as usize]).ok()
}

/// Fills a private PostgreSQL and asks it everything.
pub(crate) async fn searches() -> anyhow::Result<String> {
    let url = servers::postgres::database().await;
    let pseudonyms = Pseudonyms::from_ring(Keyring::single("p", Key::generate()));
    let shared = QueueSecrets { queue: Keyring::single("q", Key::generate()), pseudonyms };
    let keys = Keys { store: Keyring::single("s", Key::generate()), shared };
    let (door, timing) = (StoreUrl::Postgres(Secret::new(url.clone())), Timing::default());
    Store::migrate(&door, &keys, &timing).await?.close().await;
    let mut connection = PgConnection::connect(&url).await?;
    fill(&mut connection).await?;
    let store = Store::open(&door, &keys, &timing, Clock::Engine).await?;
    let drawn = draw(&mut connection).await?;
    let before = scans(&mut connection).await?;
    let mut rows = Vec::new();
    let mut worst: f64 = 0.0;
    for (name, question) in QUESTIONS {
        let (figures, most) = ask(&store, &drawn, question).await?;
        worst = worst.max(most);
        say(&format!("dead letters: {name}: {}", figures.join(" / ")));
        rows.push([vec![name.to_owned()], figures].concat());
    }
    let scanned = scans(&mut connection).await? - before;
    let head = ["filter", "p50, ms", "p95, ms", "worst, ms", "letters found"];
    Ok(format!(
        "{LETTERS} letters of {GROUPS} groups and {CONTACTS} people on PostgreSQL; pages of {PAGE}; {ASKED} questions for \
         each filter, each with other values, through the store.\n\n{}\nSearching below {TARGET} ms at p95: {} (the worst \
         filter's p95 is {worst:.1} ms). The table was read whole {scanned} times in {} questions.\n\n{}",
        table(&head, &rows),
        verdict(worst < TARGET),
        QUESTIONS.len() as i64 * ASKED,
        others(&store).await?,
    ))
}

async fn fill(connection: &mut PgConnection) -> anyhow::Result<()> {
    for (step, sql) in FILL.iter().enumerate() {
        say(&format!("dead letters: filling, step {} of {}", step + 1, FILL.len()));
        let numbers = [("$1", GROUPS), ("$2", LETTERS), ("$3", CONTACTS)];
        let sql = numbers.iter().fold((*sql).to_owned(), |sql, (name, number)| sql.replace(name, &number.to_string()));
        connection.execute(AssertSqlSafe(sql)).await?;
    }
    Ok(())
}

async fn draw(connection: &mut PgConnection) -> anyhow::Result<Vec<Drawn>> {
    let sql = "SELECT id, contact_id, conversation_id, (extract(epoch FROM created_at) * 1000000)::bigint, fingerprint, \
                 error FROM dead TABLESAMPLE SYSTEM (1) ORDER BY md5(id::text) LIMIT 100";
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    anyhow::ensure!(!rows.is_empty(), "no letter was drawn");
    let drawn = |row: &sqlx::postgres::PgRow| {
        Ok(Drawn {
            id: DeadId::from_uuid(row.try_get(0)?),
            contact: ContactId::from_uuid(row.try_get(1)?),
            conversation: ConversationId::from_uuid(row.try_get(2)?),
            at: Micros(row.try_get(3)?),
            fingerprint: row.try_get(4)?,
            error: row.try_get(5)?,
        })
    };
    rows.iter().map(drawn).collect()
}

/// How often the letters were read from the first to the last.
async fn scans(connection: &mut PgConnection) -> anyhow::Result<i64> {
    // Counters of other connections arrive when those have been idle for a moment.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let sql = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'dead'";
    Ok(sqlx::query(sql).fetch_one(connection).await?.try_get(0)?)
}

async fn ask(store: &Store, drawn: &[Drawn], question: Question) -> anyhow::Result<(Vec<String>, f64)> {
    let (mut taken, mut found) = (Vec::new(), 0);
    for n in 0..ASKED {
        let one = drawn.get(n as usize % drawn.len()).context("drawn")?;
        let filter = DeadFilter { limit: PAGE, ..question(one, n) };
        let begun = Instant::now();
        found += store.dead_letters(&filter).await?.len();
        taken.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    taken.sort_by(f64::total_cmp);
    let (half, most, worst) = (percentile(&taken, 0.5), percentile(&taken, 0.95), percentile(&taken, 1.0));
    let mean = found as f64 / ASKED as f64;
    Ok((vec![format!("{half:.1}"), format!("{most:.1}"), format!("{worst:.1}"), format!("{mean:.0}")], most))
}

/// What is no search, once each.
async fn others(store: &Store) -> anyhow::Result<String> {
    let open = DeadFilter { state: Some(DeadState::Open), ..DeadFilter::default() };
    let begun = Instant::now();
    let groups = store.dead_groups(&DeadFilter::default(), None).await?.len();
    let grouped = begun.elapsed().as_millis();
    let begun = Instant::now();
    let count = store.dead_count(&open).await?;
    let counted = begun.elapsed().as_millis();
    let since = store.dead_letters(&DeadFilter { limit: REPLAYED, ..open.clone() }).await?;
    let since = since.last().map(|letter| letter.created_at);
    let wish = NewReplay {
        who: "bench".into(),
        why: "measured".into(),
        mode: ReplayMode::Note,
        note: Some("measured".into()),
        rate_per_second: None,
        ladder: false,
    };
    let begun = Instant::now();
    let frozen = store.freeze_replay(&DeadFilter { since, limit: 0, ..open }, &wish).await?;
    let froze = begun.elapsed().as_millis();
    let begun = Instant::now();
    let dispatched = store.replay_dispatch(frozen.id, 1_000).await?.len();
    let sent = begun.elapsed().as_secs_f64();
    Ok(format!(
        "Once each: all {groups} groups in {grouped} ms; {count} open letters counted in {counted} ms; a replay of {} \
         letters frozen in {froze} ms, and the first {dispatched} of them dispatched at {:.0} a second.\n",
        frozen.count,
        dispatched as f64 / sent,
    ))
}
