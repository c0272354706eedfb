//! The ingress's promises, each with its exact answer.

/// Right webhooks: what is queued, and in which order.
mod accepts;
/// A configuration that cannot be used, or is unsafe in production, does not start.
mod configuration;
/// Over real connections: slow peers, large bodies, drain, health.
mod connections;
/// Every bad request, and a queue that fails.
mod refuses;
mod stage;
