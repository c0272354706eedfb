//! What is written in digits only, in one run or in groups.

use super::PiiKind;
use super::checks;
use super::context::{self, Said};
use super::phone;
use super::text::Tokens;

/// The most groups that one number is written in.
const MOST_GROUPS: usize = 8;

/// The personal number that begins at a token, the longest first, and its last token.
pub(super) fn at(tokens: &Tokens<'_>, at: usize) -> Option<(PiiKind, usize)> {
    let first = tokens.get(at).filter(|token| token.digits && !token.set_aside)?;
    let attached = at > 0 && matches!(first.before.as_str(), "-" | "." | "/" | "_" | "," | ":" | "#");
    if attached && (first.before != ":" || tokens.get(at - 1).is_some_and(|token| token.digits)) && first.before != "#"
    {
        return None;
    }
    let last = (at + 1..tokens.len().min(at + MOST_GROUPS))
        .take_while(|next| {
            tokens.get(*next).is_some_and(|token| token.digits && !token.set_aside && separates(&token.before))
        })
        .last()
        .unwrap_or(at);
    (at..=last).rev().find_map(|to| known(tokens, at, to).map(|kind| (kind, to)))
}

fn separates(between: &str) -> bool {
    !between.is_empty()
        && between.chars().count() <= 3
        && between.chars().all(|c| c.is_whitespace() && c != '\n' || "-./()\u{b7}".contains(c))
}

struct Number<'a> {
    digits: String,
    groups: Vec<usize>,
    /// What stands between the groups.
    between: Vec<&'a str>,
    before: &'a str,
    said: Said,
}

fn known(tokens: &Tokens<'_>, from: usize, to: usize) -> Option<PiiKind> {
    let group = |at: usize| tokens.get(at).map(|token| token.text.as_str());
    let groups: Vec<&str> = (from..=to).filter_map(group).collect();
    let digits = groups.concat();
    let ends_here =
        !tokens.after(to).starts_with(['-', '_', '/']) || tokens.get(to + 1).is_none_or(|next| next.before.len() > 1);
    let decimal = tokens.after(to) == "." && tokens.get(to + 1).is_some_and(|next| next.digits);
    if !(7..=19).contains(&digits.len()) || !ends_here || decimal {
        return None;
    }
    let number = Number {
        groups: groups.iter().map(|group| group.len()).collect(),
        between: (from + 1..=to).filter_map(|at| tokens.get(at)).map(|token| token.before.as_str()).collect(),
        before: &tokens.get(from)?.before,
        said: context::around(tokens, from, to),
        digits,
    };
    if number.is_card() {
        Some(PiiKind::Card)
    } else if number.is_id() {
        Some(PiiKind::NationalId)
    } else {
        number.is_phone().then_some(PiiKind::Phone)
    }
}

impl Number<'_> {
    fn written(&self, groups: &[usize], between: &[&str]) -> bool {
        self.groups == groups && self.between == between
    }

    fn is_card(&self) -> bool {
        let d = checks::digits(&self.digits);
        let in_fours = self.groups.len() > 1 && self.groups.iter().all(|group| matches!(group, 2..=6));
        let trusted = match self.said {
            Said::Other => false,
            Said::Card | Said::Phone | Said::Id => true,
            Said::Nothing => self.groups.len() == 1 || in_fours,
        };
        trusted && (self.groups.len() == 1 || in_fours) && checks::card(&d)
    }

    fn is_id(&self) -> bool {
        let d = checks::digits(&self.digits);
        let text = self.digits.as_str();
        let bare = self.groups.len() == 1;
        // What looks like nothing else, so that it needs no word beside it.
        let shaped = (self.written(&[3, 3, 3, 2], &[".", ".", "-"]) && checks::cpf(&d))
            || (self.written(&[2, 3, 3, 4, 2], &[".", ".", "/", "-"]) && checks::cnpj(&d))
            || ((self.written(&[3, 2, 4], &["-", "-"]) || self.written(&[3, 2, 4], &[" ", " "])) && checks::ssn(text))
            || (self.groups.len() == 3 && self.groups[0] == 2 && self.groups[2] == 1 && checks::cuit(&d))
            || (self.between.last() == Some(&"-") && self.groups.last() == Some(&1) && self.ends_in_control(&d))
            || (matches!(d.len(), 15) && checks::nir(text) && (bare || self.groups[0] == 1));
        let by_check = checks::cpf(&d) || checks::cnpj(&d) || checks::cuit(&d) || (d.len() == 15 && checks::nir(text));
        match self.said {
            Said::Other => false,
            Said::Id => {
                let national = checks::nif_portugal(&d)
                    || (d.len() == 9 && checks::ssn(text))
                    || self.ends_in_control(&d)
                    || checks::nit(&d)
                    || (6..=10).contains(&d.len());
                shaped || by_check || national
            }
            Said::Nothing => {
                shaped
                    || (by_check && bare && d.len() != 11)
                    || (bare && d.len() == 11 && checks::cpf(&d))
                    || (bare && checks::cuit(&d))
            }
            Said::Phone | Said::Card => shaped,
        }
    }

    /// Chile and Colombia: the last digit, after a dash, controls the others.
    fn ends_in_control(&self, d: &[u32]) -> bool {
        let Some((number, control)) = self.digits.split_at_checked(self.digits.len() - 1) else { return false };
        checks::nit(d) || checks::rut(number, control.chars().next().unwrap_or(' '))
    }

    fn is_phone(&self) -> bool {
        if self.before.ends_with('+') || (self.before.ends_with("+(") || self.before.ends_with("(+")) {
            return phone::international(&self.digits);
        }
        if let Some(rest) = self.digits.strip_prefix("00")
            && self.said != Said::Other
            && phone::international(rest)
        {
            return true;
        }
        let slashed = self.between.iter().any(|between| between.contains('/'));
        let parenthesis =
            self.before.ends_with('(') && self.between.first().is_some_and(|between| between.contains(')'));
        !slashed && phone::national(&self.digits, &self.groups, parenthesis, self.said)
    }
}
