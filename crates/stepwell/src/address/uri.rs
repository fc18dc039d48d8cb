//! `postgres://user:password@host:port/database?key=value`, every part of which may be missing.

use std::ops::Range;

use super::{is_secret, Pairs, Refused};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// What stands behind the scheme.
pub(super) fn rest(text: &str) -> Option<&str> {
    let is = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    SCHEMES.iter().find(|scheme| is(scheme)).map(|scheme| &text[scheme.len()..])
}

pub(super) fn pairs(rest: &str) -> Result<Pairs, Refused> {
    let mut pairs = Pairs::new();
    let Parts { user, password, hosts, database, query } = parts(rest);
    let mut part = |key: &str, value: &str| -> Result<(), Refused> {
        if !value.is_empty() {
            pairs.push((key.to_owned(), decoded(value).map_err(|()| not_text(key))?));
        }
        Ok(())
    };
    part("user", user)?;
    part("password", password)?;
    let (host, port) = host_and_port(hosts)?;
    part("host", host)?;
    part("port", port)?;
    part("dbname", database)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Refused::new("has a parameter without =; write ?key=value&key=value"));
        };
        let key = decoded(key).map_err(|()| Refused::new("has a parameter whose name is not UTF-8"))?;
        let value = decoded(value).map_err(|()| not_text(&key))?;
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// The password of the user and those among the parameters.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let Some(rest) = rest(text.trim()) else { return Vec::new() };
    let Parts { password, query, .. } = parts(rest);
    let place = |part: &str| {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        start..start + part.len()
    };
    let parameters = query.split('&').filter_map(|pair| pair.split_once('='));
    let hidden = parameters.filter(|(key, _)| decoded(key).is_ok_and(|key| is_secret(&key))).map(|(_, value)| value);
    hidden.chain([password]).filter(|secret| !secret.is_empty()).map(place).collect()
}

struct Parts<'t> {
    user: &'t str,
    password: &'t str,
    hosts: &'t str,
    database: &'t str,
    query: &'t str,
}

/// A password may hold what URLs would escape: the last @ before the path ends it.
fn parts(rest: &str) -> Parts<'_> {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let before_path = &rest[..rest.find('/').unwrap_or(rest.len())];
    // One with a ? or # in it hides the @ from the first.
    let at = authority.rfind('@').or_else(|| before_path.find('@').filter(|_| authority.contains(':')));
    let (credentials, rest) = at.map_or(("", rest), |at| (&rest[..at], &rest[at + 1..]));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    Parts { user, password, hosts, database, query }
}

/// An IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Result<(&str, &str), Refused> {
    if text.contains(',') {
        return Err(super::parameters::several_hosts());
    }
    if let Some(inside) = text.strip_prefix('[') {
        let Some((host, rest)) = inside.split_once(']') else {
            return Err(Refused::new("has a [ without its ] around the host"));
        };
        return match rest.strip_prefix(':').or(rest.is_empty().then_some("")) {
            Some(port) => Ok((host, port)),
            None => Err(Refused::new("has something other than :port behind the ] of the host")),
        };
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    Ok((host, port))
}

fn not_text(key: &str) -> Refused {
    Refused::new(format!("has a value of {key} that is not UTF-8, or holds the character NUL"))
}

/// `%40` is @. A % that begins no escape is itself.
fn decoded(text: &str) -> Result<String, ()> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape =
            (*first == b'%').then(|| after.get(..2)).flatten().filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let byte = escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    match bytes.contains(&0) {
        true => Err(()),
        false => String::from_utf8(bytes).map_err(drop),
    }
}
