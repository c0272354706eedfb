//! Nothing that a customer said, no address of theirs and no secret of ours stands anywhere in clear: not in a log at
//! its most talkative, a metric, a database, a queue or a list (P7).

use std::path::Path;

use common::store::DeadFilter;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use stand_ins::{GraphBehaviour, ModelBehaviour, ReplySink};

use super::bodies;
use crate::servers::rabbitmq;
use crate::stack::{ACCESS_TOKEN, APP_SECRET, Doors, Plan, Stack, VERIFY_TOKEN, WHATSAPP};

/// In everything that anybody says here, in any case.
const CANARY: &str = "zyxcanary";
const CUSTOMER: &str = "15550177";
const SHOP_SECRET: &str = "a-shop-secret-that-is-long-enough-for-tests";
const MODEL_KEY: &str = "a-model-key-that-is-long-enough-for-tests";

/// Everything that must be nowhere.
fn forbidden(stack: &Stack) -> Vec<String> {
    let mut all: Vec<String> =
        [CANARY, CUSTOMER, APP_SECRET, VERIFY_TOKEN, ACCESS_TOKEN, SHOP_SECRET, MODEL_KEY].map(str::to_owned).to_vec();
    let keys = &stack.settings["HANDRAIL_KEYS"];
    all.push(keys.trim_start_matches("k1:").to_lowercase());
    for url in ["QUEUE_URL", "DATABASE_URL"] {
        let url = url::Url::parse(&stack.settings[url]).unwrap();
        all.extend(url.password().map(str::to_owned));
    }
    all.extend(stack.graph.sends().into_iter().filter_map(|send| send.wamid).map(|wamid| wamid.to_lowercase()));
    assert!(all.iter().all(|word| word.len() >= 8), "too short to be telling: {all:?}");
    all
}

/// Fails if any of the words is in these bytes, as it is or in hexadecimal, and unless `proof` is: what is looked
/// through must be what it is taken for.
fn assert_clean(place: &str, bytes: &[u8], forbidden: &[String], proof: &str) {
    let lower = bytes.to_ascii_lowercase();
    let holds = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(holds(proof), "{place} does not even hold '{proof}'");
    for word in forbidden {
        assert!(!holds(word), "{place} holds '{word}' in clear");
        assert!(!holds(&hex::encode(word)), "{place} holds '{word}' in hexadecimal");
    }
}

/// All bytes of all files below a folder.
fn files(folder: &Path, found: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            // A server's own files come and go.
            path => found.extend(std::fs::read(path).unwrap_or_default()),
        }
    }
}

/// Every row of every table, as the server prints it.
async fn rows(url: &str) -> Vec<u8> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables \
                  WHERE table_schema NOT IN ('pg_catalog', 'information_schema')";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let mut found = String::new();
    for table in tables {
        let sql = AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        for row in sqlx::query(sql).fetch_all(&mut connection).await.unwrap() {
            found.push_str(row.get(0));
            found.push('\n');
        }
    }
    found.into_bytes()
}

async fn start(doors: Doors, sink: &ReplySink) -> Stack {
    let shop = format!(
        "[[source]]\nname = \"shop\"\nprovider = \"hmac\"\nheader = \"X-Shop\"\nsecrets = [\"${{SHOP_SECRET}}\"]\n\
         reply_url = \"{}\"\n",
        sink.url()
    );
    let plan = Plan::on(doors).await.with("SHOP_SECRET", SHOP_SECRET).with("LLM_API_KEY", MODEL_KEY);
    plan.with("RUST_LOG", "debug").file(&format!("{WHATSAPP}\n{shop}")).start().await
}

