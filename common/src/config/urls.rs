//! The two doors' URLs.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Findings, Secret, Vars};

/// A SQLite database file, from `sqlite://relative/path` or `sqlite:///absolute/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    /// A file by its path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file beside it that holds the wrapped contact keys: `<stem>.keys.db`.
    #[must_use]
    pub fn keys_file(&self) -> Self {
        let stem = self.0.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self(self.0.with_file_name(format!("{stem}.keys.db")))
    }
}

/// Where the queue is.
#[derive(Clone, Debug)]
pub enum QueueUrl {
    /// The embedded queue.
    Sqlite(SqliteFile),
    /// RabbitMQ; the URL carries a password.
    Amqp(Secret),
}

/// Where the store is.
#[derive(Clone, Debug)]
pub enum StoreUrl {
    /// The embedded store.
    Sqlite(SqliteFile),
    /// PostgreSQL; the URL carries a password.
    Postgres(Secret),
}

fn sqlite(text: &str) -> Option<Result<SqliteFile, String>> {
    let path = text.strip_prefix("sqlite://")?;
    Some(match path {
        "" | "/" => Err("names no file: use sqlite://data/name.db or sqlite:///absolute/name.db".to_owned()),
        _ if path.contains('?') => Err("takes no parameters after '?'".to_owned()),
        _ => Ok(SqliteFile::at(path)),
    })
}

impl FromStr for QueueUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = sqlite(text) {
            return file.map(Self::Sqlite);
        }
        match url::Url::parse(text).map(|url| url.scheme().to_owned()).as_deref() {
            Ok("amqp" | "amqps") => Ok(Self::Amqp(Secret::new(text))),
            _ => Err("must begin with sqlite://, amqp:// or amqps://".to_owned()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = sqlite(text) {
            return file.map(Self::Sqlite);
        }
        match url::Url::parse(text).map(|url| url.scheme().to_owned()).as_deref() {
            Ok("postgres" | "postgresql") => Ok(Self::Postgres(Secret::new(text))),
            _ => Err("must begin with sqlite://, postgres:// or postgresql://".to_owned()),
        }
    }
}

impl QueueUrl {
    /// `QUEUE_URL`, by default `sqlite://data/queue.db`.
    pub fn load(vars: &Vars, findings: &mut Findings) -> Self {
        let url = vars.parsed("QUEUE_URL", Self::Sqlite(SqliteFile::at("data/queue.db")), findings);
        if let Self::Amqp(secret) = &url {
            refuse_weak_login("QUEUE_URL", secret, findings);
            if secret.expose().starts_with("amqp:") && !is_loopback(secret.expose()) {
                findings.unsafe_setting("QUEUE_URL", "is clear text beyond loopback: use amqps://");
            }
        }
        url
    }
}

impl StoreUrl {
    /// `DATABASE_URL`, by default `sqlite://data/handrail.db`.
    pub fn load(vars: &Vars, findings: &mut Findings) -> Self {
        let url = vars.parsed("DATABASE_URL", Self::Sqlite(SqliteFile::at("data/handrail.db")), findings);
        if let Self::Postgres(secret) = &url {
            refuse_weak_login("DATABASE_URL", secret, findings);
            let encrypted = ["sslmode=require", "sslmode=verify-ca", "sslmode=verify-full"];
            if !is_loopback(secret.expose()) && !encrypted.iter().any(|mode| secret.expose().contains(mode)) {
                findings.unsafe_setting("DATABASE_URL", "may be clear text beyond loopback: add ?sslmode=verify-full");
            }
        }
        url
    }
}

/// Whether a URL's host is this machine.
pub(super) fn is_loopback(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => {
            // A scheme that is not special in the URL standard keeps its host as opaque text.
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        // A socket path in the query, or nothing at all.
        None => true,
    }
}

fn refuse_weak_login(setting: &str, secret: &Secret, findings: &mut Findings) {
    let Ok(url) = url::Url::parse(secret.expose()) else { return };
    let weak = ["guest", "password", "postgres", "handrail", "changeme", "secret"];
    if url.password().is_some_and(|password| weak.contains(&password) || password == url.username()) {
        findings.unsafe_setting(setting, "holds a default password: choose a long random one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_names_a_relative_or_absolute_file() {
        let path = |text: &str| match text.parse::<StoreUrl>() {
            Ok(StoreUrl::Sqlite(file)) => file.path().to_string_lossy().into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite://data/handrail.db"), "data/handrail.db");
        assert_eq!(path("sqlite:///var/lib/h.db"), "/var/lib/h.db");
        assert_eq!(SqliteFile::at("data/handrail.db").keys_file().path(), Path::new("data/handrail.keys.db"));
    }

    #[test]
    fn a_wrong_url_says_what_is_accepted() {
        for (text, says) in [("mysql://x", "postgres://"), ("sqlite://", "names no file"), ("data.db", "must begin")] {
            assert!(text.parse::<StoreUrl>().unwrap_err().contains(says), "{text}");
        }
        assert!("redis://x".parse::<QueueUrl>().unwrap_err().contains("amqps://"));
    }

    #[test]
    fn loopback_is_told_from_the_world() {
        assert!(is_loopback("amqp://u:p@127.0.0.1:5672/%2f"));
        assert!(is_loopback("http://localhost:1/v1"));
        assert!(!is_loopback("amqp://u:p@broker:5672"));
        assert!(!is_loopback("http://10.0.0.1/v1"));
    }
}
