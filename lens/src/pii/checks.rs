//! Check digits, country by country. Each takes characters of the right shape and says whether they add up.

pub(super) fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

fn all_same(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// Payment cards.
pub(super) fn luhn(digits: &[u32]) -> bool {
    let doubled = |(at, digit): (usize, &u32)| match (at % 2, digit * 2) {
        (0, _) => *digit,
        (_, twice) if twice > 9 => twice - 9,
        (_, twice) => twice,
    };
    !all_same(digits) && digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

/// A card's first digits and length, by the networks that use them.
pub(super) fn card(digits: &[u32]) -> bool {
    let lead = |count: usize| digits.iter().take(count).fold(0, |number, digit| number * 10 + digit);
    let fits = match digits.len() {
        13 | 19 => lead(1) == 4 || lead(2) == 62,
        14 => matches!(lead(3), 300..=305) || matches!(lead(2), 36 | 38 | 39),
        15 => matches!(lead(2), 34 | 37),
        16 => {
            lead(1) == 4
                || matches!(lead(2), 50..=58 | 60 | 62 | 63 | 65 | 67 | 35)
                || matches!(lead(4), 2200..=2204 | 2221..=2720)
                || matches!(lead(3), 644..=649)
        }
        _ => false,
    };
    fits && luhn(digits)
}

/// A number as long as it likes, written in digits and letters, modulo 97.
pub(super) fn mod97(mut text: impl Iterator<Item = char>) -> Option<u32> {
    text.try_fold(0_u32, |rest, c| {
        let value = c.to_digit(36)?;
        Some(if value > 9 { (rest * 100 + value) % 97 } else { (rest * 10 + value) % 97 })
    })
}

/// Brazil, persons.
pub(super) fn cpf(d: &[u32]) -> bool {
    let check = |count: u32| {
        let sum: u32 = (0..count).zip(d).map(|(at, digit)| digit * (count + 1 - at)).sum();
        sum * 10 % 11 % 10
    };
    d.len() == 11 && !all_same(d) && check(9) == d[9] && check(10) == d[10]
}

/// Brazil, companies.
pub(super) fn cnpj(d: &[u32]) -> bool {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let check = |count: usize| match weighted(&d[..count], &WEIGHTS[13 - count..]) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    d.len() == 14 && !all_same(d) && check(12) == d[12] && check(13) == d[13]
}

/// Spain: eight digits (a foreigner's first is a letter) and the letter that they come to.
pub(super) fn nif(text: &str) -> bool {
    let replaced = match text.as_bytes() {
        [b'X', ..] => text.replacen('X', "0", 1),
        [b'Y', ..] => text.replacen('Y', "1", 1),
        [b'Z', ..] => text.replacen('Z', "2", 1),
        _ => text.to_owned(),
    };
    let Some((number, letter)) = replaced.split_at_checked(8) else { return false };
    let number: Option<usize> = number.parse().ok();
    number.is_some_and(|number| {
        b"TRWAGMYFPDXBNJZSQVHLCKE".get(number % 23).map(|b| char::from(*b)) == letter.chars().next()
    }) && letter.len() == 1
}

/// France: thirteen characters and two of control.
pub(super) fn nir(text: &str) -> bool {
    if text.len() != 15 || !text.starts_with(['1', '2', '3', '4', '7', '8']) {
        return false;
    }
    let corsica = text.replacen("2A", "19", 1).replacen("2B", "18", 1);
    let numbers = (corsica[..13].parse::<u64>(), corsica[13..].parse::<u64>());
    let month = corsica[3..5].parse::<u32>().unwrap_or(0);
    matches!(numbers, (Ok(number), Ok(key)) if 97 - number % 97 == key) && (1..=12).contains(&month)
}

/// Italy: sixteen characters, the last of control.
pub(super) fn codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let bytes = text.as_bytes();
    let letters = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_uppercase);
    if bytes.len() != 16 || !letters(0..6) || !letters(8..9) || !letters(11..12) || !letters(15..16) {
        return false;
    }
    let number = |at: usize| bytes[at].is_ascii_digit() || b"LMNPQRSTUV".contains(&bytes[at]);
    let shape = [6, 7, 9, 10, 12, 13, 14].into_iter().all(number) && b"ABCDEHLMPRST".contains(&bytes[8]);
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' });
    let sum: u32 = bytes[..15]
        .iter()
        .enumerate()
        .map(|(at, byte)| if at % 2 == 0 { ODD[value(*byte) as usize] } else { value(*byte) })
        .sum();
    shape && sum % 26 == value(bytes[15])
}

