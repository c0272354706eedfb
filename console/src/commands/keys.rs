//! `handrail keys`: fresh keys in the form that the environment takes them.

use clap::Subcommand;
use common::seal::{Key, Keyring};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::failure::{Answer, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Print three fresh keys as lines for the environment; they are shown once and kept nowhere
    Generate {
        /// The id that the keys will carry, so that they can be told apart after a rotation
        #[arg(long, default_value = "k1")]
        id: String,
    },
}

/// What each room is given: the store's keys never reach an ingress.
const NAMES: [&str; 3] = ["HANDRAIL_KEYS", "HANDRAIL_QUEUE_KEYS", "HANDRAIL_PSEUDONYM_KEY"];

impl Keys {
    pub(crate) fn run(&self, context: &Context) -> Answer {
        match self {
            Self::Generate { id } => generate(context, id),
        }
    }
}

fn generate(context: &Context, id: &str) -> Answer {
    let entry = |_| format!("{id}:{}", Key::generate().to_base64());
    let entries: Vec<String> = NAMES.iter().map(entry).collect();
    for text in &entries {
        Keyring::parse(text).map_err(|error| Failure::cannot_run(format!("--id: {error}")))?;
    }
    let pairs = || NAMES.iter().zip(&entries);
    let object: Map<String, Value> = pairs().map(|(name, entry)| ((*name).to_owned(), entry.as_str().into())).collect();
    context.output.object(&object.into(), || {
        pairs().map(|(name, entry)| format!("{name}={entry}")).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
