//! One matcher for each kind of rule, made ready once.

use std::time::Duration;

use aho_corasick::BuildError;
use lens::claims::{self, Facts};
use lens::leak::Shingles;
use lens::topic::{Lesson, Topic};
use lens::{Views, injection, language, pii, secrets, url, words_of};

use super::length;
use super::mention::Mention;
use super::person::Person;
use super::result::{Found, Reason};
use super::talk::Talk;
use super::temper::{self, Anger};
use super::value::Value;
use super::words::{Promise, Words};
use crate::calendar::Calendar;
use crate::policy::{
    Faq, HoursRule, LengthRule, PiiRule, Policy, RateRule, Rule, RuleKind, RuleStage, SchemaFormat, SchemaRule,
    TopicRule, TroubleRule,
};

/// What a rate is counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// What is judged, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) views: &'a Views<'a>,
    pub(super) talk: &'a Talk,
    pub(super) stage: RuleStage,
    /// Whether the model asks for a person.
    pub(super) requested: bool,
}

/// A rule's kind, ready to run.
#[derive(Debug)]
pub(super) enum Matcher {
    Length(LengthRule),
    Words(Words),
    Person(Person),
    Topic {
        topic: Box<Topic>,
        off_at: f64,
        unsure_at: f64,
    },
    Injection {
        threshold: f64,
    },
    Pii {
        rule: PiiRule,
        facts: String,
    },
    Secrets,
    Url {
        allow: Vec<String>,
    },
    Language {
        allow: Vec<String>,
    },
    Repeat {
        times: u32,
    },
    Grounding {
        facts: Box<Facts>,
        customer_may: bool,
    },
    Leak {
        shingles: Shingles,
        canary: Option<String>,
    },
    Promise(Promise),
    Schema(SchemaRule),
    Mention(Box<Mention>),
    Anger(Box<Anger>),
    Trouble(TroubleRule),
    Hours {
        rule: HoursRule,
        calendar: Box<Calendar>,
    },
    Value(Box<Value>),
    Rate(RateRule),
    Request,
    #[cfg(test)]
    Panics,
    #[cfg(test)]
    Dawdles(std::time::Duration),
}

impl Matcher {
    pub(super) fn new(rule: &Rule, policy: &Policy) -> Result<Self, BuildError> {
        let facts = || policy.facts().values().map(String::as_str);
        Ok(match &rule.kind {
            RuleKind::Length(length) => Self::Length(length.clone()),
            RuleKind::Words(words) => Self::Words(Words::new(words)?),
            RuleKind::Person(person) => Self::Person(Person::new(person)?),
            RuleKind::Topic(topic) => Self::Topic {
                topic: Box::new(taught(topic, policy)?),
                off_at: topic.off_at,
                unsure_at: topic.unsure_at,
            },
            RuleKind::Injection(injection) => Self::Injection { threshold: injection.threshold },
            RuleKind::Pii(pii) => Self::Pii { rule: pii.clone(), facts: squeezed(&facts().collect::<String>()) },
            RuleKind::Secrets => Self::Secrets,
            RuleKind::Url(url) => Self::Url { allow: url.allow.clone() },
            RuleKind::Language(language) => Self::Language { allow: language.allow.clone() },
            RuleKind::Repeat(repeat) => Self::Repeat { times: repeat.times },
            RuleKind::Grounding(grounding) => {
                Self::Grounding { facts: Box::new(policy.fact_table().claims()), customer_may: grounding.customer_may }
            }
            RuleKind::Leak(leak) => {
                let size = usize::try_from(leak.words).unwrap_or(usize::MAX);
                let canary = leak.canary.as_deref().map(words_of);
                let instructions = policy.all_instructions().collect::<Vec<_>>().join("\n");
                Self::Leak { shingles: Shingles::of(&instructions, size), canary }
            }
            RuleKind::Promise(promise) => Self::Promise(Promise::new(promise)?),
            RuleKind::Schema(schema) => Self::Schema(schema.clone()),
            RuleKind::Mention(mention) => Self::Mention(Box::new(Mention::new(mention)?)),
            RuleKind::Anger(anger) => Self::Anger(Box::new(Anger::new(anger)?)),
            RuleKind::Trouble(trouble) => Self::Trouble(trouble.clone()),
            RuleKind::Hours(hours) => {
                Self::Hours { rule: hours.clone(), calendar: Box::new(policy.hours().calendar().clone()) }
            }
            RuleKind::Value(value) => Self::Value(Box::new(Value::new(value)?)),
            RuleKind::Rate(rate) => Self::Rate(rate.clone()),
            RuleKind::Request => Self::Request,
        })
    }

