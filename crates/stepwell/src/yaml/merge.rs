//! The merge key `<<` of YAML 1.1: a mapping, or a list of mappings, whose keys are taken over unless the mapping has
//! them itself; of a list the first that has a key decides.

use std::collections::HashSet;

use granit_parser::{Event, ScalarStyle};

use super::compose::at;
use super::{Node, Value};

pub(super) const KEY: &str = "<<";

/// Whether a key merges: written plainly, because a quoted one is a text like any other.
pub(super) fn is_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == KEY)
}

/// The entries with what is merged into them, where the merge key stood.
pub(super) fn apply(
    mut entries: Vec<(String, Node)>,
    merged: Option<(usize, Node)>,
) -> Result<Vec<(String, Node)>, String> {
    let Some((place, merged)) = merged else { return Ok(entries) };
    let line = merged.line;
    let refused = || at(line, "<< takes a mapping or a list of mappings, such as *defaults");
    let sources = match merged.value {
        Value::Map(source) => vec![source],
        Value::List(items) => items
            .into_iter()
            .map(|item| match item.value {
                Value::Map(source) => Ok(source),
                _ => Err(refused()),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(refused()),
    };
    let mut known: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
    let mut new = Vec::new();
    for (key, node) in sources.into_iter().flatten() {
        if known.insert(key.clone()) {
            new.push((key, node));
        }
    }
    entries.splice(place..place, new);
    Ok(entries)
}
