//! One SQL text on two engines: arguments, rows and transactions that hide which one is behind.
//!
//! Placeholders are `$n`; times are [`Micros`] and never cast in SQL; integers are 64 bits. SQLite writers begin
//! IMMEDIATE through one connection, so that a read inside a transaction can never be overtaken by another's commit.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgPool, PgRow, PgTypeInfo, Postgres};
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow, SqliteTypeInfo};
use sqlx::{Row as _, Transaction};
use uuid::Uuid;

use super::StoreError;
use super::tap::{Passage, Passing, Tap};
use crate::domain::Micros;
use crate::metrics as names;

/// The store's clock: the engine's own, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// PostgreSQL's clock, or with SQLite this machine's, which every process of that file shares.
    #[default]
    Engine,
    /// Microseconds since 1970 as a test says.
    Manual(Arc<AtomicI64>),
}

/// One value bound to a statement. A typed `None` is NULL.
#[derive(Clone, Debug)]
pub(super) enum Arg<'a> {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
    Uuid(Option<Uuid>),
    Time(Option<Micros>),
}

macro_rules! arg_from {
    ($($from:ty => $arm:ident),+ $(,)?) => {$(
        impl<'a> From<$from> for Arg<'a> {
            fn from(value: $from) -> Self { Self::$arm(Some(value)) }
        }
        impl<'a> From<Option<$from>> for Arg<'a> {
            fn from(value: Option<$from>) -> Self { Self::$arm(value) }
        }
    )+};
}
arg_from!(i64 => Int, &'a str => Text, &'a [u8] => Bytes, Uuid => Uuid, Micros => Time);

impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a Vec<u8>> for Arg<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

/// Arguments in the order of their placeholders.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Arg::from($value)),*] };
}
pub(super) use args;

macro_rules! bind {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match arg {
                Arg::Int(value) => query.bind(*value),
                Arg::Bool(value) => query.bind(*value),
                Arg::Text(value) => query.bind(value.map(str::to_owned)),
                Arg::Bytes(value) => query.bind(value.map(<[u8]>::to_vec)),
                Arg::Uuid(value) => query.bind(*value),
                Arg::Time(value) => query.bind(*value),
            };
        }
        query
    }};
}

/// A row of either engine.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that both engines can give.
pub(super) trait Column:
    for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite> + for<'r> sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>
{
}
impl<T> Column for T where
    T: for<'r> sqlx::Decode<'r, Sqlite>
        + sqlx::Type<Sqlite>
        + for<'r> sqlx::Decode<'r, Postgres>
        + sqlx::Type<Postgres>
{
}

impl Row {
    /// A column by its name.
    pub(super) fn get<T: Column>(&self, column: &str) -> Result<T, StoreError> {
        let value = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        };
        value.map_err(StoreError::from)
    }

    /// A column that holds one of our closed words or ids, as text.
    pub(super) fn word<T: std::str::FromStr>(&self, column: &str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        text.parse().map_err(|_| StoreError::Broken(format!("column {column} holds the unknown word '{text}'")))
    }
}

#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

/// One database of either engine.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    pub(super) pool: Pool,
    pub(super) clock: Clock,
    pub(super) sampled: Arc<Sampled>,
    /// Absent but in tests of the protocol.
    pub(super) tap: Option<Arc<dyn Tap>>,
}

/// PostgreSQL's clock as it was last told, carried on by this machine's monotonic one for a second at most: asking
/// before every statement would be a fifth of all that is asked.
#[derive(Debug, Default)]
pub(super) struct Sampled(Mutex<Option<(Instant, Micros)>>);

impl Sampled {
    /// How long a sample is carried on.
    const KEPT: Duration = Duration::from_secs(1);
    /// The longest way there and back of a sample worth keeping; half of it is the error.
    const SHORT: Duration = Duration::from_millis(20);

    fn read(&self) -> Option<Micros> {
        let (at, told) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(at.elapsed()).filter(|age| *age < Self::KEPT).map(|age| told + age)
    }

    fn keep(&self, now: Micros) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), now));
    }
}

/// How long PostgreSQL may take to answer a statement, a wait for a connection or for somebody's lock included: as long
/// as a lease. Whoever waits behind a connection that is only half open would otherwise do so for hours, and what its
/// worker holds with it.
const ANSWER: Duration = Duration::from_secs(15);

/// A statement's answer, if it comes in time. One that does not leaves its connection in a state nobody knows; the pool
/// closes it.
async fn answered<T>(statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let late = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"));
    tokio::time::timeout(ANSWER, statement).await.unwrap_or_else(|_| Err(late()))
}

