//! The keys there are: those of `config/stepwell.yml`, which is built in. A key whose default is `{}` holds keys of the
//! user's own, as `namespaces` does.

use std::sync::LazyLock;

use super::duration;
use crate::yaml::{self, Node, Value};

pub(super) const DEFAULTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/stepwell.yml"));
pub(super) const ENVIRONMENTS: [(&str, &str); 3] = [
    ("test", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/test.yml"))),
    ("development", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/development.yml"))),
    ("production", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/environments/production.yml"))),
];
/// How alike a mistyped key and the meant one are, of 1.
const ALIKE: f64 = 0.85;

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let mut known = Vec::new();
    if let Ok(Some(defaults)) = yaml::parse(DEFAULTS) {
        flatten("", &defaults, &mut known); // a test reads them
    }
    known
});

/// A key, such as `worker.lease`.
pub(super) struct Known {
    pub(super) key: String,
    /// It holds keys of the user's own.
    pub(super) open: bool,
    pub(super) duration: bool,
    /// Its default is a list.
    pub(super) list: bool,
    /// Its default is a whole number.
    pub(super) whole: bool,
    /// It has a default that is not empty.
    pub(super) given: bool,
}

/// Every key in the order of `config/stepwell.yml`, such as `worker.lease`.
pub fn keys() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.key.as_str())
}

/// The key itself, or the one that a key of the user's own stands in.
pub(super) fn find(key: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.holds(key))
}

/// Where the key stands in `config/stepwell.yml`.
pub(super) fn position(key: &str) -> usize {
    KNOWN.iter().position(|known| known.holds(key)).unwrap_or(usize::MAX)
}

/// Whether there are keys in it.
pub(super) fn is_section(key: &str) -> bool {
    KNOWN.iter().any(|known| below(&known.key, key).is_some())
}

/// What may stand in a section; with an unknown one, the sections.
pub(super) fn allowed_beside(key: &str) -> String {
    let section = key.rsplit_once('.').map(|(section, _)| section).filter(|section| is_section(section));
    let mut names: Vec<&str> = Vec::new();
    for known in KNOWN.iter() {
        let rest = section.map_or(Some(known.key.as_str()), |section| below(&known.key, section));
        let name = rest.and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    match section {
        Some(section) => format!("allowed in {section} are {}", names.join(", ")),
        None => format!("the sections are {}", names.join(", ")),
    }
}

/// The key that was probably meant.
pub(super) fn near(key: &str) -> Option<&'static str> {
    let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let alike = |known: &str| match name(known) == name(key) {
        true => 0.9 + strsim::jaro_winkler(known, key) / 10.0,
        false => strsim::jaro_winkler(known, key),
    };
    let nearest = keys().map(|known| (alike(known), known)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (nearest.0 >= ALIKE).then_some(nearest.1)
}

impl Known {
    fn holds(&self, key: &str) -> bool {
        self.key == key || (self.open && below(key, &self.key).is_some())
    }
}

/// The rest of a key that stands in a section.
pub(super) fn below<'k>(key: &'k str, section: &str) -> Option<&'k str> {
    key.strip_prefix(section)?.strip_prefix('.')
}

fn flatten(key: &str, node: &Node, known: &mut Vec<Known>) {
    if !node.entries().is_empty() {
        for (name, node) in node.entries() {
            flatten(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, node, known);
        }
        return;
    }
    known.push(Known {
        key: key.to_owned(),
        open: node.is_map(),
        duration: node.as_str().is_some_and(|text| duration::parse(text).is_ok()),
        list: matches!(node.value, Value::List(_)),
        whole: matches!(&node.value, Value::Number(digits) if !digits.contains('.')),
        given: node.value != Value::Null && !node.is_map(),
    });
}
