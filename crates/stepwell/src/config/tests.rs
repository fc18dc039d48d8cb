//! Each layer, and each way to be wrong.

use std::path::Path;
use std::time::Duration;

use super::*;

/// With this as the application's file.
fn load_with(yaml: &str) -> Result<Config> {
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(file.path(), yaml).unwrap();
    Config::load_from(Some("test"), file.path(), "{}")
}

/// With this as the program's own settings.
fn load_own(settings: &str) -> Result<Loaded> {
    Sources { environment: Some("test"), file: Path::new("none.yml"), settings, program: "Stepwell.configure" }.load()
}

fn refused(settings: &str) -> String {
    load_own(settings).map(|loaded| loaded.config).unwrap_err().to_string()
}

#[test]
fn environments_set_their_polling_interval() {
    let polling = |environment| Config::load(Some(environment)).unwrap().orchestrator.polling_interval;
    assert_eq!(polling("test"), Duration::from_millis(100));
    assert_eq!(polling("development"), Duration::from_millis(500));
    assert_eq!(polling("production"), Duration::from_millis(200));
}

#[test]
fn the_application_file_overrides_and_the_rest_keeps_its_default() {
    let config = load_with("worker: {lease: 90s}").unwrap();
    assert_eq!(config.worker.lease, Duration::from_secs(90));
    assert_eq!(config.worker.report_batch, Config::load(Some("test")).unwrap().worker.report_batch);
}

#[test]
fn a_copy_of_the_defaults_does_not_hide_the_environment() {
    assert_eq!(load_with(known::DEFAULTS).unwrap().orchestrator.polling_interval, Duration::from_millis(100));
}

#[test]
fn namespaces_name_their_databases() {
    assert!(load_with("worker: {lease: 90s}").unwrap().namespaces.is_empty());
    assert!(load_with("namespaces:").unwrap().namespaces.is_empty());
    let own = r#"{"namespaces": {"shop": {"database_url": "postgres://there/s"}}}"#;
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(file.path(), "namespaces: {billing: {database_url: 'postgres://there/b'}}").unwrap();
    let config = Config::load_from(Some("test"), file.path(), own).unwrap();
    let urls: Vec<_> = config.namespaces.values().map(|namespace| namespace.database_url.as_str()).collect();
    assert_eq!(urls, ["postgres://there/b", "postgres://there/s"]);
}

