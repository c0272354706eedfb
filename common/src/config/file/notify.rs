//! `[[notify]]`: where teams can be reached. The policy names these destinations; their addresses and secrets are here.

use serde::Deserialize;
use url::Url;

use super::{Reader, is_loopback};
use crate::config::Secret;
use crate::domain::SourceName;

/// A destination for notices to a team.
#[derive(Clone, Debug)]
pub struct Notify {
    /// The name that the policy uses.
    pub name: String,
    /// How it is reached.
    pub way: NotifyWay,
}

/// How a team is reached.
#[derive(Clone, Debug)]
pub enum NotifyWay {
    /// A WhatsApp message from a source of ours.
    Whatsapp {
        /// The source that sends it, from its own `phone_number_id`.
        source: SourceName,
        /// The colleague's number.
        to: Secret,
    },
    /// A POST signed by Standard Webhooks.
    Webhook {
        /// Where to.
        url: Url,
        /// What signs it.
        secret: Secret,
    },
    /// An e-mail.
    Email {
        /// The server with its login: `smtps://user:password@host` or `smtp://user:password@host:587?tls=required`.
        server: Secret,
        /// Who it is from.
        from: String,
        /// Who gets it.
        to: Vec<String>,
    },
    /// A Slack-compatible incoming webhook; its address is its secret.
    Slack {
        /// Where to.
        url: Secret,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Whatsapp,
    Webhook,
    Email,
    Slack,
}

impl Kind {
    /// The keys that it needs.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Whatsapp => &["source", "to"],
            Self::Webhook => &["url", "secret"],
            Self::Email => &["server", "from", "to"],
            Self::Slack => &["url"],
        }
    }
}

/// The table as written; which keys belong depends on the kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenNotify {
    name: String,
    kind: Kind,
    source: Option<String>,
    url: Option<String>,
    secret: Option<String>,
    server: Option<String>,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
}

impl WrittenNotify {
    fn written(&self) -> Vec<&'static str> {
        let given = [
            ("source", self.source.is_some()),
            ("url", self.url.is_some()),
            ("secret", self.secret.is_some()),
            ("server", self.server.is_some()),
            ("from", self.from.is_some()),
            ("to", !self.to.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key).collect()
    }

    fn label(&self, key: &str) -> String {
        format!("notify '{}': {key}", self.name)
    }
}

