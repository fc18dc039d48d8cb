//! `key = value` pairs: values may be quoted, and a backslash takes the next character as it is.

use std::ops::Range;

use super::{is_secret, Pairs, Refused};

pub(super) fn pairs(text: &str) -> Result<Pairs, Refused> {
    let mut pairs = Pairs::new();
    for token in Tokens::of(text) {
        let Token { key, value, .. } = token?;
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

/// Up to where the text can be read.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut secrets = Vec::new();
    for token in Tokens::of(text) {
        match token {
            Ok(token) if is_secret(token.key) && !token.place.is_empty() => secrets.push(token.place),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    secrets
}

struct Token<'t> {
    key: &'t str,
    value: String,
    /// Of the value, inside its quotes.
    place: Range<usize>,
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
    failed: bool,
}

impl<'t> Tokens<'t> {
    fn of(text: &'t str) -> Self {
        Self { text, at: 0, failed: false }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn token(&mut self) -> Result<Token<'t>, Refused> {
        let rest = self.rest();
        let length = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = &rest[..length];
        self.at += length;
        self.skip_blanks();
        if !self.rest().starts_with('=') {
            // Without its = a word may be the rest of a password with a blank in it.
            return Err(Refused::new("has a word without =; put quotes around values with blanks: password='a b'"));
        }
        self.at += 1;
        self.skip_blanks();
        let quoted = self.rest().starts_with('\'');
        self.at += usize::from(quoted);
        let start = self.at;
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        let end = loop {
            match characters.next() {
                Some((_, '\\')) => value.extend(characters.next().map(|(_, next)| next)),
                Some((place, '\'')) if quoted => break start + place,
                Some((place, blank)) if !quoted && blank.is_whitespace() => break start + place,
                Some((_, other)) => value.push(other),
                None if quoted => return Err(Refused::new(format!("has no closing quote after {key}="))),
                None => break self.text.len(),
            }
        };
        self.at = end + usize::from(quoted);
        Ok(Token { key, value, place: start..end })
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Result<Token<'t>, Refused>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blanks();
        if self.failed || self.rest().is_empty() {
            return None;
        }
        let token = self.token();
        self.failed = token.is_err();
        Some(token)
    }
}
