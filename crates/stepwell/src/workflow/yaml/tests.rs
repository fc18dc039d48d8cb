//! Files as people write them, and each way to be wrong.

use super::from_yaml;

const FILE: &str = r#"
namespace: shop
name: order
version: "1.0.0"
timeout: 5m
steps:
  - {name: pay, handler: Pay, backoff: {base: 2s, cap: 1m}, config: {gateway: live, retries: 2}}
  - {name: ship, handler: Ship, depends_on: pay, timeout: 30s}
environments:
  test:
    steps:
      pay: {backoff: {base: 10ms}, config: {gateway: fake}}
"#;

#[test]
fn reads_durations_with_units_and_applies_the_environment() {
    let live = from_yaml(FILE, "production").unwrap();
    assert_eq!((live.timeout, live.steps[0].backoff.base, live.steps[0].backoff.cap), (Some(300.0), 2.0, 60.0));
    assert_eq!(live.steps[1].depends_on, [0]);
    let test = from_yaml(FILE, "test").unwrap();
    assert_eq!((test.steps[0].backoff.base, test.steps[0].backoff.cap), (0.01, 60.0));
    assert_eq!(test.steps[0].config.as_ref().unwrap().get(), r#"{"gateway":"fake","retries":2}"#);
    assert_ne!(live.digest, test.digest);
}

#[test]
fn names_what_is_wrong() {
    for (from, to, expected) in [
        ("timeout: 30s", "timeout: 30", "steps.ship.timeout: 30 needs a unit"),
        ("version: \"1.0.0\"", "version: 1.0", "version: 1.0 must be quoted"),
        ("      pay: {backoff", "      payy: {backoff", "environments.test.steps.payy: there is no such step"),
        ("depends_on: pay", "depends: pay", "unknown field `depends`"),
        ("depends_on: pay", "depends_on: {pay: 1}", "steps.ship.depends_on: must be a name or a list of names"),
        (
            "depends_on: pay",
            "max_attempts: many",
            "steps.ship.max_attempts: invalid type: string \"many\", expected a whole",
        ),
        ("timeout: 30s", "timeout: [30s]", "steps.ship.timeout: a duration was expected"),
        (
            "  - {name: ship",
            "  - ship\n  - {name: ship",
            "steps.[1]: invalid type: string \"ship\", expected the mapping of a step",
        ),
        ("namespace: shop", "namespace: [", "line 4: while parsing a flow mapping"),
    ] {
        let error = from_yaml(&FILE.replace(from, to), "test").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_byte_order_mark_and_crlf_are_no_content() {
    for text in [format!("\u{feff}{FILE}"), format!("\u{feff}{FILE}").replace('\n', "\r\n")] {
        assert_eq!(from_yaml(&text, "test").unwrap().digest, from_yaml(FILE, "test").unwrap().digest);
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_its_line() {
    for (from, to, expected) in [
        ("name: order\n", "name: order\nname: other\n", "line 4: the key name is there twice, first in line 3"),
        ("timeout: 30s", "timeout: 30s, timeout: 40s", "the key timeout is there twice"),
        ("retries: 2", "retries: 2, \"retries\": 3", "the key retries is there twice"),
        ("base: 10ms", "base: 10ms, base: 20ms", "line 12: the key base is there twice"),
    ] {
        let error = from_yaml(&FILE.replace(from, to), "production").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_environment_is_checked_on_every_load() {
    for (overrides, expected) in [
        ("steps: {zzz: {max_attempts: 1}}", "environments.test.steps.zzz: there is no such step (line 11)"),
        ("steps: {pay: {max_atempts: 1}}", "environments.test.steps.pay.max_atempts: unknown field `max_atempts`"),
        ("steps: {pay: {max_attempts: 0}}", "environments.test.steps.pay.max_attempts: 0 must be from 1 to 1000"),
        ("steps: {pay: {backoff: {cap: 1s}}}", "environments.test.steps.pay.backoff: base (2s) is above cap (1s)"),
        ("steps: {pay: {timeout: 5}}", "environments.test.steps.pay.timeout: 5 needs a unit"),
        ("steps: {pay: 1}", "environments.test.steps.pay: must be a mapping"),
        ("steps: [pay]", "environments.test.steps: must be a mapping"),
        ("version: \"2\"", "environments.test.version: only steps can be overridden"),
        ("4", "environments.test: must be a mapping"),
    ] {
        let file = FILE.split_once("  test:").unwrap().0;
        let file = format!("{file}  test:\n    {overrides}\n  staging:\n  qa: {{steps:}}\n");
        for environment in ["development", "test", "production"] {
            let error = from_yaml(&file, environment).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
    let error = from_yaml(&FILE.replace("timeout: 30s", "timeout: 30"), "test").unwrap_err().to_string();
    assert_eq!(error.matches("needs a unit").count(), 1, "{error}");
    assert!(!error.contains("environments"), "{error}");
}

#[test]
fn what_only_environments_complete_is_good_in_these() {
    let file = FILE.replace("handler: Pay, ", "").replace("pay: {", "pay: {handler: FakePay, ");
    assert_eq!(from_yaml(&file, "test").unwrap().steps[0].handler, "FakePay");
    let error = from_yaml(&file, "production").unwrap_err().to_string();
    assert!(error.contains("steps.pay.handler: must be the name"), "{error}");
}

#[test]
fn anchors_merges_and_keys_of_the_authors_own() {
    let file = r#"
x-defaults: &defaults {max_attempts: 2, timeout: 30s, config: &config {currency: EUR, retries: {most: 2}}}
x-slow: &slow {timeout: 5m, permanent_errors: [Refused]}
namespace: shop
name: order
version: &version "1.0.0"
steps:
  - name: pay
    handler: Pay
    x-note: asks the gateway
    <<: *defaults
  - name: ship
    handler: Ship
    depends_on: pay
    max_attempts: 5
    <<: [*slow, *defaults]
    backoff: {base: 1s, x-why: slow}
    config:
      <<: *config
      x-kept: 1
      "<<": kept too
      retries: *version
environments:
  x-note: for tests
  test: {x-note: none, steps: {pay: {<<: *slow, x-note: none}}}
"#;
    let workflow = from_yaml(file, "production").unwrap();
    let [pay, ship] = workflow.steps.as_slice() else { panic!("{workflow:?}") };
    assert_eq!((pay.max_attempts, pay.timeout), (2, Some(30.0)));
    assert_eq!(pay.config.as_ref().unwrap().get(), r#"{"currency":"EUR","retries":{"most":2}}"#);
    assert_eq!((ship.max_attempts, ship.timeout), (5, Some(300.0)));
    assert_eq!(ship.permanent_errors, ["Refused"]);
    let expected = r#"{"currency":"EUR","x-kept":1,"<<":"kept too","retries":"1.0.0"}"#;
    assert_eq!(ship.config.as_ref().unwrap().get(), expected);
    assert_eq!(from_yaml(file, "test").unwrap().steps[0].timeout, Some(300.0));
}

#[test]
fn numbers_of_a_config_keep_their_digits() {
    let file = FILE.replace("retries: 2", "i: 12345678901234567890123, m: -18446744073709551617, f: 1.50, h: 0x1F");
    let config = from_yaml(&file, "production").unwrap().steps[0].config.clone().unwrap();
    let expected = r#"{"gateway":"live","i":12345678901234567890123,"m":-18446744073709551617,"f":1.5,"h":31}"#;
    assert_eq!(config.get(), expected);
    for number in [".inf", "-.INF", ".nan", "1e400"] {
        let error = from_yaml(&FILE.replace("retries: 2", &format!("v: {number}")), "test").unwrap_err().to_string();
        assert!(error.contains(number) && error.contains("line 7"), "{error}");
    }
}
