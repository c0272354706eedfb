//! What the rules know of the conversation that a text belongs to: where it takes place, what was said before, and
//! the personal data that the model is not to see.

use std::collections::HashMap;
use std::time::Duration;

use common::domain::{Circumstances, Line, Speaker};
use lens::View;
use lens::claims::Facts;
use lens::pii::PiiKind;
use lens::words_of;

/// What was said longer ago does not count as an earlier line.
const EARLIER: Duration = Duration::from_secs(24 * 3600);

/// A line that the customer said lately.
#[derive(Clone)]
pub(super) struct Heard {
    view: View,
    text: String,
}

impl std::fmt::Debug for Heard {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Heard({} bytes)", self.text.len())
    }
}

impl Heard {
    /// A line as rules hear it.
    pub(super) fn of(text: &str) -> Self {
        Self { view: View::plain(text), text: text.to_owned() }
    }

    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// One conversation, for as long as a turn over it lasts. Texts enter it as they are screened or recalled.
#[derive(Clone, Default)]
pub struct Talk {
    channel: String,
    said: HashMap<String, u32>,
    told: HashMap<String, u32>,
    stated: Vec<String>,
    lately: Vec<Heard>,
    circumstances: Circumstances,
    vault: Vault,
}

impl std::fmt::Debug for Talk {
    /// Never the texts nor the data (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Talk({} {} said {} told)", self.channel, self.said.len(), self.told.len())
    }
}

impl Talk {
    /// A conversation on a source.
    #[must_use]
    pub fn on(channel: &str) -> Self {
        Self { channel: channel.to_owned(), ..Self::default() }
    }

    /// The same, with what is known of the turn besides its texts.
    #[must_use]
    pub fn under(mut self, circumstances: Circumstances) -> Self {
        self.circumstances = circumstances;
        self
    }

    /// What is known of the turn besides its texts.
    #[must_use]
    pub const fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// The source.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Something that the customer said before this turn, lately.
    pub fn said(&mut self, text: &str) {
        self.note(Heard::of(text));
    }

    /// Something that the customer said before this turn and that has been dealt with.
    fn said_once(&mut self, text: &str) {
        *self.said.entry(words_of(text)).or_default() += 1;
        self.stated.push(text.to_owned());
    }

    /// As [`said`](Self::said), of a text that was folded already.
    pub(super) fn heard(&mut self, text: &str, view: View) {
        self.note(Heard { view, text: text.to_owned() });
    }

    fn note(&mut self, heard: Heard) {
        *self.said.entry(heard.view.text.clone()).or_default() += 1;
        self.stated.push(heard.text.clone());
        self.lately.push(heard);
    }

    /// A line of the conversation before this turn. What the customer said too long ago, or before people had the
    /// conversation, has been dealt with.
    pub(crate) fn hear(&mut self, line: &Line) {
        let age = self.circumstances.at.map(|now| now.since(line.at));
        let dealt_with =
            age.is_some_and(|age| age > EARLIER || self.circumstances.returned.is_some_and(|returned| age > returned));
        match line.speaker {
            Speaker::Business(_) => self.told(&line.text),
            Speaker::Record => {}
            Speaker::Customer if dealt_with => self.said_once(&line.text),
            Speaker::Customer => self.said(&line.text),
        }
    }

    /// What the customer said lately, oldest first.
    pub(super) fn lately(&self) -> &[Heard] {
        &self.lately
    }

    /// Something that the business said before this turn.
    pub fn told(&mut self, text: &str) {
        *self.told.entry(words_of(text)).or_default() += 1;
    }

    /// How often the customer, or the business, has said the same.
    pub(super) fn times(&self, words: &str, customer: bool) -> u32 {
        let lines = if customer { &self.said } else { &self.told };
        lines.get(words).copied().unwrap_or(0)
    }

    /// What the customer has stated: they may be told it again.
    pub(super) fn stated(&self) -> Facts {
        Facts::of(self.stated.iter().map(String::as_str))
    }

    /// A text of the business with the customer's data as placeholders again, for the model.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        self.vault.mask(text)
    }

    pub(super) fn vault(&mut self) -> &mut Vault {
        &mut self.vault
    }

    /// A draft with the customer's data in place of its placeholders; `None` if it holds a placeholder of nothing.
    pub(super) fn restore(&self, text: &str) -> Option<String> {
        self.vault.restore(text)
    }
}

