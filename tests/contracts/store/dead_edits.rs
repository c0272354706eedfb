//! A letter is never changed: it is edited as another letter with a link back, or given up with a reason.

use common::domain::{Content, DeadId, DeadState, End, Event, Inbound, ReplayState};
use common::store::{DeadBody, DeadEdit, DeadFilter, DiscardRefused, EditRefused, ReplayRefused};

use super::dead_replays::{died, freeze, refused, wish};
use super::{ANNA, Author, BORIS, Shop, contract, text};

async fn state(shop: &Shop, id: DeadId) -> DeadState {
    shop.store.dead_letter(id).await.unwrap().state
}

async fn says(shop: &Shop, id: DeadId) -> Event {
    match shop.store.dead_body(&shop.store.dead_letter(id).await.unwrap()).await.unwrap() {
        DeadBody::Event(inbound) => inbound.event,
        DeadBody::Send { .. } | DeadBody::Envelope(_) | DeadBody::Nothing | DeadBody::Closed(_) => panic!("no event"),
    }
}

async fn rows(shop: &Shop) -> (i64, i64, i64) {
    let dead = shop.number("SELECT count(*) FROM dead WHERE state = 'open'").await;
    (dead, shop.number("SELECT count(*) FROM inbox").await, shop.number("SELECT count(*) FROM audit").await)
}

