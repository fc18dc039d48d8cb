//! Durations with a unit.

use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

/// Reads `250ms`, `60s`, `5m`; says what is missing when the unit is.
///
/// # Errors
/// A text that says what is wrong with the value.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text} needs a unit, such as {text}s or {text}ms"));
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration such as 250ms, 60s or 5m: {error}"))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = Duration;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration with its unit, such as 250ms, 60s or 5m")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<Duration, E> {
            parse(&number.to_string()).map_err(E::custom)
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<Duration, E> {
            parse(&number.to_string()).map_err(E::custom)
        }
        fn visit_f64<E: Error>(self, number: f64) -> Result<Duration, E> {
            parse(&number.to_string()).map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Text)
}
