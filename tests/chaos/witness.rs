//! A witness inside the store, which no process of ours knows of: triggers that write down every state that a message
//! or a send ever had and every change of a floor, and a reader of the plain rows.
//!
//! A state that was left again, an unknown send that its late sender resolved for instance, is nowhere else to be seen.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection};

/// The witness of one store.
#[derive(Clone, Debug)]
pub(crate) enum Witness {
    Postgres(String),
    Sqlite(Box<SqliteConnectOptions>),
}

/// A message or another event, as it stands.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) late: i64,
    pub(crate) turn: Option<String>,
    pub(crate) ended: Option<i64>,
    /// When the ingress had the copy that counts.
    #[expect(dead_code, reason = "for a person who searches the evidence")]
    pub(crate) received: i64,
    /// When intake had it.
    #[expect(dead_code, reason = "for a person who searches the evidence")]
    pub(crate) taken_in: i64,
}

/// A send, as it stands.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Send {
    pub(crate) id: String,
    pub(crate) turn: Option<String>,
    pub(crate) state: String,
    pub(crate) author: String,
    pub(crate) purpose: String,
    pub(crate) conversation: String,
}

/// A dead letter.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Letter {
    pub(crate) event: Option<String>,
    pub(crate) class: String,
}

/// A change that the witness saw: of an `inbox` or `outbox` row's state, or of a `conversation`'s floor.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Change {
    /// Microseconds since 1970, when the statement ran.
    pub(crate) at: i64,
    pub(crate) what: String,
    pub(crate) id: String,
    pub(crate) was: Option<String>,
    pub(crate) became: String,
}

/// What is not done yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Unsettled {
    /// Events accepted from a provider that the store does not have yet; the witness cannot know of them.
    #[serde(default)]
    pub(crate) queued: usize,
    /// Messages without an end.
    pub(crate) pending: usize,
    /// Sends queued or under way.
    pub(crate) open: usize,
    /// Unknown sends that still wait for a status.
    pub(crate) waiting: usize,
}

/// Everything in the store, at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    pub(crate) events: Vec<Event>,
    pub(crate) sends: Vec<Send>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) changes: Vec<Change>,
}

const POSTGRES: &str = "
CREATE TABLE witness (n bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text, id uuid,
    was text, became text);
CREATE FUNCTION witness_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (what, id, was, became)
    VALUES (TG_TABLE_NAME, NEW.id, CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE OLD.state END, NEW.state);
    RETURN NULL;
END $$;
CREATE FUNCTION witness_floor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness (what, id, was, became) VALUES (TG_TABLE_NAME, NEW.id, OLD.floor, NEW.floor);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_new_inbox AFTER INSERT ON inbox FOR EACH ROW EXECUTE FUNCTION witness_state();
CREATE TRIGGER witness_inbox AFTER UPDATE ON inbox FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION witness_state();
CREATE TRIGGER witness_outbox AFTER UPDATE ON outbox FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION witness_state();
CREATE TRIGGER witness_conversation AFTER UPDATE ON conversation FOR EACH ROW
    WHEN (OLD.floor IS DISTINCT FROM NEW.floor) EXECUTE FUNCTION witness_floor();
";

const SQLITE: &str = "
CREATE TABLE witness (n integer PRIMARY KEY, at integer NOT NULL, what text, id blob, was text, became text);
CREATE TRIGGER witness_new_inbox AFTER INSERT ON inbox BEGIN INSERT INTO witness (at, what, id, was, became)
    VALUES (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS integer), 'inbox', NEW.id, NULL, NEW.state); END;
CREATE TRIGGER witness_inbox AFTER UPDATE ON inbox WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO witness (at, what, id, was, became)
    VALUES (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS integer), 'inbox', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER witness_outbox AFTER UPDATE ON outbox WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO witness (at, what, id, was, became)
    VALUES (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS integer), 'outbox', NEW.id, OLD.state, NEW.state); END;
CREATE TRIGGER witness_conversation AFTER UPDATE ON conversation WHEN OLD.floor <> NEW.floor BEGIN
    INSERT INTO witness (at, what, id, was, became) VALUES
    (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS integer), 'conversation', NEW.id, OLD.floor, NEW.floor); END;
";

