//! Section `namespaces`: which of them live in databases of their own.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::origin::{Effective, Problems};
use crate::address::Address;
use crate::error::Result;
use crate::workflow::check_name;

/// Where one namespace lives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// URL of its database.
    pub database_url: String,
    /// URL of the same database past a pooler; none means that `database_url` is direct itself.
    pub direct_url: Option<String>,
}

/// The section, which may be there and empty.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<BTreeMap<String, Namespace>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn check(namespaces: &BTreeMap<String, Namespace>, effective: &Effective) -> Result<()> {
    let mut problems = Problems::default();
    let mut direct: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (name, namespace) in namespaces {
        let mut misnamed = Vec::new();
        check_name("its name", name, 40, &mut misnamed);
        misnamed.iter().for_each(|problem| problems.of(effective, &format!("namespaces.{name}"), &problem.to_string()));
        let urls = [("database_url", Some(&namespace.database_url)), ("direct_url", namespace.direct_url.as_ref())];
        for (key, url) in urls.into_iter().filter_map(|(key, url)| Some((key, url?))) {
            if let Err(why) = Address::from_str(url) {
                problems.of(effective, &format!("namespaces.{name}.{key}"), &why.to_string());
            }
        }
        if let Some(url) = &namespace.direct_url {
            let (other, known) = *direct.entry(&namespace.database_url).or_insert((name, url));
            if known != url {
                let what = format!(
                    "namespaces.{other} and namespaces.{name} name the same database_url and different direct_urls"
                );
                problems.of(effective, &format!("namespaces.{name}.direct_url"), &what);
            }
        }
    }
    problems.result()
}
