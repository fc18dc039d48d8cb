//! `Bearer` and `Basic` headers wherever they stand, and PEM blocks.

use std::ops::Range;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine;

/// Words that follow `Bearer` in prose.
const PROSE: [&str; 16] = [
    "and",
    "are",
    "auth",
    "authentication",
    "authorization",
    "credential",
    "credentials",
    "for",
    "header",
    "is",
    "of",
    "or",
    "scheme",
    "token",
    "tokens",
    "was",
];
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Longest user and password, in bytes of base64.
const LONGEST_BASIC: usize = 4096;

/// What follows `Bearer`, unless it is prose: in small letters it must look like a token.
/// Returns the end of what is hidden.
pub(super) fn bearer(text: &str, start: usize, end: usize, spans: &mut Vec<Range<usize>>) -> usize {
    let Some(token) = credentials(text, start, end, usize::MAX) else { return 0 };
    let word = text[token.clone()].trim_end_matches('.');
    let prose = match text.as_bytes()[start] {
        b'B' => PROSE.iter().any(|prose| word.eq_ignore_ascii_case(prose)),
        _ => !looks_random(word),
    };
    if prose || word.is_empty() {
        return 0;
    }
    spans.push(token.start..token.start + word.len());
    token.end
}

/// What follows `Basic`, if it is a user and a password. Returns the end of what is hidden.
pub(super) fn basic(text: &str, start: usize, end: usize, spans: &mut Vec<Range<usize>>) -> usize {
    let Some(token) = credentials(text, start, end, LONGEST_BASIC) else { return 0 };
    let encoded = text[token.clone()].trim_end_matches('.');
    let decoded = BASE64.decode(encoded).or_else(|_| URL_SAFE.decode(encoded));
    let is_login = |bytes: Vec<u8>| {
        bytes.contains(&b':') && String::from_utf8(bytes).is_ok_and(|login| !login.chars().any(char::is_control))
    };
    if !decoded.is_ok_and(is_login) {
        return 0;
    }
    spans.push(token.start..token.start + encoded.len());
    token.end
}

/// All from here to the block's end, or, where that was cut off, to the end of the text. Returns where that is.
pub(super) fn pem(text: &str, start: usize, spans: &mut Vec<Range<usize>>) -> usize {
    let label = start + "-----begin".len();
    let after = text[label..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
    if !after.starts_with("-----") {
        return 0; // in a line of dashes
    }
    let body = text.len() - after.len();
    let upper = ["-----END", "-----end"].iter().filter_map(|end| text[body..].find(end)).min();
    let end = match upper {
        None => text.len(),
        Some(place) => {
            let label = body + place + "-----end".len();
            let after = text[label..].trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == ' ');
            text.len() - after.strip_prefix("-----").unwrap_or(after).len()
        }
    };
    spans.push(start..end);
    end
}

/// The word of a token's characters after a scheme that stands alone.
fn credentials(text: &str, start: usize, end: usize, longest: usize) -> Option<Range<usize>> {
    if text[..start].bytes().next_back().is_some_and(|before| before.is_ascii_alphanumeric() || before == b'_') {
        return None;
    }
    let after = text[end..].trim_start_matches([' ', '\t', '+', ':', '=']);
    let after = after.strip_prefix("%20").unwrap_or(after);
    let start = text.len() - after.len();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=%:|!$&*#@^".contains(byte);
    let length = after.bytes().take(longest).take_while(|byte| is_token(byte)).count();
    (start > end && length > 0).then_some(start..start + length)
}

/// A digit, a capital inside or a sign that no word has.
fn looks_random(word: &str) -> bool {
    word.len() >= 4
        && (word.bytes().any(|byte| byte.is_ascii_digit() || b"_=+~%|".contains(&byte))
            || word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase())
            || word.len() > 24)
}
