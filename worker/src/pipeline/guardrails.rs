//! The guardrails: what came in is screened, what goes out is approved. The only place where [`Screened`] and
//! [`Approved`] are made, so that text which was not screened cannot reach a model, and a draft which was not approved
//! cannot reach a customer (P5).
//!
//! Every rule looks at the same original text, so their order cannot matter; a rule's time is linear in the text. Of
//! the enforced rules that hit, the strongest decides: **a person asked for > block > handoff > redact > annotate >
//! allow**; among handoffs the most urgent, among equals the first in the file names itself. `defer` decides about no text:
//! it puts the whole turn off, unless that hands off. Every rule that ran leaves its result, shadow ones too. What a rule of kind `pii` redacts becomes a placeholder, which the approved draft gives back to the customer.
//!
//! Neither type can be made elsewhere:
//! ```compile_fail,E0451
//! let forged = worker::pipeline::guardrails::Screened { text: "hello".to_owned(), notes: Vec::new(), unmarked: true };
//! ```
//! ```compile_fail,E0451
//! use common::domain::Author;
//! use worker::pipeline::guardrails::Approved;
//! let forged = Approved { text: "hello".to_owned(), author: Author::Assistant, locale: "en".to_owned() };
//! ```
//! Nor does a prompt take text that was not screened:
//! ```compile_fail,E0308
//! let policy = worker::policy::Policy::starter().unwrap();
//! worker::pipeline::prompt::Prompt::build(&policy, &[], &["hello"]);
//! ```
//! while screened text passes:
//! ```
//! use worker::pipeline::guardrails::{Guardrails, Outcome, Talk};
//! let policy = std::sync::Arc::new(worker::policy::Policy::starter()?);
//! let screening = Guardrails::new(policy.clone())?.screen("hello", &mut Talk::default());
//! let Outcome::Pass(screened) = screening.outcome else { return Err("stopped".into()) };
//! let prompt = worker::pipeline::prompt::Prompt::build(&policy, &[], &[screened]);
//! assert_eq!(prompt.lines().len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine;
mod fixtures;
mod length;
mod matcher;
mod mention;
mod person;
mod request;
mod result;
mod talk;
mod temper;
mod value;
mod words;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Author, Call, Content, Evidence};

pub use lens::Span;
use lens::Views;
pub use result::{Reason, RuleResult, Score};
pub use talk::Talk;

use crate::pipeline::llm::Draft;
use crate::pipeline::notes::{self, Note};
use crate::policy::{Action, Expected, Notice, Policy, PolicyError, RuleMode, RuleStage};
use engine::{Engine, Judgement, Verdict};

/// A customer's text that has passed the input rules (P5). Only this module makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Screened {
    text: String,
    notes: Vec<Note>,
    unmarked: bool,
}

impl Screened {
    /// The text, as the model may see it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether no rule found anything in it, not even one in shadow.
    #[must_use]
    pub const fn is_unmarked(&self) -> bool {
        self.unmarked
    }

    /// What the model is to be told of it.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl std::fmt::Debug for Screened {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screened({} bytes)", self.text.len())
    }
}

/// A text that may be sent: an approved draft, a text of the policy, or both (P5). Only this module makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Approved {
    text: String,
    author: Author,
    locale: String,
}

impl Approved {
    /// What the customer will read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Who wrote it: the assistant where any of it was drafted, else the policy.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.author
    }

    /// The policy's locale it is in, as far as can be told.
    #[must_use]
    pub fn locale(&self) -> &str {
        &self.locale
    }
}

impl std::fmt::Debug for Approved {
    /// Never the text (P7).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Approved({} {} {} bytes)", self.author.as_str(), self.locale, self.text.len())
    }
}

/// What follows from a customer's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It may go to the model.
    Pass(Screened),
    /// It stops here, and the customer is told.
    Block {
        /// The rule that decided.
        rule: String,
    },
    /// A person is to answer.
    Handoff(Call),
}

/// A customer's text, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screening {
    /// What follows.
    pub outcome: Outcome,
    /// What every rule found.
    pub results: Vec<RuleResult>,
    /// The policy's locale it is in; `None` where its words do not tell.
    pub locale: Option<String>,
    /// What the customer is told if it goes no further.
    pub notice: Notice,
    /// For how long the turn is better put off, unless it hands off.
    pub defer: Option<Duration>,
}

/// What a customer sent, read as far as it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Text, judged.
    Text(Screening),
    /// Something that cannot be read yet, by the provider's word for it.
    Unreadable(String),
}

/// What follows from a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be sent.
    Approved(Approved),
    /// It may not.
    Refused {
        /// The rule that decided.
        rule: String,
    },
    /// It may not, and a person is to answer instead.
    Handoff(Call),
}

/// A draft, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What follows.
    pub decision: Decision,
    /// What every rule found.
    pub results: Vec<RuleResult>,
    /// What the customer is told if it goes no further.
    pub notice: Notice,
}

