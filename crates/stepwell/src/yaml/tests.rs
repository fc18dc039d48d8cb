//! What a text is read as, and what is refused.

use super::{parse, to_json};

fn refused(text: &str) -> String {
    to_json(text).map(|json| panic!("{text}: {json}")).unwrap_err()
}

#[test]
fn scalars_are_what_they_look_like_and_nothing_is_guessed() {
    for (text, json) in [
        ("~", "null"),
        ("Null", "null"),
        ("TRUE", "true"),
        ("False", "false"),
        ("yes", r#""yes""#),
        ("off", r#""off""#),
        ("0", "0"),
        ("-0", "0"),
        ("+5", "5"),
        ("-17", "-17"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0x1F", "31"),
        ("-0o17", "-15"),
        ("0b101", "5"),
        ("0xg", r#""0xg""#),
        ("0x", r#""0x""#),
        ("007", r#""007""#),
        ("-01", r#""-01""#),
        ("1_000", r#""1_000""#),
        ("12:30:45", r#""12:30:45""#),
        ("2026-01-01", r#""2026-01-01""#),
        ("1.2.3", r#""1.2.3""#),
        ("1e", r#""1e""#),
        (".", r#"".""#),
        ("+", r#""+""#),
        ("e5", r#""e5""#),
        ("1.50", "1.5"),
        ("1e3", "1000.0"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("-00.5", "-0.5"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("1e-400", "1e-400"),
        ("'1'", r#""1""#),
        ("!!str 1", r#""1""#),
        ("! 1", r#""1""#),
        ("!!int '7'", "7"),
        ("!!float 2", "2"),
        ("!!bool 'true'", "true"),
        ("|\n  a\n  b", r#""a\nb\n""#),
        ("[~, {a: }]", r#"[null,{"a":null}]"#),
        ("{1: a, null: b, true: c}", r#"{"1":"a","null":"b","true":"c"}"#),
    ] {
        let value = to_json(&format!("v: {text}")).unwrap();
        assert_eq!(value, format!(r#"{{"v":{json}}}"#), "{text}");
        serde_json::from_str::<&serde_json::value::RawValue>(&value).unwrap();
    }
}

#[test]
fn what_would_be_lost_is_refused() {
    for (text, expected) in [
        ("a: .inf", "line 1: .inf is no number"),
        ("a:\n- -.Inf", "line 2: -.Inf is no number"),
        ("a: .NaN", ".NaN is no number"),
        ("a: 1e400", "1e400 is above what a number can be"),
        ("a: 0xfffffffffffffffffffffffffffffffff", "is above 128 bits"),
        ("a: 1\nb: 2\na: 3", "line 3: the key a is there twice, first in line 1"),
        ("a: {b: 1,\n  \"b\": 2}", "line 2: the key b is there twice, first in line 1"),
        ("1: a\n'1': b", "the key 1 is there twice"),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}", "the key << is there twice, first in line 2; one merge takes a list"),
        ("<<: 1", "line 1: << takes a mapping or a list of mappings"),
        ("x: {<<: [{a: 1}, 2]}", "<< takes a mapping or a list of mappings"),
        ("? [a]\n: b", "a key must be a text"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("a: !ruby/object:Gem {b: 1}", "line 1: the tag !ruby/object:Gem is not known here"),
        ("a: !secret x", "the tag !secret does not fit here, or is not known"),
        ("a: !!int x", "the tag !!int does not fit"),
        ("a: !!int 1.5", "the tag !!int does not fit"),
        ("a: !!binary aGk=", "!!binary"),
        ("a: &a [*a]", "line 1: the alias stands inside what it names"),
        ("a: *b", "line 1: "),
        ("a:\n\tb: 1", "line 2: tabs"),
        ("a: [1, 2", "line 1: "),
        ("a: {b: 1\nc: 2", "line 2: "),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn nothing_but_comments_is_nothing() {
    for text in ["", "\u{feff}", "# a\n", "---\n# a\n...\n", "~", "\u{feff}# a\r\n"] {
        assert_eq!(parse(text), Ok(None), "{text:?}");
    }
    assert_eq!(to_json("\u{feff}a: 1\r\nb: 2\r\n").unwrap(), r#"{"a":1,"b":2}"#);
}

#[test]
fn of_a_merge_the_mapping_itself_decides_then_the_first_source() {
    let text =
        "a: &a {k: 1, l: 2}\nb: &b {k: 3, m: {n: 4}}\nc: {z: 0, <<: [*a, *b], l: 5}\nd: {<<: *b}\ne: {<<: {o: 6}}";
    let expected = r#""c":{"z":0,"k":1,"m":{"n":4},"l":5},"d":{"k":3,"m":{"n":4}},"e":{"o":6}}"#;
    assert!(to_json(text).unwrap().ends_with(expected), "{}", to_json(text).unwrap());
    assert_eq!(to_json("'<<': {a: 1}").unwrap(), r#"{"<<":{"a":1}}"#);
}

#[test]
fn an_alias_bomb_is_refused_before_it_grows() {
    let list = |name: &str| format!("[{}]", [name; 10].join(", "));
    let mut lists = format!("a0: &a0 {}\n", list("x"));
    let mut merges = String::from("a0: &a0 {k: v}\n");
    for level in 1..12 {
        lists += &format!("a{level}: &a{level} {}\n", list(&format!("*a{}", level - 1)));
        let keys: Vec<_> = (0..10).map(|key| format!("k{key}: *a{}", level - 1)).collect();
        merges += &format!("a{level}: &a{level} {{<<: *a{}, {}}}\n", level - 1, keys.join(", "));
    }
    let large = format!("a: &a {}\nb: {}\n", "x".repeat(1 << 20), list("*a").replace("*a", &list("*a")));
    for text in [lists, merges, large] {
        let error = refused(&text);
        assert!(error.contains("anchors and aliases of this file bring in more than 16 MB"), "{error}");
    }
}

#[test]
fn depth_is_bounded_in_every_style() {
    let block: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let mut aliased = String::from("a0: &a0 {k: 1}\n");
    for level in 1..150 {
        aliased += &format!("a{level}: &a{level} {{k: *a{}}}\n", level - 1);
    }
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), block, aliased] {
        let error = refused(&text);
        assert!(error.contains("deep") || error.contains("recursion limit"), "{error}");
    }
    assert!(to_json(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
    assert!(refused(&format!("{}{}", "[".repeat(101), "]".repeat(101))).contains("more than 100 deep"));
}
