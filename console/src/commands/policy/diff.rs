//! `handrail policy diff`: what another policy would have made of past messages, before it makes anything of new ones.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use common::domain::{Micros, SourceName};
use common::store::Period;
use serde_json::{Value, json};
use worker::pipeline::guardrails::Guardrails;
use worker::rehearsal::comparison::{Change, Comparison, Findings, Sample};

use super::Which;
use crate::commands::Actor;
use crate::commands::span::moment;
use crate::context::Context;
use crate::failure::{Answer, Failure};
use crate::output;
use crate::progress::Progress;

/// How far back without `--since`.
const A_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Events named in the table for each rule; JSON has as many as `--limit` says.
const SHOWN: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The policy that is: a file, or `current` for the configured one
    old: String,
    /// The policy that may be: likewise
    new: String,
    /// From when: a moment (RFC 3339) or a span back from now (such as 90m, 24h or 7d) [default: 7d]
    #[arg(long, value_parser = moment)]
    since: Option<Micros>,
    /// Until when: likewise [default: now]
    #[arg(long, value_parser = moment)]
    until: Option<Micros>,
    /// Only what came in by this source
    #[arg(long, value_parser = source)]
    source: Option<SourceName>,
    /// Exit 1 if more messages than this share of those judged (such as 0.5%), or this number of them, are newly blocked
    #[arg(long, value_name = "SHARE")]
    max_newly_blocked: Option<Limit>,
    /// The same for messages newly handed off
    #[arg(long, value_name = "SHARE")]
    max_newly_handed_off: Option<Limit>,
    /// The same for messages newly allowed
    #[arg(long, value_name = "SHARE")]
    max_newly_allowed: Option<Limit>,
    /// The same for messages whose reply would read otherwise
    #[arg(long, value_name = "SHARE")]
    max_changed_reply: Option<Limit>,
    /// At most so many event ids for each rule
    #[arg(long, default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    actor: Actor,
}

/// How many are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// More than these percent.
    Percent(f64),
    /// More than these.
    Count(u64),
}

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a share from 0% to 100%, such as 0.5%, or a number of messages".to_owned();
        match text.strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| wrong())?;
                if (0.0..=100.0).contains(&percent) { Ok(Self::Percent(percent)) } else { Err(wrong()) }
            }
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
        }
    }
}

impl Limit {
    fn passed(self, count: u64, of: u64) -> bool {
        match self {
            Self::Percent(percent) => percent_of(count, of) > percent,
            Self::Count(most) => count > most,
        }
    }

    fn told(self) -> String {
        match self {
            Self::Percent(percent) => format!("{percent}%"),
            Self::Count(most) => most.to_string(),
        }
    }
}

fn source(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).map_err(|error| error.to_string())
}

fn percent_of(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { 100.0 * count as f64 / of as f64 }
}

impl Diff {
    pub(super) async fn run(&self, context: &Context) -> Answer {
        let (old, new) = (ready(context, &self.old)?, ready(context, &self.new)?);
        let store = context.store().await?;
        let now = store.now().await?;
        // What was committed at this very moment is past too.
        let until = self.until.unwrap_or(now + Duration::from_micros(1));
        let since = self.since.unwrap_or(now - A_WEEK);
        if since >= until {
            return Err(Failure::cannot_run("--until: it must be later than --since"));
        }
        let versions = format!("{}..{}", old.policy().version(), new.policy().version());
        // Before the first message is opened: who looks is on record even if they then look away.
        store.audit(&self.actor.name(), "policy.diff", &versions, None).await?;
        let period = Period { since, until, source: self.source.clone() };
        let comparison = Comparison { store: &store, old: &old, new: &new, period, named: self.limit };
        let bar = Progress::of("judging again", comparison.turns().await?);
        let begun = Instant::now();
        let findings = comparison.run(|so_far| bar.at(so_far.turns)).await?;
        drop(bar);
        let value = self.value(&findings, [&old, &new], (since, until), begun.elapsed());
        context.output.object(&value, || self.words(&findings, &value));
        self.verdict(&findings)
    }

