//! Section `metrics`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::Deserialize;

use super::origin::{Effective, Origin, Problems};
use super::{duration, Database};

/// Section `metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where `stepwell serve` answers HTTP; none: it does not.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// How long after its last turn that succeeded, and its interval, a loop is late: the process is not ready.
    #[serde(deserialize_with = "duration::deserialize")]
    pub late_after: Duration,
    /// How long after its last turn, and its interval, a loop hangs: the process is to be restarted.
    #[serde(deserialize_with = "duration::deserialize")]
    pub hung_after: Duration,
}

/// Longest that a loop waits after a failure before its next turn.
const BACKOFF: Duration = Duration::from_secs(5);

/// What a turn takes at most while the database is away.
fn longest_turn(database: &Database) -> Duration {
    database.connect_timeout + database.call_timeout + BACKOFF
}

/// The default holds for the defaults of the database; whoever sets longer ones there need not know of this one.
pub(super) fn stretch(metrics: &mut Metrics, database: &Database, effective: &Effective) {
    if effective.get("metrics.hung_after").is_some_and(|setting| setting.origin == Origin::Default) {
        metrics.hung_after = metrics.hung_after.max(longest_turn(database));
    }
}

/// A loop that only waits for a database that is away must not count as hanging.
pub(super) fn check(metrics: &Metrics, database: &Database, effective: &Effective, problems: &mut Problems) {
    let turn = longest_turn(database);
    if metrics.hung_after < turn {
        let (turn, backoff) = (humantime::format_duration(turn), humantime::format_duration(BACKOFF));
        let what = "what a turn takes at most while the database is away";
        let sum = format!("database.connect_timeout + database.call_timeout + {backoff}");
        problems.of(effective, "metrics.hung_after", &format!("must be at least {turn}, {what} ({sum})"));
    }
}

/// Reads `9464`, which is on this machine alone, or `0.0.0.0:9464`.
///
/// # Errors
/// A text that says what is allowed.
pub fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let named = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    named.map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()).or_else(|| text.parse().ok()).ok_or_else(|| {
        format!("{text:?} is no place to listen: give a port, which is on this machine alone, or ADDRESS:PORT")
    })
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Port(u16),
        Text(String),
    }
    match Option::<Given>::deserialize(deserializer)? {
        Some(Given::Port(port)) => Ok(Some((Ipv4Addr::LOCALHOST, port).into())),
        Some(Given::Text(text)) => parse_listen(&text).map(Some).map_err(D::Error::custom),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn what_cannot_be_is_named() {
        for (section, expected) in [
            (r#"{"hung_after": "39s"}"#, "must be at least 40s"),
            (r#"{"listen": "somewhere"}"#, "ADDRESS:PORT"),
            (r#"{"listen": 70000}"#, "metrics.listen"),
        ] {
            let error =
                Config::load_with(Some("test"), &format!(r#"{{"metrics": {section}}}"#)).unwrap_err().to_string();
            assert!(error.contains(expected), "{section}: {error}");
        }
        let config = Config::load_with(Some("test"), r#"{"metrics": {"listen": 9464}}"#).unwrap();
        assert_eq!(config.metrics.listen.unwrap().to_string(), "127.0.0.1:9464");
        assert_eq!(config.metrics.hung_after, Duration::from_secs(120));
        let patient = Config::load_with(Some("test"), r#"{"database": {"connect_timeout": "10m"}}"#).unwrap();
        assert_eq!(patient.metrics.hung_after, Duration::from_secs(635));
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        for (text, expected) in [
            ("9464", "127.0.0.1:9464"),
            ("localhost:80", "127.0.0.1:80"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(parse_listen(text).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "host", "70000", "0.0.0.0", ":9464"] {
            assert!(parse_listen(text).unwrap_err().contains("ADDRESS:PORT"), "{text}");
        }
    }
}
