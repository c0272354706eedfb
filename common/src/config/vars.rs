//! The environment, or a map in tests. Each variable may be given as `NAME_FILE=path` instead.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use super::Findings;

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where settings are looked up.
#[derive(Clone)]
pub struct Vars {
    lookup: Arc<Lookup>,
}

impl std::fmt::Debug for Vars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vars(..)")
    }
}

impl Vars {
    /// This process's environment.
    #[must_use]
    pub fn process() -> Self {
        Self { lookup: Arc::new(|name| std::env::var(name).ok()) }
    }

    /// A given map, for `demo` and tests.
    #[must_use]
    pub fn from_map(map: HashMap<String, String>) -> Self {
        Self { lookup: Arc::new(move |name| map.get(name).cloned()) }
    }

    /// These settings over the others.
    #[must_use]
    pub fn with(&self, over: HashMap<String, String>) -> Self {
        let under = self.lookup.clone();
        Self { lookup: Arc::new(move |name| over.get(name).cloned().or_else(|| under(name))) }
    }

    /// A variable's value; empty means unset. Both `NAME` and `NAME_FILE`, or an unreadable file, is a problem.
    pub fn get(&self, name: &str, findings: &mut Findings) -> Option<String> {
        let set = |name: &str| (self.lookup)(name).filter(|value| !value.trim().is_empty());
        let file_name = format!("{name}_FILE");
        match (set(name), set(&file_name)) {
            (Some(_), Some(_)) => {
                findings.problem(name, format!("set in {name} and in {file_name}: keep one"));
                None
            }
            (value @ Some(_), None) => value,
            (None, None) => None,
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()),
                Err(error) => {
                    findings.problem(&file_name, format!("cannot read '{path}': {error}"));
                    None
                }
            },
        }
    }

    /// A variable's value as `T`, or `default`.
    pub fn parsed<T: FromStr>(&self, name: &str, default: T, findings: &mut Findings) -> T
    where
        T::Err: std::fmt::Display,
    {
        match self.get(name, findings).map(|text| text.trim().parse()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                findings.problem(name, error.to_string());
                default
            }
        }
    }
}
