//! Settings of the server, the database or the role that make work slow, or lose it.

use std::collections::HashMap;

use super::Check;
use crate::error::Error;
use crate::store::Store;

/// A setting, whether its value hurts, what it does, and what to do about it.
type Rule = (&'static str, fn(&str) -> bool, &'static str, &'static str);

/// Values are as `pg_settings` has them: `on` and `off`, numbers in the setting's own unit.
const RULES: [Rule; 12] = [
    ("fsync", off, "a crash of the machine can destroy the database", "turn it on: alter system set fsync = on"),
    (
        "full_page_writes",
        off,
        "a crash of the machine can destroy the database",
        "alter system set full_page_writes = on",
    ),
    (
        "synchronous_commit",
        off,
        "a crash of the server loses what was committed just before, submitted tasks too",
        "set it to on, or local, for this database or role",
    ),
    (
        "autovacuum",
        off,
        "queues are never cleaned, and every fetch gets slower",
        "alter system set autovacuum = on, and reload",
    ),
    (
        "track_counts",
        off,
        "autovacuum does not know what to clean, and every fetch gets slower",
        "alter system set track_counts = on, and reload",
    ),
    (
        "default_transaction_isolation",
        |value| value != "read committed",
        "transactions fail when they meet, and are tried again",
        "reset it for this database and role: read committed is what the functions are written for",
    ),
    (
        "statement_timeout",
        |value| (1..5_000).contains(&number(value)),
        "large batches, migrations and `stepwell check` are cut off",
        "raise it for this role: alter role … set statement_timeout = '30s'; calls have an end of their own",
    ),
    (
        "lock_timeout",
        |value| (1..1_000).contains(&number(value)),
        "a call that meets a lock for a moment is tried again in smaller batches, instead of waiting for it",
        "raise it for this role: alter role … set lock_timeout = '10s'; calls have an end of their own",
    ),
    (
        "idle_session_timeout",
        |value| (1..60_000).contains(&number(value)),
        "connections that wait for work are closed and made again",
        "raise it for this role: alter role … set idle_session_timeout = 0",
    ),
    (
        "log_statement",
        |value| value == "all",
        "every statement is written to the log, thousands a second",
        "set it to ddl or none for this role",
    ),
    (
        "log_min_duration_statement",
        |value| value == "0",
        "every statement is written to the log, thousands a second",
        "set it to 100ms or more for this role",
    ),
    (
        "shared_buffers",
        |value| number(value) < 16_384,
        "the working set does not fit, pages are read again and again",
        "alter system set shared_buffers to a quarter of the memory, at least 128MB, and restart",
    ),
];

fn off(value: &str) -> bool {
    value == "off"
}

fn number(value: &str) -> i64 {
    value.parse().unwrap_or(i64::MAX)
}

/// One check for each setting that hurts; one for all when none does.
pub(super) async fn check(store: &Store) -> Result<Vec<Check>, Error> {
    let names: Vec<&str> = RULES.iter().map(|(name, ..)| *name).collect();
    // Timeouts as the database or role has them: a call through a pooler has its own.
    let values: Vec<(String, String)> = sqlx::query_as(
        "select name, case when name like '%timeout' then reset_val else setting end from pg_settings where name = any ($1)",
    )
    .bind(&names)
    .fetch_all(store)
    .await
    .map_err(|source| Error::Database { url: store.masked_url().to_owned(), source })?;
    Ok(judge(&values.into_iter().collect()))
}

fn judge(values: &HashMap<String, String>) -> Vec<Check> {
    let found: Vec<Check> = RULES
        .iter()
        .filter_map(|(name, hurts, harm, fix)| {
            let value = values.get(*name).filter(|value| hurts(value))?;
            Some(Check::warn(name, format!("{value}: {harm}"), *fix))
        })
        .collect();
    match found.is_empty() {
        true => vec![Check::ok("settings", format!("none of {} hurts", RULES.len()))],
        false => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, value: &str) -> Vec<&'static str> {
        let checks = judge(&HashMap::from([(name.to_owned(), value.to_owned())]));
        checks.into_iter().filter(|check| check.fix.is_some()).map(|check| check.name).collect()
    }

    #[test]
    fn names_what_hurts_and_nothing_else() {
        for (name, bad, good) in [
            ("fsync", "off", "on"),
            ("full_page_writes", "off", "on"),
            ("synchronous_commit", "off", "local"),
            ("autovacuum", "off", "on"),
            ("track_counts", "off", "on"),
            ("default_transaction_isolation", "serializable", "read committed"),
            ("statement_timeout", "1000", "0"),
            ("lock_timeout", "100", "0"),
            ("idle_session_timeout", "500", "0"),
            ("log_statement", "all", "ddl"),
            ("log_min_duration_statement", "0", "-1"),
            ("shared_buffers", "16", "16384"),
        ] {
            assert_eq!(judged(name, bad), [name]);
            assert!(judged(name, good).is_empty(), "{name} = {good}");
        }
        assert_eq!(judge(&HashMap::new())[0].name, "settings");
    }
}
