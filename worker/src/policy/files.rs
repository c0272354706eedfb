//! The files that a policy names: its prompts and its fact table. They are part of its version.
//!
//! A file is looked for beside the policy. The files of the shipped policies are compiled in as well, and taken where
//! none lies there, so that a copy of a shipped policy works wherever it lies; `policy check` says which were used.

use std::path::{Component, Path, PathBuf};

use common::digest::hex_digest;

/// The files of the shipped policies, by the name that those give them.
const SHIPPED: [(&str, &str); 4] = [
    ("prompts/shop.txt", include_str!("../../../policies/prompts/shop.txt")),
    ("prompts/sewing.txt", include_str!("../../../policies/prompts/sewing.txt")),
    ("prompts/sewing-short.txt", include_str!("../../../policies/prompts/sewing-short.txt")),
    ("facts/sewing.toml", include_str!("../../../policies/facts/sewing.toml")),
];

/// A file that a policy was read with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name, as the policy gives it.
    pub name: String,
    /// First 16 hexadecimal digits of its SHA-256.
    pub hash: String,
    /// Whether none lay beside the policy, so that the compiled-in one was taken.
    pub compiled_in: bool,
}

/// Reads files, and remembers which.
pub(super) struct Files {
    folder: Option<PathBuf>,
    read: Vec<(PolicyFile, String)>,
}

impl Files {
    /// Files beside a policy; `None` for one that lies nowhere.
    pub(super) fn beside(policy: Option<&Path>) -> Self {
        let folder = policy.map(|path| path.parent().unwrap_or(Path::new("")).to_owned());
        Self { folder, read: Vec::new() }
    }

    /// A file's text, or why there is none.
    pub(super) fn text(&mut self, name: &str) -> Result<String, String> {
        if let Some((_, text)) = self.read.iter().find(|(file, _)| file.name == name) {
            return Ok(text.clone());
        }
        let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
        if name.is_empty() || !Path::new(name).components().all(inside) {
            return Err(format!("'{name}' is no path below the policy's folder"));
        }
        let beside = self.folder.as_ref().map(|folder| folder.join(name)).filter(|path| path.exists());
        let (text, compiled_in) = match (beside, SHIPPED.iter().find(|(shipped, _)| *shipped == name)) {
            (Some(path), _) => {
                let read = std::fs::read_to_string(&path);
                let fix = "name a UTF-8 file that this user may read";
                (read.map_err(|error| format!("'{name}' cannot be read ({}); {fix}", error.kind()))?, false)
            }
            (None, Some((_, text))) => ((*text).to_owned(), true),
            (None, None) => return Err(format!("there is no '{name}' in the policy's folder")),
        };
        let hash = hex_digest(text.as_bytes(), 16);
        self.read.push((PolicyFile { name: name.to_owned(), hash, compiled_in }, text.clone()));
        Ok(text)
    }

    /// What stands for the policy and everything it was read with.
    pub(super) fn version(&self, source: &str) -> String {
        if self.read.is_empty() {
            return hex_digest(source.as_bytes(), 12);
        }
        let mut parts: Vec<(&str, &str)> = self.read.iter().map(|(file, text)| (file.name.as_str(), &**text)).collect();
        parts.sort_unstable();
        hex_digest(serde_json::json!([source, parts]).to_string().as_bytes(), 12)
    }

    /// What was read, in the order it was asked for.
    pub(super) fn read(self) -> Vec<PolicyFile> {
        self.read.into_iter().map(|(file, _)| file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_the_policy_is_taken_before_the_shipped_one_and_changes_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy.toml");
        let version = |name: &str| {
            let mut files = Files::beside(Some(&policy));
            files.text(name).unwrap();
            let version = files.version("source");
            (version, files.read().remove(0).compiled_in)
        };
        let shipped = version("prompts/shop.txt");
        assert!(shipped.1);
        std::fs::create_dir(folder.path().join("prompts")).unwrap();
        std::fs::write(folder.path().join("prompts/shop.txt"), "You are {name}.").unwrap();
        let own = version("prompts/shop.txt");
        assert!(!own.1 && own.0 != shipped.0);
        std::fs::write(folder.path().join("prompts/shop.txt"), "You are {name}. ").unwrap();
        assert_ne!(version("prompts/shop.txt").0, own.0);
        assert_eq!(Files::beside(None).version("source"), hex_digest(b"source", 12));
    }

    #[test]
    fn a_file_that_is_not_there_or_not_below_the_policy_is_refused_by_name() {
        let mut files = Files::beside(None);
        assert!(files.text("prompts/none.txt").unwrap_err().contains("there is no 'prompts/none.txt'"));
        for outside in ["/etc/hosts", "../secret.txt", ""] {
            assert!(files.text(outside).unwrap_err().contains("no path below"), "{outside}");
        }
    }
}
