//! What PostgreSQL quotes of the data in its errors. The values of a failing row have no names, so all are hidden.

use std::ops::Range;

use super::keys::Keys;
use super::values;

/// Longest list of columns that is looked at.
const FARTHEST: usize = 1024;

/// `Failing row contains (1, null, …).`: to the parenthesis that closes, or to the end. Returns where that is.
pub(super) fn row(text: &str, start: usize, spans: &mut Vec<Range<usize>>) -> usize {
    let closes = text[start..].rfind(").").or_else(|| text[start..].rfind(')'));
    let end = closes.map_or(text.len(), |place| start + place);
    spans.push(start..end);
    end
}

/// `Key (tenant, api_key)=(1, …) already exists.`, whose `)=(` is here: all values, to the last parenthesis of the line,
/// if one of the columns is sensitive. Returns the end of what is hidden.
pub(super) fn key(keys: &Keys, text: &str, place: usize, spans: &mut Vec<Range<usize>>) -> usize {
    let mut farthest = place.saturating_sub(FARTHEST);
    while !text.is_char_boundary(farthest) {
        farthest += 1;
    }
    let before = &text[farthest..place];
    let columns = match before.rfind("Key (") {
        Some(key) => &before[key + "Key (".len()..],
        None => before.rsplit('(').next().unwrap_or(before),
    };
    if !columns.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-')).any(|column| keys.is_sensitive(column))
    {
        return 0;
    }
    let opened = place + ")=(".len();
    let line = text[opened..].find('\n').map_or(text.len(), |end| opened + end);
    spans.push(opened..text[opened..line].rfind(')').map_or(line, |end| opened + end));
    line
}

/// `parameters: $1 = 'a', $2 = 'b'`.
pub(super) fn parameters(text: &str, mut place: usize, spans: &mut Vec<Range<usize>>) {
    while text[place..].starts_with('$') {
        let after = text[place + 1..].trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(literal) = after.strip_prefix(" = '") else { return };
        let value = values::quoted(text.as_bytes(), text.len() - literal.len(), b'\'', 0);
        place = (value.end + 1).min(text.len());
        place = text.len() - text[place..].trim_start_matches([',', ' ']).len();
        spans.push(value);
    }
}
