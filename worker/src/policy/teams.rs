//! `[[team]]`: who is called, where they are told, and how soon they should answer. Names only: what reaches a team is
//! in `handrail.toml`, where secrets are kept.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use common::domain::Call;
use serde::Deserialize;
use toml::Spanned;

use super::Rule;
use super::error::Problems;
use super::floor::span_of_time;

/// The most lines of a conversation that a notice holds.
const MOST_LINES: usize = 20;
/// The lines that it holds, unless written.
const LINES: usize = 6;
/// The most reminders of one handoff.
const MOST_REMINDERS: u32 = 24;
/// A week, in minutes of business time.
const MOST_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// How much of a customer's address a notice holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownContact {
    /// All of it.
    Full,
    /// Its last four characters.
    #[default]
    Last4,
    /// Nothing.
    None,
}

/// A team.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// What rules call it.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// Destinations that hear of every call.
    pub notify: Vec<String>,
    /// Destinations that hear of overdue answers besides.
    pub escalate: Vec<String>,
    /// How long it has for its first answer, in business time.
    pub first_answer: Option<Duration>,
    /// How long after an overdue answer, and after each reminder, it is reminded again, in business time.
    pub remind: Option<Duration>,
    /// How often it is reminded at most.
    pub reminders: u32,
    /// How much of the customer's address it is told.
    pub contact: ShownContact,
    /// How many lines of the conversation it is told.
    pub lines: usize,
    next_step: Option<String>,
    next_steps: BTreeMap<String, String>,
}

impl Team {
    /// What to do next about what this rule called for.
    #[must_use]
    pub fn next_step(&self, rule: &str) -> Option<&str> {
        self.next_steps.get(rule).or(self.next_step.as_ref()).map(String::as_str)
    }

    /// Every destination that it uses.
    pub fn destinations(&self) -> impl Iterator<Item = &String> {
        self.notify.iter().chain(&self.escalate)
    }
}

/// The team that a call is for: the one it names, else the first.
#[must_use]
pub(super) fn called<'a>(teams: &'a [Team], call: &Call) -> Option<&'a Team> {
    let named = call.team.as_ref().and_then(|name| teams.iter().find(|team| team.name == *name));
    named.or_else(|| teams.first())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    name: Spanned<String>,
    label: Option<String>,
    #[serde(default)]
    notify: Vec<Spanned<String>>,
    #[serde(default)]
    escalate: Vec<Spanned<String>>,
    first_answer_minutes: Option<Spanned<f64>>,
    remind_minutes: Option<Spanned<f64>>,
    reminders: Option<Spanned<u32>>,
    #[serde(default)]
    contact: ShownContact,
    lines: Option<Spanned<usize>>,
    next_step: Option<String>,
    #[serde(default)]
    next_steps: BTreeMap<String, String>,
}

pub(super) fn read(written: &[Spanned<Written>], problems: &mut Problems<'_>) -> Vec<Team> {
    let mut teams: Vec<Team> = Vec::new();
    for one in written {
        let team = team(one.get_ref(), problems);
        if teams.iter().any(|known| known.name == team.name) {
            problems.at(&one.get_ref().name.span(), format!("two teams are named '{}'", team.name));
        }
        teams.push(team);
    }
    teams
}

/// Every rule's team must be one of them.
pub(super) fn check_called(teams: &[Team], rules: &[Rule], whole: &Range<usize>, problems: &mut Problems<'_>) {
    let unknown = |rule: &&Rule| rule.team.as_ref().is_some_and(|name| !teams.iter().any(|team| team.name == *name));
    for rule in rules.iter().filter(unknown) {
        let name = rule.team.as_deref().unwrap_or_default();
        let reason = format!("the rule '{}' calls the team '{name}', which no [[team]] describes", rule.name);
        problems.near(whole, &format!("team = \"{name}\""), reason);
    }
}

