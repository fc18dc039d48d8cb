//! What a JSON text of users holds that would be lost or refused behind it: a key that is there twice, texts and numbers that
//! PostgreSQL's jsonb does not take, numbers that become infinite where they are read. It is not recursive: JSON may be
//! as deep as it likes.

use std::collections::HashSet;

use crate::error::Problem;

/// Most digits of PostgreSQL's numeric before the point.
const MOST_DIGITS: usize = 131_072;
/// Most digits of it after the point.
const MOST_DECIMALS: i64 = 16_383;
/// Most problems that are told.
const MOST_PROBLEMS: usize = 20;

/// What is wrong with a JSON text, which is known to be JSON, each by its path; empty when nothing is.
pub fn problems(json: &str) -> Vec<Problem> {
    Scan::run(json, Looking::ForTrouble)
}

/// The integers that 64 bits do not hold, each as a problem.
pub(crate) fn large_integers(json: &str) -> Vec<Problem> {
    Scan::run(json, Looking::ForLargeIntegers)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looking {
    ForTrouble,
    ForLargeIntegers,
}

/// A mapping or list that has begun.
enum Open<'j> {
    /// Its keys so far, and the one whose value is next or being read.
    Object(HashSet<&'j str>, &'j str),
    /// How many items came before.
    Array(usize),
}

struct Scan<'j> {
    looking: Looking,
    open: Vec<Open<'j>>,
    found: Vec<Problem>,
}

impl<'j> Scan<'j> {
    fn run(json: &'j str, looking: Looking) -> Vec<Problem> {
        let mut scan = Self { looking, open: Vec::new(), found: Vec::new() };
        scan.read(json);
        scan.found
    }

    fn read(&mut self, json: &'j str) {
        let bytes = json.as_bytes();
        let mut at = 0;
        // Whether the next text of an object is a key.
        let mut key = false;
        while at < bytes.len() && self.found.len() < MOST_PROBLEMS {
            let start = at;
            at += 1;
            match bytes[start] {
                b'{' => {
                    self.open.push(Open::Object(HashSet::new(), ""));
                    key = true;
                }
                b'[' => {
                    self.open.push(Open::Array(0));
                    key = false;
                }
                b'}' | b']' => _ = self.open.pop(),
                b',' => match self.open.last_mut() {
                    Some(Open::Array(index)) => *index += 1,
                    _ => key = true,
                },
                b'"' => {
                    at = end_of_text(bytes, at);
                    let text = &json[start + 1..at - 1];
                    if std::mem::take(&mut key) {
                        self.key(text);
                    }
                    self.text(text);
                }
                b'-' | b'0'..=b'9' => {
                    let length = bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                    at += length;
                    self.number(&json[start..at]);
                }
                _ => {}
            }
        }
    }

    fn key(&mut self, text: &'j str) {
        let Some(Open::Object(keys, current)) = self.open.last_mut() else { return };
        *current = text;
        // An escape can write the same key otherwise; such keys are rare, and jsonb takes the last of them.
        if !keys.insert(text) && self.looking == Looking::ForTrouble {
            self.problem("the key is there twice".to_owned());
        }
    }

    fn text(&mut self, text: &str) {
        if self.looking == Looking::ForLargeIntegers {
            return;
        }
        for (place, _) in text.match_indices("\\u") {
            if is_escaped(text, place) {
                continue;
            }
            let code = |at: usize| text.get(at..at + 6).filter(|it| it.starts_with("\\u")).and_then(code_unit);
            let unit = code(place).unwrap_or_default();
            let paired = match unit {
                0 => return self.problem("holds the character \\u0000, which PostgreSQL cannot store".to_owned()),
                0xd800..=0xdbff => code(place + 6).is_some_and(|low| (0xdc00..=0xdfff).contains(&low)),
                0xdc00..=0xdfff => {
                    let before = place.checked_sub(6).and_then(code);
                    before.is_some_and(|high| (0xd800..=0xdbff).contains(&high))
                }
                _ => true,
            };
            if !paired {
                let escape = &text[place..place + 6];
                return self.problem(format!("holds {escape}, half a character, which PostgreSQL cannot store"));
            }
        }
    }

