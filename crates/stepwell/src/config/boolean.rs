//! Booleans as people write them, and nothing else: a number is none but 1 and 0.

use serde::de::{Deserializer, Error, Visitor};

const EXPECTED: &str = "true or false (also yes or no, on or off)";

pub(super) fn deserialize_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    struct Boolean;
    impl<'de> Visitor<'de> for Boolean {
        type Value = Option<bool>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(EXPECTED)
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
        fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
            Ok(Some(value))
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
            self.visit_str(&number.to_string())
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            match text.trim().to_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Some(true)),
                "false" | "no" | "off" | "0" => Ok(Some(false)),
                _ => Err(E::custom(format!("must be {EXPECTED}"))),
            }
        }
    }
    deserializer.deserialize_any(Boolean)
}