macro_rules! on_pool {
    ($pool:expr, $which:ident, $op:ident, $sql:expr, $args:expr) => {
        match $pool {
            Pool::Sqlite { $which, .. } => bind!($sql, $args).$op($which).await.map(Wrap::wrap),
            Pool::Postgres(pool) => answered(bind!($sql, $args).$op(pool)).await.map(Wrap::wrap),
        }
    };
}

/// Brings each engine's result to ours.
trait Wrap {
    type Ours;
    fn wrap(self) -> Self::Ours;
}
impl Wrap for SqliteRow {
    type Ours = Row;
    fn wrap(self) -> Row {
        Row::Sqlite(self)
    }
}
impl Wrap for PgRow {
    type Ours = Row;
    fn wrap(self) -> Row {
        Row::Postgres(self)
    }
}
impl<T: Wrap> Wrap for Option<T> {
    type Ours = Option<T::Ours>;
    fn wrap(self) -> Self::Ours {
        self.map(Wrap::wrap)
    }
}
impl<T: Wrap> Wrap for Vec<T> {
    type Ours = Vec<T::Ours>;
    fn wrap(self) -> Self::Ours {
        self.into_iter().map(Wrap::wrap).collect()
    }
}
impl Wrap for sqlx::sqlite::SqliteQueryResult {
    type Ours = u64;
    fn wrap(self) -> u64 {
        self.rows_affected()
    }
}
impl Wrap for sqlx::postgres::PgQueryResult {
    type Ours = u64;
    fn wrap(self) -> u64 {
        self.rows_affected()
    }
}

impl Sql {
    /// The store's time now.
    pub(super) async fn now(&self) -> Result<Micros, StoreError> {
        match (&self.clock, &self.pool) {
            (Clock::Manual(micros), _) => Ok(Micros(micros.load(Ordering::SeqCst))),
            (Clock::Engine, Pool::Sqlite { .. }) => Ok(Micros::wall()),
            (Clock::Engine, Pool::Postgres(_)) => match self.sampled.read() {
                Some(now) => Ok(now),
                None => self.sample().await,
            },
        }
    }

    /// Asks PostgreSQL for its time, and keeps the answer where the way there and back was short.
    async fn sample(&self) -> Result<Micros, StoreError> {
        let asked = Instant::now();
        let now: Micros = self.read_one("SELECT clock_timestamp() AS now", &[]).await?.get("now")?;
        let way = asked.elapsed();
        if way <= Sampled::SHORT {
            self.sampled.keep(now + way / 2);
        }
        Ok(now)
    }

    /// A transaction for writing.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Transaction).await?;
        let inner = match &self.pool {
            Pool::Sqlite { write, .. } => Inner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Inner::Postgres(answered(pool.begin()).await?),
        };
        let mut tx = Tx { inner, now: Micros(0), passage, died: Vec::new() };
        tx.now = match (&self.clock, &self.pool, self.sampled.read()) {
            (Clock::Engine, Pool::Postgres(_), Some(now)) => now,
            (Clock::Engine, Pool::Postgres(_), None) => {
                tx.one("SELECT clock_timestamp() AS now", &[]).await?.get("now")?
            }
            (Clock::Engine, Pool::Sqlite { .. }, _) | (Clock::Manual(_), ..) => self.now().await?,
        };
        Ok(tx)
    }

    /// A transaction that only reads, all of it from one moment.
    pub(super) async fn snapshot(&self) -> Result<Tx, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Transaction).await?;
        let inner = match &self.pool {
            Pool::Sqlite { read, .. } => Inner::Sqlite(read.begin().await?),
            Pool::Postgres(pool) => {
                let begun = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                Inner::Postgres(answered(begun).await?)
            }
        };
        Ok(Tx { inner, now: self.now().await?, passage, died: Vec::new() })
    }

    /// Rows outside a transaction.
    pub(super) async fn read(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Read(sql)).await?;
        let sql = passage.instead(sql);
        passage.end(on_pool!(&self.pool, read, fetch_all, sql, args).map_err(StoreError::from))
    }

    /// At most one row outside a transaction.
    pub(super) async fn read_maybe(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Option<Row>, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Read(sql)).await?;
        let sql = passage.instead(sql);
        passage.end(on_pool!(&self.pool, read, fetch_optional, sql, args).map_err(StoreError::from))
    }

    /// Exactly one row outside a transaction.
    pub(super) async fn read_one(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Row, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Read(sql)).await?;
        let sql = passage.instead(sql);
        passage.end(on_pool!(&self.pool, read, fetch_one, sql, args).map_err(StoreError::from))
    }

    /// One writing statement, a transaction of its own; how many rows it touched.
    pub(super) async fn write(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Write(sql)).await?;
        let sql = passage.instead(sql);
        passage.end(on_pool!(&self.pool, write, execute, sql, args).map_err(StoreError::from))
    }

    /// One writing statement with `RETURNING`.
    pub(super) async fn write_returning(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let passage = Passage::begin(self.tap.as_ref(), Passing::Write(sql)).await?;
        let sql = passage.instead(sql);
        passage.end(on_pool!(&self.pool, write, fetch_all, sql, args).map_err(StoreError::from))
    }

    /// Ends every connection.
    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A transaction. Dropping it rolls back.
