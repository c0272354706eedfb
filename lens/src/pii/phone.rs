//! Telephone numbers: by their country's code, by the shape they are written in, or by what is said of them.

use super::context::Said;

/// Codes of countries that are written out, longest first where one begins another.
const CODES: &[&str] = &[
    "351", "352", "353", "354", "355", "356", "357", "358", "359", "370", "371", "372", "373", "374", "375", "376",
    "377", "378", "380", "381", "385", "386", "387", "389", "420", "421", "423", "501", "502", "503", "504", "505",
    "506", "507", "509", "591", "592", "593", "594", "595", "596", "597", "598", "599", "852", "853", "855", "856",
    "880", "886", "960", "961", "962", "963", "964", "965", "966", "967", "968", "970", "971", "972", "973", "974",
    "975", "976", "977", "992", "993", "994", "995", "996", "998", "20", "27", "30", "31", "32", "33", "34", "36",
    "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51", "52", "53", "54", "55", "56", "57", "58", "60",
    "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98", "1", "7",
];

/// With a plus before it: a known country, and as many digits as numbers have.
pub(super) fn international(digits: &str) -> bool {
    (8..=15).contains(&digits.len()) && CODES.iter().any(|code| digits.starts_with(code))
}

/// A country's own form, written without a plus.
pub(super) fn national(digits: &str, groups: &[usize], parenthesis: bool, said: Said) -> bool {
    let likely = shaped(digits, groups) || mobile(digits, groups) || with_code(digits);
    match said {
        Said::Phone => {
            (7..=15).contains(&digits.len())
                && groups.iter().all(|group| *group >= 2 || *group == digits.len() || groups.len() <= 5)
        }
        Said::Other => false,
        Said::Id | Said::Card => parenthesis && (7..=11).contains(&digits.len()),
        Said::Nothing => likely || (parenthesis && (8..=11).contains(&digits.len())),
    }
}

/// Groups that people write telephones in and hardly anything else.
fn shaped(digits: &str, groups: &[usize]) -> bool {
    let first = digits.as_bytes()[0];
    let round = |size: usize| digits.as_bytes().chunks(size).all(|group| group.ends_with(b"0"));
    match groups {
        [3, 3, 4] => !matches!(first, b'0' | b'1') || digits.starts_with("04"),
        [1, 3, 3, 4] => first == b'1',
        [3, 3, 3] => matches!(first, b'6' | b'7' | b'8' | b'9' | b'2') && !round(3),
        [3, 2, 2, 2] => matches!(first, b'6'..=b'9'),
        [2, 2, 2, 2, 2] => first == b'0',
        [2, 5, 4] | [2, 4, 4] | [1, 4, 4] | [5, 6] | [4, 3, 3] | [3, 3, 2, 2] | [3, 4, 3] => !round(2) || first == b'0',
        [3, 7] => first == b'3' || first == b'6',
        [2, 9] => digits.as_bytes()[2] == b'9',
        [2, 3, 4, 4]
        | [2, 2, 5, 4]
        | [2, 1, 4, 4]
        | [2, 1, 2, 4, 4]
        | [2, 3, 3, 4]
        | [2, 3, 3, 3]
        | [3, 3, 3, 3]
        | [2, 3, 7] => with_code(digits),
        _ => false,
    }
}

/// One run of digits that is a mobile number in a country of ours.
fn mobile(digits: &str, groups: &[usize]) -> bool {
    let d = digits.as_bytes();
    groups.len() == 1
        && match d.len() {
            9 => matches!(d[0], b'6' | b'9') || (d[0] == b'7' && matches!(d[1], b'1'..=b'4')),
            10 => d[0] == b'3' && d[1] <= b'5' || (d[0] == b'0' && matches!(d[1], b'6' | b'7')),
            11 => d[2] == b'9' && d[0] != b'0' && d[1] != b'0' && d[0] != b'2' || digits.starts_with("07"),
            _ => false,
        }
}

/// A country's code without its plus, and a number that is right for that country.
fn with_code(digits: &str) -> bool {
    let rest = |code: &str, length: usize, leads: &[u8]| {
        digits.strip_prefix(code).is_some_and(|rest| rest.len() == length && leads.contains(&rest.as_bytes()[0]))
    };
    rest("57", 10, b"36")
        || rest("52", 10, b"23456789")
        || rest("521", 10, b"23456789")
        || rest("549", 10, b"123")
        || rest("569", 8, b"3456789")
        || rest("519", 8, b"0123456789")
        || rest("34", 9, b"6789")
        || rest("351", 9, b"92")
        || rest("55", 11, b"123456789")
        || rest("33", 9, b"1234567")
        || rest("39", 10, b"3")
        || rest("1", 10, b"23456789") && digits.as_bytes()[4] > b'1'
}
