//! What journeys of dead letters share: how messages die, the operator's command in JSON, and the store seen raw.

use std::collections::BTreeMap;

use common::domain::EventId;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use stand_ins::ModelBehaviour;

use crate::stack::Stack;

/// Customers say something that the model cannot take; each dies before the next speaks. Afterwards the model is well.
pub(super) async fn parked(stack: &Stack, said: &[(&str, &str)]) -> Vec<EventId> {
    stack.model.always(ModelBehaviour::ContextTooLong);
    let mut events = Vec::new();
    for (customer, text) in said {
        let event = stack.say(customer, text).await;
        assert_eq!(stack.end_of(event).await, "dead");
        events.push(event);
    }
    stack.settled().await;
    stack.model.always(ModelBehaviour::Reply);
    events
}

/// A command's JSON, after this exit code.
pub(super) async fn told_after(stack: &Stack, code: i32, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
    let (ended, out, said) = stack.handrail(&arguments).await;
    assert_eq!(ended, code, "{arguments:?}: {out}\n{said}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{said}"))
}

/// A command's JSON, after it went well.
pub(super) async fn told(stack: &Stack, arguments: &[&str]) -> Value {
    told_after(stack, 0, arguments).await
}

/// What a command says that does not go well, after this exit code; it prints no data.
pub(super) async fn refused(stack: &Stack, code: i32, arguments: &[&str]) -> String {
    let (ended, out, said) = stack.handrail(arguments).await;
    assert_eq!(ended, code, "{arguments:?}: {out}\n{said}");
    assert!(out.is_empty() && !said.contains("panicked"), "{arguments:?}: {out}\n{said}");
    said
}

/// The id of the letter of an event.
pub(super) async fn letter_of(stack: &Stack, event: EventId) -> String {
    let listed = told(stack, &["dead", "list"]).await;
    let event = event.to_string();
    let letter = listed.as_array().unwrap().iter().find(|letter| letter["event_id"] == event.as_str());
    letter.unwrap_or_else(|| panic!("no letter of {event}: {listed}"))["id"].as_str().unwrap().to_owned()
}

/// Changes the store behind everybody's back.
pub(super) async fn tamper(stack: &Stack, sql: &str) {
    let url = &stack.settings["DATABASE_URL"];
    let changed = if url.starts_with("postgres") {
        let mut store = PgConnection::connect(url).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut store).await.unwrap().rows_affected()
    } else {
        let mut store = SqliteConnection::connect(url).await.unwrap();
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut store).await.unwrap().rows_affected()
    };
    assert!(changed > 0, "{sql}");
}

/// An id as the engine's SQL writes it.
pub(super) fn literal(stack: &Stack, id: uuid::Uuid) -> String {
    match stack.settings["DATABASE_URL"].starts_with("postgres") {
        true => format!("'{id}'"),
        false => format!("X'{}'", id.simple()),
    }
}

/// What a worker keeps by itself, about ingresses and the time that intake has run.
const KEPT_BY_WORKERS: [&str; 4] = ["ingress", "tally_span", "missing", "intake_clock"];

/// Every row of every table that somebody's doing changes, as text.
pub(super) async fn everything(stack: &Stack) -> BTreeMap<String, Vec<String>> {
    let url = &stack.settings["DATABASE_URL"];
    let mut found = if url.starts_with("postgres") { postgres(url).await } else { sqlite(url).await };
    found.retain(|table, _| !KEPT_BY_WORKERS.contains(&table.rsplit('.').next().unwrap_or_default()));
    found
}

async fn postgres(url: &str) -> BTreeMap<String, Vec<String>> {
    let mut store = PgConnection::connect(url).await.unwrap();
    let sql = "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables \
               WHERE table_schema NOT IN ('pg_catalog', 'information_schema')";
    let mut found = BTreeMap::new();
    for table in sqlx::query(sql).fetch_all(&mut store).await.unwrap() {
        let table: String = table.get("name");
        let sql = format!("SELECT t::text AS line FROM {table} t ORDER BY 1");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut store).await.unwrap();
        found.insert(table, rows.iter().map(|row| row.get("line")).collect());
    }
    found
}

async fn sqlite(url: &str) -> BTreeMap<String, Vec<String>> {
    let mut store = SqliteConnection::connect(url).await.unwrap();
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut found = BTreeMap::new();
    for table in sqlx::query(sql).fetch_all(&mut store).await.unwrap() {
        let table: String = table.get("name");
        let columns = sqlx::query(AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")));
        let columns = columns.fetch_all(&mut store).await.unwrap();
        let columns: Vec<String> =
            columns.iter().map(|row| format!("quote({})", row.get::<String, _>("name"))).collect();
        let sql = format!("SELECT {} AS line FROM \"{table}\" ORDER BY 1", columns.join(" || '|' || "));
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut store).await.unwrap();
        found.insert(table, rows.iter().map(|row| row.get("line")).collect());
    }
    found
}
