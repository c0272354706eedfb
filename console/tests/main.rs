//! The command as its users meet it: the built binary, a folder of its own, and no environment but what a test gives.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a test cannot go on without fails it"
)]

mod demo;
mod doors;
mod handrail;
mod hands;
mod keys;
mod send;
mod up;
