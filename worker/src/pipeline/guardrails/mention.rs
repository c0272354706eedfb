//! What is spoken of: phrases of several groups, in this message and where the rule says so in what the customer said
//! before it. "No es urgente" speaks of no urgency, and "is the repair service included?" of no repair.

use aho_corasick::BuildError;
use lens::phrases::{Match, Phrases};
use lens::{Span, View};

use super::result::{Found, Reason};
use super::talk::Heard;
use super::words::phrases;
use crate::policy::MentionRule;

/// Words between "it is not" and "urgent": "it is not that very urgent".
const NEGATION_REACH: usize = 2;

/// The rule, ready to run.
#[derive(Debug)]
pub(super) struct Mention {
    /// All groups in one automaton: most messages speak of none of them.
    phrases: Phrases,
    /// The group of each phrase.
    group: Vec<usize>,
    groups: usize,
    /// Whether the first group is `any`, which is needed whatever else is.
    any: bool,
    at_least: usize,
    negation: Phrases,
    except: Phrases,
    window: usize,
}

impl Mention {
    pub(super) fn new(rule: &MentionRule) -> Result<Self, BuildError> {
        let any = !rule.any.is_empty();
        let lists: Vec<_> = any.then_some(&rule.any).into_iter().chain(&rule.all).collect();
        let told = |(group, list)| std::iter::repeat(group).zip(std::collections::BTreeMap::values(list).flatten());
        let (group, list): (Vec<usize>, Vec<&String>) = lists.iter().copied().enumerate().flat_map(told).unzip();
        Ok(Self {
            phrases: Phrases::new(list.into_iter().map(String::as_str))?,
            group,
            groups: lists.len(),
            any,
            at_least: rule.at_least.map_or(rule.all.len(), |least| usize::try_from(least).unwrap_or(usize::MAX)),
            negation: phrases(&rule.negation)?,
            except: phrases(&rule.except)?,
            window: usize::try_from(rule.window).unwrap_or(usize::MAX),
        })
    }

    pub(super) fn judge(&self, view: &View, earlier: &[Heard]) -> Found {
        let mut met = vec![false; self.groups];
        let Some((spans, negated)) = self.spoken_of(view, &mut met) else { return Found::nothing(Reason::Clean) };
        if spans.is_empty() {
            return Found::nothing(if negated { Reason::Negated } else { Reason::Clean });
        }
        for line in earlier.iter().rev().take(self.window) {
            if self.enough(&met) {
                break;
            }
            let _places = self.spoken_of(line.view(), &mut met);
        }
        if self.enough(&met) { Found::at(Reason::Mentioned, spans) } else { Found::nothing(Reason::Clean) }
    }

    fn enough(&self, met: &[bool]) -> bool {
        let (any, all) = met.split_at(usize::from(self.any));
        any.iter().all(|met| *met) && all.iter().filter(|met| **met).count() >= self.at_least
    }

    /// Where a text speaks of any group, noting which, and whether it speaks of one only to deny it; `None` where it
    /// does not speak of them at all.
    fn spoken_of(&self, view: &View, met: &mut [bool]) -> Option<(Vec<Span>, bool)> {
        let hits: Vec<Match> = self.phrases.find(view).collect();
        if hits.is_empty() {
            return None;
        }
        let (not, except): (Vec<Match>, Vec<Match>) =
            (self.negation.find(view).collect(), self.except.find(view).collect());
        let (mut spans, mut negated) = (Vec::new(), false);
        for hit in hits {
            let excepted = except.iter().any(|larger| larger.first <= hit.first && hit.last <= larger.last);
            let denied = denied(view, hit, &not);
            negated |= denied;
            if !excepted && !denied {
                if let Some(met) = self.group.get(hit.phrase).and_then(|group| met.get_mut(*group)) {
                    *met = true;
                }
                spans.push(view.span(hit.first, hit.last));
            }
        }
        Some((spans, negated))
    }
}

/// Whether a phrase is denied shortly before it, in the same clause.
pub(super) fn denied(view: &View, hit: Match, negations: &[Match]) -> bool {
    let clause = |word: usize| view.words.get(word).map(|word| word.clause);
    negations.iter().any(|no| {
        no.first < hit.first && hit.first <= no.last + NEGATION_REACH + 1 && clause(no.first) == clause(hit.first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PerLocale;

    fn list(phrases: &[&str]) -> PerLocale<Vec<String>> {
        PerLocale::from([("en".to_owned(), phrases.iter().map(|phrase| (*phrase).to_owned()).collect())])
    }

    fn judge(rule: &MentionRule, earlier: &[&str], text: &str) -> Reason {
        let earlier: Vec<Heard> = earlier.iter().map(|line| Heard::of(line)).collect();
        Mention::new(rule).unwrap().judge(&View::plain(text), &earlier).reason
    }

    #[test]
    fn a_phrase_is_heard_unless_it_is_denied_or_part_of_something_else() {
        let rule = MentionRule {
            any: list(&["urgent*", "urgente", "cancel*", "repair"]),
            negation: list(&["not", "no es", "dont", "no quiero"]),
            except: list(&["repair service", "cancellation policy"]),
            ..MentionRule::default()
        };
        for (text, reason) in [
            ("This is URGENT!", Reason::Mentioned),
            ("es muy urgente", Reason::Mentioned),
            ("No, es urgente", Reason::Mentioned),
            ("it does not work, and it is urgent", Reason::Mentioned),
            ("no es urgente", Reason::Negated),
            ("no es tan urgente", Reason::Negated),
            ("please don't cancel it", Reason::Negated),
            ("it is not urgent, but please repair it", Reason::Mentioned),
            ("is the repair service included?", Reason::Clean),
            ("what is your cancellation policy", Reason::Clean),
            ("when do you open", Reason::Clean),
        ] {
            assert_eq!(judge(&rule, &[], text), reason, "{text}");
        }
    }

    #[test]
    fn groups_may_be_met_over_several_lines_of_which_this_message_says_one() {
        let rule = MentionRule { all: vec![list(&["soy de"]), list(&["precio"])], window: 2, ..MentionRule::default() };
        assert_eq!(judge(&rule, &[], "soy de Tunja, ¿qué precio tiene?"), Reason::Mentioned);
        assert_eq!(judge(&rule, &["soy de Tunja", "ok"], "¿qué precio tiene?"), Reason::Mentioned);
        assert_eq!(judge(&rule, &["soy de Tunja", "ok", "hola"], "¿qué precio tiene?"), Reason::Clean, "too long ago");
        assert_eq!(judge(&rule, &["soy de Tunja", "¿qué precio tiene?"], "gracias"), Reason::Clean);
        assert_eq!(judge(&rule, &[], "¿qué precio tiene?"), Reason::Clean);
    }

    #[test]
    fn so_many_groups_may_be_enough_and_any_is_needed_all_the_same() {
        let all = vec![list(&["shirts"]), list(&["caps"]), list(&["shoes"])];
        let rule = MentionRule { any: list(&["wholesale"]), all, at_least: Some(2), ..MentionRule::default() };
        assert_eq!(judge(&rule, &[], "caps and shoes, wholesale"), Reason::Mentioned);
        assert_eq!(judge(&rule, &[], "caps, wholesale"), Reason::Clean);
        assert_eq!(judge(&rule, &[], "caps, shoes, shirts"), Reason::Clean);
    }
}
