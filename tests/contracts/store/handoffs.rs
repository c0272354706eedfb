//! Who is called is written down and told at least once, and what became of it is known: who came, when they answered,
//! whether in time, and when the assistant was back.

use std::time::Duration;

use common::domain::{
    Author, Call, Content, ConversationId, End, Event, Evidence, Floor, HandoffId, NoticeId, NoticeKind, NoticeState,
    Priority, Sla, Speaker, Status, StatusUpdate, TurnId, WorkerId,
};
use common::store::{Begun, Commit, NewHandoff, NewNotice, NextSend, Told};
use common::trace::TraceContext;

use super::{ANNA, BORIS, SENDING, Shop, contract, text};

const MINUTE: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_secs(15);

/// A call with a notice to each of these, answered within an hour from now on.
pub(super) fn handoff(shop: &Shop, destinations: &[&str]) -> NewHandoff {
    let mut call = Call::because("asks-for-a-person");
    call.asked = true;
    call.team = Some("front-desk".to_owned());
    call.priority = Priority::High;
    call.evidence = vec![Evidence { event: None, rule: "asks-for-a-person".to_owned(), reason: "phrase".to_owned() }];
    let notices = destinations.iter().map(|destination| notice(destination, NoticeKind::Opened)).collect();
    let due_at = Some(shop.now() + MINUTE * 60);
    NewHandoff { id: HandoffId::random(), call, waiting_since: shop.now(), due_at, notices }
}

fn notice(destination: &str, kind: NoticeKind) -> NewNotice {
    let body = "Anna waits: xylophone-marmalade".to_owned();
    NewNotice { id: NoticeId::random(), destination: destination.to_owned(), kind, body }
}

impl Shop {
    /// A customer's message hands their conversation to people.
    pub(super) async fn call(&self, from: &str, handoff: &NewHandoff) -> ConversationId {
        let (event, conversation) = self.say(from, "a person, please").await;
        let claim = self.claim_quiet(conversation).await;
        let commit = Commit {
            claim: &claim,
            turn: TurnId::random(),
            ends: &[(event, End::HandedOff, None)],
            sends: &[self.send(Author::Policy, "somebody will come")],
            dead: &[],
            hold: false,
            floor: Some(Floor::Queued),
            handoff: Some(handoff),
            heard: true,
            outcome: "handed_off",
            policy: "v1",
            model: None,
            locale: Some("en"),
            started_at: claim.at,
            trace: TraceContext::start(),
            path: "[]",
            hits: &[],
        };
        self.store.commit(commit).await.unwrap().committed().expect("ours");
        conversation
    }
}

