//! Encoded and hidden stretches of a text, read: base64, hexadecimal, percent, escapes, character codes, tag
//! characters, variation selectors. What comes out counts only if it reads as text; one encoding may hide another,
//! two deep. Every decoded character stands for the whole stretch that it came from.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{Span, View, ViewKind, Writer};

/// How many encodings may lie one over another.
const DEPTH: usize = 2;
/// Shorter stretches are codes and numbers, not messages.
const SHORTEST: usize = 16;
/// The fewest separate codes ("69 67 6e", "105 103 110") that make a message.
const FEWEST_CODES: usize = 6;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// The view of everything that could be decoded; `None` where nothing could.
pub(super) fn decoded(original: &str) -> Option<View> {
    let mut writer = Writer::new(ViewKind::Decoded, 64);
    for (span, text) in hidden(original) {
        write(&mut writer, span, &text, 1);
    }
    for (span, text) in stretches(original) {
        write(&mut writer, span, &text, 1);
    }
    let view = writer.finish();
    (!view.words.is_empty()).then_some(view)
}

fn write(writer: &mut Writer, span: Span, text: &str, depth: usize) {
    let deeper = if depth < DEPTH { stretches(text) } else { Vec::new() };
    if deeper.is_empty() {
        writer.fold('\n', span);
        text.chars().for_each(|c| writer.fold(c, span));
        writer.fold('\n', span);
    }
    for (_, inner) in deeper {
        write(writer, span, &inner, depth + 1);
    }
}

/// Text in characters that show nothing: tags spell ASCII, variation selectors spell bytes.
fn hidden(original: &str) -> Vec<(Span, String)> {
    let mut found = Vec::new();
    if original.is_ascii() {
        return found;
    }
    let mut run: Option<(Span, Vec<u8>)> = None;
    for (at, c) in original.char_indices() {
        let Some(byte) = hidden_byte(c) else {
            found.extend(run.take().and_then(finish_run));
            continue;
        };
        let (span, bytes) = run.get_or_insert((Span { start: at, end: at }, Vec::new()));
        span.end = at + c.len_utf8();
        bytes.push(byte);
    }
    found.extend(run.and_then(finish_run));
    found
}

fn finish_run((span, bytes): (Span, Vec<u8>)) -> Option<(Span, String)> {
    (bytes.len() >= 4).then(|| readable(bytes)).flatten().map(|text| (span, text))
}

