//! Section `traces`: whether, where and how many spans are exported.

use serde::Deserialize;

use super::origin::{Effective, Problems};

/// Section `traces`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// URL of an OTLP receiver that speaks HTTP with Protocol Buffers; none exports nothing. `/v1/traces` is added to a
    /// URL without a path.
    pub otlp_endpoint: Option<String>,
    /// Share of the traces that begin here, 0.0 to 1.0, that are exported. One that began at the submitter's is exported
    /// when the submitter says so.
    pub sample_ratio: f64,
    /// Name under which receivers show this program; none means `OTEL_SERVICE_NAME`, else `stepwell`.
    pub service_name: Option<String>,
}

impl Traces {
    /// Where spans go; none when nothing is exported.
    pub(crate) fn url(&self) -> Option<String> {
        let endpoint = self.otlp_endpoint.as_deref().map(str::trim).filter(|endpoint| !endpoint.is_empty())?;
        let has_path =
            |url: &str| url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
        Some(match has_path(endpoint) {
            true => endpoint.to_owned(),
            false => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        })
    }
}

pub(super) fn check(traces: &Traces, effective: &Effective, problems: &mut Problems) {
    if !(0.0..=1.0).contains(&traces.sample_ratio) {
        problems.of(effective, "traces.sample_ratio", "must be from 0.0 to 1.0");
    }
    let usable = |url: &str| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && !url.contains(char::is_whitespace)
    };
    if traces.url().is_some_and(|url| !usable(&url)) {
        problems.of(effective, "traces.otlp_endpoint", "must be a URL such as http://localhost:4318");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn load(endpoint: &str, sample_ratio: &str) -> crate::Result<Config> {
        let section = format!(r#"{{"otlp_endpoint": "{endpoint}", "sample_ratio": {sample_ratio}}}"#);
        Config::load_with(Some("test"), &format!(r#"{{"traces": {section}}}"#))
    }

    #[test]
    fn a_url_without_a_path_gets_the_usual_one() {
        for (endpoint, url) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://otlp.example/tenant/v1/traces", "https://otlp.example/tenant/v1/traces"),
        ] {
            assert_eq!(load(endpoint, "1").unwrap().traces.url().as_deref(), Some(url));
        }
        assert_eq!(load(" ", "0.0").unwrap().traces.url(), None);
        assert_eq!(Config::load(Some("test")).unwrap().traces.url(), None, "off by default");
    }

    #[test]
    fn wrong_settings_are_named() {
        for (endpoint, sample_ratio, expected) in [
            ("localhost:4318", "1.0", "traces.otlp_endpoint = localhost:4318"),
            ("grpc://localhost:4317", "1.0", "must be a URL"),
            ("http:// localhost", "1.0", "must be a URL"),
            ("http://localhost", "1.5", "traces.sample_ratio = 1.5"),
            ("http://localhost", "-0.5", "must be from 0.0 to 1.0"),
            ("http://localhost", r#""much""#, "traces.sample_ratio"),
        ] {
            let error = load(endpoint, sample_ratio).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
