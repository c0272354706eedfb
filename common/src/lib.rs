//! The language every room of Handrail speaks, in reading order.
//!
//! A provider's webhook is proved by [`signature`], read by [`providers`], sealed by [`seal`] into an
//! [`envelope`], carried by the [`queue`], and from the moment a worker has taken it in, the [`store`] is the
//! truth. Everything here is free of HTTP servers and of language models.

pub mod domain;

pub mod signature;

pub mod providers;

pub mod seal;

pub mod envelope;

pub mod queue;

pub mod store;

pub mod config;

pub mod digest;
pub mod metrics;
pub mod shutdown;
pub mod steps;
pub mod telemetry;
pub mod trace;

/// This build's version, as dead letters and logs name it.
#[must_use]
pub const fn build() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