/// Personal data by placeholder: the same datum has the same one for as long as the turn lasts.
#[derive(Clone, Default)]
pub(super) struct Vault(Vec<(PiiKind, String, String)>);

impl Vault {
    /// The placeholder of a datum.
    pub(super) fn placeholder(&mut self, kind: PiiKind, datum: &str) -> String {
        let key = key(kind, datum);
        let of_kind = || self.0.iter().filter(|(known, _, _)| *known == kind);
        let number = match of_kind().position(|(_, known, _)| *known == key) {
            Some(at) => at + 1,
            None => {
                let number = of_kind().count() + 1;
                self.0.push((kind, key, datum.to_owned()));
                number
            }
        };
        format!("<{}_{number}>", kind.label())
    }

    fn entries(&self) -> Vec<(String, &str)> {
        let mut counts: HashMap<PiiKind, usize> = HashMap::new();
        let numbered = self.0.iter().map(|(kind, _, datum)| {
            let count = counts.entry(*kind).or_default();
            *count += 1;
            (format!("{}_{count}", kind.label()), datum.as_str())
        });
        numbered.collect()
    }

    fn mask(&self, text: &str) -> String {
        let mut entries = self.entries();
        // The longest first, so that no datum hides in another.
        entries.sort_by_key(|(_, datum)| std::cmp::Reverse(datum.len()));
        let hide = |text: String, (name, datum): &(String, &str)| text.replace(datum, &format!("<{name}>"));
        entries.iter().fold(text.to_owned(), hide)
    }

    fn restore(&self, text: &str) -> Option<String> {
        let mut restored = text.to_owned();
        // Backwards, so that PHONE_12 is not taken for PHONE_1.
        for (name, datum) in self.entries().iter().rev() {
            for written in [format!("<{name}>"), format!("[{name}]"), format!("&lt;{name}&gt;"), name.clone()] {
                restored = restored.replace(&written, datum);
            }
        }
        let left = PiiKind::ALL.iter().any(|kind| {
            let stem = format!("<{}_", kind.label());
            restored
                .match_indices(&stem)
                .any(|(at, _)| restored[at + stem.len()..].starts_with(|c: char| c.is_ascii_digit()))
        });
        (!left).then_some(restored)
    }
}

/// What makes two writings one datum.
fn key(kind: PiiKind, datum: &str) -> String {
    match kind {
        PiiKind::Email => datum.to_lowercase(),
        PiiKind::Phone | PiiKind::Card => datum.chars().filter(char::is_ascii_digit).collect(),
        PiiKind::Iban | PiiKind::NationalId => {
            datum.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datum_has_one_placeholder_however_it_is_written_and_comes_back_as_it_was() {
        let mut vault = Vault::default();
        assert_eq!(vault.placeholder(PiiKind::Phone, "300 555 0100"), "<PHONE_1>");
        assert_eq!(vault.placeholder(PiiKind::Phone, "300-555-0100"), "<PHONE_1>");
        assert_eq!(vault.placeholder(PiiKind::Phone, "300 555 0199"), "<PHONE_2>");
        assert_eq!(vault.placeholder(PiiKind::Email, "kim@example.org"), "<EMAIL_1>");
        let draft = "We will call <PHONE_2> or [PHONE_1] and write to EMAIL_1.";
        let restored = vault.restore(draft).unwrap();
        assert_eq!(restored, "We will call 300 555 0199 or 300 555 0100 and write to kim@example.org.");
        assert_eq!(vault.mask(&restored), "We will call <PHONE_2> or <PHONE_1> and write to <EMAIL_1>.");
        for number in 2..12 {
            vault.placeholder(PiiKind::Email, &format!("kim{number}@example.org"));
        }
        assert_eq!(vault.restore("to <EMAIL_11>").unwrap(), "to kim11@example.org");
    }

    #[test]
    fn a_placeholder_of_nothing_is_told() {
        let mut vault = Vault::default();
        vault.placeholder(PiiKind::Phone, "300 555 0100");
        assert_eq!(vault.restore("call <PHONE_2>"), None);
        assert_eq!(vault.restore("a <CARD_ of sorts").as_deref(), Some("a <CARD_ of sorts"));
    }
}
