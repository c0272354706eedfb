//! Stand-ins: fake provider APIs on a loopback port of their own, for `handrail demo`, tests and the benchmark.
//!
//! Each says what it is, in its name and in every answer (header `x-stand-in`, field `"stand_in": true`). Each records
//! what it was told, does what its queue of behaviours says, one per call, and lets a test wait for a number of calls
//! without sleeping. Dropping one closes its port.

mod graph_api;
mod mail_sink;
mod model;
mod record;
mod reply_sink;
mod server;

pub use graph_api::{FakeGraphApi, GraphBehaviour, GraphSend};
pub use mail_sink::{MailSink, SunkMail};
pub use model::{FakeModel, Held, ModelBehaviour, ModelCall, ModelProtocol};
pub use reply_sink::{ReplyBehaviour, ReplySink, SunkReply};
pub use server::refusing_url;

#[cfg(test)]
mod tests;
