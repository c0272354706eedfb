//! The embedded queue's file: private, shared, and unwritable at times.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::config::SqliteFile;
use common::queue::sqlite::SqliteQueue;
use common::queue::{Lane, PublishError, Queue, QueueError, QueueTiming};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection};

use super::queue::{envelope, next, publish_one};

async fn open(path: &Path) -> Result<SqliteQueue, QueueError> {
    SqliteQueue::open(&SqliteFile::at(path), QueueTiming::default()).await
}

/// Another process's hand on the same file.
async fn intruder(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

#[tokio::test]
async fn the_file_and_its_companions_are_private_and_missing_folders_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/queue.db");
    let queue = open(&path).await.unwrap();
    publish_one(&queue).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for name in ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db.lock"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_starts_at_once_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let opens: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn({
                let path = path.clone();
                async move { open(&path).await }
            })
        })
        .collect();
    for opened in opens {
        let queue = opened.await.unwrap().unwrap();
        publish_one(&queue).await;
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    std::fs::write(&path, "this is no database, however long the text may be made for it to look like a header")
        .unwrap();
    let refused = open(&path).await.err().unwrap();
    assert!(matches!(refused, QueueError::Configuration(_)), "{refused}");
    assert!(refused.to_string().contains("queue.db"), "{refused}");
}

#[tokio::test]
async fn a_publish_that_cannot_be_written_in_time_says_so_and_the_next_one_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = open(&path).await.unwrap();
    let publisher = queue.publisher().await.unwrap();
    let mut intruder = intruder(&path).await;
    intruder.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = Instant::now();
    let refused = publisher.publish(&envelope()).await;
    assert!(matches!(refused, Err(PublishError::TimedOut(_))), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "longer than the confirm timeout");
    intruder.execute("ROLLBACK").await.unwrap();
    super::eventually("the writer recovers", async || publisher.publish(&envelope()).await.is_ok()).await;
}

#[tokio::test]
async fn a_failing_disk_is_told_to_the_publisher_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = open(&path).await.unwrap();
    let publisher = queue.publisher().await.unwrap();
    let mut intruder = intruder(&path).await;
    intruder
        .execute("CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(ABORT, 'no space'); END")
        .await
        .unwrap();
    let refused = publisher.publish(&envelope()).await;
    assert!(matches!(&refused, Err(PublishError::Storage(told)) if told == "no space"), "{refused:?}");
    intruder.execute("DROP TRIGGER full").await.unwrap();
    intruder.close().await.unwrap();
    let sent = publish_one(&queue).await;
    let mut consumer = queue.consumer(Lane::Work, 1).await.unwrap();
    assert_eq!(next(&mut *consumer).await.body, sent.bytes());
}

#[tokio::test]
async fn a_message_delivered_twenty_times_and_never_settled_is_buried() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = open(&path).await.unwrap();
    let sent = publish_one(&queue).await;
    intruder(&path).await.execute("UPDATE message SET deliveries = 20").await.unwrap();
    let mut work = queue.consumer(Lane::Work, 1).await.unwrap();
    let mut dead = queue.consumer(Lane::Dead, 1).await.unwrap();
    let buried = next(&mut *dead).await;
    assert_eq!(buried.body, sent.bytes());
    // The next message finds the work lane free.
    let sent = publish_one(&queue).await;
    assert_eq!(next(&mut *work).await.body, sent.bytes());
}
