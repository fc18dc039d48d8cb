//! JSON text, masked as it stands: numbers, order and spaces are copied, never read and written again.

use std::borrow::Cow;

use super::{card, values, Masker, MASK};

pub(super) fn mask<'j>(masker: &Masker, json: &'j str) -> Cow<'j, str> {
    if serde_json::from_str::<&serde_json::value::RawValue>(json).is_err() {
        return masker.text(json);
    }
    let mut walk = Walk { masker, json, done: 0, masked: String::new() };
    walk.run();
    if walk.done == 0 {
        return Cow::Borrowed(json);
    }
    walk.masked.push_str(&json[walk.done..]);
    Cow::Owned(walk.masked)
}

struct Walk<'a> {
    masker: &'a Masker,
    /// Checked: every text in it is closed, every bracket has its other.
    json: &'a str,
    /// What is in `masked`.
    done: usize,
    masked: String,
}

impl Walk<'_> {
    fn run(&mut self) {
        let bytes = self.json.as_bytes();
        let mut place = 0;
        while let Some(byte) = bytes.get(place) {
            match byte {
                b'"' => place = self.text(place),
                b'-' | b'0'..=b'9' => place = self.number(place),
                _ => place += 1,
            }
        }
    }

    /// A text, and, where it is a sensitive key, its value. Returns the place after it.
    fn text(&mut self, start: usize) -> usize {
        let end = (values::quoted(self.json.as_bytes(), start + 1, b'"', 0).end + 1).min(self.json.len());
        let literal = &self.json[start..end];
        let text = decoded(literal);
        let after = self.json[end..].trim_start();
        let Some(value) = after.strip_prefix(':').filter(|_| self.masker.is_sensitive(&text)) else {
            if let Cow::Owned(masked) = self.masker.text(&text) {
                self.put(start, end, &quoted(&masked));
            }
            return end;
        };
        let start = self.json.len() - value.trim_start().len();
        let end = value_end(self.json.as_bytes(), start);
        let value = &self.json[start..end];
        if values::is_secret(value.trim_matches('"')) {
            self.put(start, end, &quoted(MASK));
        }
        end
    }

    fn number(&mut self, start: usize) -> usize {
        let end = value_end(self.json.as_bytes(), start);
        let mut cards = Vec::new();
        card::find(&self.json[start..end], &mut cards);
        if !cards.is_empty() {
            self.put(start, end, &quoted(MASK));
        }
        end
    }

    fn put(&mut self, start: usize, end: usize, instead: &str) {
        self.masked.push_str(&self.json[self.done..start]);
        self.masked.push_str(instead);
        self.done = end;
    }
}

/// The end of the value that starts here.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => (values::quoted(bytes, start + 1, b'"', 0).end + 1).min(bytes.len()),
        Some(b'[' | b'{') => values::group(bytes, start).end,
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
            start + bytes[start..].iter().position(ends).unwrap_or(bytes.len() - start)
        }
    }
}

fn decoded(literal: &str) -> Cow<'_, str> {
    if !literal.contains('\\') {
        return Cow::Borrowed(literal.trim_matches('"'));
    }
    // Half of a surrogate pair is JSON, and no text; then what stands there is looked at.
    serde_json::from_str(literal).map_or(Cow::Borrowed(literal), Cow::Owned)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
