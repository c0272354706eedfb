//! A contact's key that does not open: its conversation waits for the key, and is in nobody's way.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Row, SqliteConnection};

use super::replace;
use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack};

async fn connection(stack: &Stack, file: &str) -> SqliteConnection {
    let path = stack.folder().join(file);
    assert!(path.exists(), "{} is not there", path.display());
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(std::time::Duration::from_secs(10));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Writes another wrapped key for the first contact, and returns the one that was there.
async fn exchange(stack: &Stack, wrapped: &[u8]) -> Vec<u8> {
    let mut keys = connection(stack, "handrail.keys.db").await;
    let first = "SELECT rowid AS n, wrapped FROM contact_key ORDER BY rowid LIMIT 1";
    let row = sqlx::query(first).fetch_one(&mut keys).await.unwrap();
    let sql = "UPDATE contact_key SET wrapped = $1 WHERE rowid = $2";
    sqlx::query(sql).bind(wrapped).bind(row.get::<i64, _>("n")).execute(&mut keys).await.unwrap();
    row.get("wrapped")
}

#[tokio::test]
async fn a_conversation_whose_key_does_not_open_waits_for_it_and_keeps_nobody_from_work() {
    let mut stack = Plan::on(Doors::Embedded).await.start().await;
    let held = stack.model.hold();
    let event = stack.say("15550110", "Are you open?").await;
    stack.model.wait_for_calls(1).await.unwrap();
    let key = exchange(&stack, b"no key of ours").await;
    replace(&mut stack, 0).await;
    held.release();
    eventually("it is put off, and its claims are forgotten", async || {
        let mut main = connection(&stack, "handrail.db").await;
        let sql = "SELECT claims = 0 AND lease_owner IS NULL \
                     AND next_at > (julianday('now') - 2440587.5) * 86400000000.0 + 30000000 AS waits FROM conversation";
        sqlx::query(sql).fetch_one(&mut main).await.unwrap().get("waits")
    })
    .await;
    let other = stack.say("15550111", "And on Sunday?").await;
    assert_eq!(stack.end_of(other).await, "replied", "others go on");
    exchange(&stack, &key).await;
    let mut main = connection(&stack, "handrail.db").await;
    sqlx::query("UPDATE conversation SET next_at = NULL").execute(&mut main).await.unwrap();
    assert_eq!(stack.end_of(event).await, "replied", "it had only waited");
    assert_eq!(stack.settled().await.ended["replied"], 2);
}
