//! The thinker: takes events in, gives each conversation one turn at a time, and delivers what was approved.
//!
//! Reading order: [`policy`] (what may be said), [`pipeline`] (one turn, stage by stage), [`models`] and
//! [`channels`] (the two outsides), [`recovery`] (what a failure means).

pub mod channels;
pub mod models;
pub mod pipeline;
pub mod policy;
pub mod recovery;
