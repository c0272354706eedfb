//! Letters that say something else, letters given up, and letters in files.

use serde_json::json;

use super::dead_hands::{everything, letter_of, parked, refused, told};
use crate::stack::{Doors, Plan, Stack};

const ONE: &str = "15550161";
const OTHER: &str = "15550162";

async fn an_edited_letter_is_a_new_one_and_closes_the_old_when_it_is_answered(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let event = parked(&stack, &[(ONE, "Do you shp to Lmia?")]).await[0];
    let id = letter_of(&stack, event).await;
    let edited = told(&stack, &["dead", "edit", &id, "--text", "Do you ship to Lima?", "--why", "a typo"]).await;
    let new = edited["id"].as_str().unwrap().to_owned();
    assert_eq!((&edited["edited_from"], &edited["edit"]["why"]), (&json!(id), &json!("a typo")));
    let change = &edited["edit"]["changes"][0];
    assert!(change["before"].to_string().contains("Lmia") && change["after"].to_string().contains("Lima"), "{edited}");
    let old = told(&stack, &["dead", "show", &id]).await;
    assert_eq!((&old["state"], &old["event"]["text"]), (&json!("open"), &json!(null)), "kept as it was, and redacted");
    let shown = told(&stack, &["dead", "show", &new]).await;
    assert_eq!(shown["edited_from"], json!(id));
    assert!(!shown.to_string().contains("Lima"), "{shown}");
    let shown = told(&stack, &["dead", "show", &new, "--reveal"]).await;
    assert_eq!(shown["event"]["text"], "Do you ship to Lima?");

    let before = everything(&stack).await;
    for (arguments, words) in [
        (vec!["dead", "edit", &*new, "--text", "Do you ship to Lima?"], "nothing to do"),
        (vec!["dead", "edit", &*new, "--text", ""], "not valid"),
        (vec!["dead", "edit", &*id, "--text", "Once more"], "edited"),
    ] {
        let said = refused(&stack, 1, &arguments).await;
        assert!(said.contains(words) && said.contains("nothing was changed"), "{said}");
    }
    for (text, words) in [("{\"event_id\": ", "no whole JSON"), ("{\"said\": \"hello\"}", "no event of ours")] {
        let file = stack.folder().join("edit.json");
        std::fs::write(&file, text).unwrap();
        let said = refused(&stack, 1, &["dead", "edit", &new, "--file", file.to_str().unwrap()]).await;
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(everything(&stack).await, before, "a refused edit changes nothing");

    assert_eq!(told(&stack, &["dead", "replay", &new]).await["succeeded"], 1);
    let old = told(&stack, &["dead", "show", &id]).await;
    assert_eq!((&old["state"], &old["replaced_by"]), (&json!("replaced"), &json!(new)));
    stack.settled().await;
    let received = stack.received_by(ONE);
    assert!(received.len() == 2 && received[1].contains("Lima"), "{received:?}");
}

async fn letters_are_discarded_with_a_reason_and_only_on_purpose(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let events = parked(&stack, &[(ONE, "Are you open?"), (OTHER, "Are you open?")]).await;
    let id = letter_of(&stack, events[0]).await;
    let before = everything(&stack).await;
    let shown = told(&stack, &["dead", "discard", &id, "--why", "spam", "--dry-run"]).await;
    assert_eq!((&shown[0]["id"], &shown[0]["state"]), (&json!(id), &json!("open")));
    let said = refused(&stack, 2, &["dead", "discard", &id, "--why", "spam"]).await;
    assert!(said.contains("--yes"), "{said}");
    assert!(refused(&stack, 2, &["dead", "discard", &id, "--yes"]).await.contains("--why"));
    assert_eq!(everything(&stack).await, before);

    let gone = told(&stack, &["dead", "discard", &id, "--why", "spam", "--yes"]).await;
    assert_eq!((&gone["ids"], &gone["state"]), (&json!([id]), &json!("discarded")));
    assert_eq!(told(&stack, &["dead", "show", &id]).await["why"], "spam");
    let ledger = stack.settled().await;
    assert_eq!((ledger.ended["discarded"], ledger.ended["dead"]), (1, 1));
    let said = refused(&stack, 1, &["dead", "replay", &id]).await;
    assert!(said.contains("discarded"), "{said}");
}

/// A deployment of its own with another's store keys, or with keys of its own.
async fn elsewhere(doors: Doors, stack: &Stack, same_keys: bool) -> Stack {
    let plan = Plan::on(doors).await;
    let plan = if same_keys { plan.with("HANDRAIL_KEYS", &stack.settings["HANDRAIL_KEYS"]) } else { plan };
    plan.workers(0).start().await
}

async fn letters_travel_in_a_sealed_file_and_only_to_where_their_key_is(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let event = parked(&stack, &[(ONE, "Do you ship to Lima?")]).await[0];
    let id = letter_of(&stack, event).await;
    let (code, redacted, said) = stack.handrail(&["dead", "export"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("without their bodies") && !redacted.contains("Lima") && !redacted.contains(ONE), "{said}");
    let (code, whole, said) = stack.handrail(&["dead", "export", &id, "--reveal"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(!whole.contains("Lima") && !whole.contains(ONE), "sealed");
    let file = stack.folder().join("letters.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, &whole).unwrap();
    let back = told(&stack, &["dead", "import", path]).await;
    assert_eq!((&back["count"], &back["known"]), (&json!(0), &json!(1)), "it is here already: {back}");

    let home = elsewhere(doors, &stack, true).await;
    let imported = told(&home, &["dead", "import", path]).await;
    assert_eq!(imported["count"], 1, "{imported}");
    let new = imported["ids"][0].as_str().unwrap();
    let shown = told(&home, &["dead", "show", new, "--reveal"]).await;
    assert_eq!((&shown["class"], &shown["event"]["text"]), (&json!("context"), &json!("Do you ship to Lima?")));
    assert_eq!(told(&home, &["dead", "import", path]).await["known"], 1, "twice is once");

    let stranger = elsewhere(doors, &stack, false).await;
    let before = everything(&stranger).await;
    let said = refused(&stranger, 1, &["dead", "import", path]).await;
    assert!(said.contains("another deployment"), "{said}");
    for (damage, words) in [
        (whole[..whole.len() / 2].to_owned(), "no whole export"),
        (whole.replacen("context", "malformed", 1), "changed"),
        ("{\"letters\": []}".to_owned(), "no whole export"),
        (String::new(), "no whole export"),
    ] {
        std::fs::write(&file, damage).unwrap();
        let said = refused(&stranger, 1, &["dead", "import", path]).await;
        assert!(said.starts_with(path), "the file is named: {said}");
        let said = refused(&home, 1, &["dead", "import", path]).await;
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(everything(&stranger).await, before, "a refused file changes nothing");
}

on_every_backend!(
    an_edited_letter_is_a_new_one_and_closes_the_old_when_it_is_answered,
    letters_are_discarded_with_a_reason_and_only_on_purpose,
    letters_travel_in_a_sealed_file_and_only_to_where_their_key_is,
);
