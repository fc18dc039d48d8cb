//! What each parameter may say: those of libpq, those that other programs write into the same URL, and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use super::{Address, Pairs, Refused};

/// What the driver does itself, under the same name.
const DRIVEN: [&str; 12] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "sslmode",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
];
/// Settings of ActiveRecord and other libraries, whose URL this often is, and libpq's for dead connections, which the
/// settings database.call_timeout and database.connect_timeout are here.
const OF_OTHERS: [&str; 28] = [
    "adapter",
    "advisory_locks",
    "checkout_timeout",
    "connection_limit",
    "connect_retry",
    "idle_timeout",
    "insert_returning",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "max_connections",
    "max_queue",
    "min_connections",
    "min_messages",
    "pgbouncer",
    "pool",
    "pool_size",
    "pool_timeout",
    "prepared_statements",
    "reaping_frequency",
    "reconnect",
    "retry_deadline",
    "schema",
    "schema_search_path",
    "statement_limit",
    "tcp_user_timeout",
    "timeout",
];
/// Parameters that work with some values, which are what happens anyway.
const LIMITED: [(&str, &[&str]); 18] = [
    ("channel_binding", &["prefer", "disable"]),
    ("client_encoding", &["utf8", "utf-8", "unicode", "auto"]),
    ("encoding", &["utf8", "utf-8", "unicode"]),
    ("gssdelegation", &["0"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable", "random"]),
    ("max_protocol_version", &["3.0", "latest"]),
    ("min_protocol_version", &["3.0"]),
    ("replication", &["false", "off", "no", "0"]),
    ("sslcertmode", &["allow"]),
    ("sslcompression", &["0"]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
    ("ssl_max_protocol_version", &["tlsv1.3"]),
    ("ssl_min_protocol_version", &["tlsv1", "tlsv1.1", "tlsv1.2"]),
    // Stepwell writes: on a standby every call fails and is tried again until there is a primary.
    ("target_session_attrs", &["any", "read-write", "primary", "prefer-standby"]),
    ("fallback_application_name", &[]),
    ("ssl", &["true"]),
];
/// Parameters of libpq that the driver does not know, and what to do instead.
const UNKNOWN: [(&str, &str); 21] = [
    ("gsslib", "GSSAPI is not supported"),
    ("krbsrvname", "GSSAPI is not supported"),
    ("oauth_client_id", "OAuth is not supported"),
    ("oauth_client_secret", "OAuth is not supported"),
    ("oauth_issuer", "OAuth is not supported"),
    ("oauth_scope", "OAuth is not supported"),
    ("passfile", "set PGPASSFILE, or write the password into the URL"),
    ("require_auth", "say in the server's pg_hba.conf how a role must authenticate"),
    ("requirepeer", "protect the folder of the socket instead"),
    ("requiressl", "write sslmode=require"),
    ("requiresslmode", "write sslmode=require"),
    ("scram_client_key", "write the password"),
    ("scram_server_key", "write the password"),
    ("service", "write host, port, dbname and user into the URL"),
    ("servicefile", "write host, port, dbname and user into the URL"),
    ("sslcrl", "revoked certificates are not checked"),
    ("sslcrldir", "revoked certificates are not checked"),
    ("sslkeylogfile", "keys of connections are not written down"),
    ("sslpassword", "use a key without a password"),
    ("tty", "it is obsolete"),
    ("authtype", "it is obsolete"),
];
const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

pub(super) fn several_hosts() -> Refused {
    Refused::new("names several hosts: name one, or an address that leads to the primary, such as a proxy's")
}

pub(super) fn address(pairs: Pairs) -> Result<Address, Refused> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut connect_timeout = None;
    for (key, value) in pairs {
        match key.as_str() {
            // What is there and empty says nothing, as with libpq.
            _ if value.is_empty() => _ = known.remove(&key),
            "connect_timeout" => connect_timeout = seconds(&value)?,
            "ssl" if value == "true" => _ = known.insert("sslmode".to_owned(), "require".to_owned()),
            "fallback_application_name" => _ = known.entry("application_name".to_owned()).or_insert(value),
            "sslrootcert" if value == "system" => {} // the driver's own certificates of public authorities
            "sslrootcert" => _ = known.insert(key, value),
            key if DRIVEN.contains(&key) => _ = known.insert(key.to_owned(), value),
            key if key.starts_with("options[") => _ = known.insert(key.to_owned(), value),
            key if OF_OTHERS.contains(&key) => {}
            key => limited(key, &value)?,
        }
    }
    check(&mut known)?;
    let named = known.contains_key("application_name") || std::env::var("PGAPPNAME").is_ok();
    let mut url = "postgres:///?".to_owned();
    for (key, value) in &known {
        escape(key, &mut url);
        url.push('=');
        escape(value, &mut url);
        url.push('&');
    }
    let options = PgConnectOptions::from_str(&url).map_err(|error| Refused::new(format!("cannot be used: {error}")))?;
    Ok(Address { options, connect_timeout, named })
}

fn limited(key: &str, value: &str) -> Result<(), Refused> {
    if let Some((_, values)) = LIMITED.iter().find(|(name, _)| *name == key) {
        return match values.contains(&value.to_ascii_lowercase().as_str()) {
            true => Ok(()),
            false => Err(Refused::new(format!("has {key}={}: only {} works", shown(value), values.join(", ")))),
        };
    }
    if let Some((_, instead)) = UNKNOWN.iter().find(|(name, _)| *name == key) {
        return Err(Refused::new(format!("has {key}, which does not work here: {instead}")));
    }
    let near = DRIVEN.iter().copied().chain(["sslrootcert", "connect_timeout"]);
    let near = near.map(|known| (strsim::jaro_winkler(known, key), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = near.filter(|(alike, _)| *alike > 0.85).map(|(_, known)| format!("; did you mean {known}?"));
    Err(Refused::new(format!("has the unknown parameter {}{}", shown(key), meant.unwrap_or_default())))
}

/// What the values must be for the driver, and what libpq makes of them.
fn check(known: &mut BTreeMap<String, String>) -> Result<(), Refused> {
    let get = |key: &str| known.get(key).map(String::as_str);
    if ["host", "hostaddr", "port"].iter().any(|key| get(key).is_some_and(|value| value.contains(','))) {
        return Err(several_hosts());
    }
    if get("host").is_some_and(|host| host.starts_with('@')) {
        return Err(Refused::new(
            "names an abstract socket: give the folder of a socket, such as host=/run/postgresql",
        ));
    }
    if let Some(host) = get("host").filter(|host| host.contains([' ', '@', '?', '#'])) {
        let what = "write @ in a password as %40, / as %2F, ? as %3F, # as %23";
        return Err(Refused::new(format!(
            "has a host of {} characters that can be none; {what}",
            host.chars().count()
        )));
    }
    if get("port").is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(Refused::new("has a port that is no number from 1 to 65535"));
    }
    let mode = get("sslmode").map(str::to_owned);
    if let Some(mode) = mode.as_deref().filter(|mode| !MODES.contains(mode)) {
        return Err(Refused::new(format!("has sslmode={}: allowed are {}", shown(mode), MODES.join(", "))));
    }
    if let Some(address) = get("hostaddr").map(str::to_owned) {
        if address.parse::<IpAddr>().is_err() {
            return Err(Refused::new("has a hostaddr that is no IP address; write host=NAME"));
        }
        if get("host").is_some() && mode.as_deref() == Some("verify-full") {
            return Err(Refused::new("has hostaddr beside host with sslmode=verify-full: give one of the two"));
        }
        known.insert("host".to_owned(), address);
        known.remove("hostaddr");
    }
    let socket = known.get("host").is_some_and(|host| host.starts_with('/'));
    let mode = match mode.as_deref() {
        // As libpq: nobody listens in on a socket of the machine.
        _ if socket => Some("disable"),
        // It tries without TLS first, which a server that wants TLS refuses; the driver can only try with TLS first.
        Some("allow") => Some("prefer"),
        Some("require") if known.contains_key("sslrootcert") => Some("verify-ca"),
        mode => mode,
    };
    if let Some(mode) = mode.map(str::to_owned) {
        known.insert("sslmode".to_owned(), mode);
    }
    Ok(())
}

/// None for 0 and less, which is no limit of its own.
fn seconds(text: &str) -> Result<Option<Duration>, Refused> {
    match text.trim().parse::<i64>() {
        Ok(seconds) => Ok(u64::try_from(seconds).ok().filter(|it| (1..=86_400).contains(it)).map(Duration::from_secs)),
        Err(_) => Err(Refused::new(format!("has connect_timeout={}: must be whole seconds", shown(text)))),
    }
}

/// The beginning of a value that is no secret.
fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

fn escape(text: &str, url: &mut String) {
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => url.push(char::from(byte)),
            false => _ = write!(url, "%{byte:02X}"), // into a String it cannot fail
        }
    }
}
