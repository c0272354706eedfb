//! Opening the store: files made private before SQLite sees them, migrations under a lock, an unmigrated
//! PostgreSQL refused by name.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgConnection, SqlSafeStr};

use super::StoreError;
use super::sql::{Clock, Pool, Sql};
use super::tap::Tap;
use crate::config::{SqliteFile, StoreUrl};

/// One migration: version, name, and its text for SQLite and PostgreSQL.
type Step = (i64, &'static str, &'static str, &'static str);

const STORE: &[Step] = &[
    (
        1,
        "store",
        include_str!("../../../migrations/store/sqlite/0001_store.sql"),
        include_str!("../../../migrations/store/postgres/0001_store.sql"),
    ),
    (
        2,
        "dead_letters",
        include_str!("../../../migrations/store/sqlite/0002_dead_letters.sql"),
        include_str!("../../../migrations/store/postgres/0002_dead_letters.sql"),
    ),
    (
        3,
        "tally",
        include_str!("../../../migrations/store/sqlite/0003_tally.sql"),
        include_str!("../../../migrations/store/postgres/0003_tally.sql"),
    ),
    (
        4,
        "recovery",
        include_str!("../../../migrations/store/sqlite/0004_recovery.sql"),
        include_str!("../../../migrations/store/postgres/0004_recovery.sql"),
    ),
    (
        5,
        "handoff",
        include_str!("../../../migrations/store/sqlite/0005_handoff.sql"),
        include_str!("../../../migrations/store/postgres/0005_handoff.sql"),
    ),
    (
        6,
        "money",
        include_str!("../../../migrations/store/sqlite/0006_money.sql"),
        include_str!("../../../migrations/store/postgres/0006_money.sql"),
    ),
    (
        7,
        "answers",
        include_str!("../../../migrations/store/sqlite/0007_answers.sql"),
        include_str!("../../../migrations/store/postgres/0007_answers.sql"),
    ),
    (
        8,
        "trace",
        include_str!("../../../migrations/store/sqlite/0008_trace.sql"),
        include_str!("../../../migrations/store/postgres/0008_trace.sql"),
    ),
];

const KEYS: &[Step] = &[(
    1,
    "keys",
    include_str!("../../../migrations/keys/sqlite/0001_keys.sql"),
    include_str!("../../../migrations/keys/postgres/0001_keys.sql"),
)];

/// How many connections a pool may hold. A turn holds one only for the milliseconds of a transaction.
const CONNECTIONS: u32 = 16;
const KEY_CONNECTIONS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// As long as a lease: who waits for a connection in an overload had better wait than fail and begin anew.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);
/// After how long without use a connection is asked whether it lives before it is used again.
const RESTED: Duration = Duration::from_secs(1);
/// How long a connection may take to say that it lives.
const PULSE: Duration = Duration::from_secs(3);
/// How long a transaction may lie idle before PostgreSQL ends its session: two leases. Ours never wait for anything but
/// the next statement; a process that was stopped in the middle of one would keep its rows from everybody.
const IDLE_IN_TRANSACTION: &str = "30s";
/// The PostgreSQL schema that holds the contact keys, so that a backup can leave it out.
const KEYS_SCHEMA: &str = "keys";

/// The two databases of a store: its data, and apart from it the wrapped contact keys.
pub(super) struct Databases {
    pub(super) main: Sql,
    pub(super) keys: Sql,
    /// The data again, over a connection of its own: what keeps claims alive waits behind nobody.
    pub(super) renewal: Sql,
}

/// Whether opening may change the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Migrating {
    /// SQLite files are made and migrated by whoever opens them; PostgreSQL is only checked.
    Embedded,
    /// `handrail migrate`: everything is migrated.
    All,
}

pub(super) async fn open(url: &StoreUrl, clock: Clock, migrating: Migrating) -> Result<Databases, StoreError> {
    match url {
        StoreUrl::Sqlite(file) => {
            let main = open_sqlite(file, STORE, clock.clone()).await?;
            let keys = open_sqlite(&file.keys_file(), KEYS, clock).await?;
            // One connection writes to a file; its waits are short.
            Ok(Databases { renewal: main.clone(), main, keys })
        }
        StoreUrl::Postgres(url) => {
            let main = open_postgres(url.expose(), None, CONNECTIONS, clock.clone()).await?;
            let keys = open_postgres(url.expose(), Some(KEYS_SCHEMA), KEY_CONNECTIONS, clock.clone()).await?;
            let renewal = open_postgres(url.expose(), None, 1, clock).await?;
            migrate_postgres(&main, STORE, None, migrating).await?;
            migrate_postgres(&keys, KEYS, Some(KEYS_SCHEMA), migrating).await?;
            Ok(Databases { main, keys, renewal })
        }
    }
}