#[test]
fn wrong_settings_are_named() {
    for (yaml, expected) in [
        ("worker: {lease: 60}", "needs a unit"),
        ("worker: {leese: 60s}", "leese"),
        ("worker: {concurrency: many}", "concurrency"),
        ("worker: {concurrency: 0}", "worker.concurrency = 0"),
        ("database: {direct_url: 'postgres://here/shop'}", "database.url is not"),
        ("database: {prepared_statements: maybe}", "prepared_statements"),
        ("namespaces: {billing: {}}", "database_url"),
        ("namespaces: {billing: {database_url: 'postgres://here/b', pool: 3}}", "pool"),
        ("namespaces: {bill-ing: {database_url: 'postgres://here/b'}}", "bill-ing"),
        (
            "namespaces: {billing: {database_url: 'mysql://app:pw@here/b'}}",
            "= mysql://app:***@here/b: is no PostgreSQL URL",
        ),
        (
            "namespaces: {billing: {database_url: 'postgres://app:pw@here:port/b'}}",
            "app:***@here:port/b: has a port that is no number",
        ),
        ("namespaces: {a: {database_url: 'postgres://b/b', direct_url: 'b'}}", "namespaces.a.direct_url"),
        (
            "namespaces: {a: {database_url: 'postgres://p/b', direct_url: 'postgres://x/b'}, \
              b: {database_url: 'postgres://p/b', direct_url: 'postgres://y/b'}}",
            "namespaces.a and namespaces.b",
        ),
    ] {
        let error = load_with(yaml).unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn errors_name_place_key_value_and_what_is_allowed() {
    for (settings, expected) in [
        (
            r#"{"worker": {"leese": "60s"}}"#,
            "Stepwell.configure: unknown key worker.leese = 60s; did you mean worker.lease? (allowed in worker are \
             concurrency, lease, polling_interval,",
        ),
        (r#"{"wroker": {"lease": "60s"}}"#, "did you mean worker.lease? (the sections are database, namespaces,"),
        (r#"{"lease": "60s"}"#, "unknown key lease = 60s; did you mean worker.lease?"),
        (r#"{"worker": 5}"#, "worker = 5: is a section, not a value (allowed in worker are concurrency,"),
        (
            r#"{"worker": {"concurrency": "many"}}"#,
            "Stepwell.configure: worker.concurrency = many: must be a whole number",
        ),
        (r#"{"worker": {"concurrency": -1}}"#, "worker.concurrency = -1: must be a whole number, and not negative"),
        (r#"{"worker": {"lease": {"a": 1}}}"#, "worker.lease = {\"a\":1}: "),
        (r#"{"orchestrator": {"polling_interval": 0}}"#, "orchestrator.polling_interval = 0s: must be at least 1ms"),
        (r#"{"retention": {"cycle": "99ms"}}"#, "retention.cycle = 99ms: must be at least 100ms and at most 365d"),
        (r#"{"worker": {"lease": 1, "prefetch": 1}}"#, "worker.prefetch = 1s: must be less than worker.lease"),
        (r#"{"worker": {"lease": 1}, "orchestrator": {"cycle": 2}}"#, "orchestrator.cycle = 2s: must be at most"),
        (r#"{"database": {"call_timeout": -1}}"#, "database.call_timeout = -1s: "),
        (r#"{"database": {"prepared_statements": "postgres://a:b@c"}}"#, "= postgres://a:***@c: must be true or false"),
        (
            r#"{"worker": {"lease": "1h", "claim_batch": 0, "report_batch": 20000}}"#,
            "claim_batch = 0: must be from 1 to",
        ),
        (r#"{"worker": {"claim_batch": 0, "report_batch": 20000}}"#, "worker.report_batch = 20000: must be from 1 to"),
        (
            r#"{"namespaces": {"a": {"database_url": "postgres://c/d", "pool": 3}}}"#,
            "Stepwell.configure: namespaces.a.pool = 3: unknown field",
        ),
        (r#"{"namespaces": {"a": {"direct_url": "b"}}}"#, "Stepwell.configure: namespaces.a: database_url is missing"),
        (r#"{"namespaces": {"B": {"database_url": "postgres://c/d"}}}"#, "Stepwell.configure: namespaces.B: its name"),
    ] {
        let error = refused(settings);
        assert!(error.contains(expected), "{settings}: {error}");
    }
}

#[test]
fn numbers_of_a_program_are_seconds() {
    let worker =
        load_own(r#"{"worker": {"lease": 90, "prefetch": 0.0005, "timeout_grace": 1.5}}"#).unwrap().config.worker;
    let expected = (Duration::from_secs(90), Duration::from_micros(500), Duration::from_millis(1500));
    assert_eq!((worker.lease, worker.prefetch, worker.timeout_grace), expected);
}

#[test]
fn files_of_the_environment_stand_beside_the_application_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stepwell.yml");
    std::fs::create_dir(folder.path().join("environments")).unwrap();
    std::fs::write(&file, "worker: {lease: 90s, concurrency: 3}").unwrap();
    std::fs::write(folder.path().join("environments/test.yml"), "worker: {lease: 2m}\nretention:\n").unwrap();
    std::fs::write(folder.path().join("environments/production.yml"), "worker: {leese: 2m}").unwrap();
    let sources = |environment| Sources { environment: Some(environment), file: &file, ..Sources::default() };

    let Loaded { config, settings, .. } = sources("test").load().unwrap();
    assert_eq!((config.worker.lease, config.worker.concurrency), (Duration::from_secs(120), 3));
    let from = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
    assert!(from("worker.lease").ends_with("environments/test.yml"));
    assert!(from("worker.concurrency").ends_with("stepwell.yml"));
    assert_eq!(from("orchestrator.polling_interval"), "default for test");
    assert_eq!(from("worker.claim_batch"), "default");

    let error = sources("production").load().map(|loaded| loaded.config).unwrap_err().to_string();
    assert!(error.contains("environments/production.yml: unknown key worker.leese = 2m; did you mean"), "{error}");
}

#[test]
fn values_in_force_are_shown_in_order_and_masked() {
    let own = r#"{"database": {"url": "postgres://a:b@c/d"}, "namespaces": {"auth": {"database_url": "postgres://e:f@g/h"}}}"#;
    let settings = load_own(own).unwrap().settings;
    let shown = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap().to_string();
    assert_eq!(shown("database.url"), "postgres://a:***@c/d");
    assert_eq!(shown("namespaces.auth.database_url"), "postgres://e:***@g/h");
    assert_eq!(shown("database.direct_url"), "");
    assert!(shown("masking.keys").starts_with(r#"["password","secret","#));
    let json = serde_json::to_string(&settings[0]).unwrap();
    let expected =
        r#"{"key":"database.url","value":"postgres://a:***@c/d","origin":"program","from":"Stepwell.configure"}"#;
    assert_eq!(json, expected);
    assert!(settings
        .iter()
        .map(|setting| setting.key.as_str())
        .filter(|key| !key.starts_with("namespaces."))
        .eq(keys().filter(|key| *key != "namespaces")));
}

#[test]
fn every_key_stands_in_the_file_and_every_key_of_the_file_is_one() {
    type Mapping = serde_json::Map<String, serde_json::Value>;
    let defaults: Mapping = serde_json::from_str(&crate::yaml::to_json(known::DEFAULTS).unwrap()).unwrap();
    serde_json::from_value::<Config>(defaults.clone().into()).unwrap(); // which knows all its keys
    let expected = |settings: Mapping| -> Vec<String> {
        let error = serde_json::from_value::<Config>(settings.into()).unwrap_err().to_string();
        let (_, names) = error.split_once("expected ").unwrap();
        let mut names: Vec<_> = names.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        names.sort();
        names
    };
    let names = |mapping: &Mapping| -> Vec<String> {
        let mut names: Vec<_> = mapping.keys().cloned().collect();
        names.sort();
        names
    };
    let with_stranger = |mapping: &Mapping| {
        let mut mapping = mapping.clone();
        mapping.insert("stranger".to_owned(), 1.into());
        mapping
    };
    assert_eq!(names(&defaults), expected(with_stranger(&defaults)));
    for (section, keys) in &defaults {
        let keys = keys.as_object().unwrap();
        if keys.len() > 1 {
            let mut all = defaults.clone();
            all.insert(section.clone(), with_stranger(keys).into());
            assert_eq!(names(keys), expected(all), "{section:?}");
        }
    }
}

#[test]
fn a_file_without_settings_sets_nothing() {
    for yaml in
        ["", "# nothing yet\n", "worker:\n", "\u{feff}# a\r\nworker:\r\n", "---\n...\n", "database:\nworker: {}\n"]
    {
        let config = load_with(yaml).unwrap();
        assert_eq!(config.worker.concurrency, Config::load(Some("test")).unwrap().worker.concurrency, "{yaml:?}");
    }
    assert_eq!(load_with("\u{feff}worker:\r\n  concurrency: 3\r\n").unwrap().worker.concurrency, 3);
}

#[test]
fn files_of_settings_are_the_yaml_of_workflow_files() {
    let yaml = "x-batches: &batches {claim_batch: 7}\nworker: {<<: *batches, x-why: small, concurrency: 3}\n";
    let worker = load_with(yaml).unwrap().worker;
    assert_eq!((worker.claim_batch, worker.concurrency), (7, 3));
    for (yaml, expected) in [
        ("worker: {lease: 60s}\nworker: {lease: 90s}", ".yml: line 2: the key worker is there twice, first in line 1"),
        ("worker:\n  lease: 60s\n  lease: 90s", "line 3: the key lease is there twice, first in line 2"),
        ("worker: {concurrency: .inf}", "line 1: .inf is no number"),
        (
            "worker: {concurrency: 12345678901234567890123}",
            "worker.concurrency = 12345678901234567890123: must be a whole",
        ),
        ("worker: {concurrency: 1.5}", "worker.concurrency = 1.5: must be a whole number"),
        ("- worker", "line 1: must be a mapping of sections"),
        ("worker", "line 1: must be a mapping of sections"),
        ("worker: {}\n---\nworker: {}", "line 2: a second document begins"),
    ] {
        let error = load_with(yaml).unwrap_err().to_string();
        assert!(error.contains(expected), "{yaml}: {error}");
    }
}

#[test]
fn yaml_is_another_ending_of_yml() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stepwell.yml");
    let load = || Sources { environment: Some("test"), file: &file, ..Sources::default() }.load();
    std::fs::create_dir(folder.path().join("environments")).unwrap();
    std::fs::write(folder.path().join("stepwell.yaml"), "worker: {concurrency: 3}").unwrap();
    std::fs::write(folder.path().join("environments/test.yaml"), "worker: {claim_batch: 4}").unwrap();
    let worker = load().unwrap().config.worker;
    assert_eq!((worker.concurrency, worker.claim_batch), (3, 4));
    std::fs::write(&file, "worker: {concurrency: 5}").unwrap();
    let error = load().map(|loaded| loaded.config).unwrap_err().to_string();
    assert!(error.contains("stepwell.yml and ") && error.contains("stepwell.yaml are both there: keep one"), "{error}");
}

#[test]
fn lists_are_trimmed_and_booleans_are_read_as_people_write_them() {
    for keys in [r#"" password , pin ,""#, r#"["password ", " pin", " "]"#] {
        let loaded = load_own(&format!(r#"{{"masking": {{"keys": {keys}}}}}"#)).unwrap();
        assert_eq!(loaded.config.masking.keys, ["password", "pin"]);
    }
    for (value, expected) in
        [("TRUE", true), (" yes ", true), ("On", true), ("1", true), ("False", false), ("no", false), ("off", false)]
    {
        let loaded = load_own(&format!(r#"{{"database": {{"prepared_statements": "{value}"}}}}"#)).unwrap();
        assert_eq!(loaded.config.database.prepared_statements, Some(expected), "{value}");
    }
    for value in ["maybe", "2", "tru", "-1"] {
        let error = refused(&format!(r#"{{"database": {{"prepared_statements": "{value}"}}}}"#));
        let expected = format!("prepared_statements = {value}: must be true or false (also yes or no, on or off)");
        assert!(error.contains(&expected), "{error}");
    }
    for value in ["2", "0.5", "-1"] {
        assert!(refused(&format!(r#"{{"database": {{"prepared_statements": {value}}}}}"#)).contains("true or false"));
    }
}

#[test]
fn any_name_is_an_environment_with_the_settings_of_production() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stepwell.yml");
    let load = |environment| Sources { environment: Some(environment), file: &file, ..Sources::default() }.load();
    let loaded = load("staging").unwrap();
    assert_eq!(loaded.environment, "staging");
    assert_eq!(loaded.config.orchestrator.polling_interval, Duration::from_millis(200));
    let notice = loaded.notice.unwrap();
    assert!(notice.starts_with("environment staging: the settings of production; "), "{notice}");
    assert!(notice.ends_with("environments/staging.yml would hold its own"), "{notice}");
    assert_eq!(load("production").unwrap().notice, None);

    std::fs::create_dir(folder.path().join("environments")).unwrap();
    std::fs::write(folder.path().join("environments/staging.yml"), "worker: {concurrency: 3}").unwrap();
    let loaded = load("staging").unwrap();
    assert_eq!(loaded.config.worker.concurrency, 3);
    assert_eq!(loaded.config.orchestrator.polling_interval, Duration::from_millis(200));
    assert!(loaded.notice.unwrap().ends_with("environments/staging.yml over the settings of production"));
    for name in ["../x", ".", "a/b", "a b", "x\0"] {
        let error = load(name).map(|loaded| loaded.config).unwrap_err().to_string();
        assert!(error.contains("must be a name of 1 to 64 letters"), "{error}");
    }
}

#[test]
fn a_url_of_blanks_is_none() {
    let loaded = load_own(r#"{"database": {"url": "  ", "direct_url": ""}}"#).unwrap();
    assert_eq!((loaded.config.database.url, loaded.config.database.direct_url), (None, None));
    let file = "database: {url: postgres://there/a}";
    let path = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(path.path(), file).unwrap();
    let config = Config::load_from(Some("test"), path.path(), r#"{"database": {"url": " "}}"#).unwrap();
    assert_eq!(config.database.url.as_deref(), Some("postgres://there/a"));
    // A namespace that seems to have a database of its own must not end up in the common one.
    assert!(refused(r#"{"namespaces": {"a": {"database_url": " "}}}"#).contains("namespaces.a.database_url =  : is no"));
}
