//! Configuration: the environment, one optional file, and nothing else.
//!
//! Everything is read and checked once, at start, by [`Config::load`]. A problem names the setting and the fix; all
//! problems are told at once. In production an unsafe setting is a problem; in development it is a warning (P10).

mod file;
mod findings;
mod keys;
mod models;
mod secret;
mod sources;
mod timing;
mod urls;
mod vars;

pub use file::{Config, Notify, NotifyWay};
pub use findings::{ConfigError, Findings, Mode, Problem};
pub use keys::{Keys, QueueSecrets};
pub use models::{ModelConfig, Protocol};
pub use secret::Secret;
pub use sources::{Encoding, HmacAlgorithm, HmacConfig, KeyForm, Pointers, Room, Source};
pub use timing::Timing;
pub use urls::{QueueUrl, SqliteFile, StoreUrl};
pub use vars::Vars;
