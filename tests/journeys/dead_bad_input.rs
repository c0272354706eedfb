//! What the dead-letter commands refuse: each says what is wrong with what, and changes nothing.

use super::dead_hands::{everything, letter_of, literal, parked, refused, tamper, told};
use crate::stack::{Doors, Plan};

const ONE: &str = "15550171";
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

async fn every_bad_input_is_told_clearly_and_changes_nothing(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let events = parked(&stack, &[(ONE, "Are you open?"), ("15550172", "Do you ship?")]).await;
    let [open, done] = [letter_of(&stack, events[0]).await, letter_of(&stack, events[1]).await];
    assert_eq!(told(&stack, &["dead", "replay", &done]).await["succeeded"], 1);
    stack.settled().await;
    let before = everything(&stack).await;
    let cases: &[(i32, &[&str], &[&str])] = &[
        // Impossible filters name what is known.
        (2, &["dead", "list", "--state", "lost"], &["lost", "open", "replaying", "resolved", "discarded"]),
        (2, &["dead", "list", "--class", "contxt"], &["contxt", "context", "unparsed"]),
        (2, &["dead", "list", "--stage", "sending"], &["sending", "parse", "intake", "turn", "send"]),
        (2, &["dead", "list", "--source", "watsapp"], &["watsapp", "whatsapp"]),
        (2, &["dead", "list", "--source", "What's App"], &["What's App"]),
        (2, &["dead", "list", "--group", "0123456789abcdef"], &["0123456789abcdef", "dead groups"]),
        (2, &["dead", "list", "--contact", "kim"], &["kim", "not an id"]),
        (2, &["dead", "list", "--since", "yesterday"], &["RFC 3339", "2h"]),
        (2, &["dead", "list", "--since", "1h", "--until", "2h"], &["nothing can match", "--since", "--until"]),
        (2, &["dead", "list", "--limit", "0"], &["--limit"]),
        (2, &["dead", "list", "--body", " "], &["--body"]),
        (2, &["dead", "groups", "--new-since", "9.9.9"], &["9.9.9", common::build()]),
        // Empty selections.
        (2, &["dead", "replay"], &["ids", "--group", "--all"]),
        (1, &["dead", "replay", "--class", "poison"], &["nothing to replay"]),
        (1, &["dead", "replay", "--dry-run", "--class", "poison"], &["nothing to rehearse"]),
        (1, &["dead", "export", "--class", "poison"], &["nothing to export"]),
        (1, &["dead", "discard", "--class", "poison", "--why", "x", "--yes"], &["nothing to discard"]),
        // What is not there, or not open any more.
        (1, &["dead", "show", NOBODY], &[NOBODY]),
        (1, &["dead", "replay", NOBODY], &[NOBODY]),
        (1, &["dead", "replay", &done], &[&done, "resolved"]),
        (1, &["dead", "replay", &open, &done], &[&done, "nothing was replayed"]),
        (1, &["dead", "edit", &done, "--text", "Hello?"], &[&done, "nothing was changed"]),
        (1, &["dead", "discard", &done, "--why", "x", "--yes"], &[&done, "open"]),
        (1, &["dead", "replay", "--resume", NOBODY], &[NOBODY]),
        (1, &["dead", "replay", "--cancel", NOBODY], &[NOBODY]),
        // What cannot be meant.
        (2, &["dead", "replay", &open, "--rate", "fast"], &["fast", "5/s", "300/m"]),
        (2, &["dead", "replay", &open, "--rate", "0/s"], &["0/s"]),
        (2, &["dead", "replay", &open, "--halt-over", "many"], &["many", "percent"]),
        (2, &["dead", "replay", &open, "--as", "again"], &["again", "regenerate", "send-stored", "note"]),
        (2, &["dead", "replay", &open, "--as", "note"], &["note"]),
        (2, &["dead", "replay", &open, "--class", "context"], &["ids and filters"]),
        (2, &["dead", "replay", "--dry-run", &open, "--as", "note"], &["needs the note"]),
        (2, &["dead", "replay", &open, "--note", "called"], &["a note closes letters"]),
        (2, &["dead", "replay", &open, "--halt-over", "5"], &["--halt-over", "--ladder"]),
        (2, &["dead", "replay", "--resume", NOBODY, &open], &["--resume", "cannot be used with"]),
        (2, &["dead", "replay", "--resume", NOBODY, "--class", "context"], &["--resume", "--class"]),
        (2, &["dead", "replay", "--resume", NOBODY, "--as", "note"], &["--resume", "--as"]),
        (2, &["dead", "replay", "--cancel", NOBODY, "--note", "called"], &["--cancel", "--note"]),
        (2, &["dead", "replay", "--cancel", NOBODY, "--rate", "5/s"], &["--cancel", "--rate"]),
        (2, &["dead", "replay", "--list", "--all"], &["--list", "--all"]),
        (1, &["dead", "replay", "--class", "undelivered"], &["nothing to replay"]),
        (1, &["dead", "replay", &open, "--as", "send-stored"], &[&open, "nothing was replayed"]),
        (2, &["dead", "edit", &open], &["--text", "--file"]),
        (2, &["dead", "edit", &open, "--file", "/no/such/file"], &["/no/such/file"]),
        (2, &["dead", "import", "/no/such/file"], &["/no/such/file"]),
    ];
    for (code, arguments, words) in cases {
        let said = refused(&stack, *code, arguments).await;
        for word in *words {
            assert!(said.contains(word), "{arguments:?} does not name {word}: {said}");
        }
    }
    assert_eq!(everything(&stack).await, before);
}