pub(super) struct Tx {
    inner: Inner,
    now: Micros,
    passage: Passage,
    died: Vec<String>,
}

macro_rules! on_tx {
    ($inner:expr, $op:ident, $sql:expr, $args:expr) => {
        match $inner {
            Inner::Sqlite(tx) => bind!($sql, $args).$op(&mut **tx).await.map(Wrap::wrap),
            Inner::Postgres(tx) => answered(bind!($sql, $args).$op(&mut **tx)).await.map(Wrap::wrap),
        }
    };
}

impl Tx {
    /// The store's time when the transaction began.
    pub(super) const fn now(&self) -> Micros {
        self.now
    }

    pub(super) async fn all(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, StoreError> {
        let sql = self.passage.instead(sql);
        Ok(on_tx!(&mut self.inner, fetch_all, sql, args)?)
    }

    pub(super) async fn maybe(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<Option<Row>, StoreError> {
        let sql = self.passage.instead(sql);
        Ok(on_tx!(&mut self.inner, fetch_optional, sql, args)?)
    }

    pub(super) async fn one(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<Row, StoreError> {
        let sql = self.passage.instead(sql);
        Ok(on_tx!(&mut self.inner, fetch_one, sql, args)?)
    }

    /// Runs a statement; how many rows it touched.
    pub(super) async fn run(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let sql = self.passage.instead(sql);
        Ok(on_tx!(&mut self.inner, execute, sql, args)?)
    }

    /// Counts a letter of this class, if and when the transaction commits.
    pub(super) fn counts_as_dead(&mut self, class: &str) {
        self.died.push(class.to_owned());
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let committed = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => answered(tx.commit()).await,
        };
        for class in self.died.into_iter().filter(|_| committed.is_ok()) {
            metrics::counter!(names::DEAD, "class" => class).increment(1);
        }
        self.passage.end(committed.map_err(StoreError::from))
    }

    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self.inner {
            Inner::Sqlite(tx) => tx.rollback().await?,
            Inner::Postgres(tx) => answered(tx.rollback()).await?,
        }
        Ok(())
    }
}

// Times: INTEGER microseconds on SQLite, timestamptz on PostgreSQL, whose binary form is microseconds since 2000.
// sqlx's own time types go to SQLite as text of varying length, which sorts wrongly.

/// 2000-01-01T00:00:00Z in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

impl sqlx::Type<Sqlite> for Micros {
    fn type_info() -> SqliteTypeInfo {
        <i64 as sqlx::Type<Sqlite>>::type_info()
    }
    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <i64 as sqlx::Type<Sqlite>>::compatible(ty)
    }
}

impl sqlx::Encode<'_, Sqlite> for Micros {
    fn encode_by_ref(
        &self,
        buf: &mut <Sqlite as sqlx::Database>::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <i64 as sqlx::Encode<'_, Sqlite>>::encode_by_ref(&self.0, buf)
    }
}

impl<'r> sqlx::Decode<'r, Sqlite> for Micros {
    fn decode(value: <Sqlite as sqlx::Database>::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        <i64 as sqlx::Decode<'r, Sqlite>>::decode(value).map(Self)
    }
}

impl sqlx::Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl sqlx::Encode<'_, Postgres> for Micros {
    fn encode_by_ref(
        &self,
        buf: &mut <Postgres as sqlx::Database>::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <i64 as sqlx::Encode<'_, Postgres>>::encode_by_ref(&(self.0 - POSTGRES_EPOCH), buf)
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Micros {
    fn decode(value: <Postgres as sqlx::Database>::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        match value.format() {
            sqlx::postgres::PgValueFormat::Binary => {
                <i64 as sqlx::Decode<'r, Postgres>>::decode(value).map(|micros| Self(micros + POSTGRES_EPOCH))
            }
            sqlx::postgres::PgValueFormat::Text => Err("a timestamp came as text".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_clock_goes_on_by_itself_for_a_second_and_then_has_to_be_asked() {
        let sampled = |age: Duration| Sampled(Mutex::new(Some((Instant::now() - age, Micros(1_000)))));
        assert_eq!(Sampled::default().read(), None);
        let read = sampled(Duration::from_millis(400)).read().expect("fresh");
        assert!(read >= Micros(1_000) + Duration::from_millis(400), "{read:?}");
        assert_eq!(sampled(Sampled::KEPT).read(), None);
    }
}
