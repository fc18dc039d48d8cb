use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::Layer;

use super::*;
use crate::signals::lock;

const CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/log_lines.json"));

/// What is logged from info on, plain lines without their times.
pub(crate) fn logged(body: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = lines.clone();
    let layer = layer::Lines(move |record| lock(&written).push(line(record, Format::Plain)));
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO));
    tracing::subscriber::with_default(subscriber, body);
    let lines = lock(&lines).clone();
    lines.iter().filter_map(|line| line.split_once(' ')).map(|(_time, line)| line.trim_end().to_owned()).collect()
}

#[derive(Deserialize)]
struct Case {
    about: String,
    time: (u64, u32),
    level: String,
    component: String,
    message: String,
    fields: Map<String, Json>,
    plain: String,
    pretty: String,
    json: String,
    text: String,
    pretty_text: String,
}

impl Case {
    fn record(&self) -> Record {
        let value = |json: &Json| match json {
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => match number.as_i64() {
                Some(integer) => Value::Integer(integer.into()),
                None => Value::Float(number.as_f64().unwrap()),
            },
            other => Value::Text(other.as_str().unwrap().to_owned()),
        };
        Record {
            time: UNIX_EPOCH + Duration::new(self.time.0, self.time.1),
            level: Level::named(&self.level).unwrap(),
            component: Component::named(&self.component).unwrap(),
            message: self.message.clone(),
            fields: self.fields.iter().map(|(key, json)| (Cow::Owned(key.clone()), value(json))).collect(),
        }
    }
}

#[test]
fn lines_are_as_both_languages_have_agreed() {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() > 10);
    for case in cases {
        for (format, expected) in
            [(Format::Plain, &case.plain), (Format::Pretty, &case.pretty), (Format::Json, &case.json)]
        {
            assert_eq!(line(case.record(), format), format!("{expected}\n"), "{}, {format:?}", case.about);
        }
        for (format, expected) in
            [(Format::Plain, &case.text), (Format::Json, &case.text), (Format::Pretty, &case.pretty_text)]
        {
            assert_eq!(&text(case.record(), format), expected, "{}, {format:?}", case.about);
        }
    }
}

#[test]
fn an_event_is_a_line_of_its_component_with_its_fields() {
    let lines = logged(|| {
        let error = std::io::Error::other("it broke\nbadly");
        tracing::warn!(target: target::QUEUE, queue = "orders", batch = 3_u32, %error, after = ?Duration::from_millis(5), "oops");
        tracing::debug!("not of interest");
        tracing::info!("{} of {}", 1, 2);
    });
    assert_eq!(lines[0], r#"WARN QUEUE oops queue=orders batch=3 error="it broke\nbadly" after=5ms"#);
    assert_eq!(lines[1..], ["INFO HEALTH 1 of 2"]);
}

#[test]
fn what_is_long_is_cut() {
    let record = Record {
        message: "ä".repeat(10_000),
        fields: vec![("text".into(), Value::Text("x".repeat(9_000)))],
        ..Record::now(Level::Info, Component::health())
    };
    let line = line(record, Format::Plain);
    assert!(line.contains("ää… (11808 more bytes) text=\"xx") && line.len() < 17_000, "{line}");
}

#[test]
fn numbers_that_json_has_no_room_for_are_texts_or_nothing() {
    let fields = vec![("large".into(), Value::Integer(i128::from(u64::MAX))), ("nan".into(), Value::Float(f64::NAN))];
    let line = line(Record { fields, ..Record::now(Level::Info, Component::health()) }, Format::Json);
    assert!(line.contains(r#""fields":{"large":"18446744073709551615","nan":null}"#), "{line}");
}
