//! Which dead letters are meant: the filters that `dead` commands share, checked before anything is asked of the
//! store, so that a word misspelt is told and not taken for "none".

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use common::domain::{ContactId, DeadId, DeadState, Micros, SourceName};
use common::store::{DeadFilter, DeadLetter, Store, StoreError};
use worker::recovery::Class;

use crate::context::Settings;
use crate::failure::Failure;

/// What a letter can be classed as, beside recovery's own classes.
const OWN_CLASSES: [&str; 2] = ["unparsed", "undeliverable"];
/// Where a letter's message was.
const STAGES: [&str; 4] = ["parse", "intake", "turn", "send"];

/// Which dead letters.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which")]
pub(crate) struct Which {
    /// Only of this group, as `dead groups` names it
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// Only of this class, such as malformed or unparsed
    #[arg(long, value_parser = PossibleValuesParser::new(classes()))]
    class: Option<String>,
    /// Only what failed at this stage
    #[arg(long, value_parser = PossibleValuesParser::new(STAGES))]
    stage: Option<String>,
    /// Only of this source
    #[arg(long, value_parser = SourceName::parse)]
    source: Option<SourceName>,
    /// Only of this contact, by our id of them
    #[arg(long, value_name = "ID")]
    contact: Option<ContactId>,
    /// Only what died at or after this moment: RFC 3339, or so long ago as 30m, 2h or 7d
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,
    /// Only what died before this moment, likewise
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    until: Option<When>,
    /// Only where the error, the class or a tag holds this text
    #[arg(long)]
    text: Option<String>,
}

/// Letters named one by one, or chosen by filters.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Chosen {
    /// The dead letters; or choose them with the filters below
    pub(crate) ids: Vec<DeadId>,
    #[command(flatten)]
    which: Which,
    /// Every open dead letter
    #[arg(long, help_heading = "Which")]
    all: bool,
}

impl Chosen {
    /// Whether nothing was chosen at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.which.is_empty() && !self.all
    }

    /// The store's filter: these letters, or every open one that fits.
    pub(crate) async fn filter(&self, settings: &Settings, store: &Store) -> Result<DeadFilter, Failure> {
        if self.is_empty() {
            return Err(Failure::cannot_run("say which: ids of dead letters, a filter such as --group, or --all"));
        }
        if self.ids.is_empty() {
            return self.which.filter(settings, store, Some(DeadState::Open)).await;
        }
        if self.all || !self.which.is_empty() {
            return Err(Failure::cannot_run("ids and filters do not mix: give the ids, or the filters"));
        }
        Ok(DeadFilter::of(self.ids.iter().copied()))
    }
}

/// A selection read in pages, so that ten thousand letters take no more room than a few hundred.
pub(crate) struct Pages<'a> {
    store: &'a Store,
    filter: DeadFilter,
    ended: bool,
}

/// Letters read at once.
const PAGE: i64 = 200;

impl<'a> Pages<'a> {
    pub(crate) fn of(store: &'a Store, filter: &DeadFilter) -> Self {
        Self { store, filter: DeadFilter { limit: PAGE, ..filter.clone() }, ended: false }
    }

    /// The next page; empty at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<DeadLetter>, StoreError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let page = self.store.dead_letters(&self.filter).await?;
        self.filter.after = page.last().map(|letter| (letter.created_at, letter.id));
        self.ended = i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE;
        Ok(page)
    }
}

/// A state, by one of its known words.
pub(crate) fn state() -> impl TypedValueParser<Value = DeadState> {
    let words: Vec<&'static str> = DeadState::ALL.iter().map(|state| state.as_str()).collect();
    PossibleValuesParser::new(words).try_map(|word| word.parse::<DeadState>())
}

fn classes() -> Vec<&'static str> {
    OWN_CLASSES.into_iter().chain(Class::ALL.iter().map(|class| class.as_str())).collect()
}

/// A moment, or a span before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(Micros),
    Ago(Duration),
}

impl When {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected RFC 3339, such as 2026-01-31T00:00:00Z, or a span such as 30m, 2h or 7d".to_owned();
        if let Ok(at) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::At(Micros(at.as_microsecond())));
        }
        let unit = text.chars().last().ok_or_else(expected)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(expected()),
        };
        let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| expected())?;
        Ok(Self::Ago(Duration::from_secs(u64::from(count) * seconds)))
    }

    fn at(self, now: Micros) -> Micros {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now - span,
        }
    }
}

impl Which {
    /// Whether nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { group, class, stage, source, contact, since, until, text } = self;
        group.is_none()
            && class.is_none()
            && stage.is_none()
            && source.is_none()
            && contact.is_none()
            && since.is_none()
            && until.is_none()
            && text.is_none()
    }

    /// The store's filter, once what it names is known to exist.
    pub(crate) async fn filter(
        &self,
        settings: &Settings,
        store: &Store,
        state: Option<DeadState>,
    ) -> Result<DeadFilter, Failure> {
        let now = store.now().await?;
        let (since, until) = (self.since.map(|when| when.at(now)), self.until.map(|when| when.at(now)));
        if let (Some(since), Some(until)) = (since, until)
            && since >= until
        {
            return Err(Failure::cannot_run(format!(
                "nothing can match: --since is {since} and --until is {until}, which is not after it"
            )));
        }
        let filter = DeadFilter {
            state,
            group: self.group.clone(),
            class: self.class.clone(),
            stage: self.stage.clone(),
            source: self.source.clone(),
            contact: self.contact,
            since,
            until,
            text: self.text.clone(),
            ..DeadFilter::default()
        };
        filter.check().map_err(|error| Failure::cannot_run(error.to_string()))?;
        self.group_is_known(store).await?;
        self.source_is_known(settings, store).await?;
        Ok(filter)
    }

    async fn group_is_known(&self, store: &Store) -> Result<(), Failure> {
        let Some(group) = &self.group else { return Ok(()) };
        let filter = DeadFilter { group: Some(group.clone()), ..DeadFilter::default() };
        let why = match store.dead_count(&filter).await {
            Ok(0) => format!("no dead letter is of the group '{group}'"),
            Ok(_) => return Ok(()),
            Err(StoreError::Refused(why)) => why,
            Err(error) => return Err(error.into()),
        };
        Err(Failure::cannot_run(format!("{why}: `handrail dead groups` lists them")))
    }

    /// A source that configuration has dropped may still have letters.
    async fn source_is_known(&self, settings: &Settings, store: &Store) -> Result<(), Failure> {
        let Some(source) = &self.source else { return Ok(()) };
        if settings.config.sources.contains_key(source) {
            return Ok(());
        }
        let filter = DeadFilter { source: Some(source.clone()), ..DeadFilter::default() };
        if store.dead_count(&filter).await? > 0 {
            return Ok(());
        }
        let mut known: Vec<&str> = settings.config.sources.keys().map(SourceName::as_str).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
        Err(Failure::cannot_run(format!("no source is called '{source}': {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_rfc_3339_or_a_span_before_now() {
        let now = Micros::from_seconds(1_700_000_000);
        for (text, seconds) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("90s", 1_699_999_910),
            ("2h", 1_699_992_800),
            ("7d", 1_699_395_200),
            ("0s", 1_700_000_000),
        ] {
            assert_eq!(When::parse(text).unwrap().at(now), Micros::from_seconds(seconds), "{text}");
        }
        for text in ["", "yesterday", "2", "h", "-2h", "2026-01-31", "2y", "2µ", "99999999999d"] {
            assert!(When::parse(text).unwrap_err().starts_with("expected RFC 3339"), "{text}");
        }
    }
}
