//! The brief: what a colleague reads before taking a conversation. Deterministic: the same conversation at the same
//! moment gives the same brief, and no model has written any of it.
//!
//! It holds what a customer said, so it is sealed wherever it is kept, and never logged. How much of the customer's
//! address and of the conversation it tells is the team's, in the policy.

use std::time::Duration;

use common::domain::{Address, Author, Call, ConversationId, Line, Micros, Speaker};
use common::store::Story;
use lens::pii::{self, PiiKind};
use lens::secrets;

use crate::policy::{Policy, ShownContact, Team};

/// The longest part of a line that is told, in characters.
const MOST_OF_A_LINE: usize = 300;
/// How many of the assistant's last lines are told again as what it may have promised.
const PROMISED: usize = 2;

/// What a brief is about.
#[derive(Clone, Copy)]
pub struct Matter<'a> {
    /// The conversation.
    pub conversation: ConversationId,
    /// Why a person is called, and whom.
    pub call: &'a Call,
    /// Since when the customer waits.
    pub waiting_since: Micros,
    /// By when the first answer is due.
    pub due_at: Option<Micros>,
    /// What was said, and by whom.
    pub story: &'a Story,
    /// How long after the customer's last message the channel takes free text; `None` for always.
    pub window: Option<Duration>,
    /// Now.
    pub now: Micros,
}

/// A brief, as text for people.
#[must_use]
pub fn brief(policy: &Policy, team: Option<&Team>, matter: &Matter<'_>) -> String {
    let parts = [head(team, matter), why(policy, matter.call), said(team, matter.story), promised(matter.story)];
    let next = next(team, matter);
    parts.into_iter().flatten().chain([next]).collect::<Vec<_>>().join("\n\n")
}

fn head(team: Option<&Team>, matter: &Matter<'_>) -> Option<String> {
    let (call, story) = (matter.call, matter.story);
    let asked = if call.asked { ", as the customer asked" } else { "" };
    let called = team.map_or("a person", |team| team.label.as_str());
    let mut text = format!("{} called {called}{asked}. Priority {}.", call.rule, call.priority.as_str());
    text += &format!("\nConversation {} on {}", matter.conversation, story.source);
    if let Some(locale) = &story.locale {
        text += &format!(", language {locale}");
    }
    if let Some(contact) = contact(&story.party.address, team.map_or(ShownContact::default(), |team| team.contact)) {
        text += &format!(", customer {contact}");
    }
    text += &format!(".\nWaiting since {}", matter.waiting_since);
    if let Some(due) = matter.due_at {
        let late = if due < matter.now { " (overdue)" } else { "" };
        text += &format!("; first answer due {due}{late}");
    }
    text += &format!(".\n{}", window(matter));
    Some(text)
}

/// As much of an address as the team is told.
#[must_use]
pub fn contact(address: &Address, shown: ShownContact) -> Option<String> {
    match shown {
        ShownContact::Full => Some(address.value.clone()),
        ShownContact::Last4 => Some(last_of(&address.value)),
        ShownContact::None => None,
    }
}

/// The last four characters; of a short text half, otherwise nothing would be hidden.
fn last_of(text: &str) -> String {
    let count = text.chars().count();
    let told: String = text.chars().skip(count - 4.min(count / 2)).collect();
    format!("…{told}")
}

fn window(matter: &Matter<'_>) -> String {
    let Some((window, last)) = matter.window.zip(matter.story.last_inbound_at) else {
        return "You may write at any time.".to_owned();
    };
    let closes = last + window;
    let left = closes.since(matter.now).as_secs() / 60;
    if left == 0 {
        return "The channel takes no free text any more until the customer writes again.".to_owned();
    }
    format!("The channel takes free text for {} h {:02} min more, until {closes}.", left / 60, left % 60)
}

fn why(policy: &Policy, call: &Call) -> Option<String> {
    let summary = call.summary.get(policy.default_locale()).or_else(|| call.summary.values().next());
    let reasons = call.evidence.iter().map(|evidence| format!("- {}: {}", evidence.rule, evidence.reason));
    let mut told: Vec<String> = summary.cloned().into_iter().collect();
    for reason in reasons {
        if !told.contains(&reason) {
            told.push(reason);
        }
    }
    (!told.is_empty()).then(|| format!("Why\n{}", told.join("\n")))
}

fn said(team: Option<&Team>, story: &Story) -> Option<String> {
    let most = team.map_or(story.lines.len(), |team| team.lines);
    let lines: Vec<String> = story.lines.iter().rev().take(most).map(line).collect();
    let lines: Vec<String> = lines.into_iter().rev().collect();
    (!lines.is_empty()).then(|| format!("What was said last\n{}", lines.join("\n")))
}

fn line(line: &Line) -> String {
    let who = match line.speaker {
        Speaker::Customer => "customer",
        Speaker::Business(Author::Assistant) => "assistant",
        Speaker::Business(Author::Policy) => "policy",
        Speaker::Business(Author::Person) => "colleague",
        Speaker::Record => "record",
    };
    format!("- {who}, {}: {}", line.at, bounded(&line.text))
}

