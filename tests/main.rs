//! The promises, as tests: one file for each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's helper fails as a test does, and shows what it knows"
)]

mod chaos; // faults by the dozen, from a seed, and a judge
mod compose; // compose.yaml and the Dockerfile name what exists
mod contracts; // one suite for each door, run on every backend
mod faults; // what becomes of messages when things die
mod journeys; // a deployment of real processes, seen from outside
mod model; // the protocol in every order of events, with every fault
mod servers; // private RabbitMQ and PostgreSQL, started by the first test that asks
mod stack; // a deployment of built binaries, for one test
mod tidy; // the architecture, executable
