//! `Stepwell::Native::Workflow`: a checked definition. `Stepwell::Native::Config`: the settings.

use magnus::{function, method, Error, Module, Object, RModule, Ruby};
use stepwell::config::{self, Setting, Sources};
use stepwell::{telemetry, Config, Workflow};

use crate::errors::{entry, error, raise};

#[magnus::wrap(class = "Stepwell::Native::Workflow", free_immediately, size)]
pub(crate) struct NativeWorkflow(pub(crate) Workflow);

#[magnus::wrap(class = "Stepwell::Native::Config", free_immediately, size)]
pub(crate) struct NativeConfig {
    pub(crate) config: Config,
    settings: Vec<Setting>,
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let workflow = crate::define_class::<NativeWorkflow>(ruby, native, "Workflow")?;
    workflow.define_singleton_method("from_json", function!(from_json, 1))?;
    workflow.define_singleton_method("from_yaml", function!(from_yaml, 2))?;
    workflow.define_method("to_json", method!(to_json, 0))?;
    let config = crate::define_class::<NativeConfig>(ruby, native, "Config")?;
    config.define_singleton_method("load", function!(load, 2))?;
    config.define_method("concurrency", method!(|config: &NativeConfig| config.config.worker.concurrency, 0))?;
    config.define_method("database_url", method!(|config: &NativeConfig| config.config.database.url.clone(), 0))?;
    config.define_method("settings", method!(settings, 0))?;
    config.define_singleton_method("keys", function!(|| config::keys().map(str::to_owned).collect::<Vec<_>>(), 0))?;
    native.define_singleton_method("environment", function!(environment, 0))?;
    native.define_singleton_method("mask_url", function!(|url: String| telemetry::mask_url(&url), 1))?;
    native
        .define_singleton_method("mask_text", function!(|text: String| telemetry::mask_text(&text).into_owned(), 1))?;
    native
        .define_singleton_method("mask_json", function!(|json: String| telemetry::mask_json(&json).into_owned(), 1))?;
    native.define_singleton_method(
        "mask_field",
        function!(|key: String, value: String| telemetry::mask_field(&key, &value).into_owned(), 2),
    )?;
    Ok(())
}

fn from_json(ruby: &Ruby, json: String) -> Result<NativeWorkflow, Error> {
    entry(ruby, || Workflow::from_json(&json).map(NativeWorkflow).map_err(|error| raise(ruby, &error)))
}

fn from_yaml(ruby: &Ruby, yaml: String, environment: String) -> Result<NativeWorkflow, Error> {
    entry(ruby, || {
        stepwell::workflow::from_yaml(&yaml, &environment).map(NativeWorkflow).map_err(|error| raise(ruby, &error))
    })
}

fn to_json(workflow: &NativeWorkflow) -> String {
    workflow.0.to_json()
}

fn environment(ruby: &Ruby) -> Result<String, Error> {
    entry(ruby, || config::current_environment().map_err(|failure| raise(ruby, &failure)))
}

fn load(ruby: &Ruby, environment: Option<String>, overrides: String) -> Result<NativeConfig, Error> {
    entry(ruby, || {
        let sources = Sources {
            environment: environment.as_deref(),
            settings: &overrides,
            program: "Stepwell.configure",
            ..Sources::default()
        };
        let loaded = sources.load().map_err(|error| raise(ruby, &error))?;
        telemetry::set_sensitive_keys(&loaded.config.masking.keys);
        telemetry::init(&loaded.config.logging);
        loaded.tell();
        Ok(NativeConfig { config: loaded.config, settings: loaded.settings })
    })
}

/// What is in force as JSON text, masked: key, value and where that came from.
fn settings(ruby: &Ruby, config: &NativeConfig) -> Result<String, Error> {
    entry(ruby, || serde_json::to_string(&config.settings).map_err(|failure| error(ruby, "Error", failure.to_string())))
}
