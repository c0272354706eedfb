//! The ingress's promises, each with its exact answer.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up has failed")]

/// Right webhooks: what is queued, and in which order.
mod accepts;
/// A configuration that cannot be used, or is unsafe in production, does not start.
mod configuration;
/// Over real connections: slow peers, large bodies, drain, health.
mod connections;
/// What a log line may hold, and what it never holds.
mod logs;
/// Every bad request, and a queue that fails.
mod refuses;
/// With a spool: 200 while the queue takes nothing, and all of it in order afterwards.
mod spools;
mod stage;