/// What the rules make of a text, told to a person: it is not fit to go anywhere, as [`Screened`] and [`Approved`] are.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What becomes of the text.
    pub outcome: Expected,
    /// The rule that decided; `None` for a text that goes on.
    pub rule: Option<String>,
    /// The text as far as it would go on.
    pub text: String,
    /// What the customer would be told; `None` for a text that goes on.
    pub said: Option<String>,
    /// The policy's locale it is in; `None` where its words do not tell.
    pub locale: Option<String>,
    /// What every rule found.
    pub results: Vec<RuleResult>,
}

/// The rule that refuses a draft with a placeholder for which there is nothing.
const PLACEHOLDER: &str = "placeholder";

/// A policy's rules could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum GuardrailError {
    /// One of them is too large.
    #[error("the rule '{rule}' cannot be made ready: its lists are too long; split it in two")]
    TooLarge {
        /// The rule.
        rule: String,
    },
    /// They do not do what the policy's own fixtures say.
    #[error(transparent)]
    Fixtures(#[from] PolicyError),
}

/// A policy, ready to judge.
#[derive(Debug)]
pub struct Guardrails {
    policy: Arc<Policy>,
    input: Engine,
    output: Engine,
}

impl Guardrails {
    /// Makes a policy's rules ready, and holds them against the policy's own fixtures.
    ///
    /// # Errors
    /// [`GuardrailError`] names the rule that is too large, or every fixture that fails.
    pub fn new(policy: Arc<Policy>) -> Result<Self, GuardrailError> {
        let input = Engine::new(&policy, RuleStage::Input)?;
        let output = Engine::new(&policy, RuleStage::Output)?;
        let guardrails = Self { policy, input, output };
        fixtures::hold(&guardrails)?;
        Ok(guardrails)
    }

    /// The policy they keep.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether they need a conversation's earlier lines before they can judge.
    #[must_use]
    pub fn looks_back(&self) -> bool {
        self.input.looks_back() || self.output.looks_back()
    }

    /// Whether they need to know what else is so when a turn begins.
    #[must_use]
    pub fn looks_around(&self) -> bool {
        self.input.looks_around() || self.output.looks_around()
    }

    /// Judges what a customer sent. Text that shows nothing is something that cannot be read.
    #[must_use]
    pub fn read(&self, content: &Content, talk: &mut Talk) -> Reading {
        match content {
            Content::Text(text) if text.trim().is_empty() => Reading::Unreadable("empty".to_owned()),
            Content::Text(text) => Reading::Text(self.screen(text, talk)),
            Content::Unreadable(what) => Reading::Unreadable(what.clone()),
        }
    }

    /// Judges a customer's text.
    #[must_use]
    pub fn screen(&self, text: &str, talk: &mut Talk) -> Screening {
        let views = Views::of(text);
        let locale = self.policy.detect_in(views.plain()).map(str::to_owned);
        let judgement = self.input.judge(&views, locale.as_deref(), false, talk);
        let Judgement { verdict, edited, results, defer } = judgement;
        talk.heard(text, views.plain().clone());
        let notice = self.told(&verdict, &results, talk);
        let outcome = match verdict {
            Verdict::Pass => {
                let unmarked = !results.iter().any(|result| result.hit && result.kind.reads());
                Outcome::Pass(Screened { text: edited, notes: notes::notes(&results, &self.policy), unmarked })
            }
            Verdict::Block { rule } => Outcome::Block { rule },
            Verdict::Handoff { rule, asked } => Outcome::Handoff(self.call(&rule, asked, &results)),
        };
        Screening { outcome, results, locale, notice, defer }
    }

    /// A customer's earlier text as history: as [`Guardrails::screen`], but a handoff does not hide it, since it was
    /// said and dealt with. `None` for text that is blocked.
    #[must_use]
    pub fn recall(&self, text: &str, talk: &mut Talk) -> Option<Screened> {
        let views = Views::of(text);
        let judgement = self.input.judge(&views, self.policy.detect_in(views.plain()), false, talk);
        (!judgement.blocked()).then_some(Screened { text: judgement.edited, notes: Vec::new(), unmarked: false })
    }

    /// Judges a draft; `locale` is the conversation's, for when the draft does not tell its own. The customer's own
    /// data come back in place of their placeholders when everything has been judged.
    #[must_use]
    pub fn approve(&self, draft: &Draft, locale: &str, talk: &mut Talk) -> Approval {
        let (text, requested) = drafted(RuleStage::Output, draft.text());
        let views = Views::of(&text);
        let told = self.policy.detect_in(views.plain());
        let Judgement { verdict, edited, results, .. } = self.output.judge(&views, told, requested, talk);
        let locale = told.unwrap_or_else(|| self.policy.locale_or_default(locale));
        let notice = self.told(&verdict, &results, talk);
        let decision = match verdict {
            Verdict::Pass if edited.trim().is_empty() => Decision::Refused { rule: "empty".to_owned() },
            Verdict::Pass => match talk.restore(edited.trim()) {
                Some(text) => {
                    Decision::Approved(Approved { text, author: Author::Assistant, locale: locale.to_owned() })
                }
                None => Decision::Refused { rule: PLACEHOLDER.to_owned() },
            },
            Verdict::Block { rule } => Decision::Refused { rule },
            Verdict::Handoff { rule, asked } => Decision::Handoff(self.call(&rule, asked, &results)),
        };
        Approval { decision, results, notice }
    }

