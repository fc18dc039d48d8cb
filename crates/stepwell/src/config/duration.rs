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

/// A duration that must be there.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserialize_optional(deserializer)?
        .ok_or_else(|| D::Error::custom("must be a duration with its unit, such as 60s, and cannot be never"))
}

/// A duration, or nothing, or `never`.
pub(crate) fn deserialize_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Option<Duration>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a duration with its unit, such as 250ms, 60s or 5m")
        }
        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_any(self)
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            match text {
                "never" => Ok(None),
                _ => parse(text).map(Some).map_err(E::custom),
            }
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }
    }
    deserializer.deserialize_any(Text)
}
