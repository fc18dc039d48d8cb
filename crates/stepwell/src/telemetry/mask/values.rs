//! Where a value in a text ends: in quotes (also escaped ones, of JSON inside JSON), in brackets, or bare.

use std::ops::Range;

use super::MASK;

/// How far is looked for the next key, to see whether a comma ends a value or is in it.
const LONGEST_KEY: usize = 64;

/// Whether a value tells anything: not that there is none, and not that it is hidden already.
pub(super) fn is_secret(value: &str) -> bool {
    const NOTHING: [&str; 6] = ["null", "nil", "none", "true", "false", "undefined"];
    !value.is_empty() && value != MASK && !NOTHING.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// The value that starts here, without its quotes; with its brackets.
pub(super) fn value(text: &str, start: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    // b"…" of Python.
    let prefixed =
        matches!(bytes.get(start), Some(b'b' | b'r' | b'u')) && matches!(bytes.get(start + 1), Some(b'"' | b'\''));
    let opener = start + usize::from(prefixed);
    let escapes = bytes[opener.min(bytes.len())..].iter().take_while(|byte| **byte == b'\\').count();
    match bytes.get(opener + escapes) {
        Some(quote @ (b'"' | b'\'')) => quoted(bytes, opener + escapes + 1, *quote, escapes),
        Some(b'[' | b'{' | b'(') if escapes == 0 => group(bytes, opener),
        _ => bare(text, start),
    }
}

/// Up to the quote that closes, or to the end of the text where that was cut off. `escapes` backslashes stood before
/// the quote that opened.
pub(super) fn quoted(bytes: &[u8], start: usize, quote: u8, escapes: usize) -> Range<usize> {
    let mut backslashes = 0;
    let mut place = start;
    while let Some(byte) = bytes.get(place) {
        if *byte == quote {
            let doubled = quote == b'\'' && escapes == 0 && bytes.get(place + 1) == Some(&quote);
            if doubled {
                place += 1;
            } else if closes(backslashes, escapes) {
                return start..place - backslashes.min(escapes).min(place - start);
            }
        }
        backslashes = if *byte == b'\\' { backslashes + 1 } else { 0 };
        place += 1;
    }
    start..bytes.len()
}

/// Whether a quote after so many backslashes closes what one after `escapes` of them opened.
fn closes(mut backslashes: usize, mut escapes: usize) -> bool {
    while escapes > 0 {
        if backslashes.is_multiple_of(2) {
            return true; // closes a text further out
        }
        backslashes = (backslashes - 1) / 2;
        escapes = (escapes - 1) / 2;
    }
    backslashes.is_multiple_of(2)
}

/// Up to the bracket that closes, or to the end of the text.
pub(super) fn group(bytes: &[u8], start: usize) -> Range<usize> {
    let mut depth = 0usize;
    let mut place = start;
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'"' => place = quoted(bytes, place + 1, b'"', 0).end,
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth -= 1,
            _ => {}
        }
        place += 1;
        if depth == 0 {
            return start..place;
        }
    }
    start..bytes.len()
}

/// Up to white space, or to a sign that closes or separates, if what follows it looks like the end of a value.
fn bare(text: &str, start: usize) -> Range<usize> {
    let end = text[start..].char_indices().find(|(place, c)| {
        let after = start + place + c.len_utf8();
        match c {
            ',' | ';' | '&' => ends_value(text, after) || starts_pair(text, after),
            '#' => starts_pair(text, after),
            '"' | '\'' | '`' | ')' | ']' | '}' | '>' => ends_value(text, after),
            '<' => text[after..].starts_with('/'),
            '%' => text[after..].starts_with("26"),
            c => c.is_whitespace(),
        }
    });
    start..end.map_or(text.len(), |(place, _)| start + place)
}

fn ends_value(text: &str, place: usize) -> bool {
    text[place..].chars().next().is_none_or(|next| next.is_whitespace() || "\"'`)]}>,;".contains(next))
}

fn starts_pair(text: &str, place: usize) -> bool {
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.[]\"'%:".contains(byte);
    let key = text.as_bytes()[place..].iter().take(LONGEST_KEY).take_while(|byte| is_key(byte)).count();
    key > 0 && (text.as_bytes().get(place + key) == Some(&b'=') || text[place..place + key].contains(':'))
}
