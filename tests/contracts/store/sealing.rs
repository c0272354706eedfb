//! Nothing that a person said or is called lies in clear, and nothing sealed opens elsewhere.

use std::os::unix::fs::PermissionsExt;

use common::config::StoreUrl;
use common::domain::{Author, Event};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::{ANNA, BORIS, Shop, accepted, contract};

/// Words that appear in every kind of content below.
const SECRET: &str = "xylophone-marmalade";

/// Everything that lies on disk, or for PostgreSQL in every row of every table, bytes as hexadecimal digits.
async fn everything(shop: &Shop) -> Vec<u8> {
    match &shop.url {
        StoreUrl::Sqlite(_) => {
            let files = std::fs::read_dir(shop.folder().unwrap()).unwrap();
            let mut found = Vec::new();
            let mut names = Vec::new();
            for file in files.map(Result::unwrap) {
                names.push(file.file_name().into_string().unwrap());
                found.extend(std::fs::read(file.path()).unwrap());
            }
            for name in ["store.db", "store.keys.db", "store.db-wal"] {
                assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
            }
            found
        }
        StoreUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url.expose()).await.unwrap();
            let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                          WHERE table_schema IN ('public', 'keys') AND table_name NOT LIKE '\\_%'";
            let tables = sqlx::query(tables).fetch_all(&mut connection).await.unwrap();
            let mut found = Vec::new();
            assert!(tables.len() >= 12, "every table is looked at");
            for table in tables {
                let sql = format!("SELECT t::text FROM {} t", table.get::<String, _>(0));
                for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap() {
                    found.extend(row.get::<String, _>(0).into_bytes());
                }
            }
            found
        }
    }
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    let hexadecimal = hex::encode(needle);
    [needle.as_bytes(), hexadecimal.as_bytes()]
        .iter()
        .any(|needle| haystack.windows(needle.len()).any(|at| at == *needle))
}

contract! {
    async fn no_text_address_or_provider_id_lies_in_clear(shop) {
        let (_, conversation) = shop.say(ANNA, SECRET).await;
        let claim = shop.claim_quiet(conversation).await;
        let attempt = shop.attempt(&claim, "main", "hash").await;
        shop.attempt_answers(&claim, attempt, SECRET).await;
        shop.store.save_answer(SECRET, SECRET, std::time::Duration::from_secs(60), 10).await.unwrap();
        shop.reply_with(&claim, &[shop.send(Author::Assistant, SECRET)]).await.unwrap();
        let sender = shop.sender(conversation).await;
        let id = shop.begin(&sender).await;
        shop.finish(&sender, id, accepted(&format!("wamid.{ANNA}"))).await;
        let mut handoff = super::handoffs::handoff(&shop, &["chat"]);
        handoff.notices[0].body = SECRET.to_owned();
        handoff.call.evidence[0].reason = SECRET.to_owned();
        shop.call(BORIS, &handoff).await;
        shop.admit(&shop.status(None, &format!("wamid.{BORIS}"), common::domain::Status::Sent)).await;
        let unparsed = Event::Unparsed { problem: "not JSON".into(), raw: SECRET.as_bytes().to_vec() };
        shop.admit(&shop.arrival_by("shop", None, unparsed)).await;
        shop.store.keep_undeliverable(None, SECRET.as_bytes(), "malformed").await.unwrap();
        let lying = everything(&shop).await;
        // What may lie in clear is found, so the search works.
        assert!(contains(&lying, "assistant") && contains(&lying, "unparsed"));
        for secret in [SECRET, "marmalade", ANNA, BORIS, "wamid"] {
            assert!(!contains(&lying, secret), "'{secret}' lies in clear");
        }
    }

    async fn a_contacts_key_is_wrapped_and_lies_apart_from_the_data(shop) {
        shop.say(ANNA, "hello").await;
        let keys = match &shop.url {
            StoreUrl::Sqlite(file) => {
                let url = format!("sqlite://{}", file.keys_file().path().display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                sqlx::query("SELECT wrapped FROM contact_key").fetch_one(&mut connection).await.unwrap().get::<Vec<u8>, _>(0)
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                sqlx::query("SELECT wrapped FROM keys.contact_key").fetch_one(&mut connection).await.unwrap().get(0)
            }
        };
        assert_eq!(common::seal::Keyring::key_id(&keys).unwrap(), "s1");
        assert!(keys.len() > common::seal::KEY_BYTES + 24, "a bare key is shorter");
    }

    async fn sealed_bytes_moved_to_another_row_do_not_open(shop) {
        let (first, conversation) = shop.say(ANNA, "one").await;
        let (second, _) = shop.say(ANNA, "two").await;
        let (first, second) = (shop.id(first.uuid()), shop.id(second.uuid()));
        shop.execute(format!("UPDATE inbox SET body = (SELECT body FROM inbox WHERE id = {second}) WHERE id = {first}")).await;
        let claim = shop.claim_quiet(conversation).await;
        let opened: Vec<_> = shop.store.pending(&claim).await.unwrap().into_iter().map(|m| m.content.is_some()).collect();
        assert_eq!(opened, [false, true]);
        let (_, anna, mine) = {
            shop.reply_with(&claim, &[]).await.unwrap();
            shop.answered(ANNA).await
        };
        let (_, _, theirs) = shop.answered(BORIS).await;
        let (mine, theirs) = (shop.id(mine.uuid()), shop.id(theirs.uuid()));
        shop.execute(format!("UPDATE outbox SET body = (SELECT body FROM outbox WHERE id = {theirs}) WHERE id = {mine}")).await;
        let sender = shop.sender(anna).await;
        let common::store::NextSend::Send(head) = shop.store.next_send(&sender).await.unwrap() else { panic!() };
        let begun = shop.store.begin_send(&sender, head, super::SENDING).await.unwrap();
        assert!(matches!(begun, common::store::Begun::Superseded), "nothing is sent");
        assert_eq!(shop.send_state(anna, head).await, "dead");
    }
}

#[tokio::test]
async fn every_file_of_an_embedded_store_belongs_to_its_owner_alone() {
    let shop = Shop::on_sqlite().await;
    shop.say(ANNA, "hello").await;
    let files: Vec<_> = std::fs::read_dir(shop.folder().unwrap()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 4, "two databases and their logs");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}