    fn changes<'a>(&self, findings: &'a Findings) -> [(&'static str, &'a Change, Option<Limit>); 4] {
        [
            ("newly_blocked", &findings.newly_blocked, self.max_newly_blocked),
            ("newly_handed_off", &findings.newly_handed_off, self.max_newly_handed_off),
            ("newly_allowed", &findings.newly_allowed, self.max_newly_allowed),
            ("changed_reply", &findings.changed_reply, self.max_changed_reply),
        ]
    }

    fn value(
        &self,
        findings: &Findings,
        policies: [&Guardrails; 2],
        (since, until): (Micros, Micros),
        taken: Duration,
    ) -> Value {
        let [old, new] = policies.map(|guardrails| {
            let policy = guardrails.policy();
            json!({ "file": policy.file(), "version": policy.version() })
        });
        let mut value = json!({
            "old": old, "new": new, "since": since.to_string(), "until": until.to_string(), "source": self.source,
            "turns": findings.turns, "judged": findings.judged, "with_people": findings.with_people,
            "seconds": (taken.as_secs_f64() * 1e3).round() / 1e3,
        });
        for (name, change, _) in self.changes(findings) {
            let by_rule = change.by_rule.iter().map(|((stage, rule), sample)| {
                let mut told = shared(sample, findings.judged);
                (told["stage"], told["rule"]) = ((*stage).into(), rule.as_str().into());
                told
            });
            let share = share(change.count, findings.judged);
            value[name] = json!({ "count": change.count, "share": share, "rules": by_rule.collect::<Vec<_>>() });
        }
        value["asked_otherwise"] = shared(&findings.asked_otherwise, findings.judged);
        value["no_answer"] = shared(&findings.no_answer, findings.judged);
        let why = |(reason, sample): (&&str, &Sample)| json!({ "reason": reason, "count": sample.count, "events": sample.events });
        value["not_judged"] = findings.not_judged.iter().map(why).collect();
        let limits = self.changes(findings).into_iter().filter_map(|(name, change, limit)| {
            let limit = limit?;
            Some(json!({ "limit": name, "is": limit.told(), "passed": limit.passed(change.count, findings.judged) }))
        });
        value["limits"] = limits.collect();
        value
    }

    fn words(&self, findings: &Findings, value: &Value) -> String {
        let get = |key: &str| output::text(&value[key]);
        let version = |which: &str| {
            format!("{} ({})", output::text(&value[which]["file"]), output::text(&value[which]["version"]))
        };
        let mut text = format!(
            "from  {}\nto    {}\nover  {} until {}",
            version("old"),
            version("new"),
            get("since"),
            get("until")
        );
        if let Some(source) = &self.source {
            text += &format!(", {source} only");
        }
        text += &format!(
            "\n{} messages of {} turns judged by both in {} s\n\n",
            findings.judged,
            findings.turns,
            get("seconds")
        );
        text += &self.table(findings);
        for (count, what) in [
            (
                findings.asked_otherwise.count,
                "the model would be shown other words; their recorded answers were judged",
            ),
            (findings.no_answer.count, "nobody knows the reply: no model had answered them"),
            (findings.with_people, "came while people had the floor; no policy had a say"),
        ] {
            if count > 0 {
                text += &format!("\nOf {count} messages: {what}.");
            }
        }
        for (reason, sample) in &findings.not_judged {
            text += &format!("\n{} messages could not be judged: {}.", sample.count, why(reason));
        }
        text
    }

    fn table(&self, findings: &Findings) -> String {
        let mut table = output::bare_table(["", "messages", "share", "rule", "events"]);
        for (name, change, _) in self.changes(findings) {
            let percent = |count: u64| format!("{:.2} %", percent_of(count, findings.judged));
            let first = [name.replace('_', " "), change.count.to_string(), percent(change.count)];
            table.add_row([first.to_vec(), vec![String::new(), String::new()]].concat());
            for ((stage, rule), sample) in &change.by_rule {
                let shown: Vec<String> = sample.events.iter().take(SHOWN).map(ToString::to_string).collect();
                let more = usize::try_from(sample.count).unwrap_or(usize::MAX).saturating_sub(shown.len());
                let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
                let rule = format!("{rule} ({stage})");
                let events = format!("{}{more}", shown.join("\n"));
                table.add_row(vec![String::new(), sample.count.to_string(), percent(sample.count), rule, events]);
            }
        }
        table.trim_fmt()
    }

    fn verdict(&self, findings: &Findings) -> Answer {
        let passed = self.changes(findings).into_iter().filter_map(|(name, change, limit)| {
            let limit = limit.filter(|limit| limit.passed(change.count, findings.judged))?;
            let percent = percent_of(change.count, findings.judged);
            let option = name.replace('_', "-");
            Some(format!(
                "--max-{option} {}: it is {} of {} ({percent:.2} %)",
                limit.told(),
                change.count,
                findings.judged
            ))
        });
        let passed: Vec<String> = passed.collect();
        if !passed.is_empty() {
            return Err(Failure::found(passed.join("\n")));
        }
        if findings.judged == 0 {
            let limited = self.changes(findings).iter().any(|(_, _, limit)| limit.is_some());
            let none = "no message of that period could be judged, so this says nothing of the policies";
            if limited && !findings.not_judged.is_empty() {
                return Err(Failure::found(none));
            }
            output::say(none);
        }
        Ok(())
    }
}

/// A policy by the name it is given on the command line.
fn ready(context: &Context, name: &str) -> Result<Guardrails, Failure> {
    Which { policy: (name != "current").then(|| PathBuf::from(name)) }.ready(context)
}

fn share(count: u64, of: u64) -> Value {
    if of == 0 { Value::Null } else { json!((count as f64 / of as f64 * 1e6).round() / 1e6) }
}

fn shared(sample: &Sample, of: u64) -> Value {
    json!({ "count": sample.count, "share": share(sample.count, of), "events": sample.events })
}

/// Why messages could not be judged, for a person.
fn why(reason: &str) -> &str {
    match reason {
        "erased" => "their customer was erased",
        "does_not_open" => "no key at hand opens them",
        "older_trace" => "their decision path is of a form that does not say who had the floor",
        "no_circumstances" => "their decision path does not hold the clock and counters that a rule asks for",
        "unreadable" => "their body cannot be opened as a message",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_share_or_a_number_and_is_passed_only_by_more() {
        assert_eq!("0.5%".parse(), Ok(Limit::Percent(0.5)));
        assert_eq!("3".parse(), Ok(Limit::Count(3)));
        for wrong in ["", "%", "101%", "-1%", "0.5", "NaN%", "many"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
        assert!(!Limit::Percent(0.5).passed(5, 1_000) && Limit::Percent(0.5).passed(6, 1_000));
        assert!(!Limit::Count(3).passed(3, 10) && Limit::Count(3).passed(4, 10));
        assert!(!Limit::Percent(0.0).passed(0, 0));
    }
}