async fn open_sqlite(file: &SqliteFile, steps: &[Step], clock: Clock) -> Result<Sql, StoreError> {
    let path = file.path();
    make_private(path)
        .map_err(|error| StoreError::Configuration(format!("cannot make '{}': {error}", path.display())))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    let _lock = lock(path).await?;
    // A file does not go away: asking a connection whether it lives, before each use, would only cost.
    let write = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    let write = write.connect_with(options.clone()).await?;
    migrator(steps, |step| step.2).run(&write).await.map_err(migration_error)?;
    let read = SqlitePoolOptions::new().max_connections(4).acquire_timeout(ACQUIRE_TIMEOUT).test_before_acquire(false);
    let read = read.connect_lazy_with(options.read_only(true));
    Ok(Sql { pool: Pool::Sqlite { write, read }, clock, sampled: Arc::default(), tap: None })
}

/// A store in this process's memory, for tests of the protocol: SQLite's `memdb`, found again under `name` by whoever
/// else in the process opens it. One connection reads and writes, so that nobody waits for a lock, and it never rests,
/// since the last one to close takes everything with it.
pub(super) async fn open_in_memory(
    name: &str,
    clock: Clock,
    tap: Option<Arc<dyn Tap>>,
) -> Result<Databases, StoreError> {
    let memory = async |name: String, steps: &[Step]| {
        let options = SqliteConnectOptions::new().filename(format!("/{name}")).vfs("memdb").foreign_keys(true);
        let options = options.journal_mode(SqliteJournalMode::Memory).synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.test_before_acquire(false).connect_with(options.statement_cache_capacity(1_000)).await?;
        migrator(steps, |step| step.2).run(&pool).await.map_err(migration_error)?;
        let pool = Pool::Sqlite { write: pool.clone(), read: pool };
        Ok::<_, StoreError>(Sql { pool, clock: clock.clone(), sampled: Arc::default(), tap: tap.clone() })
    };
    let main = memory(name.to_owned(), STORE).await?;
    Ok(Databases { renewal: main.clone(), main, keys: memory(format!("{name}.keys"), KEYS).await? })
}

/// Makes folder and file, readable by their owner only; SQLite's own side files inherit the mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Two processes that open a fresh file at once would race in its migrations; a lock beside the file makes one wait.
async fn lock(path: &Path) -> Result<File, StoreError> {
    let path = path.with_extension("lock");
    let locked = tokio::task::spawn_blocking(move || {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    let locked = locked.await.map_err(|error| StoreError::Broken(error.to_string()))?;
    locked.map_err(|error| StoreError::Configuration(format!("cannot lock the store's file: {error}")))
}

async fn open_postgres(url: &str, schema: Option<&str>, connections: u32, clock: Clock) -> Result<Sql, StoreError> {
    // The parser's error may quote the URL, and with it the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| StoreError::Configuration("DATABASE_URL is not a PostgreSQL URL".to_owned()))?;
    let options =
        options.application_name("handrail").options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)]);
    let options = match schema {
        Some(schema) => options.options([("search_path", schema)]),
        None => options,
    };
    // A connection in steady use shows at once when it is dead; one that has rested is asked before it is used.
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > RESTED {
                    lives(connection).await?;
                }
                Ok(true)
            })
        })
        // The pool itself asks before it takes one back, but waits for the answer for ever.
        .after_release(|connection, _| Box::pin(async move { lives(connection).await.map(|()| true) }));
    Ok(Sql { pool: Pool::Postgres(pool.connect_with(options).await?), clock, sampled: Arc::default(), tap: None })
}

/// Asks a connection whether it lives; one whose other end has gone without a word never answers.
async fn lives(connection: &mut PgConnection) -> sqlx::Result<()> {
    tokio::time::timeout(PULSE, connection.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

async fn migrate_postgres(
    sql: &Sql,
    steps: &[Step],
    schema: Option<&'static str>,
    migrating: Migrating,
) -> Result<(), StoreError> {
    let Pool::Postgres(pool) = &sql.pool else { return Ok(()) };
    let mut wanted = migrator(steps, |step| step.3);
    if let Some(schema) = schema {
        wanted.create_schema(schema);
    }
    if migrating == Migrating::All {
        return wanted.run(pool).await.map_err(migration_error);
    }
    let mut connection = pool.acquire().await?;
    let applied = connection.list_applied_migrations("_sqlx_migrations").await.unwrap_or_default();
    let missing = steps.iter().find(|step| !applied.iter().any(|done| done.version == step.0));
    match missing {
        None => Ok(()),
        Some((version, name, ..)) => Err(StoreError::Configuration(format!(
            "the database lacks migration {version:04}_{name}: run `handrail migrate` first"
        ))),
    }
}

fn migrator(steps: &[Step], text: impl Fn(&Step) -> &'static str) -> Migrator {
    let migration =
        |step: &Step| Migration::new(step.0, step.1.into(), MigrationType::Simple, text(step).into_sql_str(), false);
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn migration_error(error: sqlx::migrate::MigrateError) -> StoreError {
    StoreError::Configuration(format!("the database could not be migrated: {error}"))
}
