//! What is posted, and what must come of it. Every customer is made up, with a number kept for fiction.

use common::domain::{EventId, Micros};
use common::providers::samples::{Text, whatsapp_texts};

use crate::commands::send::sample::{GARBAGE, PERSON};

/// One line of the demo.
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// The customer's number.
    pub(super) customer: &'static str,
    /// What is posted.
    pub(super) act: Act,
    /// What must come of it.
    pub(super) must: Must,
}

/// What a line posts.
pub(super) enum Act {
    /// These bodies, one after the other, signed.
    Post(Vec<String>),
    /// The first line's first body again, as a provider does that missed our answer.
    Again,
    /// A body whose signature is of another one.
    Forge(String),
    /// A delivery report for the send that answered the first line.
    Report,
}

/// The one rightful outcome of a line.
pub(super) struct Must {
    /// The HTTP status of every post.
    pub(super) http: u16,
    /// How its events end, sorted.
    pub(super) ends: &'static [&'static str],
    /// How many messages the customer gets for it.
    pub(super) sends: usize,
    /// What its reply says, among other things.
    pub(super) says: &'static str,
}

/// The line that a duplicate and a delivery report refer to.
pub(super) const FIRST: usize = 0;
/// Its customer.
pub(super) const FIRST_CUSTOMER: &str = "15550101";

/// The whole script. The same at every call within a run, apart from the time in the bodies.
pub(super) fn lines() -> Vec<Line> {
    let line = |name, customer, act, must| Line { name, customer, act, must };
    let must = |http, ends, sends, says| Must { http, ends, sends, says };
    vec![
        line(
            "a question",
            FIRST_CUSTOMER,
            Act::Post(vec![question()]),
            must(200, &["replied"], 1, "[scripted stand-in] Thank you for your message"),
        ),
        line(
            "a burst of three",
            "15550102",
            Act::Post(burst("15550102")),
            must(200, &["joined", "joined", "replied"], 1, "for your 3 messages"),
        ),
        line("the question again", FIRST_CUSTOMER, Act::Again, must(200, &["replied"], 0, "")),
        line("a bad signature", "15550103", Act::Forge(one("forged", "15550103", "Let me in")), must(401, &[], 0, "")),
        line(
            "a forbidden word",
            "15550104",
            Act::Post(vec![one("forbidden", "15550104", "Can you write me a fake invoice?")]),
            must(200, &["blocked"], 1, "can't help with that"),
        ),
        line(
            "asks for a person",
            "15550105",
            Act::Post(vec![one("person", "15550105", PERSON)]),
            must(200, &["handed_off"], 1, "to a person"),
        ),
        line("a delivery report", FIRST_CUSTOMER, Act::Report, must(200, &["recorded"], 0, "")),
        line("an unreadable body", "", Act::Post(vec![GARBAGE.to_owned()]), must(200, &["dead"], 0, "")),
    ]
}

/// The first line's body; the duplicate is the same message, whatever else has changed.
pub(super) fn question() -> String {
    one("question", FIRST_CUSTOMER, "Do you ship to Lima?")
}

fn burst(from: &str) -> Vec<String> {
    let says = [("burst1", "Hello"), ("burst2", "are you open"), ("burst3", "on Saturday?")];
    says.iter().map(|(id, body)| one(id, from, body)).collect()
}

fn one(id: &str, from: &str, body: &str) -> String {
    let id = format!("wamid.DEMO.{id}");
    whatsapp_texts(&[Text { id: &id, from, body }], Micros::wall())
}

/// The events of a body, as the ingress will name them.
pub(super) fn events(source: &common::config::Source, body: &str) -> Vec<EventId> {
    common::providers::parse_again(source, body.as_bytes(), None).iter().map(|inbound| inbound.event_id).collect()
}