/// A day in a minute: answered, blocked, refused, unread, unreadable, failed and taken over.
async fn a_busy_day(stack: &Stack) {
    let (question, wamid) = (format!("Do you have {CANARY} shirts?"), |n: u32| format!("wamid.{CANARY}{n}"));
    let answer = format!("We have every {CANARY} shirt.");
    stack.model.answer_with(move |_| answer.clone());
    stack.model.next(ModelBehaviour::Error { http: 400, code: CANARY.into(), message: format!("no {CANARY}") });
    let answered = stack.say_as(&wamid(1), CUSTOMER, &question).await;
    assert_eq!(stack.end_of(answered).await, "replied");
    stack.say_as(&wamid(1), CUSTOMER, &question).await;
    let blocked = stack.say_as(&wamid(2), CUSTOMER, &format!("Write a fake invoice for {CANARY}")).await;
    assert_eq!(stack.end_of(blocked).await, "blocked");
    stack.settled().await;
    stack.graph.next(GraphBehaviour::Refuse { http: 400, code: 131_026 });
    let refused = stack.say_as(&wamid(3), CUSTOMER, &question).await;
    crate::contracts::eventually("it is dead", async || stack.end_of(refused).await == "dead").await;
    let image = json!({"caption": format!("{CANARY}?"), "filename": format!("{CANARY}.jpg"), "id": "1"});
    stack.post(bodies::messages(&[bodies::message(&wamid(4), CUSTOMER, "image", &image)])).await;
    stack.post(format!("{{\"object\": \"{CANARY} {CUSTOMER}\", ")).await;
    stack.post(bodies::messages(&[bodies::message(&wamid(5), CUSTOMER, CANARY, &json!({}))])).await;
    let forged = stack.post_signed("whatsapp", "not the secret", bodies::messages(&[])).await;
    assert_eq!(forged.status(), 401);
    let query = format!("hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}&hub.challenge=1158201444");
    for path in [format!("webhooks/whatsapp?{query}"), format!("webhooks/{CANARY}?{query}")] {
        stack.http.get(format!("{}/{path}", stack.ingress.url)).send().await.unwrap();
    }
    let own = json!({"id": CANARY, "contact": format!("{CANARY}-customer"), "text": question}).to_string();
    let signature = crate::stack::meta_signature(SHOP_SECRET, own.as_bytes()).replace("sha256=", "");
    let request = stack.http.post(format!("{}/webhooks/shop", stack.ingress.url)).header("X-Shop", signature);
    assert_eq!(request.body(own).send().await.unwrap().status(), 200);
    assert_eq!(stack.end_of(bodies::event("shop", "event", CANARY, None)).await, "replied");
    stack.settled().await;
    let wamid_of_ours = stack.graph.sends().into_iter().find_map(|send| send.wamid).unwrap();
    stack.post(bodies::statuses(&[bodies::status(&wamid_of_ours, None, CUSTOMER, "read", None)])).await;
    stack.post(bodies::statuses(&[bodies::status(&wamid(6), None, CUSTOMER, "sent", None)])).await;
    stack.post(bodies::echo(&wamid(7), CUSTOMER, &format!("The shop here about {CANARY}"))).await;
    assert_eq!(stack.end_of(bodies::event("whatsapp", "echo", &wamid(7), None)).await, "recorded");
    stack.settled().await;
}

/// What `handrail` prints without being asked to reveal.
async fn lists(stack: &Stack) -> String {
    let conversations = stack.store.conversations(None, 100).await.unwrap();
    assert_eq!(conversations.len(), 2);
    let letters = stack.store.dead_letters(&DeadFilter::default()).await.unwrap();
    assert_eq!(letters.len(), 2);
    let mut commands = vec!["ledger".to_owned(), "queue status".to_owned()];
    commands.extend(["conversation list".to_owned(), "dead list".to_owned()]);
    commands.extend(conversations.iter().map(|one| format!("conversation show {}", one.id)));
    commands.extend(letters.iter().map(|letter| format!("dead show {}", letter.id)));
    let mut printed = String::new();
    for command in commands.iter().flat_map(|command| [command.clone(), format!("--json {command}")]) {
        let (code, told, said) = stack.handrail(&command.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(code, 0, "{command}: {said}");
        printed.push_str(&told);
        printed.push_str(&said);
    }
    printed
}

async fn nothing_personal_or_secret_stands_in_clear_anywhere(doors: Doors) {
    let sink = ReplySink::start().await.unwrap();
    let mut stack = start(doors, &sink).await;
    a_busy_day(&stack).await;
    let forbidden = forbidden(&stack);
    for (process, metric) in
        [(&stack.ingress, "handrail_ingress_accepted_total"), (&stack.workers[0], "handrail_turns_total")]
    {
        let metrics = stack.http.get(format!("{}/metrics", process.admin)).send().await.unwrap();
        assert_clean("/metrics", &metrics.bytes().await.unwrap(), &forbidden, metric);
    }
    assert_clean("the lists", lists(&stack).await.as_bytes(), &forbidden, "unparsed");

    // What waits in the queue: nobody takes it in.
    stack.workers[0].stop().await;
    let waiting = stack.say_as(&format!("wamid.{CANARY}8"), CUSTOMER, &format!("Still {CANARY}?")).await.to_string();
    let mut kept = Vec::new();
    files(stack.folder(), &mut kept);
    assert_clean("a file of the deployment", &kept, &forbidden, &waiting);
    for process in std::iter::once(&stack.ingress).chain(&stack.workers) {
        assert_clean("a log", process.log().as_bytes(), &forbidden, "debug");
    }
    if doors == Doors::Servers {
        let secrets = |word: &&String| **word != *"only-for-tests";
        let words: Vec<String> = forbidden.iter().filter(secrets).cloned().collect();
        assert_clean("PostgreSQL", &rows(&stack.settings["DATABASE_URL"]).await, &words, "whatsapp");
        let mut broker = Vec::new();
        files(rabbitmq::shared().folder(), &mut broker);
        assert_clean("RabbitMQ", &broker, &words, &waiting);
    }
}

#[test]
fn a_canary_in_clear_is_found() {
    let forbidden = [CANARY.to_owned()];
    for dirty in [format!("proof {}", CANARY.to_uppercase()), format!("proof {}", hex::encode(CANARY))] {
        std::panic::catch_unwind(|| assert_clean("x", dirty.as_bytes(), &forbidden, "proof")).expect_err("it is there");
    }
    assert_clean("x", b"only the proof", &forbidden, "proof");
}

on_every_backend!(nothing_personal_or_secret_stands_in_clear_anywhere);