/// On one line, no longer than anybody reads, and without what must not lie in a mailbox or a chat.
fn bounded(text: &str) -> String {
    let flat = covered(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(MOST_OF_A_LINE) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// A text without credentials and with only the last characters of cards, accounts and national ids. Telephones and
/// e-mail addresses stay: a colleague may have to use them.
fn covered(text: &str) -> String {
    let numbers = pii::find(text).into_iter().filter_map(|finding| match finding.kind {
        PiiKind::Card | PiiKind::Iban | PiiKind::NationalId => Some((finding.span, true)),
        PiiKind::Email | PiiKind::Phone => None,
    });
    let mut hidden: Vec<_> = numbers.chain(secrets::find(text).into_iter().map(|span| (span, false))).collect();
    hidden.sort_by_key(|(span, _)| *span);
    let (mut told, mut done) = (String::with_capacity(text.len()), 0);
    for (span, last4) in hidden {
        if span.start < done {
            continue;
        }
        told.push_str(&text[done..span.start]);
        match last4 {
            true => told.push_str(&last_of(&text[span.start..span.end])),
            false => told.push_str("***"),
        }
        done = span.end;
    }
    told.push_str(&text[done..]);
    told
}

/// The assistant's own last words: whatever it has promised lately is among them.
fn promised(story: &Story) -> Option<String> {
    let own = |line: &&Line| line.speaker == Speaker::Business(Author::Assistant);
    let last: Vec<String> =
        story.lines.iter().rev().filter(own).take(PROMISED).map(|line| bounded(&line.text)).collect();
    let told = last.iter().rev().map(|text| format!("- {text}")).collect::<Vec<_>>().join("\n");
    (!last.is_empty()).then(|| format!("What the assistant has told them, and may have promised\n{told}"))
}

fn next(team: Option<&Team>, matter: &Matter<'_>) -> String {
    let step = team.and_then(|team| team.next_step(&matter.call.rule));
    let step = step.map_or_else(String::new, |step| format!("Next: {step}\n"));
    let id = matter.conversation;
    format!(
        "{step}Take it:   handrail conversation take {id}\nAnswer:    handrail conversation reply {id} \"…\"\n\
         Give back: handrail conversation return {id}"
    )
}

#[cfg(test)]
mod tests {
    use common::domain::{Evidence, Party, SourceName};

    use super::*;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn story() -> Story {
        let said =
            |speaker, text: &str| Line { speaker, at: Micros::from_seconds(1_700_000_000), text: text.to_owned() };
        Story {
            source: SourceName::parse("whatsapp").unwrap(),
            party: Party {
                account: "100".into(),
                address: Address { space: "phone".into(), value: "15550123".into() },
            },
            locale: Some("en".into()),
            last_inbound_at: Some(Micros::from_seconds(1_700_000_000)),
            lines: vec![
                said(Speaker::Customer, "Where is\nmy order?"),
                said(Speaker::Business(Author::Assistant), "It will be there on Friday."),
                said(Speaker::Customer, &"I want a person. ".repeat(30)),
            ],
        }
    }

    fn told(change: &str, now: i64) -> String {
        let source = include_str!("../../policies/shop.toml").replacen("contact = \"last4\"", change, 1);
        let policy = Policy::parse(&source, "test.toml").unwrap();
        let mut call = Call::because("asks-for-a-person");
        call.asked = true;
        call.evidence = vec![Evidence { event: None, rule: "asks-for-a-person".into(), reason: "phrase".into() }; 2];
        let story = story();
        let matter = Matter {
            conversation: ID.parse().unwrap(),
            call: &call,
            waiting_since: Micros::from_seconds(1_700_000_000),
            due_at: Some(Micros::from_seconds(1_700_003_600)),
            story: &story,
            window: Some(Duration::from_hours(24)),
            now: Micros::from_seconds(now),
        };
        brief(&policy, policy.team(&call), &matter)
    }

    #[test]
    fn it_says_why_who_waits_since_when_what_was_said_and_promised_and_what_to_do() {
        let text = told("contact = \"last4\"", 1_700_000_060);
        for part in [
            "asks-for-a-person called Front desk, as the customer asked. Priority medium.",
            "on whatsapp, language en, customer …0123.",
            "first answer due 2023-11-14T23:13:20.000Z.",
            "free text for 23 h 59 min more",
            "Why\n- asks-for-a-person: phrase\n\n",
            "- customer, 2023-11-14T22:13:20.000Z: Where is my order?\n",
            "may have promised\n- It will be there on Friday.\n",
            "Next: Read what was said",
            "handrail conversation take 00000000-0000-0000-0000-000000000007",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("1555") && text.lines().all(|line| line.chars().count() < 400), "{text}");
        assert_eq!(text, told("contact = \"last4\"", 1_700_000_060), "the same again");
    }

    #[test]
    fn how_much_of_the_customers_address_is_told_is_the_teams() {
        assert!(told("contact = \"full\"", 1_700_000_060).contains("customer 15550123."));
        assert!(!told("contact = \"none\"", 1_700_000_060).contains("customer …"));
    }

    #[test]
    fn what_must_not_lie_in_a_mailbox_is_not_told() {
        for (text, told) in [
            ("my card is 4111 1111 1111 1111, ok?", "my card is …1111, ok?"),
            ("my password is hunter22x", "my password is ***"),
            ("call +1 555 0100 123 or kim@example.org", "call +1 555 0100 123 or kim@example.org"),
            ("where is\nit?", "where is it?"),
        ] {
            assert_eq!(bounded(text), told);
        }
    }

    #[test]
    fn what_is_late_is_said_to_be() {
        let text = told("contact = \"last4\"", 1_700_000_000 + 25 * 3_600);
        assert!(text.contains("(overdue)") && text.contains("takes no free text any more"), "{text}");
    }
}
