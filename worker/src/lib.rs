//! The thinker: takes events in, gives each conversation one turn at a time, and delivers what was approved.
//!
//! Reading order: [`policy`] (what may be said), [`pipeline`] (one turn, stage by stage), [`models`] and
//! [`channels`] (the two outsides, through one HTTP client), [`recovery`] (what a failure means).

pub mod channels;
mod http;
pub mod models;
pub mod pipeline;
pub mod policy;
pub mod recovery;
mod retry_after;
