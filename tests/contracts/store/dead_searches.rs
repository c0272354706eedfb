//! What is asked for is found, page by page, and a question without an answer is told apart from an empty answer.

use std::time::Duration;

use common::domain::{DeadId, DeadState, End, Micros};
use common::store::{DeadFilter, DeadLetter, NewDead, StoreError};

use super::{ANNA, BORIS, Shop, contract, source, text};

/// A letter of this cause, by this source, from this person.
async fn died(shop: &Shop, by: &str, from: &str, class: &str, error: &str) -> DeadId {
    shop.pass(Duration::from_secs(1));
    let arrival = shop.arrival_by(by, Some(from), text("hello"));
    shop.admit(&arrival).await;
    let conversation = shop.store.event(arrival.id()).await.unwrap().1.unwrap();
    let claim = shop.claim_quiet(conversation).await;
    let letter = NewDead { class: class.into(), error: error.into(), ..shop.letter(&claim, arrival.id()) };
    let id = letter.id;
    shop.commit(&claim, &[(arrival.id(), End::Dead, None)], &[], None, &[letter]).await.unwrap();
    id
}

/// Two people, two sources, twelve errors, two classes; the first ten discarded.
async fn graveyard(shop: &Shop) -> Vec<DeadLetter> {
    let errors = ["socket closed", "answer isn't json", "prompt too long", "100% wrong", "a_b"];
    let mut ids = Vec::new();
    for n in 0..30 {
        let error = format!("{} {}", errors[n % errors.len()], ["alpha", "beta", "gamma"][n % 3]);
        let (by, from) = (["shop", "voice"][n % 2], [ANNA, BORIS][n / 2 % 2]);
        ids.push(died(shop, by, from, ["outage", "poison"][n % 2], &error).await);
    }
    shop.store.discard_dead(&ids[..10], "ops", "old").await.unwrap();
    let all = shop.store.dead_letters(&DeadFilter::default()).await.unwrap();
    assert_eq!(all.len(), 30);
    assert!(all.is_sorted_by_key(|letter| std::cmp::Reverse((letter.created_at, letter.id))), "newest first");
    all
}

fn fits(filter: &DeadFilter, letter: &DeadLetter) -> bool {
    (filter.ids.is_empty() || filter.ids.contains(&letter.id))
        && filter.state.is_none_or(|state| letter.state == state)
        && filter.group.as_ref().is_none_or(|group| letter.fingerprint.starts_with(group))
        && filter.class.as_ref().is_none_or(|class| letter.class == *class)
        && filter.stage.as_ref().is_none_or(|stage| letter.stage == *stage)
        && filter.source.as_ref().is_none_or(|source| letter.source == source.as_str())
        && filter.contact.is_none_or(|contact| letter.contact == Some(contact))
        && filter.conversation.is_none_or(|conversation| letter.conversation == Some(conversation))
        && filter.since.is_none_or(|since| letter.created_at >= since)
        && filter.until.is_none_or(|until| letter.created_at < until)
        && filter.text.as_ref().is_none_or(|text| letter.error.contains(text) || letter.class.contains(text))
}

fn questions(all: &[DeadLetter]) -> Vec<DeadFilter> {
    let (none, middle) = (DeadFilter::default, &all[13]);
    let mut asked = vec![
        none(),
        DeadFilter { state: Some(DeadState::Open), ..none() },
        DeadFilter { state: Some(DeadState::Discarded), ..none() },
        DeadFilter { group: Some(middle.fingerprint.clone()), ..none() },
        DeadFilter { class: Some("outage".into()), ..none() },
        DeadFilter { class: Some("nothing".into()), ..none() },
        DeadFilter { stage: Some("turn".into()), ..none() },
        DeadFilter { source: Some(source("voice")), ..none() },
        DeadFilter { contact: middle.contact, ..none() },
        DeadFilter { contact: middle.contact, conversation: middle.conversation, ..none() },
        DeadFilter { conversation: middle.conversation, ..none() },
        DeadFilter { since: Some(middle.created_at), ..none() },
        DeadFilter { until: Some(middle.created_at), ..none() },
        DeadFilter { since: Some(all[20].created_at), until: Some(all[4].created_at), ..none() },
        DeadFilter { ids: vec![middle.id, all[2].id, all[25].id], ..none() },
        DeadFilter::of(all.iter().map(|letter| letter.id)),
    ];
    for words in ["json", "alpha", "poison", "100%", "a_b", "isn't json"] {
        asked.push(DeadFilter { text: Some(words.into()), ..none() });
    }
    let both = |filter: &DeadFilter| {
        let open = DeadFilter { state: Some(DeadState::Open), ..filter.clone() };
        let late = DeadFilter { since: Some(all[22].created_at), class: Some("outage".into()), ..filter.clone() };
        [filter.clone(), open, late]
    };
    asked.iter().flat_map(both).collect()
}

