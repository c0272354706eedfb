//! What the policy itself says to customers: never drafted, always the same, in every locale of the policy.

use std::collections::BTreeMap;

use common::domain::Micros;

use super::template::Template;

/// Something that the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message was stopped.
    Blocked,
    /// A message was stopped by this rule, which has a reply of its own.
    Stopped(String),
    /// It came when the business was closed, and this rule says when it opens.
    Closed {
        /// The rule.
        rule: String,
        /// When it came.
        at: Micros,
        /// It was open, but not for conversations that begin so late.
        new: bool,
    },
    /// A person will answer.
    HandedOff,
    /// These cannot be read yet: the provider's words, such as `image`.
    Unreadable(Vec<String>),
    /// A message could not be answered.
    Failure,
    /// An outage: the answer will come.
    Holding,
    /// No person was free; the assistant is back.
    Returned,
    /// A person has the conversation, or is to have it, and the customer wrote again.
    Courtesy,
}

/// A text of the policy, by its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TextKey {
    Blocked,
    HandedOff,
    Unreadable,
    Failure,
    Holding,
    Returned,
    Courtesy,
}

impl TextKey {
    pub(super) const ALL: [Self; 7] = [
        Self::Blocked,
        Self::HandedOff,
        Self::Unreadable,
        Self::Failure,
        Self::Holding,
        Self::Returned,
        Self::Courtesy,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::HandedOff => "handed_off",
            Self::Unreadable => "unreadable",
            Self::Failure => "failure",
            Self::Holding => "holding",
            Self::Returned => "returned",
            Self::Courtesy => "courtesy",
        }
    }

    /// The variables that its text may hold.
    pub(super) const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Unreadable => &["what"],
            Self::Blocked | Self::HandedOff | Self::Failure | Self::Holding | Self::Returned | Self::Courtesy => &[],
        }
    }
}

impl Notice {
    const fn key(&self) -> TextKey {
        match self {
            Self::Blocked | Self::Stopped(_) | Self::Closed { .. } => TextKey::Blocked,
            Self::HandedOff => TextKey::HandedOff,
            Self::Unreadable(_) => TextKey::Unreadable,
            Self::Failure => TextKey::Failure,
            Self::Holding => TextKey::Holding,
            Self::Returned => TextKey::Returned,
            Self::Courtesy => TextKey::Courtesy,
        }
    }
}

/// What stands for media without a row of its own.
pub(super) const OTHER_MEDIA: &str = "other";

/// Every text in every locale; whole by the time it is made.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pub(super) templates: BTreeMap<(TextKey, String), Template>,
    pub(super) media: BTreeMap<(String, String), String>,
}

impl Texts {
    pub(super) fn say(&self, notice: &Notice, locale: &str) -> String {
        let what = match notice {
            Notice::Unreadable(media) => self.media(media, locale),
            Notice::Blocked
            | Notice::Stopped(_)
            | Notice::Closed { .. }
            | Notice::HandedOff
            | Notice::Failure
            | Notice::Holding
            | Notice::Returned
            | Notice::Courtesy => String::new(),
        };
        let template = self.templates.get(&(notice.key(), locale.to_owned()));
        template.map_or_else(String::new, |template| template.render(&[("what", &what)]))
    }

    fn media(&self, media: &[String], locale: &str) -> String {
        let mut names: Vec<&str> = Vec::new();
        for what in media {
            let name = |what: &str| self.media.get(&(what.to_owned(), locale.to_owned()));
            if let Some(name) = name(what).or_else(|| name(OTHER_MEDIA))
                && !names.contains(&name.as_str())
            {
                names.push(name);
            }
        }
        names.join(", ")
    }
}
