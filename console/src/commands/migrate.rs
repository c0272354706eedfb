//! `handrail migrate`: the store's schema brought up to date, the embedded files made.

use common::config::{QueueUrl, SqliteFile, StoreUrl};
use common::store::{Store, StoreError};
use serde_json::{Value, json};

use crate::context::{Context, Settings};
use crate::failure::{Answer, Failure};

pub(crate) async fn run(context: &Context) -> Answer {
    let settings = context.settings()?;
    let mut rows = migrate_store(&settings).await?;
    rows.push(open_queue(&settings).await?);
    let columns = [("door", "id"), ("engine", "engine"), ("state", "state"), ("where", "path")];
    context.output.list(&rows, &columns, "");
    Ok(())
}

async fn migrate_store(settings: &Settings) -> Result<Vec<Value>, Failure> {
    match &settings.store {
        StoreUrl::Sqlite(file) => {
            let keys = file.keys_file();
            let before = [state_before(file), state_before(&keys)];
            migrate(settings).await?.close().await;
            Ok(vec![row("store", "sqlite", before[0], file), row("keys", "sqlite", before[1], &keys)])
        }
        StoreUrl::Postgres(_) => {
            let state = match settings.open_store().await {
                Ok(store) => {
                    store.close().await;
                    "current"
                }
                // Out of reach is told by the migration itself, in its own words.
                Err(_) => "migrated",
            };
            migrate(settings).await?.close().await;
            let row = |id| json!({"id": id, "engine": "postgres", "state": state, "path": Value::Null});
            Ok(vec![row("store"), row("keys")])
        }
    }
}

async fn migrate(settings: &Settings) -> Result<Store, StoreError> {
    Store::migrate(&settings.store, &settings.keys, &settings.config.timing).await
}

async fn open_queue(settings: &Settings) -> Result<Value, Failure> {
    match &settings.queue {
        QueueUrl::Sqlite(file) => {
            let before = state_before(file);
            settings.open_queue().await?.close().await;
            Ok(row("queue", "sqlite", before, file))
        }
        // Whoever connects to the broker declares its queues.
        QueueUrl::Amqp(_) => {
            Ok(json!({"id": "queue", "engine": "rabbitmq", "state": "declared_on_connect", "path": Value::Null}))
        }
    }
}

fn state_before(file: &SqliteFile) -> &'static str {
    if file.path().exists() { "current" } else { "made" }
}

fn row(id: &str, engine: &str, state: &str, file: &SqliteFile) -> Value {
    json!({"id": id, "engine": engine, "state": state, "path": file.path().display().to_string()})
}
