//! Which process holds which keys.
//!
//! The store keys wrap the contacts' keys; only worker, recall and console hold them. The queue keys seal
//! envelopes; ingress and worker hold them. In development one generated file serves all.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Findings, Mode, Vars};
use crate::seal::{Key, Keyring, Pseudonyms};

/// What seals envelopes and names people; all that an ingress holds.
#[derive(Clone, Debug)]
pub struct QueueSecrets {
    /// Seals envelopes.
    pub queue: Keyring,
    /// Makes pseudonyms.
    pub pseudonyms: Pseudonyms,
}

/// Every key: what a worker, recall and the operator's command hold.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Wraps contact keys; also the deployment's own key for what belongs to no contact.
    pub store: Keyring,
    /// What the ingress holds too.
    pub shared: QueueSecrets,
}

/// Where development keeps its generated key.
const DEVELOPMENT_FILE: &str = "data/keys";

impl QueueSecrets {
    /// The ingress's keys. `HANDRAIL_KEYS` in an ingress is refused in production.
    pub fn load_for_ingress(vars: &Vars, findings: &mut Findings) -> Option<Self> {
        let production = findings.mode() == Mode::Production;
        if production && vars.get("HANDRAIL_KEYS", findings).is_some() {
            findings.problem("HANDRAIL_KEYS", "the store's keys must not reach an ingress: unset it here");
        }
        Self::load(vars, None, findings)
    }

    fn load(vars: &Vars, store: Option<&Keyring>, findings: &mut Findings) -> Option<Self> {
        let production = findings.mode() == Mode::Production;
        let queue = vars.get("HANDRAIL_QUEUE_KEYS", findings);
        let pseudonym = vars.get("HANDRAIL_PSEUDONYM_KEY", findings);
        if production {
            for (name, value) in [("HANDRAIL_QUEUE_KEYS", &queue), ("HANDRAIL_PSEUDONYM_KEY", &pseudonym)] {
                if value.is_none() {
                    findings.problem(name, "is required in production: `handrail keys generate` prints one");
                }
            }
        }
        let needs_base = !production && (queue.is_none() || pseudonym.is_none());
        let base = if needs_base { store.cloned().or_else(|| store_keys(vars, findings)) } else { None };
        let queue = match queue {
            Some(list) => report("HANDRAIL_QUEUE_KEYS", Keyring::parse(&list), findings),
            None => base.as_ref().map(|base| base.derive("handrail queue")),
        };
        let pseudonyms = match pseudonym {
            Some(list) => report("HANDRAIL_PSEUDONYM_KEY", Pseudonyms::parse(&list), findings),
            None => base.as_ref().map(|base| Pseudonyms::from_ring(base.derive("handrail pseudonym"))),
        };
        Some(Self { queue: queue?, pseudonyms: pseudonyms? })
    }
}

impl Keys {
    /// Every key, for a process that opens the store.
    pub fn load(vars: &Vars, findings: &mut Findings) -> Option<Self> {
        let store = store_keys(vars, findings)?;
        let shared = QueueSecrets::load(vars, Some(&store), findings)?;
        Some(Self { store, shared })
    }
}

fn store_keys(vars: &Vars, findings: &mut Findings) -> Option<Keyring> {
    let list = match vars.get("HANDRAIL_KEYS", findings) {
        Some(list) => list,
        None if findings.mode() == Mode::Production => {
            findings.problem("HANDRAIL_KEYS", "is required in production: `handrail keys generate` prints one");
            return None;
        }
        None => match development_keys(Path::new(DEVELOPMENT_FILE)) {
            Ok(list) => list,
            Err(error) => {
                findings.problem("HANDRAIL_KEYS", format!("cannot make or read '{DEVELOPMENT_FILE}': {error}"));
                return None;
            }
        },
    };
    report("HANDRAIL_KEYS", Keyring::parse(list.trim()), findings)
}

/// Reads the development key, making it first when missing. Written aside and linked into place, so that of two
/// processes starting at once one makes it and both read it whole.
fn development_keys(path: &Path) -> std::io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        read => return read,
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    writeln!(file, "dev:{}", Key::generate().to_base64())?;
    file.sync_all()?;
    let linked = fs::hard_link(&aside, path);
    fs::remove_file(&aside)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => fs::read_to_string(path),
    }
}

fn report<T, E: std::fmt::Display>(setting: &str, value: Result<T, E>, findings: &mut Findings) -> Option<T> {
    value.map_err(|error| findings.problem(setting, error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_key_is_made_once_and_only_its_owner_may_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("handrail-keys-{}", uuid::Uuid::new_v4()));
        let path = folder.join("data/keys");
        let first = development_keys(&path).unwrap();
        assert_eq!(development_keys(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Keyring::parse(first.trim()).is_ok());
        fs::remove_dir_all(folder).unwrap();
    }
}