impl Reader<'_> {
    pub(super) fn notify(&mut self, written: &[WrittenNotify]) -> Vec<Notify> {
        let mut found: Vec<Notify> = Vec::new();
        for one in written {
            if found.iter().any(|known| known.name == one.name) {
                self.findings.problem(&format!("notify '{}'", one.name), "is written twice");
            }
            if let Some(way) = self.way(one) {
                found.push(Notify { name: one.name.clone(), way });
            }
        }
        found
    }

    fn way(&mut self, written: &WrittenNotify) -> Option<NotifyWay> {
        let (wanted, given) = (written.kind.keys(), written.written());
        for missing in wanted.iter().filter(|key| !given.contains(key)) {
            self.findings.problem(&written.label(missing), "is required for this kind: there is no default");
        }
        for stray in given.iter().filter(|key| !wanted.contains(key)) {
            self.findings.problem(&written.label(stray), "does not belong to this kind");
        }
        if wanted.iter().any(|key| !given.contains(key)) {
            return None;
        }
        match written.kind {
            Kind::Whatsapp => self.whatsapp_way(written),
            Kind::Webhook => {
                let url = self.given(written, "url", written.url.as_ref())?;
                let url = self.url(&written.label("url"), &url)?;
                let secret = Secret::new(self.given(written, "secret", written.secret.as_ref())?);
                self.check_secrets(&written.label("secret"), std::slice::from_ref(&secret));
                Some(NotifyWay::Webhook { url, secret })
            }
            Kind::Email => {
                let server = self.given(written, "server", written.server.as_ref())?;
                self.check_mail_server(&written.label("server"), &server);
                let from = self.given(written, "from", written.from.as_ref())?;
                let to = written.to.iter().map(|to| self.given(written, "to", Some(to))).collect::<Option<_>>()?;
                Some(NotifyWay::Email { server: Secret::new(server), from, to })
            }
            Kind::Slack => {
                let url = self.given(written, "url", written.url.as_ref())?;
                self.url(&written.label("url"), &url)?;
                Some(NotifyWay::Slack { url: Secret::new(url) })
            }
        }
    }

    fn whatsapp_way(&mut self, written: &WrittenNotify) -> Option<NotifyWay> {
        let source = self.given(written, "source", written.source.as_ref())?;
        let source = SourceName::parse(&source)
            .map_err(|error| self.findings.problem(&written.label("source"), error.to_string()))
            .ok()?;
        let [to] = &written.to[..] else {
            self.findings.problem(&written.label("to"), "is one number; write a [[notify]] for each");
            return None;
        };
        let number: String = self.given(written, "to", Some(to))?.chars().filter(char::is_ascii_digit).collect();
        if !(7..=15).contains(&number.len()) {
            self.findings.problem(&written.label("to"), "must be a number with its country code");
        }
        Some(NotifyWay::Whatsapp { source, to: Secret::new(number) })
    }

    fn given(&mut self, written: &WrittenNotify, key: &str, value: Option<&String>) -> Option<String> {
        let value = self.text(&written.label(key), value?)?;
        if value.trim().is_empty() {
            self.findings.problem(&written.label(key), "is empty");
        }
        Some(value)
    }

    fn check_mail_server(&mut self, setting: &str, server: &str) {
        let parsed = Url::parse(server).ok().filter(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host());
        let Some(url) = parsed else {
            self.findings.problem(setting, "must be an smtps:// or smtp:// URL");
            return;
        };
        let starts_tls = url.query_pairs().any(|(key, value)| key == "tls" && value == "required");
        if url.scheme() == "smtp" && !starts_tls && !is_loopback(server) {
            self.findings.unsafe_setting(setting, "may be clear text beyond loopback: add ?tls=required");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::{Findings, Mode, Room, Vars};

    fn read(table: &str) -> (Vec<Notify>, Vec<String>) {
        let written: HashMap<String, Vec<WrittenNotify>> = toml::from_str(table).unwrap();
        let hook = "a-secret-that-is-long-enough-for-anybody".to_owned();
        let vars = Vars::from_map(HashMap::from([("HOOK".to_owned(), hook)]));
        let mut findings = Findings::new(Mode::Production);
        let found = Reader { vars: &vars, room: Room::Worker, findings: &mut findings }.notify(&written["notify"]);
        let problems = findings.finish().err().map(|error| error.0).unwrap_or_default();
        (found, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_destination_that_cannot_be_reached_or_trusted_is_refused_by_name() {
        let hook = "kind = \"webhook\"\nurl = ";
        let mail = "kind = \"email\"\nfrom = \"a@b.example\"\nto = [\"a@b.example\"]\nserver = ";
        for (table, says) in [
            (format!("{hook}\"https://example.com\""), "notify 'a': secret: is required"),
            (format!("{hook}\"http://example.com\"\nsecret = \"${{HOOK}}\""), "notify 'a': url: is clear text"),
            (format!("{hook}\"https://example.com\"\nsecret = \"secret\""), "default secret"),
            (format!("{hook}\"https://example.com\"\nsecret = \"${{NONE}}\""), "NONE, which is not set"),
            (format!("{hook}\"https://example.com\"\nsecret = \"${{HOOK}}\"\nfrom = \"me\""), "from: does not belong"),
            ("kind = \"whatsapp\"\nsource = \"whatsapp\"".to_owned(), "notify 'a': to: is required"),
            ("kind = \"whatsapp\"\nsource = \"whatsapp\"\nto = [\"me\"]".to_owned(), "with its country code"),
            ("kind = \"slack\"\nurl = \"ftp://example.com\"".to_owned(), "must be an http:// or https:// URL"),
            (format!("{mail}\"smtp://example.com\""), "notify 'a': server: may be clear text"),
            (format!("{mail}\"example.com\""), "must be an smtps://"),
        ] {
            let (_, problems) = read(&format!("[[notify]]\nname = \"a\"\n{table}\n"));
            assert!(problems.iter().any(|problem| problem.contains(says)), "{table}\n{problems:?}");
        }
    }

    #[test]
    fn sound_destinations_are_read_and_show_no_secret() {
        let (found, problems) = read(
            "[[notify]]\nname = \"a\"\nkind = \"webhook\"\nurl = \"https://example.com/x\"\nsecret = \"${HOOK}\"\n\
             [[notify]]\nname = \"b\"\nkind = \"whatsapp\"\nsource = \"whatsapp\"\nto = [\"+1 555 0100\"]\n\
             [[notify]]\nname = \"c\"\nkind = \"email\"\nserver = \"smtps://u:hush@example.com\"\n\
             from = \"a@b.example\"\nto = [\"c@d.example\"]\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        let shown = format!("{found:?}");
        assert!(found.len() == 3 && !shown.contains("hush") && !shown.contains("1555") && !shown.contains("anybody"));
    }
}