    pub(super) fn judge(&self, subject: &Subject<'_>) -> Found {
        let (views, text) = (subject.views, subject.views.original());
        match self {
            Self::Length(rule) => length::judge(rule, text, subject.stage),
            Self::Words(words) => words.judge(views),
            Self::Person(person) => person.judge(views.plain()),
            Self::Topic { topic, off_at, unsure_at } => topic_of(topic, *off_at, *unsure_at, views),
            Self::Injection { threshold } => command(*threshold, views),
            Self::Pii { rule, facts } => personal(rule, facts, subject),
            Self::Secrets => Found::any(Reason::Secret, secrets::find(text)),
            Self::Url { allow } => {
                let strange = url::find(text).into_iter().filter(|link| !url::is_allowed(&link.host, allow));
                Found::any(Reason::Link, strange.map(|link| link.span).collect())
            }
            Self::Language { allow } => {
                let told = language::detect(text, views.plain());
                let strange = told.is_some_and(|told| !allow.iter().any(|known| known == told));
                if strange { Found::at(Reason::Language, Vec::new()) } else { Found::nothing(Reason::Clean) }
            }
            Self::Repeat { times } => {
                let before = subject.talk.times(&views.plain().text, subject.stage == RuleStage::Input);
                let often = before + 1 >= *times && !views.plain().words.is_empty();
                if often { Found::at(Reason::Repeated, Vec::new()) } else { Found::nothing(Reason::Clean) }
            }
            Self::Grounding { facts, customer_may } => {
                let claims = claims::find(text);
                let stated = if *customer_may && !claims.is_empty() { subject.talk.stated() } else { Facts::default() };
                let loose = claims.into_iter().filter(|claim| !facts.hold(claim) && !stated.hold(claim));
                Found::any(Reason::Ungrounded, loose.map(|claim| claim.span).collect())
            }
            Self::Leak { shingles, canary } => leaked(shingles, canary.as_deref(), views),
            Self::Promise(promise) => promise.judge(views),
            Self::Schema(rule) => {
                if fits(rule, text) {
                    Found::nothing(Reason::Clean)
                } else {
                    Found::at(Reason::Malformed, Vec::new())
                }
            }
            Self::Mention(mention) => mention.judge(views.plain(), subject.talk.lately()),
            Self::Anger(anger) => anger.judge(text, views.plain(), subject.talk.lately()),
            Self::Trouble(rule) => trouble(rule, subject),
            Self::Hours { rule, calendar } => hours(rule, calendar, subject.talk),
            Self::Value(value) => value.judge(text, views.plain()),
            Self::Rate(rule) => rate(rule, subject.talk),
            Self::Request if subject.requested => Found::at(Reason::Requested, Vec::new()),
            Self::Request => Found::nothing(Reason::Clean),
            #[cfg(test)]
            Self::Panics => panic!("a rule fails"),
            #[cfg(test)]
            Self::Dawdles(time) => {
                let begun = super::engine::worked();
                while super::engine::worked().saturating_sub(begun) < *time {
                    std::hint::spin_loop();
                }
                Found::nothing(Reason::Clean)
            }
        }
    }
}

/// What the policy answers itself is its business, and not to be taught twice.
fn taught(rule: &TopicRule, policy: &Policy) -> Result<Topic, BuildError> {
    let [mut on, off, about, besides]: [Vec<&str>; 4] = [&rule.on, &rule.off, &rule.about, &rule.besides]
        .map(|lists| lists.values().flatten().map(String::as_str).collect());
    on.extend(policy.faqs().all().iter().flat_map(Faq::questions));
    Topic::learn(&Lesson { on, off, about, besides })
}

fn topic_of(topic: &Topic, off_at: f64, unsure_at: f64, views: &Views<'_>) -> Found {
    let distance = topic.distance(views);
    let score = f64::from(distance.score);
    if score >= off_at {
        Found::at(Reason::OffTopic, distance.spans).scored(score)
    } else if score >= unsure_at {
        Found::nothing(Reason::Unsure).scored(score)
    } else {
        Found::nothing(Reason::Clean).scored(score)
    }
}

fn command(threshold: f64, views: &Views<'_>) -> Found {
    let found = injection::judge(views);
    let score = f64::from(found.score);
    if score >= threshold {
        Found::at(Reason::Injection, found.spans).scored(score).seen_in(found.view)
    } else {
        Found::nothing(Reason::Clean).scored(score)
    }
}

