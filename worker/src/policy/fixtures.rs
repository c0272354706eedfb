//! What a policy expects of itself: texts, and what must become of them. They run whenever it is made ready; a policy
//! that fails one does not start.

use std::time::Duration;

use common::domain::{Circumstances, Micros};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::error::Problems;
use super::rule::{Rule, RuleMode, RuleStage};

/// What must become of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// It goes on.
    Pass,
    /// It stops.
    Block,
    /// A person takes over.
    Handoff,
    /// It is put off.
    Defer,
}

/// One text and what must become of it.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The text.
    pub text: String,
    /// Its line in the policy.
    pub line: usize,
    /// Whose text it is.
    pub stage: RuleStage,
    /// What must become of it.
    pub outcome: Expected,
    /// The rule that must decide; of a text that passes, one that must hit.
    pub rule: Option<String>,
    /// The source it came from.
    pub channel: String,
    /// What the customer had said before it, oldest first.
    pub earlier: Vec<String>,
    /// What else was so.
    pub circumstances: Circumstances,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    texts: Vec<Spanned<String>>,
    #[serde(default)]
    stage: RuleStage,
    outcome: Expected,
    #[serde(default)]
    rule: Option<Spanned<String>>,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    earlier: Vec<String>,
    #[serde(default)]
    at: Option<Spanned<String>>,
    #[serde(default)]
    new: bool,
    #[serde(default)]
    failures: Option<Spanned<u32>>,
    #[serde(default)]
    messages_in_a_minute: Option<Spanned<u32>>,
}

/// What a fixture says of the world around its texts. What it counts happened just now.
fn circumstances(written: &Written, problems: &mut Problems<'_>) -> Circumstances {
    let at = written.at.as_ref().and_then(|at| {
        let read = at.get_ref().parse::<jiff::Timestamp>();
        if read.is_err() {
            let form = "write it like \"2026-01-04T22:00:00-05:00\"";
            problems.at(&at.span(), format!("'{:.40}' is no moment; {form}", at.get_ref()));
        }
        read.ok().map(|moment| Micros(moment.as_microsecond()))
    });
    let mut number = |key: &str, written: &Option<Spanned<u32>>, most: u32| {
        let Some(number) = written else { return 0 };
        if *number.get_ref() > most {
            problems.at(&number.span(), format!("'{key}' is {}; it may be {most} at most", number.get_ref()));
        }
        (*number.get_ref()).min(most)
    };
    let failures = number("failures", &written.failures, 20);
    let messages = number("messages_in_a_minute", &written.messages_in_a_minute, 1_000);
    Circumstances {
        at,
        silent_for: (!written.new).then_some(Duration::ZERO),
        failures: vec![Duration::ZERO; usize::try_from(failures).unwrap_or(0)],
        arrivals: (0..messages).map(|each| Duration::from_secs(59) * each / messages).collect(),
        ..Circumstances::default()
    }
}

pub(super) fn read(written: Vec<Spanned<Written>>, rules: &[Rule], problems: &mut Problems<'_>) -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for group in written {
        let span = group.span();
        let circumstances = circumstances(group.get_ref(), problems);
        let Written { texts, stage, outcome, rule, channel, earlier, .. } = group.into_inner();
        if texts.is_empty() {
            problems.at(&span, "a fixture without texts proves nothing");
        }
        if let Some(name) = &rule {
            let known = rules.iter().find(|rule| rule.name == *name.get_ref() && rule.stage == stage);
            match known.map(|rule| rule.mode) {
                None => problems.at(&name.span(), format!("no rule of that stage is named '{}'", name.get_ref())),
                Some(RuleMode::Off) => problems.at(&name.span(), format!("the rule '{}' is off", name.get_ref())),
                Some(RuleMode::Shadow | RuleMode::Enforce) => {}
            }
        }
        let rule = rule.map(Spanned::into_inner);
        fixtures.extend(texts.into_iter().map(|text| Fixture {
            line: problems.line(&text.span()),
            text: text.into_inner(),
            stage,
            outcome,
            rule: rule.clone(),
            channel: channel.clone(),
            earlier: earlier.clone(),
            circumstances: circumstances.clone(),
        }));
    }
    fixtures
}
