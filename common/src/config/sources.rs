//! Sources: who may post webhooks here, how they prove it, and how replies go back.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::Secret;
use crate::domain::{Provider, SourceName};

/// Which process reads the configuration. A room is given only the secrets that it uses, so that another room's
/// variables need not exist in its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Verifies webhooks: signing secrets and handshake tokens.
    Ingress,
    /// Sends replies: access tokens, and signing secrets where a reply is signed.
    Worker,
    /// Answers calls: recall and signing secrets.
    Recall,
    /// The operator's command and `up`: all of them.
    Console,
}

impl Room {
    pub(super) const fn verifies(self) -> bool {
        !matches!(self, Self::Worker)
    }

    pub(super) const fn sends(self) -> bool {
        matches!(self, Self::Worker | Self::Console)
    }
}

/// A configured source. Secrets that this room does not use are absent.
#[derive(Clone, Debug)]
pub struct Source {
    /// The last part of its path.
    pub name: SourceName,
    /// Who is behind it.
    pub provider: Provider,
    /// Live signing secrets; any of them proves a webhook.
    pub secrets: Vec<Secret>,
    /// Handshake token; without one, handshakes are refused.
    pub verify_token: Option<Secret>,
    /// The provider's API token for replies; without one, sends are refused as not configured.
    pub access_token: Option<Secret>,
    /// The number that replies leave from when the event named none.
    pub phone_number_id: Option<String>,
    /// The provider's API, without a trailing slash.
    pub api_url: Option<Url>,
    /// The provider's API key (voice).
    pub api_key: Option<Secret>,
    /// The shared secret of recall requests (voice).
    pub recall_secret: Option<Secret>,
    /// Where a signed reply is posted.
    pub reply_url: Option<Url>,
    /// Networks that may post here; empty allows all.
    pub allow_ips: Vec<IpNet>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Requests a minute for each client address; off when absent.
    pub rate_per_minute: Option<NonZeroU32>,
    /// Largest body in bytes.
    pub body_limit: usize,
    /// Largest age of a signed timestamp, both ways; whole seconds.
    pub tolerance: Duration,
    /// Whether its events may wait in the ingress's spool; as the ingress sees fit when not written.
    pub spool: Option<bool>,
    /// How an `hmac` source signs.
    pub hmac: Option<HmacConfig>,
    /// Where `hmac` and `standard-webhooks` events keep what we need.
    pub pointers: Pointers,
}

/// How an `hmac` source signs, from configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacConfig {
    /// The header with the signature.
    pub header: String,
    /// What stands before the signature in it.
    pub prefix: String,
    /// The digest.
    pub algorithm: HmacAlgorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What is signed, with `{body}` and `{timestamp}`.
    pub signed: String,
    /// The header with the timestamp, when one is signed.
    pub timestamp_header: Option<String>,
    /// How the secret's text becomes the key.
    pub key: KeyForm,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$arm_doc:meta])* $arm:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
        pub enum $name { $($(#[$arm_doc])* #[serde(rename = $word)] $arm),+ }
    };
}

words!(
    /// A digest for HMAC.
    HmacAlgorithm {
        /// SHA-1; only for providers that offer nothing better.
        Sha1 = "sha1",
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-512.
        Sha512 = "sha512",
    }
);
words!(
    /// How bytes are written in a header.
    Encoding {
        /// Hexadecimal, either case.
        Hex = "hex",
        /// Base64 with padding.
        Base64 = "base64",
    }
);
words!(
    /// How a secret's text becomes a key.
    KeyForm {
        /// The text's own bytes.
        Text = "text",
        /// Base64 of the key.
        Base64 = "base64",
        /// Hexadecimal of the key.
        Hex = "hex",
    }
);

/// JSON pointers (RFC 6901) into a generic event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointers {
    /// The event's id; `None` reads the `webhook-id` header (Standard Webhooks).
    pub id: Option<String>,
    /// The customer.
    pub contact: String,
    /// What they said.
    pub text: String,
    /// When.
    pub time: String,
}

impl Pointers {
    /// The defaults of a provider.
    #[must_use]
    pub fn of(provider: Provider) -> Self {
        let under = |base: &str, id| Self {
            id,
            contact: format!("{base}/contact"),
            text: format!("{base}/text"),
            time: format!("{base}/time"),
        };
        match provider {
            Provider::StandardWebhooks => under("/data", None),
            _ => under("", Some("/id".to_owned())),
        }
    }
}

impl Source {
    /// A source with nothing but its name and provider; every feature off.
    #[must_use]
    pub fn bare(name: SourceName, provider: Provider) -> Self {
        Self {
            name,
            provider,
            secrets: Vec::new(),
            verify_token: None,
            access_token: None,
            phone_number_id: None,
            api_url: None,
            api_key: None,
            recall_secret: None,
            reply_url: None,
            allow_ips: Vec::new(),
            trusted_proxies: Vec::new(),
            rate_per_minute: None,
            body_limit: DEFAULT_BODY_LIMIT,
            tolerance: default_tolerance(provider),
            spool: None,
            hmac: None,
            pointers: Pointers::of(provider),
        }
    }
}

/// 3 MiB: Meta's batches reach about 3 MB.
pub(super) const DEFAULT_BODY_LIMIT: usize = 3 * 1024 * 1024;

/// 5 minutes, as the Standard Webhooks specification has it; 30 for ElevenLabs, as its own library has it.
pub(super) const fn default_tolerance(provider: Provider) -> Duration {
    Duration::from_secs(match provider {
        Provider::Elevenlabs => 1_800,
        _ => 300,
    })
}