contract! {
    async fn a_call_is_written_with_its_turn_and_each_destination_is_told_once(shop) {
        let new = handoff(&shop, &["chat", "mail"]);
        let conversation = shop.call(ANNA, &new).await;
        let known = shop.store.handoffs(conversation).await.unwrap();
        assert_eq!((known.len(), known[0].id, known[0].sla), (1, new.id, Sla::Due));
        assert_eq!((known[0].team.as_deref(), known[0].priority), (Some("front-desk"), Priority::High));
        assert!(known[0].asked && known[0].claimed_at.is_none() && known[0].evidence == new.call.evidence);
        assert_eq!(known[0].notices.iter().map(|notice| notice.state).collect::<Vec<_>>(), [NoticeState::Queued; 2]);
        let due = shop.store.due_notices(10).await.unwrap();
        assert_eq!(due.len(), 2);
        for id in due {
            let begun = shop.store.begin_notice(id, shop.worker, PATIENCE).await.unwrap().expect("due");
            assert_eq!((begun.conversation, begun.attempts), (conversation, 1));
            assert!(begun.body.contains("xylophone"));
            assert!(shop.store.begin_notice(id, WorkerId::random(), PATIENCE).await.unwrap().is_none(), "ours");
            assert!(shop.store.finish_notice(id, shop.worker, 1, Told::Accepted).await.unwrap());
        }
        shop.pass(PATIENCE * 2);
        assert!(shop.store.due_notices(10).await.unwrap().is_empty());
        let known = shop.store.handoffs(conversation).await.unwrap();
        assert!(known[0].notices.iter().all(|notice| notice.state == NoticeState::Accepted && notice.attempts == 1));
        assert_eq!(shop.store.notice_counts().await.unwrap(), (0, 0));
    }

    async fn a_zombies_call_is_written_nowhere_and_tells_nobody(shop) {
        let (event, conversation) = shop.say(ANNA, "a person, please").await;
        let stale = shop.claim_quiet(conversation).await;
        shop.pass(shop.timing.lease);
        let claim = shop.claim(conversation).await.expect("the lease ran out");
        let new = handoff(&shop, &["chat"]);
        let commit = Commit {
            claim: &stale,
            turn: TurnId::random(),
            ends: &[(event, End::HandedOff, None)],
            sends: &[],
            dead: &[],
            hold: false,
            floor: Some(Floor::Queued),
            handoff: Some(&new),
            heard: false,
            outcome: "handed_off",
            policy: "v1",
            model: None,
            locale: None,
            started_at: claim.at,
            trace: TraceContext::start(),
            path: "[]", hits: &[],
        };
        assert!(shop.store.commit(commit).await.unwrap().committed().is_none());
        assert!(shop.store.handoffs(conversation).await.unwrap().is_empty());
        assert!(shop.store.due_notices(10).await.unwrap().is_empty());
    }

    async fn a_notice_whose_worker_is_gone_is_told_again_under_the_same_id_and_the_first_ones_word_counts_no_more(shop) {
        let new = handoff(&shop, &["chat"]);
        let conversation = shop.call(ANNA, &new).await;
        let id = new.notices[0].id;
        shop.store.begin_notice(id, shop.worker, PATIENCE).await.unwrap().expect("due");
        assert!(shop.store.due_notices(10).await.unwrap().is_empty());
        shop.pass(PATIENCE);
        assert_eq!(shop.store.due_notices(10).await.unwrap(), [id]);
        let other = WorkerId::random();
        assert_eq!(shop.store.begin_notice(id, other, PATIENCE).await.unwrap().expect("due").attempts, 2);
        assert!(!shop.store.finish_notice(id, shop.worker, 1, Told::Refused("400".into())).await.unwrap());
        let at = shop.now() + MINUTE;
        assert!(shop.store.finish_notice(id, other, 2, Told::Again(at, "503".into())).await.unwrap());
        assert!(shop.store.due_notices(10).await.unwrap().is_empty(), "not before its time");
        shop.pass(MINUTE);
        assert_eq!(shop.store.begin_notice(id, other, PATIENCE).await.unwrap().expect("due").attempts, 3);
        assert!(shop.store.finish_notice(id, other, 3, Told::Unknown("timeout".into())).await.unwrap());
        let known = shop.store.handoffs(conversation).await.unwrap();
        let notice = &known[0].notices[0];
        assert_eq!((notice.state, notice.error.as_deref()), (NoticeState::Unknown, Some("timeout")));
        assert_eq!(shop.store.notice_counts().await.unwrap(), (0, 1));
    }

    async fn what_a_provider_refuses_after_all_is_no_notice_that_arrived(shop) {
        let new = handoff(&shop, &["phone"]);
        let conversation = shop.call(ANNA, &new).await;
        let id = new.notices[0].id;
        shop.store.begin_notice(id, shop.worker, PATIENCE).await.unwrap().expect("due");
        shop.store.finish_notice(id, shop.worker, 1, Told::Accepted).await.unwrap();
        let update = StatusUpdate {
            send_id: Some(common::domain::SendId::from_uuid(id.uuid())),
            provider_id: "wamid.notice".to_owned(),
            status: Status::Failed,
            error: Some("131047".to_owned()),
        };
        shop.admit(&shop.arrival_by("shop", None, Event::Status(update))).await;
        let notice = &shop.store.handoffs(conversation).await.unwrap()[0].notices[0];
        assert_eq!((notice.state, notice.error.as_deref()), (NoticeState::Refused, Some("131047")));
    }

    async fn whoever_takes_it_claims_it_and_the_first_word_is_in_time_or_too_late(shop) {
        for (who, late, sla) in [(ANNA, false, Sla::Met), (BORIS, true, Sla::Missed)] {
            let conversation = shop.call(who, &handoff(&shop, &[])).await;
            shop.store.take(conversation, "ops", None).await.unwrap();
            let taken = shop.store.handoffs(conversation).await.unwrap().remove(0);
            assert_eq!((taken.claimed_by.as_deref(), taken.sla), (Some("ops"), Sla::Due));
            assert!(taken.first_answer_at.is_none());
            shop.pass(if late { MINUTE * 61 } else { MINUTE * 59 - shop.timing.settle_max });
            assert_eq!(shop.store.handoffs(conversation).await.unwrap()[0].overdue, late);
            shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "hello")]).await.unwrap();
            let answered = shop.store.handoffs(conversation).await.unwrap().remove(0);
            assert_eq!((answered.first_answer_at, answered.sla), (Some(shop.now()), sla));
            assert!(!answered.overdue);
            shop.pass(MINUTE);
            shop.store.person_reply(conversation, "eve", &[shop.send(Author::Person, "and?")]).await.unwrap();
            let again = shop.store.handoffs(conversation).await.unwrap().remove(0);
            assert_eq!((again.first_answer_at, again.claimed_at), (answered.first_answer_at, taken.claimed_at));
        }
        let counts = shop.store.handoff_counts().await.unwrap();
        assert_eq!((counts.claimed, counts.unclaimed, counts.met, counts.missed), (2, 0, 1, 1));
    }

    async fn a_person_who_writes_from_elsewhere_answers_what_was_called_for_or_begins_uncalled(shop) {
        let called = shop.call(ANNA, &handoff(&shop, &[])).await;
        for who in [ANNA, BORIS] {
            shop.admit(&shop.arrival(who, Event::Echo(Content::Text("hi, it is me".to_owned())))).await;
        }
        let known = shop.store.handoffs(called).await.unwrap();
        assert_eq!((known.len(), known[0].sla, known[0].claimed_by.as_deref()), (1, Sla::Met, Some("echo")));
        let uncalled = shop.store.conversations(Some(Floor::Human), 10).await.unwrap();
        let uncalled = uncalled.iter().find(|one| one.id != called).expect("the other").id;
        let known = shop.store.handoffs(uncalled).await.unwrap();
        assert_eq!((known.len(), known[0].rule.as_str(), known[0].sla), (1, "taken", Sla::None));
        assert!(known[0].first_answer_at.is_some());
    }

    async fn a_return_closes_it_withdraws_what_was_not_told_and_stands_in_the_history_after_the_persons_words(shop) {
        let conversation = shop.call(ANNA, &handoff(&shop, &["chat"])).await;
        shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "we ship on Friday")]).await.unwrap();
        shop.pass(MINUTE);
        assert!(shop.store.return_floor(conversation, "ops").await.unwrap().floor);
        let known = shop.store.handoffs(conversation).await.unwrap().remove(0);
        assert_eq!((known.closed_at, known.outcome.as_deref()), (Some(shop.now()), Some("returned")));
        assert_eq!(known.notices[0].state, NoticeState::Withdrawn);
        assert!(shop.store.due_notices(10).await.unwrap().is_empty());
        shop.say(ANNA, "thank you").await;
        let claim = shop.claim_quiet(conversation).await;
        assert!(claim.returned_at.is_some() && claim.floor_since.is_none() && claim.heard_at.is_none());
        let history = shop.store.history(&claim, 10).await.unwrap();
        let last: Vec<_> = history.iter().rev().take(2).collect();
        assert_eq!(last[0].speaker, Speaker::Record);
        assert!(last[0].text.contains("A colleague (name not given)") && !last[0].text.contains("ops"));
        assert_eq!(last[1].text, "we ship on Friday");
    }

    async fn a_call_nobody_came_for_is_no_stretch_of_a_colleagues(shop) {
        let conversation = shop.call(ANNA, &handoff(&shop, &[])).await;
        shop.pass(shop.timing.floor_return);
        let expired = shop.expired_floors().await;
        assert!(shop.store.expire_floor(&expired[0], &[shop.send(Author::Policy, "I am back")]).await.unwrap());
        let known = shop.store.handoffs(conversation).await.unwrap().remove(0);
        assert_eq!((known.outcome.as_deref(), known.sla), (Some("expired"), Sla::Missed));
        shop.say(ANNA, "hello?").await;
        let claim = shop.claim_quiet(conversation).await;
        let history = shop.store.history(&claim, 10).await.unwrap();
        assert!(history.iter().all(|line| line.speaker != Speaker::Record));
    }

    async fn nobody_coming_and_nobody_acting_have_times_of_their_own_and_every_act_renews_the_second(shop) {
        let (unclaimed, idle) = (MINUTE * 10, MINUTE * 30);
        let expired = async || shop.store.expired_floors(unclaimed, idle, 10).await.unwrap();
        let (waits, taken) = (shop.call(ANNA, &handoff(&shop, &[])).await, shop.call(BORIS, &handoff(&shop, &[])).await);
        shop.store.take(taken, "ops", None).await.unwrap();
        shop.pass(unclaimed);
        assert_eq!(expired().await.iter().map(|floor| floor.conversation).collect::<Vec<_>>(), [waits]);
        shop.pass(idle - unclaimed - MINUTE);
        shop.store.person_reply(taken, "ops", &[shop.send(Author::Person, "one moment")]).await.unwrap();
        shop.pass(MINUTE * 29);
        assert_eq!(expired().await.len(), 1);
        shop.pass(MINUTE);
        assert_eq!(expired().await.len(), 2);
    }

    async fn an_overdue_answer_is_reminded_of_once_by_whoever_is_first_and_again_when_it_is_time(shop) {
        let conversation = shop.call(ANNA, &handoff(&shop, &[])).await;
        shop.pass(MINUTE * 60 - shop.timing.settle_max - Duration::from_micros(1));
        assert!(shop.store.overdue_handoffs(10).await.unwrap().is_empty());
        shop.pass(Duration::from_micros(1) + shop.timing.settle_max);
        let overdue = shop.store.overdue_handoffs(10).await.unwrap().remove(0);
        assert_eq!((overdue.conversation, overdue.reminders), (conversation, 0));
        assert_eq!(overdue.call.evidence.len(), 1);
        let next = Some(shop.now() + MINUTE);
        let reminder = [notice("boss", NoticeKind::Overdue)];
        assert!(shop.store.remind(&overdue, next, &reminder).await.unwrap());
        assert!(!shop.store.remind(&overdue, next, &[notice("boss", NoticeKind::Overdue)]).await.unwrap(), "once");
        assert_eq!(shop.store.due_notices(10).await.unwrap(), [reminder[0].id]);
        assert_eq!(shop.store.handoffs(conversation).await.unwrap()[0].sla, Sla::Missed);
        shop.pass(MINUTE);
        let again = shop.store.overdue_handoffs(10).await.unwrap().remove(0);
        shop.store.person_reply(conversation, "ops", &[shop.send(Author::Person, "hello")]).await.unwrap();
        assert!(!shop.store.remind(&again, None, &[]).await.unwrap(), "answered meanwhile");
        assert!(shop.store.overdue_handoffs(10).await.unwrap().is_empty());
    }

    async fn a_word_of_the_policys_goes_out_under_the_persons_floor_that_it_was_committed_under_and_no_other(shop) {
        for acts_again in [false, true] {
            let who = if acts_again { ANNA } else { BORIS };
            let (_, conversation) = shop.say(who, "hello").await;
            shop.store.take(conversation, "ops", None).await.unwrap();
            let claim = shop.claim_quiet(conversation).await;
            assert_eq!((claim.floor, claim.heard_at), (Floor::Human, None));
            let word = shop.send(Author::Policy, "a person will answer");
            let id = word.id;
            let pending = shop.store.pending(&claim).await.unwrap();
            let ends = [(pending[0].event_id, End::HandedOff, None)];
            let commit = Commit {
                claim: &claim,
                turn: TurnId::random(),
                ends: &ends,
                sends: &[word],
                dead: &[],
                hold: false,
                floor: None,
                handoff: None,
                heard: true,
                outcome: "person_has_floor",
                policy: "v1",
                model: None,
                locale: None,
                started_at: claim.at,
                trace: TraceContext::start(),
                path: "[]", hits: &[],
            };
            shop.store.commit(commit).await.unwrap().committed().expect("ours");
            if acts_again {
                shop.store.take(conversation, "eve", None).await.unwrap();
                assert_eq!(shop.send_state(conversation, id).await, "superseded");
            } else {
                let sender = shop.sender(conversation).await;
                assert_eq!(shop.store.next_send(&sender).await.unwrap(), NextSend::Send(id));
                assert!(matches!(shop.store.begin_send(&sender, id, SENDING).await.unwrap(), Begun::Yes(_)));
            }
            shop.say(who, "are you there?").await;
            assert_eq!(shop.claim_quiet(conversation).await.heard_at, Some(claim.at));
        }
    }

    async fn the_list_begins_with_whose_answer_is_overdue(shop) {
        let late = shop.call(ANNA, &handoff(&shop, &["chat"])).await;
        shop.pass(MINUTE * 61);
        let fresh = shop.call(BORIS, &handoff(&shop, &[])).await;
        shop.admit(&shop.arrival("15550102", text("hello"))).await;
        let listed = shop.store.conversations(None, 10).await.unwrap();
        assert_eq!((listed.len(), listed[0].id), (3, late));
        let called = listed[0].handoff.as_ref().expect("open");
        assert!(called.overdue && called.team.as_deref() == Some("front-desk") && called.notices_open == 1);
        let called = listed.iter().find(|one| one.id == fresh).and_then(|one| one.handoff.as_ref()).expect("open");
        assert!(!called.overdue);
        assert_eq!(shop.store.handoff_counts().await.unwrap().overdue, 1);
    }
}
