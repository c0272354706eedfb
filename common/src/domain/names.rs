//! Names that configuration gives: sources and providers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A source's name, `[a-z0-9-]{1,64}`: the last part of its webhook path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

/// A source name outside `[a-z0-9-]{1,64}`.
#[derive(Debug, thiserror::Error)]
#[error("source name '{0}' must be 1 to 64 characters of a-z, 0-9 and '-'")]
pub struct BadSourceName(String);

impl SourceName {
    /// Accepts `[a-z0-9-]{1,64}` and nothing else.
    ///
    /// # Errors
    /// [`BadSourceName`] names the text refused.
    pub fn parse(text: &str) -> Result<Self, BadSourceName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadSourceName(text.chars().take(80).collect()))
        }
    }

    /// The name under which an ingress speaks for itself: no webhook comes in by it.
    #[must_use]
    pub fn of_tallies() -> Self {
        Self("tally".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SourceName {
    type Error = BadSourceName;
    fn try_from(text: String) -> Result<Self, BadSourceName> {
        Self::parse(&text)
    }
}

impl From<SourceName> for String {
    fn from(name: SourceName) -> Self {
        name.0
    }
}

/// Who speaks to us. Closed on purpose: a new arm makes the compiler list the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Meta's WhatsApp Cloud API.
    Whatsapp,
    /// Facebook Messenger.
    Messenger,
    /// Instagram messaging.
    Instagram,
    /// ElevenLabs post-call webhooks.
    Elevenlabs,
    /// Anything signed by the Standard Webhooks specification, `svix-` headers included.
    StandardWebhooks,
    /// Anything signed with an HMAC that configuration describes.
    Hmac,
}

/// A provider that this build does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown provider '{0}': use one of whatsapp, messenger, instagram, elevenlabs, standard-webhooks, hmac")]
pub struct UnknownProvider(String);

impl Provider {
    /// Every provider, in the order of the documentation.
    pub const ALL: [Self; 6] =
        [Self::Whatsapp, Self::Messenger, Self::Instagram, Self::Elevenlabs, Self::StandardWebhooks, Self::Hmac];

    /// Its name in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whatsapp => "whatsapp",
            Self::Messenger => "messenger",
            Self::Instagram => "instagram",
            Self::Elevenlabs => "elevenlabs",
            Self::StandardWebhooks => "standard-webhooks",
            Self::Hmac => "hmac",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;
    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}