    /// What the rules of a stage make of a text, for a person to read.
    #[must_use]
    pub fn explain(&self, stage: RuleStage, text: &str, talk: &mut Talk) -> Explanation {
        let engine = match stage {
            RuleStage::Input => &self.input,
            RuleStage::Output => &self.output,
        };
        let (text, requested) = drafted(stage, text);
        let views = Views::of(&text);
        let locale = self.policy.detect_in(views.plain()).map(str::to_owned);
        let judgement = engine.judge(&views, locale.as_deref(), requested, talk);
        let Judgement { verdict, edited, results, defer } = judgement;
        let notice = self.told(&verdict, &results, talk);
        let (outcome, rule) = match verdict {
            Verdict::Pass | Verdict::Block { .. } if defer.is_some() => (Expected::Defer, None),
            Verdict::Pass => (Expected::Pass, None),
            Verdict::Block { rule } => (Expected::Block, Some(rule)),
            Verdict::Handoff { rule, .. } => (Expected::Handoff, Some(rule)),
        };
        let spoken = locale.as_deref().unwrap_or_else(|| self.policy.default_locale());
        let said = rule.as_ref().map(|_| self.policy.say(&notice, spoken));
        Explanation { outcome, rule, text: edited, said, locale, results }
    }

    /// Whom a rule calls, what they are told, and what speaks for it: the rule, and the others that would have called.
    fn call(&self, rule: &str, asked: bool, results: &[RuleResult]) -> Call {
        let calls = |result: &&RuleResult| {
            result.hit && result.mode == RuleMode::Enforce && result.action == Action::Handoff && result.rule != rule
        };
        let first = results.iter().find(|result| result.rule == rule);
        let others = results.iter().filter(calls);
        let evidence = first.into_iter().chain(others).map(|result| Evidence {
            event: None,
            rule: result.rule.clone(),
            reason: result.reason.word(),
        });
        let evidence: Vec<Evidence> = evidence.collect();
        let known = self.policy.rules().iter().find(|known| known.name == rule);
        let (team, priority) = known.map(|rule| (rule.team.clone(), rule.priority)).unwrap_or_default();
        let reason = evidence.first().map_or("", |evidence| evidence.reason.as_str());
        let summary = known.map(|rule| self.policy.summary(rule, reason)).unwrap_or_default();
        Call { asked, team, priority, summary, evidence, ..Call::because(rule) }
    }

    /// What the customer is told by a verdict that stops something: the rule's own reply, if it has one.
    fn told(&self, verdict: &Verdict, results: &[RuleResult], talk: &Talk) -> Notice {
        let (rule, otherwise) = match verdict {
            Verdict::Pass => return Notice::Blocked,
            Verdict::Block { rule } => (rule, Notice::Blocked),
            Verdict::Handoff { rule, .. } => (rule, Notice::HandedOff),
        };
        if !self.policy.rules().iter().any(|known| known.name == *rule && known.reply.is_some()) {
            return otherwise;
        }
        let reason = results.iter().find(|result| result.rule == *rule).map(|result| result.reason);
        match (reason, talk.circumstances().at) {
            (Some(reason @ (Reason::Closed | Reason::AfterCutoff)), Some(at)) => {
                Notice::Closed { rule: rule.clone(), at, new: reason == Reason::AfterCutoff }
            }
            _ => Notice::Stopped(rule.clone()),
        }
    }

    /// A text of the policy's own.
    #[must_use]
    pub fn notice(&self, notice: &Notice, locale: &str) -> Approved {
        let text = self.policy.say(notice, locale);
        Approved { text, author: Author::Policy, locale: self.policy.locale_or_default(locale).to_owned() }
    }

    /// What the policy itself answers to a question, and the answer's name.
    #[must_use]
    pub fn faq(&self, question: &Screened, locale: &str) -> Option<(&str, Approved)> {
        let (faq, locale) = self.policy.faqs().find(question.text(), locale)?;
        let text = faq.answers().get(locale)?.clone();
        Some((&faq.name, Approved { text, author: Author::Policy, locale: locale.to_owned() }))
    }

    /// One reply: the answer, if there is one, then the notices, a blank line between them. `None` when there is
    /// nothing to say.
    #[must_use]
    pub fn compose(&self, answer: Option<Approved>, notices: &[Notice], locale: &str) -> Option<Approved> {
        let said = notices.iter().map(|notice| self.notice(notice, locale));
        answer.into_iter().chain(said).reduce(|first, next| Approved {
            text: format!("{}\n\n{}", first.text, next.text),
            author: first.author,
            locale: first.locale,
        })
    }
}

/// A text as the rules of a stage judge it: a draft without the mark by which its model asks for a person.
fn drafted(stage: RuleStage, text: &str) -> (Cow<'_, str>, bool) {
    match stage {
        RuleStage::Input => (Cow::Borrowed(text), false),
        RuleStage::Output => {
            let (text, requested) = request::take(text);
            (Cow::Owned(text), requested)
        }
    }
}

#[cfg(test)]
mod shipped;
#[cfg(test)]
mod tests;
