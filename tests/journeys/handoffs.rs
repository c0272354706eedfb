//! Teams: whoever is called hears of it, at least once, by every way; and the customer is with a person, not in between.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::config::{Secret, Source};
use common::domain::{ConversationId, Floor, Micros, NoticeId, Provider, SourceName};
use common::providers;
use common::signature::{self, Headers};
use nix::sys::signal::Signal;
use serde_json::Value;
use stand_ins::{MailSink, ReplyBehaviour, ReplySink, SunkReply};
use tempfile::TempDir;

use crate::contracts::eventually;
use crate::stack::{Doors, Plan, Stack, WHATSAPP};

const CUSTOMER: &str = "15550101";
const COLLEAGUE: &str = "15550142";
const OURS: &str = "155500000000001";
const SECRET: &str = "a-notice-secret-that-is-long-enough-for-tests";
const QUESTION: &str = "What are your opening hours?";
const ASKS: &str = "I want to talk to a person";

/// Teams' own ends of the ways to them.
struct Ends {
    system: ReplySink,
    room: ReplySink,
    mail: MailSink,
    folder: TempDir,
}

/// The policy of a shop that never closes: answers are due in business time, and a test runs at any hour.
fn open_at_every_hour(policy: &str) -> String {
    let (from, to) = (policy.find("monday = [").unwrap(), policy.find("# How {opens} is said").unwrap());
    let days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let open: String = days.iter().map(|day| format!("{day} = [\"00:00-24:00\"]\n")).collect();
    format!("{}{open}{}", &policy[..from], &policy[to..])
}

impl Ends {
    async fn start() -> Self {
        let system = ReplySink::start().await.unwrap();
        let room = ReplySink::start().await.unwrap();
        let mail = MailSink::start().await.unwrap();
        Self { system, room, mail, folder: tempfile::tempdir().unwrap() }
    }

    /// Changes the policy that the deployment reads when it is told to.
    fn change(&self, (from, to): (&str, &str)) {
        let path = self.folder.path().join("policy.toml");
        let policy = std::fs::read_to_string(&path).unwrap();
        assert!(policy.contains(from), "'{from}' stands in the policy");
        std::fs::write(&path, policy.replacen(from, to, 1)).unwrap();
    }

    /// A deployment's file: the starter policy with these changes, and every way to a team.
    fn file(&self, changes: &[(&str, &str)]) -> String {
        let mut policy = open_at_every_hour(include_str!("../../policies/shop.toml"));
        for (from, to) in changes {
            assert!(policy.contains(from), "'{from}' stands in the starter");
            policy = policy.replacen(from, to, 1);
        }
        let path = self.folder.path().join("policy.toml");
        std::fs::write(&path, policy).unwrap();
        let (system, room, mail) = (self.system.url(), self.room.url(), self.mail.url());
        format!(
            r#"
policy = "{}"
{WHATSAPP}
phone_number_id = "{OURS}"

[[notify]]
name = "system"
kind = "webhook"
url = "{system}"
secret = "{SECRET}"

[[notify]]
name = "room"
kind = "slack"
url = "{room}"

[[notify]]
name = "mail"
kind = "email"
server = "{mail}"
from = "Handrail <handrail@shop.example>"
to = ["desk@shop.example", "boss@shop.example"]

[[notify]]
name = "phone"
kind = "whatsapp"
source = "whatsapp"
to = ["{COLLEAGUE}"]
"#,
            path.display()
        )
    }
}

const TO_NOBODY: &str = "notify = []";

/// Checks a notice's signature over its very bytes, and gives its body.
fn proved(reply: &SunkReply) -> Value {
    let source = Source::bare(SourceName::parse("any").unwrap(), Provider::StandardWebhooks);
    let scheme = providers::scheme(&source).unwrap();
    let headers: Headers<'_> = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let secrets = [Secret::new(format!("whsec_{}", STANDARD.encode(SECRET)))];
    let verified = signature::verify(&scheme, &secrets, &headers, reply.body.clone().into(), Micros::wall());
    let id = verified.expect("rightly signed").id().map(str::to_owned).expect("an id");
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["id"], id, "the signed id is the notice's");
    id.parse::<NoticeId>().unwrap();
    body
}