contract! {
    async fn an_edit_is_a_letter_of_its_own_and_the_original_closes_when_it_has_been_answered(shop) {
        let (event, conversation, dead) = died(&shop, ANNA).await;
        let edit = shop.store.edit_dead(dead, DeadEdit::Text("do you ship?".into()), "ops", "typo").await.unwrap();
        let letter = shop.store.dead_letter(edit).await.unwrap();
        assert_eq!((letter.edited_from, letter.state, letter.place), (Some(dead), DeadState::Open, Some(1)));
        assert_eq!(letter.tags, ["edited"]);
        assert!(says(&shop, dead).await == text("poison"));
        assert!(says(&shop, edit).await == text("do you ship?"));
        let diff = shop.store.dead_diff(edit).await.unwrap().expect("an edit");
        assert_eq!((diff.from, diff.who.as_str(), diff.why.as_str(), diff.changes.len()), (dead, "ops", "typo", 1));
        assert_eq!((diff.changes[0].before.as_str(), diff.changes[0].after.as_str()), (Some("poison"), Some("do you ship?")));
        assert!(shop.store.dead_diff(dead).await.unwrap().is_none());
        // The first try of the edit dies: both stay open. The second is answered.
        for good in [false, true] {
            let frozen = freeze(&shop, &DeadFilter::of([edit])).await;
            shop.store.replay_dispatch(frozen.id, 1).await.unwrap();
            let claim = shop.claim_quiet(conversation).await;
            let pending = shop.store.pending(&claim).await.unwrap();
            assert_eq!(pending.len(), 1);
            assert!(pending[0].content == Some(Content::Text("do you ship?".into())));
            let mine = pending[0].event_id;
            if good {
                shop.reply_with(&claim, &[shop.send(Author::Assistant, "yes")]).await.unwrap();
            } else {
                let again = shop.letter(&claim, mine);
                shop.commit(&claim, &[(mine, End::Dead, None)], &[], None, &[again]).await.unwrap();
                assert_eq!((state(&shop, edit).await, state(&shop, dead).await), (DeadState::Open, DeadState::Open));
            }
            shop.store.end_replay(frozen.id, ReplayState::Done, "ops").await.unwrap();
        }
        let original = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((original.state, original.replaced_by), (DeadState::Replaced, Some(edit)));
        assert_eq!(state(&shop, edit).await, DeadState::Resolved);
        assert_eq!(shop.event_state(event).await, "discarded");
        shop.assert_balanced().await;
    }

    async fn an_edit_that_cannot_be_is_refused_by_name_and_changes_nothing(shop) {
        let (_, _, dead) = died(&shop, ANNA).await;
        let (_, _, other) = died(&shop, BORIS).await;
        let theirs = shop.store.dead_event(&shop.store.dead_letter(other).await.unwrap()).await.unwrap();
        let mine = shop.store.dead_event(&shop.store.dead_letter(dead).await.unwrap()).await.unwrap();
        shop.store.keep_undeliverable(None, b"noise", "malformed").await.unwrap();
        let bytes = shop.store.dead_letters(&DeadFilter { class: Some("undeliverable".into()), ..Default::default() }).await.unwrap()[0].id;
        let before = rows(&shop).await;
        let status = Event::Record { what: "reaction".into() };
        for (id, edit, why, says) in [
            (dead, DeadEdit::Text("  ".into()), "typo", "its text is empty"),
            (dead, DeadEdit::Text("x".repeat(40_000)), "typo", "longer than"),
            (dead, DeadEdit::Text("poison".into()), "typo", "nothing to do"),
            (dead, DeadEdit::Text("fine".into()), " ", "say why"),
            (dead, DeadEdit::Raw(b"{}".to_vec()), "typo", "only a webhook"),
            (dead, DeadEdit::Event(Box::new(theirs)), "typo", "cannot be edited"),
            (dead, DeadEdit::Event(Box::new(Inbound { event: status, ..mine })), "typo", "stays one"),
            (bytes, DeadEdit::Text("fine".into()), "typo", "no event of its own"),
        ] {
            let refused = shop.store.edit_dead(id, edit, "ops", why).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
            assert_eq!(rows(&shop).await, before, "{says}");
        }
        let edit = shop.store.edit_dead(dead, DeadEdit::Text("fine".into()), "ops", "typo").await.unwrap();
        let again = shop.store.edit_dead(dead, DeadEdit::Text("finer".into()), "ops", "typo").await.unwrap_err();
        assert!(matches!(again, EditRefused::Edited(from, to) if from == dead && to == edit));
        let original = shop.store.freeze_replay(&DeadFilter::of([dead]), &wish(common::domain::ReplayMode::Regenerate)).await;
        assert!(matches!(original, Err(ReplayRefused::Letters(letters)) if letters[0].0 == dead));
        // Whoever names nobody means the edit in its original's place.
        let frozen = freeze(&shop, &DeadFilter { class: Some("poison".into()), ..Default::default() }).await;
        assert_eq!(frozen.count, 2);
        let held = shop.store.edit_dead(edit, DeadEdit::Text("finest".into()), "ops", "typo").await.unwrap_err();
        assert!(matches!(held, EditRefused::Held(id) if id == edit));
    }

    async fn an_unread_webhooks_bytes_can_be_edited(shop) {
        let raw = b"{broken".to_vec();
        shop.admit(&shop.arrival_by("shop", None, Event::Unparsed { problem: "not JSON".into(), raw })).await;
        let dead = shop.store.dead_letters(&DeadFilter::default()).await.unwrap()[0].id;
        let edit = shop.store.edit_dead(dead, DeadEdit::Raw(b"{}".to_vec()), "ops", "mended").await.unwrap();
        assert!(says(&shop, edit).await == Event::Unparsed { problem: "not JSON".into(), raw: b"{}".to_vec() });
        let letter = shop.store.dead_letter(edit).await.unwrap();
        shop.store.resolve_unparsed(&letter, "ops").await.unwrap();
        assert_eq!((state(&shop, edit).await, state(&shop, dead).await), (DeadState::Resolved, DeadState::Replaced));
        shop.assert_balanced().await;
    }

    async fn discarding_ends_its_messages_releases_a_held_conversation_and_is_remembered(shop) {
        let (event, conversation, dead) = died(&shop, ANNA).await;
        let (refused_event, _, refused) = refused(&shop, BORIS).await;
        shop.execute("UPDATE conversation SET held = TRUE, held_by = (SELECT d.id FROM dead d WHERE d.conversation_id = conversation.id)".into()).await;
        let (_, waiting) = shop.say(ANNA, "anybody?").await;
        shop.quiet();
        assert!(shop.claim(waiting).await.is_none(), "held");
        let touched = shop.store.discard_dead(&[dead, refused, dead], "ops", "spam").await.unwrap();
        assert_eq!(touched.len(), 2);
        assert_eq!((shop.event_state(event).await.as_str(), shop.event_state(refused_event).await.as_str()), ("discarded", "discarded"));
        let letter = shop.store.dead_letter(dead).await.unwrap();
        assert_eq!((letter.state, letter.why.as_deref()), (DeadState::Discarded, Some("spam")));
        assert!(shop.claim(conversation).await.is_some(), "goes on");
        assert_eq!(shop.number("SELECT count(*) FROM audit WHERE action = 'dead.discard' AND why = 'spam'").await, 2);
        shop.assert_balanced().await;
    }

    async fn letters_are_discarded_all_or_none(shop) {
        let (_, _, one) = died(&shop, ANNA).await;
        let (_, _, two) = died(&shop, BORIS).await;
        shop.store.discard_dead(&[two], "ops", "spam").await.unwrap();
        let before = rows(&shop).await;
        let refused = shop.store.discard_dead(&[one, two], "ops", "spam").await.unwrap_err();
        assert!(matches!(refused, DiscardRefused::NotOpen(id, DeadState::Discarded) if id == two));
        assert!(matches!(shop.store.discard_dead(&[], "ops", "spam").await, Err(DiscardRefused::Empty)));
        assert!(matches!(shop.store.discard_dead(&[one], "ops", " ").await, Err(DiscardRefused::NoReason)));
        let unknown = shop.store.discard_dead(&[one, DeadId::random()], "ops", "spam").await.unwrap_err();
        assert!(unknown.to_string().contains("no dead letter with the id"));
        assert_eq!(rows(&shop).await, before);
        freeze(&shop, &DeadFilter::of([one])).await;
        assert!(matches!(shop.store.discard_dead(&[one], "ops", "spam").await, Err(DiscardRefused::Held(id)) if id == one));
    }
}
