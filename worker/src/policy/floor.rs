//! `[floor]`: how long people have a conversation, and what its customer hears meanwhile.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::Problems;

/// A month: whoever needs longer has no floor but a drawer.
const MOST_HOURS: f64 = 24.0 * 31.0;
/// The cooldown after a return, unless written.
const COOLDOWN: u32 = 30;
/// The courtesy's window, unless written, and its bounds.
const COURTESY: u32 = 60;
const COURTESY_LEAST: u32 = 5;
const COURTESY_MOST: u32 = 24 * 60;

/// How long people have a conversation, and what its customer hears meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FloorRules {
    unclaimed: Option<Duration>,
    idle: Option<Duration>,
    cooldown: Duration,
    courtesy: Option<Duration>,
}

impl Default for FloorRules {
    fn default() -> Self {
        let minutes = |count: u32| Duration::from_secs(60 * u64::from(count));
        Self { unclaimed: None, idle: None, cooldown: minutes(COOLDOWN), courtesy: Some(minutes(COURTESY)) }
    }
}

impl FloorRules {
    /// How long a call waits for a person before the assistant is back; `None` leaves it to the deployment's timing.
    #[must_use]
    pub const fn unclaimed(&self) -> Option<Duration> {
        self.unclaimed
    }

    /// How long a person may do nothing before the assistant is back; `None` leaves it to the deployment's timing.
    #[must_use]
    pub const fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// How long after a return no rule calls people again, unless the customer asks for one.
    #[must_use]
    pub const fn cooldown(&self) -> Duration {
        self.cooldown
    }

    /// How often a customer who writes while people have the conversation hears a word; `None` for never.
    #[must_use]
    pub const fn courtesy(&self) -> Option<Duration> {
        self.courtesy
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    unclaimed_hours: Option<Spanned<f64>>,
    idle_hours: Option<Spanned<f64>>,
    cooldown_minutes: Option<Spanned<u32>>,
    courtesy_minutes: Option<Spanned<u32>>,
    courtesy: Option<bool>,
}

pub(super) fn read(written: &Written, problems: &mut Problems<'_>) -> FloorRules {
    let minutes = |count: u32| Duration::from_secs(60 * u64::from(count));
    if let Some(window) = &written.courtesy_minutes
        && !(COURTESY_LEAST..=COURTESY_MOST).contains(window.get_ref())
    {
        let reason =
            format!("'courtesy_minutes' must be {COURTESY_LEAST} to {COURTESY_MOST}; 'courtesy = false' is silence");
        problems.at(&window.span(), reason);
    }
    if let Some(cooldown) = written.cooldown_minutes.as_ref().filter(|cooldown| *cooldown.get_ref() > COURTESY_MOST) {
        problems.at(&cooldown.span(), format!("'cooldown_minutes' must be 0 to {COURTESY_MOST}"));
    }
    let window = written.courtesy_minutes.as_ref().map_or(COURTESY, |window| *window.get_ref());
    FloorRules {
        unclaimed: hours("unclaimed_hours", written.unclaimed_hours.as_ref(), problems),
        idle: hours("idle_hours", written.idle_hours.as_ref(), problems),
        cooldown: minutes(written.cooldown_minutes.as_ref().map_or(COOLDOWN, |cooldown| *cooldown.get_ref())),
        courtesy: written.courtesy.unwrap_or(true).then_some(minutes(window)),
    }
}

fn hours(key: &str, written: Option<&Spanned<f64>>, problems: &mut Problems<'_>) -> Option<Duration> {
    span_of_time((key, MOST_HOURS, 3_600.0), written?, problems)
}

/// A number of units as a time: more than none, and no more than `most` units.
pub(super) fn span_of_time(
    (key, most, seconds): (&str, f64, f64),
    written: &Spanned<f64>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let number = *written.get_ref();
    if number > 0.0 && number <= most {
        return Some(Duration::from_secs_f64(number * seconds));
    }
    problems.at(&written.span(), format!("'{key}' is {number}; it must be more than 0 and at most {most}"));
    None
}
