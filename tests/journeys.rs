//! A deployment of real processes, seen from outside.

/// Runs each promise on either backend.
macro_rules! on_every_backend {
    ($($promise:ident),+ $(,)?) => {
        mod embedded { $(#[tokio::test] async fn $promise() { super::$promise($crate::stack::Doors::Embedded).await; })+ }
        mod servers { $(#[tokio::test] async fn $promise() { super::$promise($crate::stack::Doors::Servers).await; })+ }
    };
}

mod answers; // what the model is asked, by which protocol, and in how many parts the answer leaves
mod bodies; // webhook bodies beyond the samples
mod chain; // several models: who answers when one does not, and what each call cost
mod dead_bad_input; // what no dead-letter command does, and what it says
mod dead_edits; // letters that say something else, and letters in files
mod dead_hands; // what journeys of dead letters share
mod dead_interrupts; // replays cut off, gone on with, joined and halted
mod dead_letters; // what cannot be read or answered waits for a person, and runs again
mod dead_rehearsals; // what a replay would come to, without doing it
mod dead_replays; // a cause mended, and its letters run again
mod floor; // who may speak: the assistant or a person
mod guardrails; // what policy stops, cuts and says instead
mod handoffs; // who is called, told and reminded, and what the customer hears meanwhile
mod kinds; // every kind of WhatsApp message, each in its way, however many a POST holds
mod known; // what is answered without the model, and what the model is told besides
mod ledger; // what was accepted and then lost is missed, and named
mod one_reply; // a webhook becomes one reply, whatever is repeated
mod operations; // health, metrics and one trace from webhook to send
mod policy; // a policy is checked, asked and measured without any door
mod policy_diff; // what another policy would have made of the past
mod privacy; // nothing personal or secret in clear, anywhere
mod reload; // another policy while turns run
mod snapshot; // the last hour in figures
mod sources; // the other providers, and signed replies to a business's own address
mod starts; // what does not start, and what it says
mod statuses; // what a provider says became of a send
mod triggers; // what calls a person without being asked for, and what waits