fn team(written: &Written, problems: &mut Problems<'_>) -> Team {
    let name = written.name.get_ref();
    check_name(&written.name, "a team's name", problems);
    for destination in written.notify.iter().chain(&written.escalate) {
        check_name(destination, "a destination's name", problems);
    }
    let time = |key: &str, written: Option<&Spanned<f64>>, problems: &mut Problems<'_>| {
        span_of_time((key, MOST_MINUTES, 60.0), written?, problems)
    };
    let reminders = written.reminders.as_ref().map_or(1, |reminders| *reminders.get_ref());
    if let Some(many) = written.reminders.as_ref().filter(|many| *many.get_ref() > MOST_REMINDERS) {
        problems.at(&many.span(), format!("'reminders' must be 0 to {MOST_REMINDERS}"));
    }
    if let Some(many) = written.lines.as_ref().filter(|many| *many.get_ref() > MOST_LINES) {
        problems.at(&many.span(), format!("'lines' must be 0 to {MOST_LINES}"));
    }
    if let Some(remind) = written.remind_minutes.as_ref().filter(|_| written.first_answer_minutes.is_none()) {
        problems.at(&remind.span(), "'remind_minutes' needs 'first_answer_minutes': nothing would be overdue");
    }
    Team {
        name: name.clone(),
        label: written.label.clone().unwrap_or_else(|| name.clone()),
        notify: written.notify.iter().map(|name| name.get_ref().clone()).collect(),
        escalate: written.escalate.iter().map(|name| name.get_ref().clone()).collect(),
        first_answer: time("first_answer_minutes", written.first_answer_minutes.as_ref(), problems),
        remind: time("remind_minutes", written.remind_minutes.as_ref(), problems),
        reminders,
        contact: written.contact,
        lines: written.lines.as_ref().map_or(LINES, |lines| *lines.get_ref()),
        next_step: written.next_step.clone(),
        next_steps: written.next_steps.clone(),
    }
}

fn check_name(name: &Spanned<String>, what: &str, problems: &mut Problems<'_>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=64).contains(&name.get_ref().len()) || !name.get_ref().chars().all(fits) {
        problems.at(&name.span(), format!("{what} is 1 to 64 letters, digits, '-', '_' and '.'"));
    }
}

#[cfg(test)]
mod tests {
    use common::domain::Call;

    use crate::policy::Policy;

    const STARTER: &str = include_str!("../../../policies/shop.toml");

    fn changed(from: &str, to: &str) -> Result<Policy, String> {
        assert!(STARTER.contains(from), "'{from}' stands in the starter");
        Policy::parse(&STARTER.replacen(from, to, 1), "test.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn a_team_or_floor_that_cannot_work_is_refused_with_its_line_and_reason() {
        for (from, to, reason) in [
            (
                "first_answer_minutes = 60",
                "first_answer_minutes = 0",
                "'first_answer_minutes' is 0; it must be more than 0",
            ),
            ("first_answer_minutes = 60", "", "'remind_minutes' needs 'first_answer_minutes'"),
            ("reminders = 3", "reminders = 99", "'reminders' must be 0 to 24"),
            ("lines = 6", "lines = 600", "'lines' must be 0 to 20"),
            ("notify = []", "notify = [\"a b\"]", "a destination's name is 1 to 64"),
            ("notify = []", "notifies = []", "unknown field `notifies`"),
            ("contact = \"last4\"", "contact = \"half\"", "unknown variant `half`"),
            ("label = \"Front desk\"", "[[team]]\nname = \"front-desk\"", "two teams are named 'front-desk'"),
            ("courtesy_minutes = 60", "courtesy_minutes = 4", "'courtesy_minutes' must be 5 to 1440"),
            ("cooldown_minutes = 30", "cooldown_minutes = 9999", "'cooldown_minutes' must be 0 to 1440"),
            ("# idle_hours = 12", "idle_hours = -1.0", "'idle_hours' is -1; it must be more than 0"),
        ] {
            let text = changed(from, to).unwrap_err();
            let line = 1 + STARTER[..STARTER.find(from).unwrap()].matches('\n').count();
            let near = (line..line + 4).any(|line| text.contains(&format!("test.toml:{line}: ")));
            assert!(text.contains(reason) && near, "{to}, line {line}\n{text}");
        }
    }

    #[test]
    fn a_call_is_for_the_team_it_names_and_otherwise_for_the_first() {
        let night =
            "[[team]]\nname = \"night\"\nnext_step = \"wake\"\nnext_steps = { budget = \"raise the cap\" }\n\n[facts]";
        let policy = changed("[facts]", night).unwrap();
        let mut call = Call::because("budget");
        assert_eq!(policy.team(&call).map(|team| team.name.as_str()), Some("front-desk"));
        call.team = Some("night".to_owned());
        let team = policy.team(&call).unwrap();
        assert_eq!((team.name.as_str(), team.label.as_str()), ("night", "night"));
        assert_eq!((team.next_step("budget"), team.next_step("other")), (Some("raise the cap"), Some("wake")));
        call.team = Some("gone".to_owned());
        assert_eq!(policy.team(&call).map(|team| team.name.as_str()), Some("front-desk"));
    }

    #[test]
    fn silence_is_written_and_never_an_accident() {
        assert!(Policy::starter().unwrap().floor().courtesy().is_some());
        assert_eq!(changed("courtesy_minutes = 60", "courtesy = false").unwrap().floor().courtesy(), None);
        assert!(changed("[texts.courtesy]", "[texts.courtesies]").unwrap_err().contains("'texts.courtesy' is missing"));
    }
}