async fn a_letter_that_does_not_open_is_shown_with_the_reason_in_place_of_its_body(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let events = parked(&stack, &[(ONE, "Are you open?"), ("15550172", "Do you ship to Lima?")]).await;
    let [closed, whole] = [letter_of(&stack, events[0]).await, letter_of(&stack, events[1]).await];
    let [event, other] = [literal(&stack, events[0].uuid()), literal(&stack, events[1].uuid())];
    let swap = format!("UPDATE inbox SET body = (SELECT o.body FROM inbox o WHERE o.id = {other}) WHERE id = {event}");
    tamper(&stack, &swap).await;
    let shown = told(&stack, &["dead", "show", &closed, "--reveal"]).await;
    assert_eq!(
        (&shown["event"]["kind"], &shown["class"], &shown["given_up"]),
        (&"closed".into(), &"context".into(), &"hopeless".into())
    );
    assert!(shown["event"]["error"].as_str().is_some_and(|why| !why.is_empty()), "{shown}");
    assert_eq!(shown["history"].as_array().map(Vec::len), Some(1), "{shown}");
    let (code, words, said) = stack.handrail(&["dead", "show", &closed]).await;
    assert!(code == 0 && words.contains("does not open"), "{words}\n{said}");
    let found = told(&stack, &["dead", "list", "--body", "LIMA"]).await;
    assert_eq!(found.as_array().map(|all| all[0]["id"].clone()), Some(whole.as_str().into()), "{found}");
    let (code, export, said) = stack.handrail(&["dead", "export", "--reveal"]).await;
    assert_eq!(code, 0, "{said}");
    let export: serde_json::Value = serde_json::from_str(&export).unwrap();
    let bodies = export["letters"].as_array().unwrap().iter().filter(|letter| !letter["body"].is_null()).count();
    assert_eq!(bodies, 1, "{export}");
}

async fn a_search_in_what_was_said_is_remembered_and_shows_no_word(doors: Doors) {
    let stack = Plan::on(doors).await.start().await;
    let events = parked(&stack, &[(ONE, "Do you ship to Lima?"), ("15550172", "Are you open?")]).await;
    let found = told(&stack, &["dead", "list", "--body", "LIMA"]).await;
    assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    assert_eq!(found[0]["event_id"], events[0].to_string());
    assert!(!found.to_string().contains("Lima") && !found.to_string().contains(ONE), "{found}");
    assert_eq!(told(&stack, &["dead", "list", "--body", "Quito"]).await.as_array().map(Vec::len), Some(0));
    let audit = &everything(&stack).await;
    let audit = audit.iter().find(|(table, _)| table.ends_with("audit")).unwrap().1;
    let searches: Vec<&String> = audit.iter().filter(|line| line.contains("dead.search")).collect();
    assert_eq!(searches.len(), 2, "{audit:?}");
    assert!(searches.iter().all(|line| !line.to_lowercase().contains("lima")), "{searches:?}");
    for words in ["context", "longer than the model"] {
        let found = told(&stack, &["dead", "list", "--text", words]).await;
        assert_eq!(found.as_array().map(Vec::len), Some(2), "{words}: {found}");
    }
}

on_every_backend!(
    a_letter_that_does_not_open_is_shown_with_the_reason_in_place_of_its_body,
    every_bad_input_is_told_clearly_and_changes_nothing,
    a_search_in_what_was_said_is_remembered_and_shows_no_word,
);
