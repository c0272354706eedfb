//! The promises, as tests: one file for each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helper fails as a test does")]

mod compose; // compose.yaml and the Dockerfile name what exists
mod contracts; // one suite for each door, run on every backend
mod servers; // private RabbitMQ and PostgreSQL, started by the first test that asks
