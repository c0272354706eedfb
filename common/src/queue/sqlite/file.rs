//! The queue's file: made private before SQLite sees it, migrated by one process at a time.

use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::queue::QueueError;

/// How long a writer waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// One connection that writes, a few that only read.
pub(super) struct Pools {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
}

/// Opens the file, making it and its tables when missing.
pub(super) async fn open(path: &Path) -> Result<Pools, QueueError> {
    let refused = |error: String| QueueError::Configuration(format!("QUEUE_URL: '{}': {error}", path.display()));
    let owned = path.to_owned();
    // Held until the tables are there: two first starts at once would race in the migrator.
    let lock = tokio::task::spawn_blocking(move || make_and_lock(&owned))
        .await
        .map_err(|error| refused(error.to_string()))?
        .map_err(|error| refused(error.to_string()))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY);
    let pool = |connections| {
        let settings = SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
        settings.acquire_timeout(BUSY).connect_with(options.clone())
    };
    let writer = pool(1).await.map_err(|error| refused(super::told(&error)))?;
    migrator().run(&writer).await.map_err(|error| refused(format!("its tables cannot be made: {error}")))?;
    let reader = pool(2).await.map_err(|error| refused(super::told(&error)))?;
    drop(lock);
    Ok(Pools { writer, reader })
}

/// The folder, the file (0600; SQLite gives its `-wal` and `-shm` the same mode) and a lock beside it.
fn make_and_lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    private(path)?;
    let lock = private(&beside(path))?;
    lock.lock()?;
    Ok(lock)
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn migrator() -> Migrator {
    use sqlx::SqlSafeStr;
    let sql = include_str!("../../../../migrations/queue/0001_message.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(1, Cow::Borrowed("message"), MigrationType::Simple, sql, false)])
}
