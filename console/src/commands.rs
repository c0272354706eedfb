//! The commands, one file per noun.

pub(crate) mod conversation;
pub(crate) mod dead;
pub(crate) mod demo;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod migrate;
pub(crate) mod policy;
pub(crate) mod queue;
pub(crate) mod send;
pub(crate) mod snapshot;
pub(crate) mod span;

use clap::Args;

/// Who acts, for the audit.
#[derive(Debug, Args)]
pub(crate) struct Actor {
    /// Who acts, as the audit will name them [default: $USER, or "operator"]
    #[arg(long = "by", alias = "as", value_name = "NAME")]
    name: Option<String>,
}

impl Actor {
    /// The name.
    pub(crate) fn name(&self) -> String {
        actor_or_user(self.name.as_deref())
    }
}

/// A name that was given, else the user's.
pub(crate) fn actor_or_user(given: Option<&str>) -> String {
    let given = given.filter(|name| !name.trim().is_empty()).map(str::to_owned);
    given.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty())).unwrap_or_else(|| "operator".into())
}