/// In a draft, what the business itself states as a fact is nobody's secret.
fn personal(rule: &PiiRule, facts: &str, subject: &Subject<'_>) -> Found {
    let text = subject.views.original();
    let is_fact = |finding: &pii::Finding| {
        subject.stage == RuleStage::Output && facts.contains(&squeezed(&text[finding.span.start..finding.span.end]))
    };
    let wanted = pii::find(text).into_iter().filter(|finding| rule.kinds.contains(&finding.kind));
    let found: Vec<pii::Finding> = wanted.filter(|finding| !is_fact(finding)).collect();
    let mut result = Found::any(Reason::Personal, found.iter().map(|finding| finding.span).collect());
    result.personal = found.into_iter().map(|finding| finding.kind).collect();
    result
}

/// Letters and digits only, so that 300 555 0100 is 300-555-0100.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn trouble(rule: &TroubleRule, subject: &Subject<'_>) -> Found {
    let window = MINUTE * rule.window_minutes;
    let failures = subject.talk.circumstances().failures.iter().filter(|age| **age <= window).count();
    let often = |limit: Option<u32>, times: usize| {
        limit.is_some_and(|limit| times >= usize::try_from(limit).unwrap_or(usize::MAX))
    };
    if often(rule.failures, failures) {
        return Found::at(Reason::Failures, Vec::new());
    }
    let asked = || temper::times_asked(subject.views.plain(), subject.talk.lately());
    if rule.repeats.is_some() && often(rule.repeats, asked()) {
        return Found::at(Reason::AskedAgain, Vec::new());
    }
    Found::nothing(Reason::Clean)
}

/// Without a clock nothing is known to be closed.
fn hours(rule: &HoursRule, calendar: &Calendar, talk: &Talk) -> Found {
    let Some(now) = talk.circumstances().at else { return Found::nothing(Reason::Clean) };
    let new = talk.circumstances().silent_for.is_none_or(|silent| silent >= MINUTE * rule.new_after_minutes);
    match (calendar.is_open(now), new) {
        (false, new) if new || !rule.new_only => Found::at(Reason::Closed, Vec::new()),
        (true, true) if !calendar.takes_new(now) => Found::at(Reason::AfterCutoff, Vec::new()),
        _ => Found::nothing(Reason::Clean),
    }
}

/// Over the limit until the first message too many is a minute old; but nobody waits longer than the rule's patience.
fn rate(rule: &RateRule, talk: &Talk) -> Found {
    let known = talk.circumstances();
    let first_too_many = usize::try_from(rule.per_minute).ok().and_then(|limit| known.arrivals.get(limit));
    let quiet = first_too_many.and_then(|age| MINUTE.checked_sub(*age));
    let patience = Duration::from_secs(u64::from(rule.patience_seconds)).checked_sub(known.waiting);
    match quiet.zip(patience) {
        Some((quiet, patience)) if !quiet.is_zero() && !patience.is_zero() => {
            let mut found = Found::at(Reason::TooFast, Vec::new());
            found.defer = Some(quiet.min(patience));
            found
        }
        _ => Found::nothing(Reason::Clean),
    }
}

fn leaked(shingles: &Shingles, canary: Option<&str>, views: &Views<'_>) -> Found {
    for view in views.iter() {
        let mut spans = shingles.find(view);
        let mark = canary.and_then(|canary| view.text.find(canary).map(|at| (at, canary)));
        if let Some((at, canary)) = mark {
            let first = view.words.partition_point(|word| word.start <= at).saturating_sub(1);
            spans.push(view.span(first, first + canary.split(' ').count() - 1));
        }
        if !spans.is_empty() {
            return Found::at(Reason::Leaked, spans).seen_in(view.kind);
        }
    }
    Found::nothing(Reason::Clean)
}

fn fits(rule: &SchemaRule, text: &str) -> bool {
    match rule.format {
        SchemaFormat::Plain => {
            let text = text.trim();
            let is_json = text.starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(text).is_ok();
            let markup = ["```", "</", "<|", "<script", "<html", "<div"];
            !is_json && !markup.iter().any(|mark| text.contains(mark))
        }
        SchemaFormat::Json => {
            let value = serde_json::from_str(text.trim()).unwrap_or(serde_json::Value::Null);
            let Some(object) = value.as_object() else { return false };
            object.len() == rule.keys.len()
                && rule.keys.iter().all(|(key, of)| object.get(key).is_some_and(|value| type_of(value) == of))
        }
    }
}

const fn type_of(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "boolean",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}