fn hidden_byte(c: char) -> Option<u8> {
    let code = u32::from(c);
    let byte = match code {
        0xe_0020..=0xe_007e => code - 0xe_0000,
        0xfe00..=0xfe0f => code - 0xfe00,
        0xe_0100..=0xe_01ef => code - 0xe_0100 + 16,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Every encoded stretch of a text with what it says.
fn stretches(text: &str) -> Vec<(Span, String)> {
    let mut found = Vec::new();
    if let Some(whole) = escapes(text) {
        found.push((Span { start: 0, end: text.len() }, whole));
    }
    let mut codes: Vec<(Span, &str)> = Vec::new();
    for (span, token) in tokens(text) {
        if is_code(token) {
            codes.push((span, token));
            continue;
        }
        found.extend(flush(&mut codes));
        let long = token.len() >= SHORTEST;
        found.extend(long.then(|| blob(token)).flatten().map(|text| (span, text)));
    }
    found.extend(flush(&mut codes));
    found
}

/// Runs of the characters that encodings are written in.
fn tokens(text: &str) -> impl Iterator<Item = (Span, &str)> {
    let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '\\');
    let mut at = 0;
    text.split_inclusive(move |c| !belongs(c)).filter_map(move |token| {
        let start = at;
        at += token.len();
        let bare = token.trim_end_matches(|c| !belongs(c));
        (!bare.is_empty()).then_some((Span { start, end: start + bare.len() }, bare))
    })
}

/// One character written as a code of its own: two hexadecimal digits, a decimal number, or eight bits.
fn is_code(token: &str) -> bool {
    [16, 10, 2].into_iter().any(|radix| code(token, radix).is_some())
}

fn code(token: &str, radix: u32) -> Option<u8> {
    let marked = token.strip_prefix("0x").or_else(|| token.strip_prefix("\\x"));
    let (digits, lengths) = match radix {
        16 => (marked.unwrap_or(token), 2..=2),
        10 => (token, 2..=3),
        _ => (token, 8..=8),
    };
    if !lengths.contains(&digits.len()) {
        return None;
    }
    u8::from_str_radix(digits, radix).ok().filter(|byte| *byte >= 32)
}

/// A run of separate codes as text, by the first way of counting under which it reads as text.
fn flush(codes: &mut Vec<(Span, &str)>) -> Option<(Span, String)> {
    let run = std::mem::take(codes);
    let span = Span { start: run.first()?.0.start, end: run.last()?.0.end };
    if run.len() < FEWEST_CODES {
        return None;
    }
    let read = |radix| {
        let bytes: Option<Vec<u8>> = run.iter().map(|(_, token)| code(token, radix)).collect();
        bytes.and_then(readable)
    };
    [16, 10, 2].into_iter().find_map(read).map(|text| (span, text))
}

/// One long token as base64 or hexadecimal.
fn blob(token: &str) -> Option<String> {
    let token = token.trim_matches('\\');
    if token.bytes().all(|b| b.is_ascii_hexdigit()) {
        let even = &token[..token.len() & !1];
        let bytes = (0..even.len()).step_by(2).map(|at| u8::from_str_radix(&even[at..at + 2], 16));
        if let Some(text) = bytes.collect::<Result<Vec<u8>, _>>().ok().and_then(readable) {
            return Some(text);
        }
    }
    let plain_word = token.bytes().all(|b| b.is_ascii_lowercase());
    if plain_word {
        return None;
    }
    BASE64.decode(token).or_else(|_| BASE64_URL.decode(token)).ok().and_then(readable)
}

/// The text with percent, backslash and entity escapes read; `None` with fewer than would spell a word.
fn escapes(text: &str) -> Option<String> {
    let marks = text.bytes().filter(|b| matches!(b, b'%' | b'\\' | b'&')).count();
    if marks < 4 {
        return None;
    }
    let (mut bytes, mut read, mut rest) = (Vec::with_capacity(text.len()), 0_usize, text);
    while let Some(first) = rest.chars().next() {
        match escape(rest) {
            Some((c, length)) => {
                read += 1;
                match c {
                    Escaped::Byte(byte) => bytes.push(byte),
                    Escaped::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                }
                rest = &rest[length..];
            }
            None => {
                bytes.extend(first.encode_utf8(&mut [0; 4]).bytes());
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    (read >= 4).then(|| readable(bytes)).flatten()
}

enum Escaped {
    Byte(u8),
    Char(char),
}

fn escape(rest: &str) -> Option<(Escaped, usize)> {
    let hex = |from: usize, to: usize| u32::from_str_radix(rest.get(from..to)?, 16).ok();
    let byte = |n: u32| u8::try_from(n).ok().map(Escaped::Byte);
    if rest.starts_with('%') {
        return Some((byte(hex(1, 3)?)?, 3));
    }
    if rest.starts_with("\\x") {
        return Some((byte(hex(2, 4)?)?, 4));
    }
    if rest.starts_with("\\u") {
        return Some((Escaped::Char(char::from_u32(hex(2, 6)?)?), 6));
    }
    let inner = rest.strip_prefix("&#")?;
    let end = inner.find(';').filter(|end| *end <= 7)?;
    let number = match inner[..end].strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => inner[..end].parse().ok()?,
    };
    Some((Escaped::Char(char::from_u32(number)?), end + 3))
}

/// Bytes that read as text: nearly all printable, mostly letters and spaces.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let all = text.chars().count();
    let shown = text.chars().filter(|c| !c.is_control() || c.is_whitespace()).count();
    let letters = text.chars().filter(|c| c.is_alphabetic() || *c == ' ').count();
    (all >= 4 && shown == all && letters * 10 >= all * 7).then_some(text)
}