/// Portugal.
pub(super) fn nif_portugal(d: &[u32]) -> bool {
    let check = match weighted(&d[..d.len().min(8)], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    d.len() == 9 && matches!(d[0], 1 | 2 | 3 | 5 | 6 | 8 | 9) && check == d[8]
}

/// Mexico, persons: eighteen characters, the last of control.
pub(super) fn curp(text: &str) -> bool {
    const ORDER: &str = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ";
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
    let letters = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_uppercase);
    if bytes.len() != 18 || !letters(0..4) || !digits(4..10) || !b"HMX".contains(&bytes[10]) || !letters(11..16) {
        return false;
    }
    let value = |c: char| ORDER.chars().position(|known| known == c).unwrap_or(0);
    let sum: usize = text.chars().take(17).enumerate().map(|(at, c)| value(c) * (18 - at)).sum();
    let day = text[8..10].parse::<u32>().unwrap_or(0);
    let month = text[6..8].parse::<u32>().unwrap_or(0);
    (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && char::from(bytes[17]).to_digit(10) == u32::try_from((10 - sum % 10) % 10).ok()
}

/// Mexico, taxpayers: three or four letters, a date, and three characters.
pub(super) fn rfc(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some(lead) = bytes.len().checked_sub(9).filter(|lead| matches!(lead, 3 | 4)) else { return false };
    let (month, day) = (text[lead + 2..lead + 4].parse::<u32>(), text[lead + 4..lead + 6].parse::<u32>());
    bytes[..lead].iter().all(u8::is_ascii_uppercase)
        && bytes[lead..lead + 6].iter().all(u8::is_ascii_digit)
        && month.is_ok_and(|month| (1..=12).contains(&month))
        && day.is_ok_and(|day| (1..=31).contains(&day))
        && bytes[lead + 6..].iter().all(u8::is_ascii_alphanumeric)
        && bytes[lead + 8..].iter().all(|byte| byte.is_ascii_digit() || *byte == b'A')
}

/// Colombia, taxpayers: nine digits and one of control.
pub(super) fn nit(d: &[u32]) -> bool {
    let sum = weighted(&d[..d.len().min(9)], &[41, 37, 29, 23, 19, 17, 13, 7, 3]) % 11;
    d.len() == 10 && matches!(d[0], 8 | 9) && (if sum < 2 { sum } else { 11 - sum }) == d[9]
}

/// Argentina, taxpayers.
pub(super) fn cuit(d: &[u32]) -> bool {
    let lead = d.iter().take(2).fold(0, |number, digit| number * 10 + digit);
    let check = match 11 - weighted(&d[..d.len().min(10)], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11 {
        11 => 0,
        10 => 9,
        rest => rest,
    };
    d.len() == 11 && matches!(lead, 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34) && check == d[10]
}

/// Chile: digits and one of control, which may be K.
pub(super) fn rut(number: &str, control: char) -> bool {
    let d = digits(number);
    let sum: u32 =
        d.iter().rev().zip([2, 3, 4, 5, 6, 7].into_iter().cycle()).map(|(digit, weight)| digit * weight).sum();
    let check = match 11 - sum % 11 {
        11 => '0',
        10 => 'K',
        rest => char::from_digit(rest, 10).unwrap_or('0'),
    };
    (7..=8).contains(&d.len()) && !all_same(&d) && check == control
}

/// United States: no area, group or serial that was never given out.
pub(super) fn ssn(text: &str) -> bool {
    text.len() == 9
        && !matches!(&text[..3], "000" | "666")
        && !text.starts_with('9')
        && &text[3..5] != "00"
        && &text[5..] != "0000"
}
