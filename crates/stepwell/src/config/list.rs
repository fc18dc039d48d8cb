//! Lists of texts. A variable of the environment holds one as `a,b,c`.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;
    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list such as [a, b]")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(parts(text).collect())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = parts.next_element::<String>()? {
                texts.extend(part(&text));
            }
            Ok(texts)
        }
    }
    deserializer.deserialize_any(Texts)
}

/// Of `a,b,c`.
pub(super) fn parts(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(',').filter_map(part)
}

/// Without the blanks around it; none of blanks alone.
fn part(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|part| !part.is_empty())
}
