//! What a database or a role sets by default and that would change how our statements read, or pgmq's. A session of ours
//! undoes it; what is as usual is not touched.

use std::time::Duration;

use sqlx::{Error, Executor, PgConnection};

/// For every session: how texts are read, what a transaction sees, what PL/pgSQL takes for an error.
const ALWAYS: [(&str, &str); 7] = [
    ("standard_conforming_strings", "on"),
    ("default_transaction_isolation", "read committed"),
    ("plpgsql.extra_errors", "none"),
    ("plpgsql.variable_conflict", "error"),
    ("transform_null_equals", "off"),
    ("array_nulls", "on"),
    ("restrict_nonsystem_relation_kind", ""),
];

/// For what makes and changes the schema, besides: a migration is asked for by a person or a release, takes its time, and
/// is the same everywhere. It waits a minute for others, those included that migrate at the same time.
const WHILE_MIGRATING: [(&str, &str); 21] = [
    ("lock_timeout", "60s"),
    ("statement_timeout", "0"),
    ("transaction_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("default_table_access_method", "heap"),
    ("check_function_bodies", "on"),
    ("quote_all_identifiers", "off"),
    ("backslash_quote", "safe_encoding"),
    ("row_security", "on"),
    ("client_min_messages", "notice"),
    ("plpgsql.extra_warnings", "none"),
    ("plpgsql.print_strict_params", "off"),
    ("xmloption", "content"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("search_path", "public"),
];

/// Only what another version of PostgreSQL lacks, or what is as it should be, is left out. A setting of PL/pgSQL is not
/// known before its first function runs, unless somebody has set it.
const SETTLE: &str = "select count(set_config(s.name, s.value, false))
    from unnest($1::text[], $2::text[]) as s (name, value)
   where current_setting(s.name, true) <> s.value";

/// The server looks this often whether the client of a statement that takes long is still there. A call that was given up ends
/// with that; otherwise it would go on, and its retries would stand beside it. Not every system that PostgreSQL runs on can
/// tell.
const WATCH_CLIENT: &str = "set client_connection_check_interval = '1s'";

/// Begins a transaction of a session that is not ours to set, and that outlives its client where a pooler keeps it: its statements
/// end by themselves a little after the caller has given them up, unless the role or database says when.
pub(super) fn begin_bounded(call_timeout: Duration) -> String {
    let limit = call_timeout.as_millis().saturating_add(1_000).min(i32::MAX as u128);
    format!(
        "begin; select set_config('statement_timeout', '{limit}', true) where current_setting('statement_timeout') = '0'"
    )
}

/// Makes a session one that reads our statements as they are meant, and that ends with its client.
pub(super) async fn settle(connection: &mut PgConnection) -> Result<(), Error> {
    apply(connection, &ALWAYS).await?;
    match connection.execute(WATCH_CLIENT).await {
        Err(Error::Database(_)) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same for one that migrates.
pub(super) async fn settle_to_migrate(connection: &mut PgConnection) -> Result<(), Error> {
    apply(connection, &ALWAYS).await?;
    apply(connection, &WHILE_MIGRATING).await
}

async fn apply(connection: &mut PgConnection, settings: &[(&str, &str)]) -> Result<(), Error> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.iter().copied().unzip();
    sqlx::query(SETTLE).bind(names).bind(values).persistent(false).execute(connection).await?;
    Ok(())
}
