//! Sensitive keys with their values, in whatever notation: `k=v`, `k: v`, `"k": "v"`, `:k => "v"`, `<k>v</k>`, `--k v`,
//! SQL's `k 'v'`, a form's or a query's `k=v&…`, an HTTP header's line.

use std::ops::Range;

use super::keys::Keys;
use super::values;

/// Ends of names that are files: `auth/token.rb:12` is a place in a program, not a value.
const SOURCES: [&str; 14] =
    [".c", ".cpp", ".erb", ".ex", ".go", ".h", ".java", ".js", ".py", ".rb", ".rs", ".sql", ".ts", ".yml"];

/// Goes over the places in a text where the root of a sensitive key stands.
pub(super) struct Pairs<'k> {
    keys: &'k Keys,
    /// Where it has got to.
    done: usize,
}

/// What stands between a key and its value.
#[derive(Clone, Copy, PartialEq)]
enum Separator {
    Equals,
    Colon,
    /// White space: an option's or an SQL literal's.
    White,
    /// The end of an opening tag.
    Tag,
}

impl<'k> Pairs<'k> {
    pub(super) fn new(keys: &'k Keys) -> Self {
        Self { keys, done: 0 }
    }

    /// Masks the value of the key that has its root here.
    pub(super) fn at(&mut self, text: &str, start: usize, end: usize, spans: &mut Vec<Range<usize>>) {
        if start < self.done {
            return;
        }
        let known = &text[self.done..start];
        let before = known.chars().rev().take_while(|c| is_of_key(*c)).map(char::len_utf8).sum::<usize>();
        let after = text[end..].chars().take_while(|c| is_of_key(*c)).map(char::len_utf8).sum::<usize>();
        let key = start - before..end + after;
        self.done = key.end;
        if !self.keys.is_sensitive(&text[key.clone()]) {
            return;
        }
        let Some((separator, place)) = separator(text, &key) else { return };
        let value = match separator {
            Separator::Tag => place..text[place..].find('<').map_or(text.len(), |end| place + end),
            _ => header(text, &text[key.clone()], separator, place).unwrap_or_else(|| values::value(text, place)),
        };
        self.done = self.done.max(value.end);
        if values::is_secret(&text[value.clone()]) {
            spans.push(value);
        }
    }
}

fn is_of_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// What separates the key from its value, and where that starts.
fn separator(text: &str, key: &Range<usize>) -> Option<(Separator, usize)> {
    let name = text[key.clone()].to_ascii_lowercase();
    if text[..key.start].ends_with("::") || SOURCES.iter().any(|end| name.ends_with(end)) {
        return None; // a constant of Ruby or Rust; a file
    }
    let after = &text[key.end..];
    if after.starts_with('>') && text[..key.start].ends_with('<') {
        return Some((Separator::Tag, key.end + 1));
    }
    let closed = after.trim_start_matches(['\\', '"', '\'', '`', ']', ')']);
    let spaced = closed.trim_start_matches([' ', '\t']);
    let (separator, rest) = if let Some(rest) = spaced.strip_prefix("=>").or_else(|| spaced.strip_prefix(":=")) {
        (Separator::Equals, rest)
    } else if closed.starts_with("=(") && closed.len() < after.len() {
        return None; // columns of PostgreSQL
    } else if spaced.starts_with('=') {
        (Separator::Equals, spaced.trim_start_matches('='))
    } else if let Some(rest) = spaced.strip_prefix("%3D").or_else(|| spaced.strip_prefix("%3d")) {
        (Separator::Equals, rest)
    } else if let Some(rest) = spaced.strip_prefix(':') {
        if rest.starts_with(':') || (name.contains('.') && rest.starts_with(|c: char| c.is_ascii_digit())) {
            return None; // Auth::Token, key.x:12
        }
        (Separator::Colon, rest)
    } else if spaced.len() < after.len() && closed.len() == after.len() && stands_before(&name, spaced) {
        (Separator::White, spaced)
    } else {
        return None;
    };
    let value = after_white(rest);
    let white = &rest[..rest.len() - value.len()];
    // On the next line only what is written as a value is one.
    let here = !white.contains(['\r', '\n', '\\']) || value.starts_with(['"', '\'', '\\', '[', '{']);
    (!value.is_empty() && here).then_some((separator, text.len() - value.len()))
}

/// Without the white space in front, also where it is escaped, as in JSON inside JSON.
fn after_white(text: &str) -> &str {
    let mut text = text.trim_start();
    while let Some(rest) = text.trim_start_matches('\\').strip_prefix(['n', 'r', 't']) {
        if !text.starts_with('\\') {
            break;
        }
        text = rest.trim_start();
    }
    text
}

/// Whether this name and its value can have nothing but white space between them.
fn stands_before(name: &str, value: &str) -> bool {
    match name.strip_prefix("--") {
        Some(_) => !value.starts_with('-'),
        None => name.ends_with("password") && value.starts_with('\''),
    }
}

/// The value of a header that has several words.
fn header(text: &str, key: &str, separator: Separator, start: usize) -> Option<Range<usize>> {
    let key = key.to_ascii_lowercase();
    let value = &text[start..];
    if value.starts_with(['"', '\'', '\\', '[', '{', '(']) {
        return None;
    }
    if key.ends_with("cookie") {
        let mut end = values::value(text, start).end;
        // a=1; b=2
        while let Some(rest) = text[end..].strip_prefix("; ") {
            end = values::value(text, text.len() - rest.len()).end;
        }
        return Some(start..end);
    }
    if !key.ends_with("authorization") || separator != Separator::Colon {
        return None;
    }
    let line = value.split(['\r', '\n']).next().unwrap_or(value);
    let mut words = line.split(' ');
    let scheme = words.next()?;
    let one_word =
        ["bearer", "basic", "token", "apikey", "negotiate"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let length = match words.next() {
        Some(credentials) if one_word => scheme.len() + 1 + values::value(credentials, 0).end,
        _ => line.len(),
    };
    Some(start..start + length)
}
