//! What a scalar is: by YAML 1.2's core schema, with binary numbers, and without guesses: `yes` and `010` are texts.

use granit_parser::Tag;

use super::Value;

/// The value of a scalar. Only a plain one can be more than a text; a tag says itself what it is.
pub(super) fn value(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if plain { untagged(text) } else { Ok(Value::Text(text.to_owned())) };
    };
    let of = |name: &str| tag.is_yaml_core_schema_tag(name);
    let value = match untagged(text)? {
        _ if of("str") || (tag.handle().is_empty() && tag.suffix() == "!") => Some(Value::Text(text.to_owned())),
        value @ Value::Null => of("null").then_some(value),
        value @ Value::Bool(_) => of("bool").then_some(value),
        Value::Number(digits) if of("int") => (!digits.contains(['.', 'e', 'E'])).then_some(Value::Number(digits)),
        value @ Value::Number(_) => of("float").then_some(value),
        _ => None,
    };
    value.ok_or_else(|| format!("the tag {} does not fit here, or is not known", tag.original()))
}

fn untagged(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => ("-", &text[1..]),
        [b'+', ..] => ("", &text[1..]),
        _ => ("", text),
    };
    if [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&digits) {
        return Err(format!("{text} is no number that JSON knows; quote it when it is a text"));
    }
    if let Some(number) = whole(sign, digits)? {
        return Ok(Value::Number(number));
    }
    Ok(match is_fraction(digits) {
        true => Value::Number(fraction(text, sign, digits)?),
        false => Value::Text(text.to_owned()),
    })
}

/// An integer of any size; none when it is none. Zeros before it make a text of it: it may be a telephone number.
fn whole(sign: &str, digits: &str) -> Result<Option<String>, String> {
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        let Some(rest) = digits.strip_prefix(prefix) else { continue };
        if rest.is_empty() || !rest.chars().all(|digit| digit.is_digit(radix)) {
            return Ok(None);
        }
        let number = u128::from_str_radix(rest, radix)
            .map_err(|_| format!("{sign}{digits} is above 128 bits; write it with decimal digits"))?;
        return Ok(Some(if number == 0 { "0".to_owned() } else { format!("{sign}{number}") }));
    }
    let is_one = !digits.is_empty()
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    Ok(is_one.then(|| if digits == "0" { "0".to_owned() } else { format!("{sign}{digits}") }))
}

/// Digits with a point, an exponent, or both.
fn is_fraction(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (digits, None),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
    let has_point = mantissa.contains('.');
    // Without both it is an integer, or has zeros before it.
    (has_point || exponent.is_some())
        && (!before.is_empty() || !after.is_empty())
        && all(before)
        && all(after)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && all(exponent))
}

/// The number as JSON writes it: as short as a double is written, or as it stands there when it has more digits.
fn fraction(text: &str, sign: &str, digits: &str) -> Result<String, String> {
    let double = digits.parse::<f64>().unwrap_or(f64::INFINITY);
    if !double.is_finite() {
        return Err(format!("{text} is above what a number can be (about 1.8e308); quote it when it is a text"));
    }
    let short = serde_json::to_string(&double).unwrap_or_default(); // a finite number is always JSON
    let written = json_digits(digits);
    let same = significant(&short) == significant(&written);
    Ok(format!("{sign}{}", if same { short } else { written }))
}

/// JSON wants digits on both sides of the point, and no zeros before the first.
fn json_digits(digits: &str) -> String {
    let (mantissa, exponent) = digits.split_at(digits.find(['e', 'E']).unwrap_or(digits.len()));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let before = before.trim_start_matches('0');
    let before = if before.is_empty() { "0" } else { before };
    let point = if after.is_empty() { "" } else { "." };
    format!("{before}{point}{after}{exponent}")
}

/// The digits that count, and the power of ten of the last: the same for every way to write a number.
fn significant(number: &str) -> (String, i64) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{before}{after}");
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    let exponent: i64 = exponent.parse().unwrap_or(i64::MIN);
    let zeros = all.len() - all.trim_end_matches('0').len();
    match digits {
        "" => (String::new(), 0),
        digits => (digits.to_owned(), exponent.saturating_sub(after.len() as i64).saturating_add(zeros as i64)),
    }
}