impl Unsettled {
    /// Whether all is done.
    pub(crate) fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl Witness {
    /// Sends a witness into the store behind a `DATABASE_URL`, whose schema is there already.
    pub(crate) async fn of(url: &str) -> Self {
        if url.starts_with("postgres") {
            let mut connection = PgConnection::connect(url).await.expect("the private server");
            connection.execute(POSTGRES).await.expect("triggers");
            return Self::Postgres(url.to_owned());
        }
        let options = SqliteConnectOptions::from_str(url).expect("a SQLite URL");
        let options = options.busy_timeout(std::time::Duration::from_secs(30));
        let mut connection = SqliteConnection::connect_with(&options).await.expect("the private file");
        connection.execute(SQLITE).await.expect("triggers");
        connection.close().await.expect("a goodbye");
        Self::Sqlite(Box::new(options))
    }

    /// The rows of a table, `columns` of it; an error while the store is away.
    async fn rows<T: DeserializeOwned>(&self, columns: &[(&str, Kind)], rest: &str) -> sqlx::Result<Vec<T>> {
        let one = |(name, kind): &(&str, Kind)| {
            let (alias, expression) = name.split_once('=').unwrap_or((name, name));
            format!("'{alias}', {}", kind.read(expression, matches!(self, Self::Postgres(_))))
        };
        let list = columns.iter().map(one).collect::<Vec<_>>().join(", ");
        let texts: Vec<String> = match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                let sql = format!("SELECT json_build_object({list})::text AS row {rest}");
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
                rows.iter().map(|row| row.try_get("row")).collect::<sqlx::Result<_>>()?
            }
            Self::Sqlite(options) => {
                let mut connection = SqliteConnection::connect_with(options).await?;
                let sql = format!("SELECT json_object({list}) AS row {rest}");
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
                rows.iter().map(|row| row.try_get("row")).collect::<sqlx::Result<_>>()?
            }
        };
        Ok(texts.iter().map(|text| serde_json::from_str(text).expect("what was asked for")).collect())
    }

    /// Every event.
    pub(crate) async fn events(&self) -> sqlx::Result<Vec<Event>> {
        let columns = [
            ("id", Kind::Id),
            ("kind", Kind::Plain),
            ("state", Kind::Plain),
            ("late", Kind::Bool),
            ("turn=turn_id", Kind::Id),
            ("ended=ended_at", Kind::Time),
            ("received=received_at", Kind::Time),
            ("taken_in=accepted_at", Kind::Time),
        ];
        self.rows(&columns, "FROM inbox").await
    }

    /// Every send.
    pub(crate) async fn sends(&self) -> sqlx::Result<Vec<Send>> {
        let columns = [
            ("id", Kind::Id),
            ("turn=turn_id", Kind::Id),
            ("state", Kind::Plain),
            ("author", Kind::Plain),
            ("purpose", Kind::Plain),
            ("conversation=conversation_id", Kind::Id),
        ];
        self.rows(&columns, "FROM outbox ORDER BY conversation_id, ordinal").await
    }

    /// The conversation that an event belongs to, once it is there.
    pub(crate) async fn conversation_of(&self, event: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Found {
            conversation: Option<String>,
        }
        let digits = event.replace('-', "");
        let rest = match self {
            Self::Postgres(_) => format!("FROM inbox WHERE id = '{digits}'::uuid"),
            Self::Sqlite(_) => format!("FROM inbox WHERE id = X'{digits}'"),
        };
        let found: Vec<Found> = self.rows(&[("conversation=conversation_id", Kind::Id)], &rest).await.ok()?;
        found.into_iter().next()?.conversation
    }

    /// How much is not done yet.
    pub(crate) async fn unsettled(&self) -> sqlx::Result<Unsettled> {
        let columns = [
            ("pending=(SELECT count(*) FROM inbox WHERE state = 'pending')", Kind::Plain),
            ("open=(SELECT count(*) FROM outbox WHERE state IN ('queued', 'sending'))", Kind::Plain),
            ("waiting=(SELECT count(*) FROM outbox WHERE state = 'unknown' AND closed_at IS NULL)", Kind::Plain),
        ];
        Ok(self.rows(&columns, "").await?.pop().unwrap_or_default())
    }

    /// Has PostgreSQL end every other session, as a failover would.
    pub(crate) async fn end_sessions(&self) {
        let Self::Postgres(url) = self else { return };
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
        if let Ok(mut connection) = PgConnection::connect(url).await {
            // Ours may be among those that somebody else ends.
            let _ended = connection.execute(sql).await;
        }
    }

    /// Everything that the store and the witness can tell.
    pub(crate) async fn testimony(&self) -> sqlx::Result<Testimony> {
        let letters = [("event=event_id", Kind::Id), ("class", Kind::Plain)];
        let changes = [
            ("at", Kind::Time),
            ("what", Kind::Plain),
            ("id", Kind::Id),
            ("was", Kind::Plain),
            ("became", Kind::Plain),
        ];
        Ok(Testimony {
            events: self.events().await?,
            sends: self.sends().await?,
            letters: self.rows(&letters, "FROM dead").await?,
            changes: self.rows(&changes, "FROM witness ORDER BY n").await?,
        })
    }
}

/// How a column becomes JSON.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    /// 32 hexadecimal digits.
    Id,
    /// 0 or 1.
    Bool,
    /// Microseconds since 1970.
    Time,
}

impl Kind {
    fn read(self, column: &str, postgres: bool) -> String {
        match (self, postgres) {
            (Self::Plain, _) | (Self::Bool | Self::Time, false) => column.to_owned(),
            (Self::Id, true) => format!("replace({column}::text, '-', '')"),
            (Self::Id, false) => format!("CASE WHEN {column} IS NULL THEN NULL ELSE lower(hex({column})) END"),
            (Self::Bool, true) => format!("({column})::int"),
            (Self::Time, true) => format!("(extract(epoch from {column}) * 1000000)::bigint"),
        }
    }
}
