//! No secret stands in a log line, a stored error, a status or a dump of settings: what looks like one is replaced by
//! [`MASK`], everything else stays as it is. The one implementation; Ruby uses it through the extension.
//!
//! | found | hidden |
//! |---|---|
//! | a URL with credentials, anywhere, also with odd characters in the password | the password |
//! | `Bearer …`, `Basic …` | the credentials |
//! | a PEM block, also cut or with escaped line ends | all of it |
//! | a card number: a brand's prefix and length, and Luhn's sum | all of it |
//! | a sensitive key with its value: `k=v`, `k: v`, `"k": "v"`, `k => v`, `<k>v</k>`, `--k v`, SQL's `k 'v'` | the value |
//! | PostgreSQL's failing rows, keys and parameters | the values, of keys only where a column is sensitive |
//!
//! Which keys are sensitive is told in `keys`; the list can be configured (`masking.keys`). Text without anything to
//! hide is looked at once and returned as it is, without an allocation; hostile text takes linear time.

mod card;
mod credentials;
mod json;
mod keys;
mod pairs;
mod postgres;
mod url;
mod values;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{LazyLock, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use keys::Keys;

use crate::address;

/// What stands where a secret was.
pub const MASK: &str = "***";

/// The keys that are sensitive unless the settings say otherwise.
pub const SENSITIVE_KEYS: [&str; 7] = ["password", "secret", "token", "key", "credential", "auth", "cookie"];

static MASKER: LazyLock<RwLock<Masker>> =
    LazyLock::new(|| RwLock::new(Masker::new(&SENSITIVE_KEYS.map(str::to_owned))));

/// The text without what looks like a secret; the very same text when there is none.
pub fn mask_text(text: &str) -> Cow<'_, str> {
    masker(|masker| masker.text(text))
}

/// The value of a field, hidden when its key is sensitive, otherwise as [`mask_text`] leaves it. A value that says only
/// that there is none (`null`, `nil`, `false`) is kept.
pub fn mask_field<'v>(key: &str, value: &'v str) -> Cow<'v, str> {
    masker(|masker| match masker.is_sensitive(key) {
        true if values::is_secret(value) => Cow::Borrowed(MASK),
        true => Cow::Borrowed(value),
        false => masker.text(value),
    })
}

/// JSON text with the values of sensitive keys hidden, at any depth, and all other texts as [`mask_text`] leaves them.
/// Order, numbers and whitespace stay exactly as they are. What is no JSON is masked as text.
pub fn mask_json(json: &str) -> Cow<'_, str> {
    masker(|masker| json::mask(masker, json))
}

/// A database URL without its credentials: `postgres://app:***@db/shop`. The whole text is taken for the URL, so a
/// password may hold whatever it likes, also spaces.
pub fn mask_url(url: &str) -> String {
    masker(|masker| masker.url(url).into_owned())
}

/// Whether the value of this key is hidden.
pub fn is_sensitive(key: &str) -> bool {
    masker(|masker| masker.is_sensitive(key))
}

/// Replaces the list of sensitive keys for this process; see `keys` for how they match.
pub fn set_sensitive_keys(keys: &[String]) {
    // A process that was forked while another thread wrote would wait here for ever; so only a change is written.
    if masker(|masker| masker.names != keys) {
        *MASKER.write().unwrap_or_else(PoisonError::into_inner) = Masker::new(keys);
    }
}

fn masker<T>(use_it: impl FnOnce(&Masker) -> T) -> T {
    use_it(&MASKER.read().unwrap_or_else(PoisonError::into_inner))
}

/// What a place in a text may be the sign of.
#[derive(Clone, Copy)]
enum Sign {
    Url,
    Bearer,
    Basic,
    Pem,
    Row,
    Columns,
    Parameters,
    Key,
}

const SIGNS: [(&str, Sign); 7] = [
    ("://", Sign::Url),
    ("bearer", Sign::Bearer),
    ("basic", Sign::Basic),
    ("-----begin", Sign::Pem),
    ("failing row contains (", Sign::Row),
    (")=(", Sign::Columns),
    ("parameters: $1", Sign::Parameters),
];

/// The list of sensitive keys, made ready.
struct Masker {
    names: Vec<String>,
    keys: Keys,
    /// Everything that a secret can be found by, except digits.
    signs: AhoCorasick,
}

impl Masker {
    fn new(names: &[String]) -> Self {
        let keys = Keys::new(names);
        let patterns = SIGNS.iter().map(|(text, _)| *text).chain(keys.roots());
        // Plain texts, of which a machine can always be built; without one only card numbers would be found.
        let signs = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns)
            .unwrap_or_else(|error| unreachable!("no automaton of {names:?}: {error}"));
        Self { names: names.to_vec(), keys, signs }
    }

    fn is_sensitive(&self, key: &str) -> bool {
        // Most keys hold none of the roots and are done here, without being taken apart.
        self.signs.is_match(key) && self.keys.is_sensitive(key)
    }

    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        replace(text, self.find(text))
    }

    fn url<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans = self.find(text);
        // Whatever the list of sensitive keys is.
        spans.extend(address::secrets(text));
        if let Some(colon) = text.find("://") {
            url::Urls::default().whole(text, colon, &mut spans);
        }
        replace(text, spans)
    }

    /// Where the secrets are. Each finder goes from left to right and never over the same text twice.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let mut urls = url::Urls::default();
        let mut pairs = pairs::Pairs::new(&self.keys);
        // Up to where each of these has hidden the text.
        let (mut token, mut block, mut line) = (0, 0, 0);
        for found in self.signs.find_iter(text) {
            let (start, end) = (found.start(), found.end());
            match SIGNS.get(found.pattern().as_usize()).map_or(Sign::Key, |(_, sign)| *sign) {
                Sign::Url => urls.at(text, start, &mut spans),
                Sign::Bearer if start >= token => token = credentials::bearer(text, start, end, &mut spans),
                Sign::Basic if start >= token => token = credentials::basic(text, start, end, &mut spans),
                Sign::Pem if start >= block => block = credentials::pem(text, start, &mut spans),
                Sign::Row if start >= block => block = postgres::row(text, end, &mut spans),
                // In a secret it is none: what comes after that would be hidden to the end of the line.
                Sign::Columns if start >= line && !spans.iter().any(|span| span.contains(&start)) => {
                    line = postgres::key(&self.keys, text, start, &mut spans);
                }
                Sign::Bearer | Sign::Basic | Sign::Pem | Sign::Row | Sign::Columns => {}
                Sign::Parameters => postgres::parameters(text, end - "$1".len(), &mut spans),
                Sign::Key => pairs.at(text, start, end, &mut spans),
            }
        }
        card::find(text, &mut spans);
        spans
    }
}

fn replace(text: &str, mut spans: Vec<Range<usize>>) -> Cow<'_, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_by_key(|span| (span.start, span.end));
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            masked.push_str(&text[done..span.start]);
            masked.push_str(MASK);
        }
        done = done.max(span.end);
    }
    masked.push_str(&text[done..]);
    Cow::Owned(masked)
}

#[cfg(test)]
mod tests;