/// `handrail conversation`; what it told as JSON.
async fn conversation(stack: &Stack, verb: &str, id: ConversationId, more: &[&str]) -> Value {
    let id = id.to_string();
    let mut arguments = vec!["--json", "conversation", verb, &id];
    arguments.extend(more);
    let (code, told, said) = stack.handrail(&arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {said}");
    serde_json::from_str(&told).expect("JSON")
}

/// The conversation's row in the list.
async fn listed(stack: &Stack, id: ConversationId) -> Value {
    let (code, told, said) = stack.handrail(&["--json", "conversation", "list"]).await;
    assert_eq!(code, 0, "{said}");
    let rows: Vec<Value> = serde_json::from_str(&told).expect("JSON");
    rows.into_iter().find(|row| row["id"] == id.to_string()).expect("listed")
}

async fn a_team_is_told_once_by_every_way_it_has(doors: Doors) {
    let ends = Ends::start().await;
    let all = "notify = [\"system\", \"room\", \"mail\", \"phone\"]";
    let stack = Plan::on(doors).await.workers(2).file(&ends.file(&[(TO_NOBODY, all)])).start().await;
    let question = stack.say(CUSTOMER, QUESTION).await;
    assert_eq!(stack.end_of(question).await, "replied");
    let asked = stack.say(CUSTOMER, ASKS).await;
    assert_eq!(stack.end_of(asked).await, "handed_off");
    let id = stack.conversation_of(asked).await;
    assert_eq!(stack.view(id).await.summary.floor, Floor::Queued);

    let notice = proved(&ends.system.wait_for(1).await.unwrap()[0]);
    assert_eq!((&notice["type"], &notice["conversation"]), (&"handoff.opened".into(), &id.to_string().into()));
    assert_eq!((&notice["team"], &notice["rule"]), (&"front-desk".into(), &"asks-for-a-person".into()));
    assert_eq!((&notice["contact"], &notice["asked"]), (&"…0101".into(), &true.into()));
    let text = notice["text"].as_str().unwrap();
    for part in [QUESTION, ASKS, "You said: What are your opening", "may have promised", "as the customer asked"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains(&format!("handrail conversation take {id}")) && !text.contains(CUSTOMER), "{text}");
    let room: Value = serde_json::from_slice(&ends.room.wait_for(1).await.unwrap()[0].body).unwrap();
    assert!(room["text"].as_str().unwrap().starts_with("*[medium] Front desk: a customer waits for a person*"));
    let mail = &ends.mail.wait_for(1).await.unwrap()[0];
    assert_eq!(mail.to, ["desk@shop.example", "boss@shop.example"]);
    assert!(mail.text.contains("Subject: [medium] Front desk") && mail.text.contains("Message-ID: <"), "{}", mail.text);
    eventually("the colleague's phone has it", async || stack.received_by(COLLEAGUE).len() == 1).await;
    let word = stack.graph.sends().into_iter().find(|send| send.to == COLLEAGUE).unwrap();
    assert_eq!((word.number.as_str(), word.text.contains(ASKS)), (OURS, true));

    eventually("all four are known to have arrived", async || listed(&stack, id).await["told"] == "4 of 4").await;
    let row = listed(&stack, id).await;
    assert_eq!(
        (&row["team"], &row["priority"], &row["overdue"]),
        (&"front-desk".into(), &"medium".into(), &false.into())
    );
    let told = (ends.system.replies().len(), ends.room.replies().len(), ends.mail.mails().len());
    assert_eq!(told, (1, 1, 1), "once each");
    for worker in &stack.workers {
        assert!(!worker.log().contains(ASKS) && !worker.log().contains("0101"), "nothing of it is logged");
    }
}

async fn a_team_is_told_though_the_worker_dies_in_the_moment_of_the_commit_and_the_room_is_full_at_first(doors: Doors) {
    let ends = Ends::start().await;
    let file = ends.file(&[(TO_NOBODY, "notify = [\"system\"]")]);
    ends.system.next(ReplyBehaviour::Status { http: 503, retry_after: None });
    let plan = Plan::on(doors).await.with("HANDRAIL_FAULTS", "turn.committed=kill@1").file(&file);
    let mut stack = plan.start().await;
    let asked = stack.say(CUSTOMER, ASKS).await;
    stack.workers[0].ended().await;
    assert!(ends.system.replies().is_empty(), "it died before it told anybody");
    stack.settings.remove("HANDRAIL_FAULTS");
    stack.add_worker();
    stack.workers.remove(0);
    stack.ready().await;
    assert_eq!(stack.end_of(asked).await, "handed_off");
    let told = ends.system.wait_for(2).await.unwrap();
    assert_eq!(proved(&told[0])["id"], proved(&told[1])["id"], "the same notice again");
    let id = stack.conversation_of(asked).await;
    eventually("it arrived", async || listed(&stack, id).await["told"] == "1 of 1").await;
    let known = stack.store.handoffs(id).await.unwrap();
    assert_eq!((known[0].notices[0].attempts, ends.system.replies().len()), (2, 2));
}

async fn whoever_takes_it_reads_the_brief_and_the_customer_hears_a_word_once_until_the_assistant_is_back(doors: Doors) {
    let ends = Ends::start().await;
    let stack = Plan::on(doors).await.file(&ends.file(&[])).start().await;
    let question = stack.say(CUSTOMER, QUESTION).await;
    assert_eq!(stack.end_of(question).await, "replied");
    let id = stack.conversation_of(question).await;
    let taken = conversation(&stack, "take", id, &["--why", "a regular"]).await;
    let brief = taken["brief"].as_str().expect("a brief");
    for part in ["taken called Front desk", QUESTION, "customer …0101", "free text for 23 h", "conversation reply"] {
        assert!(brief.contains(part), "{part}: {brief}");
    }

    // A word that they are heard, once; what they write goes to the person.
    let courtesy = "Your message has reached our team";
    for text in ["Are you there?", "Hello?"] {
        let event = stack.say(CUSTOMER, text).await;
        assert_eq!(stack.end_of(event).await, "handed_off");
    }
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert!(received.len() == 2 && received[1].starts_with(courtesy), "{received:?}");
    conversation(&stack, "reply", id, &["I am: until six."]).await;
    let thanks = stack.say(CUSTOMER, "Thanks!").await;
    assert_eq!(stack.end_of(thanks).await, "handed_off");
    stack.settled().await;
    assert_eq!(stack.received_by(CUSTOMER)[2..], ["I am: until six."]);
    let known = stack.store.handoffs(id).await.unwrap();
    assert!(known.len() == 1 && known[0].first_answer_at.is_some() && known[0].closed_at.is_none());

    assert_eq!(conversation(&stack, "return", id, &[]).await["changed"], true);
    let next = stack.say(CUSTOMER, "And on Sunday?").await;
    assert_eq!(stack.end_of(next).await, "replied");
    let call = stack.model.calls().pop().expect("a call");
    let lines: Vec<&str> = call.lines.iter().map(|(_, text)| text.as_str()).collect();
    let story = lines.join("\n");
    let parts =
        [QUESTION, "Are you there?", courtesy, "until six", "Thanks!", "A colleague (name not given)", "Sunday"];
    let places: Vec<_> =
        parts.iter().map(|part| story.find(part).unwrap_or_else(|| panic!("{part}: {story}"))).collect();
    assert!(places.is_sorted(), "in the order in which it came about: {story}");
    assert_eq!(stack.store.handoffs(id).await.unwrap()[0].outcome.as_deref(), Some("returned"));
}

async fn an_answer_that_is_overdue_is_told_to_more_and_listed_first_and_a_call_that_nobody_heeds_ends(doors: Doors) {
    let ends = Ends::start().await;
    let file = ends.file(&[
        (TO_NOBODY, "notify = [\"room\"]\nescalate = [\"system\"]"),
        ("first_answer_minutes = 60", "first_answer_minutes = 0.02"),
    ]);
    let stack = Plan::on(doors).await.file(&file).start().await;
    let asked = stack.say(CUSTOMER, ASKS).await;
    assert_eq!(stack.end_of(asked).await, "handed_off");
    let id = stack.conversation_of(asked).await;
    let overdue = proved(&ends.system.wait_for(1).await.unwrap()[0]);
    assert_eq!(overdue["type"], "handoff.overdue");
    assert!(overdue["text"].as_str().unwrap().contains("(overdue)"));
    let other = stack.say("15550102", QUESTION).await;
    assert_eq!(stack.end_of(other).await, "replied");
    let (_, told, _) = stack.handrail(&["--json", "conversation", "list"]).await;
    let rows: Vec<Value> = serde_json::from_str(&told).unwrap();
    assert_eq!((&rows[0]["id"], &rows[0]["overdue"]), (&id.to_string().into(), &true.into()), "{told}");
    ends.change(("# unclaimed_hours = 12", "unclaimed_hours = 0.0001"));
    stack.workers.iter().for_each(|worker| worker.signal(Signal::SIGHUP));
    eventually("the assistant is back", async || stack.view(id).await.summary.floor == Floor::Assistant).await;
    stack.settled().await;
    let received = stack.received_by(CUSTOMER);
    assert!(received.len() == 2 && received[1].starts_with("Nobody of our team"), "{received:?}");
    let known = stack.store.handoffs(id).await.unwrap();
    assert_eq!((known[0].outcome.as_deref(), known[0].sla.as_str()), (Some("expired"), "missed"));
    assert_eq!((ends.room.replies().len(), ends.system.replies().len()), (2, 1), "told, and reminded once");
}

on_every_backend!(
    a_team_is_told_once_by_every_way_it_has,
    a_team_is_told_though_the_worker_dies_in_the_moment_of_the_commit_and_the_room_is_full_at_first,
    whoever_takes_it_reads_the_brief_and_the_customer_hears_a_word_once_until_the_assistant_is_back,
    an_answer_that_is_overdue_is_told_to_more_and_listed_first_and_a_call_that_nobody_heeds_ends,
);
