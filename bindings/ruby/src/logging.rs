//! `Stepwell::Native::Logging`: the core's lines for Ruby, and Ruby's lines in the core's pattern.

use std::borrow::Cow;
use std::time::{Duration, Instant, UNIX_EPOCH};

use magnus::value::ReprValue;
use magnus::{
    function, r_hash::ForEach, Error, Float, Integer, IntoValue, Object, RArray, RHash, RModule, Ruby, Value,
};
use magnus::{Module, TryConvert};
use stepwell::telemetry::{self, Component, Format, Level, Record};

use crate::duration::from_seconds;
use crate::errors::{entry, error};
use crate::gvl::without_gvl;

/// How long one wait for lines lasts at most; an interrupt ends it early.
const LOOK: Duration = Duration::from_secs(1);
/// How long the wait for the output lasts before an interrupt is heard.
const INTERRUPTS: Duration = Duration::from_millis(50);

pub(crate) fn init(native: RModule) -> Result<(), Error> {
    let logging = native.define_module("Logging")?;
    logging.define_singleton_method("line", function!(line, 5))?;
    logging.define_singleton_method("text", function!(text, 3))?;
    logging.define_singleton_method("write", function!(telemetry::write, 1))?;
    logging.define_singleton_method("enabled?", function!(is_enabled, 2))?;
    logging.define_singleton_method("level", function!(|| severity(telemetry::most_verbose_level()), 0))?;
    logging.define_singleton_method("components", function!(components, 0))?;
    logging.define_singleton_method("set", function!(set, 3))?;
    logging.define_singleton_method("forward", function!(telemetry::forward, 1))?;
    logging.define_singleton_method("next", function!(next, 0))?;
    logging.define_singleton_method("wake", function!(telemetry::wake_forwarder, 0))?;
    logging.define_singleton_method("flush", function!(flush, 1))?;
    logging.define_singleton_method("dropped", function!(telemetry::dropped, 0))?;
    Ok(())
}

/// The line of one call of Ruby's logger, in the format that is set.
fn line(
    ruby: &Ruby,
    time: (u64, u32),
    level: u8,
    about: String,
    message: String,
    fields: RHash,
) -> Result<String, Error> {
    entry(ruby, || {
        let mut record = record(ruby, about, message, fields)?;
        record.time = UNIX_EPOCH + Duration::new(time.0, time.1);
        record.level = of_severity(level);
        Ok(telemetry::line(record, telemetry::format()))
    })
}

/// Component, message and fields, for a logger that has its own way with time and level.
fn text(ruby: &Ruby, about: String, message: String, fields: RHash) -> Result<String, Error> {
    entry(ruby, || Ok(telemetry::text(record(ruby, about, message, fields)?, telemetry::format())))
}

fn record(ruby: &Ruby, about: String, message: String, fields: RHash) -> Result<Record, Error> {
    let mut record = Record::new(Level::Info, component(ruby, &about)?, message);
    fields.foreach(|key: Value, value: Value| {
        let value = field(value)?;
        record.fields.push((Cow::Owned(key.to_r_string()?.to_string()?), value));
        Ok(ForEach::Continue)
    })?;
    Ok(record)
}

/// Ruby has made texts, numbers and truths of everything.
fn field(value: Value) -> Result<telemetry::Value, Error> {
    if let Some(number) = Integer::from_value(value) {
        return Ok(match number.to_i64() {
            Ok(number) => telemetry::Value::Integer(number.into()),
            Err(_) => telemetry::Value::Text(number.to_string()),
        });
    }
    if let Some(number) = Float::from_value(value) {
        return Ok(telemetry::Value::Float(number.to_f64()));
    }
    let ruby = Ruby::get_with(value);
    if value.is_kind_of(ruby.class_true_class()) || value.is_kind_of(ruby.class_false_class()) {
        return Ok(telemetry::Value::Bool(value.to_bool()));
    }
    String::try_convert(value).map(telemetry::Value::Text)
}

fn is_enabled(ruby: &Ruby, about: String, level: u8) -> Result<bool, Error> {
    Ok(telemetry::is_enabled(component(ruby, &about)?, of_severity(level)))
}

fn components() -> Vec<&'static str> {
    Component::all().map(Component::name).collect()
}

/// What is given: a level, a format, levels by component, where none means that of all. All of it, or, when something
/// is wrong, nothing.
fn set(ruby: &Ruby, level: Option<String>, format: Option<String>, components: RHash) -> Result<(), Error> {
    entry(ruby, || {
        let wrong = |key: &str, wrong: String| error(ruby, "ConfigurationError", format!("{key}: {wrong}"));
        let named = |key: &str, name: String| Level::try_from(name).map_err(|why| wrong(key, why));
        let level = level.map(|name| named("level", name)).transpose()?;
        let format = format.map(|name| Format::try_from(name).map_err(|why| wrong("format", why))).transpose()?;
        let mut levels = Vec::new();
        components.foreach(|about: String, level: Option<String>| {
            levels.push((component(ruby, &about)?, level.map(|name| named(&about, name)).transpose()?));
            Ok(ForEach::Continue)
        })?;
        level.into_iter().for_each(telemetry::set_level);
        format.into_iter().for_each(telemetry::set_format);
        levels.into_iter().for_each(|(component, level)| telemetry::set_component_level(component, level));
        Ok(())
    })
}

/// Waits for lines of Rust: each is a severity, a component, a message and fields. Empty after a wake.
fn next(ruby: &Ruby) -> Result<RArray, Error> {
    entry(ruby, || {
        let mut records = Vec::new();
        let slot = &mut records;
        without_gvl(move || *slot = telemetry::next_forwarded(LOOK), &telemetry::wake_forwarder)?;
        ruby.thread_check_ints()?;
        let lines = ruby.ary_new_capa(records.len());
        for record in records {
            let fields = ruby.hash_new();
            for (key, value) in record.fields {
                let value = match value {
                    telemetry::Value::Text(text) => text.into_value_with(ruby),
                    telemetry::Value::Integer(number) => match i64::try_from(number) {
                        Ok(number) => number.into_value_with(ruby),
                        Err(_) => number.to_string().into_value_with(ruby),
                    },
                    telemetry::Value::Float(number) => number.into_value_with(ruby),
                    telemetry::Value::Bool(truth) => truth.into_value_with(ruby),
                };
                fields.aset(key.as_ref(), value)?;
            }
            lines.push((severity(record.level), record.component.name(), record.message, fields))?;
        }
        Ok(lines)
    })
}

/// Waits at most `timeout` seconds until what was logged is written. Looks for interrupts all the while.
fn flush(ruby: &Ruby, timeout: f64) -> Result<bool, Error> {
    entry(ruby, || {
        let (started, patience) = (Instant::now(), from_seconds(timeout));
        loop {
            let left = patience.saturating_sub(started.elapsed());
            let mut written = false;
            let slot = &mut written;
            without_gvl(move || *slot = telemetry::flush(left.min(INTERRUPTS)), &|| ())?;
            ruby.thread_check_ints()?;
            if written || left.is_zero() {
                return Ok(written);
            }
        }
    })
}

fn component(ruby: &Ruby, name: &str) -> Result<Component, Error> {
    Component::named(name).ok_or_else(|| {
        let message = format!("{name:?} is no component of log lines: {}", components().join(", "));
        error(ruby, "ConfigurationError", message)
    })
}

/// Of Ruby's `Logger`: 0 debug to 5 unknown, which is always logged.
fn of_severity(severity: u8) -> Level {
    match severity {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Warn,
        _ => Level::Error,
    }
}

fn severity(level: Level) -> u8 {
    match level {
        Level::Trace | Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}
