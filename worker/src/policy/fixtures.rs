//! What a policy expects of itself: texts, and what must become of them. They run whenever it is made ready; a policy
//! that fails one does not start.

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
}

pub(super) fn read(written: Vec<Spanned<Written>>, rules: &[Rule], problems: &mut Problems<'_>) -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for group in written {
        let span = group.span();
        let Written { texts, stage, outcome, rule, channel } = group.into_inner();
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
        }));
    }
    fixtures
}
