//! Card numbers: 13 to 19 digits with a brand's prefix and length, in groups or not, that pass Luhn's sum. Numbers such
//! as times in milliseconds and ids have no brand's prefix, or are inside a word, a decimal or a UUID.

use std::ops::Range;

const SHORTEST: usize = 13;
const LONGEST: usize = 19;
/// Digits in the shortest group of a number that is written in groups; its last may be shorter.
const GROUP: usize = 3;

pub(super) fn find(text: &str, spans: &mut Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut place = 0;
    while let Some(start) = bytes[place..].iter().position(u8::is_ascii_digit).map(|found| place + found) {
        let end = group_end(bytes, start);
        place = end;
        if !stands_alone(bytes, start) {
            continue;
        }
        if let Some(end) = card(bytes, start, end) {
            spans.push(start..end);
            place = end;
        }
    }
}

/// The end of the longest card number that starts with this group.
fn card(bytes: &[u8], start: usize, mut end: usize) -> Option<usize> {
    let mut digits = [0u8; LONGEST];
    let mut count = 0;
    let mut from = start;
    let mut found = None;
    while count + (end - from) <= LONGEST {
        for byte in &bytes[from..end] {
            digits[count] = byte - b'0';
            count += 1;
        }
        if count >= SHORTEST && ends_alone(bytes, end) && is_card(&digits[..count]) && !in_uuid(bytes, start) {
            found = Some(end);
        }
        let grouped = end - from >= GROUP
            && matches!(bytes.get(end), Some(b' ' | b'-'))
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !grouped {
            break;
        }
        from = end + 1;
        end = group_end(bytes, from);
    }
    found
}

fn group_end(bytes: &[u8], start: usize) -> usize {
    start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn stands_alone(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map(|place| bytes[place]);
    match before(1) {
        Some(byte) if byte.is_ascii_alphanumeric() => false,
        Some(b'.') => !before(2).is_some_and(|byte| byte.is_ascii_digit()),
        _ => true,
    }
}

fn ends_alone(bytes: &[u8], end: usize) -> bool {
    match bytes.get(end) {
        Some(byte) if byte.is_ascii_alphanumeric() => false,
        Some(b'.') => !bytes.get(end + 1).is_some_and(u8::is_ascii_digit),
        _ => true,
    }
}

fn is_card(digits: &[u8]) -> bool {
    has_brand(digits) && luhn(digits)
}

fn has_brand(digits: &[u8]) -> bool {
    let first = |count: usize| digits[..count].iter().fold(0u32, |number, digit| number * 10 + u32::from(*digit));
    match digits.len() {
        13 => first(1) == 4,
        14 => matches!(first(3), 300..=305 | 309) || matches!(first(2), 36 | 38 | 39),
        15 => matches!(first(2), 34 | 37),
        16 => {
            first(1) == 4
                || matches!(first(2), 51..=55 | 62 | 65)
                || matches!(first(3), 644..=649)
                || matches!(first(4), 2200..=2204 | 2221..=2720 | 3528..=3589 | 6011 | 6304 | 6759..=6763)
        }
        _ => {
            matches!(first(2), 50 | 56..=58 | 62 | 65 | 67)
                || matches!(first(4), 6011)
                || (digits.len() == 19 && first(1) == 4)
        }
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(*digit);
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, double) if double > 9 => double - 9,
                (_, double) => double,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the place is inside xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx.
fn in_uuid(bytes: &[u8], place: usize) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut offset = 0;
    GROUPS.iter().any(|length| {
        let start = place.checked_sub(offset);
        offset += length + 1;
        start.and_then(|start| bytes.get(start..start + 36)).is_some_and(|candidate| {
            candidate.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        })
    })
}