    fn number(&mut self, number: &str) {
        let digits = number.trim_start_matches('-');
        let shown: String = number.chars().take(20).collect();
        let shown =
            if shown.len() < number.len() { format!("{shown}… ({} characters)", number.len()) } else { shown };
        let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        if self.looking == Looking::ForLargeIntegers {
            if whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                self.problem(format!("{shown} is beyond 64 bits"));
            }
        } else if whole {
            if digits.len() > MOST_DIGITS {
                self.problem(format!("{shown} has more than {MOST_DIGITS} digits, which PostgreSQL cannot store"));
            }
        } else if !number.parse::<f64>().is_ok_and(f64::is_finite) {
            self.problem(format!("{shown} is above what a number can be (about 1.8e308)"));
        } else if decimals(digits) > MOST_DECIMALS {
            let what = format!("has more than {MOST_DECIMALS} digits after the point, which PostgreSQL cannot store");
            self.problem(format!("{shown} {what}"));
        }
    }

    fn problem(&mut self, message: String) {
        let path: Vec<String> = self
            .open
            .iter()
            .map(|open| match open {
                Open::Object(_, key) => (*key).to_owned(),
                Open::Array(index) => index.to_string(),
            })
            .collect();
        self.found.push(Problem::new(path.join("."), message));
    }
}

/// Behind the closing quote of a text that begins at `at`.
fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Whether the backslash at this place is itself escaped.
fn is_escaped(text: &str, place: usize) -> bool {
    text.as_bytes()[..place].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn code_unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(&escape[2..], 16).ok()
}

/// Digits after the point once the exponent is written out.
fn decimals(digits: &str) -> i64 {
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let after = mantissa.split_once('.').map_or(0, |(_, after)| after.len() as i64);
    after.saturating_sub(exponent.parse().unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::problems;

    fn told(json: &str) -> Vec<String> {
        problems(json).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_can_be_stored_is_left_alone() {
        let digits = "9".repeat(131_072);
        for json in [
            r#"{"a": [1, -2.5e3, "x\\u0000", "\ud83d\ude00", "{\"a\":1}"], "b": {"a": null, "b": [[], {}]}, "c": true}"#,
            "0",
            r#""a""#,
            "[1e308, 1e-300, 0.1, 123456789012345678901234567890]",
            digits.as_str(),
        ] {
            assert_eq!(told(json), Vec::<String>::new());
        }
    }

    #[test]
    fn each_problem_is_told_with_its_place() {
        let long = format!(r#"{{"n": [1, {}]}}"#, "9".repeat(131_073));
        for (json, expected) in [
            (r#"{"a": 1, "b": {"c": 2, "c": 3}}"#, "b.c: the key is there twice"),
            (r#"[{"a": "x\u0000y"}]"#, "0.a: holds the character \\u0000"),
            (r#"{"x\u0000": 1}"#, "holds the character \\u0000"),
            (r#"["\\\u0000"]"#, "0: holds the character \\u0000"),
            (r#"["\ud83d"]"#, "0: holds \\ud83d, half a character"),
            (r#"["\ude00x"]"#, "0: holds \\ude00, half a character"),
            (r#"{"a": {"b": 1e400}}"#, "a.b: 1e400 is above what a number can be"),
            (r#"{"a": -1E+309}"#, "a: -1E+309 is above"),
            (r#"[1e-20000]"#, "0: 1e-20000 has more than 16383 digits after the point"),
            (long.as_str(), "n.1: 99999999999999999999… (131073 characters) has more than 131072 digits"),
        ] {
            assert!(
                told(json).iter().any(|problem| problem.starts_with(expected) || problem.contains(expected)),
                "{json}: {:?}",
                told(json)
            );
        }
    }

    #[test]
    fn depth_costs_no_stack_and_problems_are_bounded() {
        assert!(problems(&format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000))).is_empty());
        assert_eq!(problems(&format!("[{}1e400]", "1e400,".repeat(100))).len(), 20);
    }
}
