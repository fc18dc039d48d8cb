//! Where a database is, in every form that libpq knows: `postgres://…` and `host=… dbname=…`. The driver knows fewer, so
//! each form becomes the one that it reads; what it cannot do is refused by its name.
//!
//! | module | what it reads |
//! |---|---|
//! | `uri` | `postgres://user:password@host:port/database?key=value` |
//! | `keywords` | `host=… port=… dbname=…` |
//! | `parameters` | what each key may say |

mod keywords;
mod parameters;
mod uri;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

/// What a URL looks like.
const EXAMPLE: &str = "postgres://user@host:5432/database";

/// A database's place, ready for the driver.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    /// `connect_timeout` of the address itself.
    pub(crate) connect_timeout: Option<Duration>,
    /// Whether it names an application.
    pub(crate) named: bool,
}

/// A key with its value, as both forms have them, in order.
type Pairs = Vec<(String, String)>;

/// Why a text is no address. It quotes nothing that can be secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(String);

impl Refused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let text = text.trim();
        let pairs = match uri::rest(text) {
            Some(rest) => uri::pairs(rest)?,
            None if has_scheme(text) => return Err(other_scheme(text)),
            None if text.contains('=') => keywords::pairs(text)?,
            None => return Err(Refused::new(format!("is no PostgreSQL URL such as {EXAMPLE}"))),
        };
        parameters::address(pairs)
    }
}

/// Where the passwords of an address stand in it, whatever else it holds.
pub(crate) fn secrets(text: &str) -> Vec<Range<usize>> {
    match uri::rest(text.trim()) {
        Some(_) => uri::secrets(text),
        None if !has_scheme(text) => keywords::secrets(text),
        None => Vec::new(),
    }
}

/// Whether the value of this key must not be shown.
fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "sslpassword" | "oauth_client_secret" | "scram_client_key" | "scram_server_key")
}

/// `word:` or `word://` before anything else.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split([':', '=', '/', ' ']).next().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    !scheme.is_empty() && scheme.chars().all(good) && (text.contains("://") && text[scheme.len()..].starts_with(':'))
}

fn other_scheme(text: &str) -> Refused {
    let scheme: String = text.split(':').next().unwrap_or_default().chars().take(40).collect();
    let hint = match scheme.to_ascii_lowercase().as_str() {
        "jdbc" => "; take jdbc: away, and write user and password before the host".to_owned(),
        known if known.starts_with("postgres") || matches!(known, "postgis" | "psql" | "pg" | "pgsql") => {
            format!("; write postgres:// instead of {scheme}://")
        }
        _ => String::new(),
    };
    Refused::new(format!("is no PostgreSQL URL such as {EXAMPLE}, but one of {scheme}{hint}"))
}

#[cfg(test)]
mod tests;
