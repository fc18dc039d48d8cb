//! Credentials in URLs. A password that nobody encoded may hold any character, so the *last* `@` of the URL ends it: a
//! piece of the path too many is hidden rather than a piece of the password shown.

use std::ops::Range;

/// How far a password with spaces in it is followed.
const FARTHEST: usize = 256;

/// What is known of the text from an earlier URL in it, so that a text full of them is not read again and again.
#[derive(Default)]
pub(super) struct Urls {
    /// Where masking went to.
    done: usize,
    /// The next white space after a place.
    white: Option<(usize, usize)>,
    /// The next closing quote of a kind, behind so many backslashes, after a place.
    closers: Vec<((u8, usize), usize, usize)>,
    /// The last `@` before a place.
    last_at: Option<(usize, Option<usize>)>,
}

impl Urls {
    /// Masks the URL whose `://` is here.
    pub(super) fn at(&mut self, text: &str, colon: usize, spans: &mut Vec<Range<usize>>) {
        let scheme = scheme(text, colon);
        let start = colon + "://".len();
        let end = self.end(text, start, colon - scheme.len());
        self.mask(text, scheme, start, end, spans);
    }

    /// The same, with everything to the end of the text as the URL.
    pub(super) fn whole(&mut self, text: &str, colon: usize, spans: &mut Vec<Range<usize>>) {
        self.mask(text, scheme(text, colon), colon + "://".len(), text.len(), spans);
    }

    fn mask(&mut self, text: &str, scheme: &str, start: usize, end: usize, spans: &mut Vec<Range<usize>>) {
        if start < self.done || start >= end {
            return;
        }
        let http = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let at = self.last_at(text, start, end);
        let special = text[start..end].bytes().position(|byte| b":/?#".contains(&byte)).map(|place| start + place);
        let colon = special.filter(|place| text.as_bytes()[*place] == b':' && text.as_bytes()[start] != b'[');
        let hidden = match (colon, at) {
            (Some(colon), Some(at)) if colon < at => {
                // http://host:80/@name; of a database's URL nobody expects a path with an @.
                let port = http && matches!(after_digits(text, colon + 1), Some(b'/' | b'?' | b'#'));
                (!port).then_some(colon + 1..at)
            }
            (Some(colon), None) if after_digits(text, colon + 1).is_some_and(|next| next.is_ascii_alphanumeric()) => {
                password_with_spaces(text, colon + 1, end)
            }
            // https://TOKEN@host
            (_, Some(_)) if http => {
                let authority = &text[start..special.unwrap_or(end)];
                authority.rfind('@').map(|at| start..start + at)
            }
            _ => None,
        };
        if let Some(hidden) = hidden.filter(|hidden| !hidden.is_empty()) {
            self.done = hidden.end;
            spans.push(hidden);
        }
    }

    /// The end of a URL that starts here: white space, or the quote that closes what stands before it.
    fn end(&mut self, text: &str, start: usize, scheme: usize) -> usize {
        let white = match self.white {
            Some((from, white)) if from <= start && start <= white => white,
            _ => text[start..].find(char::is_whitespace).map_or(text.len(), |place| start + place),
        };
        self.white = Some((start, white));
        let bytes = text.as_bytes();
        let closer = match scheme.checked_sub(1).map(|opener| bytes[opener]) {
            Some(quote @ (b'"' | b'\'' | b'`')) => quote,
            Some(b'<') => b'>',
            Some(b'(') => b')',
            Some(b'[') => b']',
            Some(b'{') => b'}',
            _ => return white,
        };
        let kind = (closer, backslashes(bytes, scheme - 1));
        let known = self.closers.iter().position(|(of, from, at)| *of == kind && *from <= start && start <= *at);
        let at = known.map(|place| self.closers[place].2).unwrap_or_else(|| {
            // A quote inside a password is followed by more of the password, or has more backslashes before it.
            let closes = |place: &usize| {
                bytes[*place] == closer
                    && bytes
                        .get(place + 1)
                        .is_none_or(|next| next.is_ascii_whitespace() || b",;:)]}>.\"'`\\".contains(next))
                    && backslashes(bytes, *place) <= kind.1
            };
            let at = (start..bytes.len()).find(closes).unwrap_or(bytes.len());
            self.closers.retain(|(of, _, _)| *of != kind);
            self.closers.push((kind, start, at));
            at
        });
        white.min(at)
    }

    /// The last `@` between two places, the first of which only ever grows.
    fn last_at(&mut self, text: &str, start: usize, end: usize) -> Option<usize> {
        let at = match self.last_at {
            Some((known, at)) if known == end => at,
            _ => text[start..end].rfind('@').map(|place| start + place),
        };
        self.last_at = Some((end, at));
        at.filter(|at| *at >= start)
    }
}

fn scheme(text: &str, colon: usize) -> &str {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+.-".contains(byte);
    let length = text.as_bytes()[..colon].iter().rev().take(32).take_while(|byte| is_scheme(byte)).count();
    &text[colon - length..colon]
}

/// How many backslashes stand before a place, as far as it matters.
fn backslashes(bytes: &[u8], place: usize) -> usize {
    bytes[..place].iter().rev().take(8).take_while(|byte| **byte == b'\\').count()
}

/// What follows a port, if there is one here.
fn after_digits(text: &str, start: usize) -> Option<u8> {
    text.as_bytes()[start..].iter().copied().find(|byte| !byte.is_ascii_digit())
}

/// postgres://app:two words@db: the URL goes on after the white space.
fn password_with_spaces(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let mut farthest = (end + FARTHEST).min(text.len());
    while !text.is_char_boundary(farthest) {
        farthest -= 1;
    }
    let line = text[end..farthest].split(['\n', '\r']).next()?;
    if line.contains("://") {
        return None;
    }
    line.find('@').map(|at| start..end + at)
}
