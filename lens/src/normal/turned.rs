//! A text in which no common word stands may be one turned round: by a letter cipher, or read backwards. What comes
//! out counts only if it then reads like a language.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{View, ViewKind, Writer};

const COMMON: &str = "the of and to in is you that it he was for on are as with his they at be this have from or had by \
not but what all were we when your can said there use an each which she do how their if will up other about out many \
then them these so some her would make like him into has more go no my than been who now did get me please i a any \
just give tell show let write us never don dont im \
de la que el en y los del se las por un para con no una su al lo como mas pero sus le ya este si porque esta entre \
cuando muy sin sobre me hasta hay donde quien desde todo nos mi es son tu te todos usted cuanto \
o e da em um do nao uma os na dos as ao ele foi mas tem seu sua ou ser nos voce isso eu meu minha tudo \
le les des et est une dans qui sur pas plus je vous ne ce il au pour \
der die und das ist nicht ein eine ich du sie mit auf den von zu im wie alle \
il di che non per sono una gli";

static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| COMMON.split_whitespace().collect());

/// Words that are counted: a text shows early what it is.
const MOST_COUNTED: usize = 120;

/// The share of a view's words that are among the commonest of a few languages, from 0 to 1.
#[must_use]
pub fn common_share(words: &str) -> f32 {
    let (mut known, mut all) = (0_u16, 0_u16);
    for word in words.split(' ').filter(|word| !word.is_empty()).take(MOST_COUNTED) {
        all += 1;
        known += u16::from(WORDS.contains(word));
    }
    if all == 0 { 0.0 } else { f32::from(known) / f32::from(all) }
}

/// Fewer words than this cannot be told from names and codes.
const FEWEST: usize = 4;

pub(super) fn turned(plain: &View) -> Option<View> {
    let straight = common_share(&plain.text);
    if plain.words.len() < FEWEST || straight > 0.15 {
        return None;
    }
    let rot13 = |c: char| match c {
        'a'..='m' => char::from(c as u8 + 13),
        'n'..='z' => char::from(c as u8 - 13),
        _ => c,
    };
    let atbash = |c: char| if c.is_ascii_lowercase() { char::from(b'a' + b'z' - c as u8) } else { c };
    let reads = |view: &View| common_share(&view.text) >= straight + 0.15;
    [letters(plain, rot13), letters(plain, atbash), backwards(plain)].into_iter().find(reads)
}

fn letters(plain: &View, turn: impl Fn(char) -> char) -> View {
    let text = plain.text.chars().map(turn).collect();
    View { kind: ViewKind::Turned, text, words: plain.words.clone() }
}

fn backwards(plain: &View) -> View {
    let mut writer = Writer::new(ViewKind::Turned, plain.text.len());
    let clauses = plain.words.last().map_or(0, |word| word.clause);
    for at in (0..plain.words.len()).rev() {
        writer.open = false;
        writer.clause = clauses - plain.words[at].clause;
        for c in plain.word(at).chars().rev() {
            writer.put(c, plain.words[at].original);
        }
    }
    writer.finish()
}