contract! {
    async fn each_filter_finds_its_letters_and_no_others_and_counts_them(shop) {
        let all = graveyard(&shop).await;
        for filter in questions(&all) {
            // A later start may have passed the filter's own end: that is a question without an answer.
            if filter.check().is_err() {
                continue;
            }
            let expected: Vec<_> = all.iter().filter(|letter| fits(&filter, letter)).map(|letter| letter.id).collect();
            let found: Vec<_> = shop.store.dead_letters(&filter).await.unwrap().iter().map(|letter| letter.id).collect();
            assert_eq!(found, expected, "{filter:?}");
            assert_eq!(shop.store.dead_count(&filter).await.unwrap(), expected.len() as i64, "{filter:?}");
        }
    }

    async fn pages_follow_each_other_without_a_gap_or_a_repeat(shop) {
        let all = graveyard(&shop).await;
        for filter in questions(&all).into_iter().filter(|filter| filter.check().is_ok()) {
            let whole: Vec<_> = shop.store.dead_letters(&filter).await.unwrap().iter().map(|letter| letter.id).collect();
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let page = DeadFilter { limit: 4, after, ..filter.clone() };
                let page = shop.store.dead_letters(&page).await.unwrap();
                assert!(page.len() <= 4);
                let Some(last) = page.last() else { break };
                after = Some((last.created_at, last.id));
                paged.extend(page.iter().map(|letter| letter.id));
            }
            assert_eq!(paged, whole, "{filter:?}");
        }
    }

    async fn a_question_that_cannot_have_an_answer_is_refused_by_name(shop) {
        let all = graveyard(&shop).await;
        let none = DeadFilter::default;
        let at = all[3].created_at;
        for (filter, says) in [
            (DeadFilter { since: Some(at), until: Some(at), ..none() }, "no letter can match"),
            (DeadFilter { limit: -1, ..none() }, "limit"),
            (DeadFilter { group: Some("xyz".into()), ..none() }, "'xyz' is no group"),
            (DeadFilter { group: Some("ffffffffffffffff".into()), ..none() }, "no group of dead letters begins"),
            (DeadFilter { text: Some("x".into()), ..none() }, "characters"),
            (DeadFilter::of([DeadId::from_uuid(uuid::Uuid::nil())]), "no dead letter with the id"),
        ] {
            let refused = shop.store.dead_letters(&filter).await.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
        let mut prints: Vec<_> = all.iter().map(|letter| letter.fingerprint.clone()).collect();
        prints.sort();
        prints.dedup();
        let shared = prints.windows(2).find(|pair| pair[0][..1] == pair[1][..1]);
        if let Some(pair) = shared {
            let filter = DeadFilter { group: Some(pair[0][..1].to_owned()), ..none() };
            let refused = shop.store.dead_letters(&filter).await.unwrap_err();
            assert!(matches!(&refused, StoreError::Refused(text) if text.contains("several groups")), "{refused}");
        }
        let short = DeadFilter { group: Some(prints[0][..15].to_owned()), ..none() };
        assert!(!shop.store.dead_letters(&short).await.unwrap().is_empty());
    }

    async fn groups_say_how_many_since_when_of_whom_and_whether_they_are_new(shop) {
        let first = died(&shop, "shop", ANNA, "outage", "socket closed").await;
        let last = died(&shop, "voice", BORIS, "outage", "socket closed").await;
        shop.store.discard_dead(&[first], "ops", "old").await.unwrap();
        died(&shop, "shop", ANNA, "poison", "no json").await;
        shop.execute("UPDATE failure SET build = 'next' WHERE class = 'poison'".into()).await;
        let groups = shop.store.dead_groups(&DeadFilter::default(), Some("next")).await.unwrap();
        let told: Vec<_> = groups.iter().map(|g| (g.class.as_str(), g.count, g.open, g.contacts, g.new)).collect();
        assert_eq!(told, [("poison", 1, 1, 1, true), ("outage", 2, 1, 2, false)]);
        let at = async |id| -> Micros { shop.store.dead_letter(id).await.unwrap().created_at };
        assert_eq!((groups[1].first_at, groups[1].last_at), (at(first).await, at(last).await));
        assert_eq!(groups[1].builds, ["test"]);
        let by_source = DeadFilter { source: Some(source("voice")), ..DeadFilter::default() };
        let groups = shop.store.dead_groups(&by_source, None).await.unwrap();
        assert_eq!((groups.len(), groups[0].count, groups[0].new), (1, 1, false));
    }

    async fn whoever_looks_into_letters_leaves_behind_which_and_sees_none_that_died_since(shop) {
        let one = died(&shop, "shop", ANNA, "poison", "cannot be answered").await;
        let two = died(&shop, "shop", BORIS, "poison", "cannot be answered").await;
        let filter = DeadFilter { class: Some("poison".into()), ..Default::default() };
        let looked = shop.store.audit_looked("ops", "dead.reveal", &filter, "rehearsed").await.unwrap();
        died(&shop, "shop", ANNA, "poison", "cannot be answered").await;
        let seen: Vec<_> = shop.store.dead_letters(&looked).await.unwrap().iter().map(|letter| letter.id).collect();
        assert_eq!(seen, [two, one]);
        let hash = common::digest::hex_digest(format!("{two}\n{one}\n").as_bytes(), 64);
        shop.store.export_dead(&looked, true, "ops").await.unwrap();
        for action in ["dead.reveal", "dead.export.reveal"] {
            let remembered = format!(
                "SELECT count(*) FROM audit WHERE action = '{action}' AND who = 'ops' AND target LIKE '%2 letters%{hash}%' \
                   AND target LIKE '%\"class\":\"poison\"%' AND target LIKE '%ids {two} {one}'"
            );
            assert_eq!(shop.number(&remembered).await, 1, "{action}");
        }
    }
}
