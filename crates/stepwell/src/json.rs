//! What JSON text of users may hold, beyond being JSON: what can be stored, and read again in every language.

/// How deep arrays and objects may stand in each other. `stepwell.is_too_deep` and Ruby have the same limit.
const DEEPEST: usize = 100;
/// What is wrong with a text that PostgreSQL cannot store.
const NUL: &str = "holds the character \\u0000, which PostgreSQL cannot store";

/// Why this JSON text is refused; none when it is not.
pub(crate) fn refusal(json: &str) -> Option<String> {
    if is_too_deep(json) {
        return Some(format!("is nested more than {DEEPEST} deep"));
    }
    holds_escaped_nul(json).then(|| NUL.to_owned())
}

/// Why this text, which is none of JSON, is refused; none when it is not.
pub(crate) fn refusal_of_text(text: &str) -> Option<&'static str> {
    text.contains('\0').then_some(NUL)
}

/// Whether a JSON text has an escaped NUL in a string: a `\u0000` whose backslash is not itself escaped.
fn holds_escaped_nul(json: &str) -> bool {
    json.match_indices("\\u0000")
        .any(|(at, _)| json.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0)
}

fn is_too_deep(json: &str) -> bool {
    let opens = |byte: &u8| matches!(byte, b'{' | b'[');
    if json.bytes().filter(opens).count() <= DEEPEST {
        return false; // what holds for nearly all of them takes no look at their strings
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_nul_characters_but_not_escaped_backslashes() {
        assert!(holds_escaped_nul(r#"{"a":"x\u0000y"}"#));
        assert!(holds_escaped_nul(r#"{"a":"x\\\u0000y"}"#));
        assert!(!holds_escaped_nul(r#"{"a":"x\\u0000y"}"#));
        assert!(!holds_escaped_nul(r#"{"a":"u0000"}"#));
    }

    #[test]
    fn counts_what_stands_in_each_other_and_no_brackets_of_strings() {
        let nested = |depth: usize| format!(r#"{}"a\"[{{"{}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refusal(&nested(DEEPEST)), None);
        assert_eq!(refusal(&nested(DEEPEST + 1)).as_deref(), Some("is nested more than 100 deep"));
        assert_eq!(refusal(&"[]".repeat(DEEPEST * 2)), None);
        assert_eq!(refusal(&format!(r#"["{}\\", []]"#, "[{".repeat(DEEPEST))), None);
    }
}
