//! Which keys are sensitive. A key is taken apart into words (`X-Api-Key`, `apiKey` and `api_key` are `api`, `key`),
//! and one word must be on the list, or mean the same as one that is: a plural, a synonym (`passwd`, `authorization`,
//! `creds`), or a longer word that ends with it (`PGPASSWORD`, `clientsecret`). So `monkey`, `keyboard`, `author` and
//! `tokenizer` are not sensitive.
//!
//! Two kinds of keys that have such a word tell nothing, and people look for them in the logs: keys that identify
//! (`idempotency_key`, `concurrency_key`, `primary_key`, `public_key`, …) and what is told *about* a secret
//! (`token_type`, `key_error`, `token_count`, `key_file`). Whoever thinks otherwise puts them on the list: an entry of
//! several words, such as `idempotency_key`, matches just those words in a row, and wins.

/// Words that mean the same as one on the list. The list has the words as their owner knows them.
const SYNONYMS: [(&str, &[&str]); 4] = [
    ("password", &["passwd", "passphrase", "passcode", "pwd"]),
    ("credential", &["cred", "creds"]),
    ("auth", &["oauth", "authorization", "authentication"]),
    ("cookie", &["cookies"]),
];
/// Written together with `key` they make a secret; `monkey` and `turkey` do not.
const BEFORE_KEY: [&str; 14] = [
    "access",
    "api",
    "app",
    "auth",
    "client",
    "encryption",
    "master",
    "private",
    "secret",
    "service",
    "shared",
    "signing",
    "ssh",
    "storage",
];
/// A key after one of these identifies something, and opens nothing.
const IDENTIFYING: [&str; 17] = [
    "cache",
    "candidate",
    "composite",
    "concurrency",
    "dedup",
    "deduplication",
    "foreign",
    "group",
    "idempotency",
    "partition",
    "primary",
    "public",
    "routing",
    "shard",
    "sort",
    "surrogate",
    "unique",
];
/// A key that ends with one of these tells something about a secret, and not the secret.
const ABOUT: [&str; 20] = [
    "at",
    "count",
    "directory",
    "endpoint",
    "error",
    "errors",
    "exception",
    "file",
    "length",
    "limit",
    "method",
    "mode",
    "name",
    "path",
    "size",
    "ttl",
    "type",
    "uri",
    "url",
    "version",
];
/// From this length on a longer word may end with the word: `PGPASSWORD`. Few words end with `token` by chance.
const SPEAKS_FOR_ITSELF: usize = 5;

/// The list, made ready.
pub(super) struct Keys {
    entries: Vec<Entry>,
}

struct Entry {
    words: Vec<String>,
    synonyms: &'static [&'static str],
}

impl Keys {
    pub(super) fn new(names: &[String]) -> Self {
        let entries = names.iter().map(|name| words(name)).filter(|words| !words.is_empty()).map(|words| {
            let known = SYNONYMS.iter().find(|(word, _)| words.len() == 1 && words[0] == *word);
            Entry { words, synonyms: known.map_or(&[], |(_, synonyms)| synonyms) }
        });
        Self { entries: entries.collect() }
    }

    /// Texts of which a sensitive key has at least one, whatever its case.
    pub(super) fn roots(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().flat_map(|entry| {
            let longest = entry.words.iter().max_by_key(|word| word.len()).map(String::as_str);
            longest.into_iter().chain(entry.synonyms.iter().copied())
        })
    }

    pub(super) fn is_sensitive(&self, key: &str) -> bool {
        let words = words(key);
        if self.entries.iter().any(|entry| entry.is_in_a_row(&words)) {
            return true;
        }
        if words.last().is_some_and(|last| words.len() > 1 && ABOUT.contains(&last.as_str())) {
            return false;
        }
        let named = (0..words.len()).any(|place| {
            let before = place.checked_sub(1).and_then(|before| words.get(before));
            self.entries.iter().any(|entry| entry.is(&words[place], before.map(String::as_str)))
        });
        // APIkey, PassWord: humps in odd places.
        named || key.split(|c: char| !c.is_alphanumeric()).any(|part| self.is_compound(part))
    }

    fn is_compound(&self, part: &str) -> bool {
        let lower = part.to_lowercase();
        self.entries.iter().any(|entry| entry.words.len() == 1 && entry.ends(&lower))
    }
}

impl Entry {
    fn is(&self, word: &str, before: Option<&str>) -> bool {
        let [own] = self.words.as_slice() else { return false };
        if singular(word) == own || word == own {
            return own != "key" || !before.is_some_and(|before| IDENTIFYING.contains(&before));
        }
        self.synonyms.contains(&word) || self.ends(word)
    }

    /// Whether a longer word ends with this one.
    fn ends(&self, word: &str) -> bool {
        let own = self.words[0].as_str();
        match singular(word).strip_suffix(own).or_else(|| word.strip_suffix(own)) {
            None | Some("") => false,
            Some(before) => own.len() >= SPEAKS_FOR_ITSELF || (own == "key" && BEFORE_KEY.contains(&before)),
        }
    }

    fn is_in_a_row(&self, words: &[String]) -> bool {
        self.words.len() > 1 && words.windows(self.words.len()).any(|row| row == self.words)
    }
}

fn singular(word: &str) -> &str {
    word.strip_suffix('s').unwrap_or(word)
}

/// The words of a key, in lower case: between other characters than letters, and at humps.
fn words(key: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before: Option<char> = None;
    let mut rest = key.chars().peekable();
    while let Some(c) = rest.next() {
        let hump = c.is_uppercase()
            && before.is_some_and(|before| {
                before.is_lowercase() || (before.is_uppercase() && rest.peek().is_some_and(|next| next.is_lowercase()))
            });
        if (hump || !c.is_alphabetic()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
