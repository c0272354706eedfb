//! The command as its users meet it: the built binary, a folder of its own, and no environment but what a test gives.

mod demo;
mod doors;
mod handrail;
mod keys;
mod send;
