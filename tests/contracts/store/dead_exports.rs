//! Letters in a file name nobody unless they are sealed, and are taken in only where their key is, whole, and once.

use common::domain::{DeadState, Event};
use common::store::{Clock, DeadBody, DeadFilter, ImportRefused, Imported, Store};

use super::dead_replays::{died, freeze, refused};
use super::{ANNA, Arc, BORIS, Shop, contract, text};

/// Another store of the same deployment.
async fn twin(shop: &Shop) -> (Arc<Shop>, Store) {
    let other = Shop::on_sqlite().await;
    let store = Store::open(&other.url, &shop.keys, &shop.timing, Clock::Engine).await.unwrap();
    (other, store)
}

contract! {
    async fn an_export_says_nothing_of_anybody_in_clear_and_redacted_it_holds_no_body(shop) {
        died(&shop, ANNA).await;
        refused(&shop, BORIS).await;
        for reveal in [false, true] {
            let export = shop.store.export_dead(&DeadFilter::default(), reveal, "ops").await.unwrap();
            assert_eq!((export.letters.len(), export.revealed, export.key.as_str()), (2, reveal, "s1"));
            assert!(export.letters.iter().all(|letter| letter.body.is_some() == reveal && !letter.history.is_empty()));
            let written = serde_json::to_string(&export).unwrap();
            for word in [ANNA, BORIS, "yes, we do", "Lima", "wamid"] {
                assert!(!written.contains(word), "'{word}' lies in clear");
            }
            assert!(serde_json::from_str::<common::store::DeadExport>(&written).unwrap() == export);
        }
        assert_eq!(shop.number("SELECT count(*) FROM audit WHERE action LIKE 'dead.export%'").await, 2);
    }

    async fn an_import_gets_new_ids_and_a_tag_and_twice_is_once(shop) {
        let (_, _, dead) = died(&shop, ANNA).await;
        refused(&shop, BORIS).await;
        let raw = Event::Unparsed { problem: "not JSON".into(), raw: b"{".to_vec() };
        shop.admit(&shop.arrival_by("shop", None, raw.clone())).await;
        shop.store.keep_undeliverable(None, b"noise", "malformed").await.unwrap();
        let export = shop.store.export_dead(&DeadFilter::default(), true, "ops").await.unwrap();
        let (other, store) = twin(&shop).await;
        let imported = store.import_dead(&export, "ops").await.unwrap();
        assert_eq!((imported.letters.len(), imported.known, imported.erased, imported.bare), (4, 0, 0, 0));
        let tagged = DeadFilter { text: Some("imported".into()), ..DeadFilter::default() };
        let letters = store.dead_letters(&tagged).await.unwrap();
        assert_eq!(letters.len(), 4);
        assert!(letters.iter().all(|letter| letter.state == DeadState::Open && letter.id != dead));
        let mut found = Vec::new();
        for letter in &letters {
            found.push(match store.dead_body(letter).await.unwrap() {
                DeadBody::Event(inbound) => inbound.event,
                DeadBody::Envelope(bytes) => text(std::str::from_utf8(&bytes).unwrap()),
                DeadBody::Send { .. } | DeadBody::Nothing | DeadBody::Closed(_) => panic!("no body"),
            });
            assert!(!store.dead_attempts(letter).await.unwrap().is_empty());
        }
        for event in [text("poison"), text("do you ship to Lima?"), raw, text("noise")] {
            assert!(found.contains(&event));
        }
        let again = store.export_dead(&DeadFilter::default(), true, "ops").await.unwrap();
        assert_eq!(store.import_dead(&export, "ops").await.unwrap(), Imported { known: 4, ..Default::default() });
        assert_eq!(store.import_dead(&again, "ops").await.unwrap(), Imported { known: 4, ..Default::default() });
        assert_eq!(other.number("SELECT count(*) FROM dead").await, 4);
        assert!(store.ledger(None).await.unwrap().balances());
    }

    async fn what_a_store_still_has_is_not_imported_beside_it(shop) {
        let (_, _, dead) = died(&shop, ANNA).await;
        let export = shop.store.export_dead(&DeadFilter::of([dead]), true, "ops").await.unwrap();
        freeze(&shop, &DeadFilter::of([dead])).await;
        assert_eq!(shop.store.import_dead(&export, "ops").await.unwrap(), Imported { known: 1, ..Default::default() });
        assert_eq!(shop.number("SELECT count(*) FROM dead").await, 1);
    }

    async fn another_deployments_export_and_a_changed_one_are_refused_by_name_and_change_nothing(shop) {
        died(&shop, ANNA).await;
        let export = shop.store.export_dead(&DeadFilter::default(), true, "ops").await.unwrap();
        let stranger = Shop::on_sqlite().await;
        let refused = stranger.store.import_dead(&export, "ops").await.unwrap_err();
        assert!(matches!(&refused, ImportRefused::OtherKey(key) if key == "s1"), "{refused}");
        let (other, store) = twin(&shop).await;
        let mut changed = export.clone();
        changed.letters[0].class = "outage".into();
        assert!(matches!(store.import_dead(&changed, "ops").await, Err(ImportRefused::Changed)));
        let mut cut = export.clone();
        cut.letters.clear();
        assert!(matches!(store.import_dead(&cut, "ops").await, Err(ImportRefused::Changed)));
        let mut newer = export.clone();
        newer.format = "handrail dead letters 2".into();
        assert!(matches!(store.import_dead(&newer, "ops").await, Err(ImportRefused::Format(_))));
        for shop in [&stranger, &other] {
            for table in ["dead", "inbox", "contact", "audit", "failure"] {
                assert_eq!(shop.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
            }
        }
    }

    async fn a_redacted_export_can_be_studied_elsewhere_but_not_replayed(shop) {
        died(&shop, ANNA).await;
        let export = shop.store.export_dead(&DeadFilter::default(), false, "ops").await.unwrap();
        let (_other, store) = twin(&shop).await;
        let imported = store.import_dead(&export, "ops").await.unwrap();
        assert_eq!((imported.letters.len(), imported.bare), (1, 1));
        let letter = store.dead_letter(imported.letters[0]).await.unwrap();
        assert!(matches!(store.dead_body(&letter).await.unwrap(), DeadBody::Nothing));
        assert!(store.replay(letter.id, "ops").await.is_err());
    }

    async fn an_erased_persons_letter_does_not_come_back_by_import(shop) {
        died(&shop, ANNA).await;
        let export = shop.store.export_dead(&DeadFilter::default(), true, "ops").await.unwrap();
        let (other, store) = twin(&shop).await;
        for name in shop.keys.shared.pseudonyms.of_address(&common::domain::Address { space: "phone".into(), value: ANNA.into() }) {
            let digest = other.bytes(name.digest());
            other.execute(format!("INSERT INTO tombstone (digest, key_id, erased_at) VALUES ({digest}, 'p1', 1)")).await;
        }
        let imported = store.import_dead(&export, "ops").await.unwrap();
        assert_eq!((imported.letters.len(), imported.erased), (0, 1));
        assert_eq!(other.number("SELECT count(*) FROM inbox").await, 0);
    }

    async fn a_letter_that_does_not_open_is_exported_without_its_body_and_says_why(shop) {
        let (event, _, dead) = super::dead_replays::died(&shop, super::ANNA).await;
        let (_, _, whole) = super::dead_replays::died(&shop, super::BORIS).await;
        let noise = shop.bytes(b"noise");
        shop.execute(format!("UPDATE inbox SET body = {noise} WHERE id = {}", shop.id(event.uuid()))).await;
        let letter = shop.store.dead_letter(dead).await.unwrap();
        let common::store::DeadBody::Closed(why) = shop.store.dead_body(&letter).await.unwrap() else { panic!("open") };
        assert!(!why.is_empty());
        let export = shop.store.export_dead(&DeadFilter::default(), true, "ops").await.unwrap();
        let bodies: Vec<_> = export.letters.iter().map(|letter| (letter.id, letter.body.is_some())).collect();
        assert_eq!(bodies, [(whole, true), (dead, false)]);
    }
}
