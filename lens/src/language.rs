//! Which language a text is in, told by its script or by its commonest words; `None` where neither says enough.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::normal::View;

const WORDS: &[(&str, &str)] = &[
    (
        "en",
        "the is are do does have you your my i im it and what when where how can want would with for of this please thanks hello open to not a in on at they we was be from",
    ),
    (
        "es",
        "el la los las un una es y que cuando donde como cuanto cuesta tienen tiene quiero puedo hola gracias por favor usted mi con para del al hay esta estan buenos buenas dias pero muy mas lo se me su de en no si",
    ),
    (
        "pt",
        "o os um uma e que quando onde como quanto custa voces voce tem quero posso ola oi obrigado obrigada por favor meu minha com para do da no na nao esta bom boa dia sao mais em de se dos das pelo isso eu ao",
    ),
    (
        "fr",
        "le la les un une des est et je vous nous il elle que qui quoi ou quand comment combien bonjour merci avec pour dans sur pas ne mon ma votre vos du de au ce cette s il sont ai",
    ),
    (
        "de",
        "der die das ein eine ist und ich sie wir er es was wo wann wie kann haben habe mit fur von auf nicht zu im den dem bitte danke guten tag mein meine ihr ihre sind auch noch",
    ),
    (
        "it",
        "il lo la gli le un una e che quando dove come quanto costa avete ciao grazie per con non di del della sono ho mio mia vorrei posso buongiorno questo questa anche piu nel si",
    ),
    (
        "nl",
        "de het een en ik je jij u wij is zijn wat waar wanneer hoe kan hebben heb met voor van op niet te dank bedankt hallo mijn uw ook nog naar",
    ),
];

static BY_WORD: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut by_word: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, (_, words)) in WORDS.iter().enumerate() {
        words.split(' ').for_each(|word| by_word.entry(word).or_default().push(at));
    }
    by_word
});

/// Fewer letters than this of a script say nothing.
const FEWEST_LETTERS: usize = 4;
/// Fewer common words than this say nothing.
const FEWEST_WORDS: usize = 2;

/// The language of a text, by its two-letter code.
#[must_use]
pub fn detect(original: &str, view: &View) -> Option<&'static str> {
    script(original).or_else(|| by_words(view))
}

fn by_words(view: &View) -> Option<&'static str> {
    let mut counts = [0_usize; WORDS.len()];
    for word in view.text.split(' ').take(400) {
        for at in BY_WORD.get(word).into_iter().flatten() {
            counts[*at] += 1;
        }
    }
    let most = counts.iter().copied().max().filter(|most| *most >= FEWEST_WORDS)?;
    let mut winners = counts.iter().enumerate().filter(|(_, count)| **count == most);
    let (winner, _) = winners.next()?;
    winners.next().is_none().then_some(WORDS[winner].0)
}

/// The script that most letters are in, if it is not Latin.
fn script(original: &str) -> Option<&'static str> {
    if original.is_ascii() {
        return None;
    }
    let mut counts: HashMap<&'static str, usize> = HashMap::new();
    let mut latin = 0;
    for c in original.chars().filter(|c| c.is_alphabetic()) {
        let language = match u32::from(c) {
            0x400..=0x52f => "ru",
            0x370..=0x3ff => "el",
            0x590..=0x5ff => "he",
            0x600..=0x6ff | 0x750..=0x77f => "ar",
            0x900..=0x97f => "hi",
            0xe00..=0xe7f => "th",
            0x3040..=0x30ff => "ja",
            0x4e00..=0x9fff => "zh",
            0xac00..=0xd7af => "ko",
            _ => {
                latin += 1;
                continue;
            }
        };
        *counts.entry(language).or_default() += 1;
    }
    let (language, count) =
        counts.iter().max_by_key(|(language, count)| (**count, **language)).map(|(l, c)| (*l, *c))?;
    // Japanese is written with Chinese characters too; Chinese never with kana.
    let language = if language == "zh" && counts.contains_key("ja") { "ja" } else { language };
    (count >= FEWEST_LETTERS.min(latin + 1).max(2) && count > latin).then_some(language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_told_by_its_words_or_its_script_or_left_open() {
        for (text, language) in [
            ("What are your opening hours?", Some("en")),
            ("¿Cuánto cuesta el envío a la costa?", Some("es")),
            ("Quando chega o meu pedido?", Some("pt")),
            ("Où est ma commande, je vous prie ?", Some("fr")),
            ("Wann kann ich das abholen, bitte?", Some("de")),
            ("Quando arriva il mio ordine, grazie?", Some("it")),
            ("Сколько стоит доставка?", Some("ru")),
            ("这个多少钱？", Some("zh")),
            ("これはいくらですか", Some("ja")),
            ("ok", None),
            ("Singer 4423", None),
            ("", None),
        ] {
            assert_eq!(detect(text, &View::plain(text)), language, "{text}");
        }
    }
}
