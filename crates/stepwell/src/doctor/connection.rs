//! The server, and what this user may do on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::Check;
use crate::error::Error;
use crate::store::Store;

/// The oldest PostgreSQL that is supported, as `server_version_num`.
const OLDEST: i32 = 140_000;
/// How long a notification may take.
const ROUND_TRIP: Duration = Duration::from_secs(3);
/// How far the clocks of this machine and the database may be apart.
const SKEW: Duration = Duration::from_secs(5);

pub(super) fn refused(error: &Error) -> Check {
    let fix = match error.sqlstate().as_deref() {
        _ if matches!(error, Error::Configuration { .. }) => {
            "correct the URL; with a direct_url, both must lead to one database"
        }
        Some("28P01" | "28000") => "correct user and password in the URL, or what pg_hba.conf allows this user",
        Some("3D000") => "create the database (`createdb NAME`), or correct its name in the URL",
        Some("53300") => "raise max_connections, or let the programs on this database keep fewer connections",
        Some("57P03") => "the server is starting or shutting down: try again in a moment",
        _ => "start PostgreSQL, or correct host and port in the URL; a firewall may be between",
    };
    Check::fail("connection", error.to_string(), fix)
}

pub(super) async fn answers(store: &Store) -> Result<Check, Error> {
    let question = "select session_user::text, current_database()::text";
    let (user, database): (String, String) = fetch(store, question).await?;
    // The quickest of several: one on a connection that is there already.
    let mut took = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let _the_same: (String, String) = fetch(store, question).await?;
        took = took.min(started.elapsed());
    }
    let found = format!("{database} as {user}, an answer in {:.1} ms", took.as_secs_f64() * 1000.0);
    if took > Duration::from_millis(20) {
        let fix = "run orchestrators and workers near the database: every transaction waits for such an answer";
        return Ok(Check::warn("connection", found, fix));
    }
    Ok(Check::ok("connection", found))
}

pub(super) async fn version(store: &Store) -> Result<Check, Error> {
    let (number, text): (i32, String) =
        fetch(store, "select current_setting('server_version_num')::integer, current_setting('server_version')")
            .await?;
    let found = format!("PostgreSQL {text}");
    Ok(match number < OLDEST {
        true => Check::fail("version", found, "upgrade the server: PostgreSQL 14 or newer is needed"),
        false => Check::ok("version", found),
    })
}

pub(super) async fn primary(store: &Store) -> Result<Check, Error> {
    let (standby, read_only): (bool, bool) =
        fetch(store, "select pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean").await?;
    Ok(if standby {
        Check::fail(
            "writable",
            "this server is a standby",
            "connect to the primary: by its host, or an address that follows it",
        )
    } else if read_only {
        let fix = "alter database … reset default_transaction_read_only, or the same for the role";
        Check::fail("writable", "default_transaction_read_only is on", fix)
    } else {
        Check::ok("writable", "a primary that accepts writes")
    })
}

pub(super) async fn encoding(store: &Store) -> Result<Check, Error> {
    let (encoding,): (String,) = fetch(store, "select current_setting('server_encoding')").await?;
    Ok(match encoding.as_str() {
        "UTF8" => Check::ok("encoding", encoding),
        _ => Check::fail("encoding", encoding, "use a database with encoding UTF8: contexts and results are JSON"),
    })
}

pub(super) async fn pgmq(store: &Store) -> Result<Check, Error> {
    let (extension, schema, offered): (Option<String>, bool, bool) = fetch(
        store,
        "select (select extversion from pg_extension where extname = 'pgmq'),
                exists (select from pg_namespace where nspname = 'pgmq'),
                exists (select from pg_available_extensions where name = 'pgmq')",
    )
    .await?;
    Ok(Check::ok(
        "pgmq",
        match extension {
            Some(version) => format!("the extension, version {version}"),
            None if schema => "its SQL, installed with ours".to_owned(),
            None if offered => "not there yet; `stepwell migrate` creates the extension".to_owned(),
            None => "not there yet; `stepwell migrate` installs its SQL".to_owned(),
        },
    ))
}

pub(super) async fn privileges(store: &Store) -> Result<Check, Error> {
    let name = "privileges";
    let (user, database, create, owner): (String, String, bool, Option<bool>) = fetch(
        store,
        "select quote_ident(current_user), quote_ident(current_database()),
                has_database_privilege(current_database(), 'create'),
                (select pg_has_role(n.nspowner, 'usage') from pg_namespace n where n.nspname = 'stepwell')",
    )
    .await?;
    Ok(match owner {
        None if create => Check::ok(name, format!("{user} may create schemas, which migrating needs")),
        None => {
            let fix = format!("grant create on database {database} to {user}; or migrate as the database's owner");
            Check::fail(name, format!("{user} may not create schemas, which migrating needs"), fix)
        }
        Some(true) => Check::ok(name, format!("{user} owns the schema, and may do everything")),
        Some(false) => granted(store, name, &user).await?,
    })
}

/// What a role that is not the owner was given by `stepwell.grant_role`.
async fn granted(store: &Store, name: &'static str, user: &str) -> Result<Check, Error> {
    let kinds: (Vec<String>,) = fetch(
        store,
        "select array(select k.kind
                        from (values ('client', 'submit_tasks'), ('operator', 'pause_namespace'),
                                     ('worker', 'claim_steps'), ('orchestrator', 'initialize_tasks')) as k (kind, function)
                       where has_schema_privilege('stepwell', 'usage')
                         and exists (select from pg_proc p
                                      where p.pronamespace = (select oid from pg_namespace where nspname = 'stepwell')
                                        and p.proname = k.function and has_function_privilege(p.oid, 'execute')))",
    )
    .await?;
    Ok(match kinds.0.is_empty() {
        false => Check::ok(name, format!("{user} has what it needs as {}", kinds.0.join(", "))),
        true => {
            let fix = format!(
                "as the schema's owner: select stepwell.grant_role('{user}', KIND), where KIND is client, operator, worker \
                 or orchestrator"
            );
            Check::fail(name, format!("{user} is not the schema's owner, and was given nothing"), fix)
        }
    })
}

/// Whether this role can read what tells how the database is doing: a worker's cannot.
pub(super) async fn sees_everything(store: &Store) -> Result<bool, Error> {
    let query = "select coalesce(bool_and(has_table_privilege(c.oid, 'select')), false) from pg_class c
                  where c.relnamespace = (select oid from pg_namespace where nspname = 'stepwell')
                    and c.relname in ('queued_requests', 'claims', 'dead_letters')";
    Ok(fetch::<(bool,)>(store, query).await?.0)
}

/// A notification of our own must come back. Poolers that hand out another connection for each transaction lose it.
pub(super) async fn listens(store: &Store) -> Check {
    let name = "listen";
    if !store.has_sessions() {
        let found = "through a pooler (database.prepared_statements is false) nothing can be heard";
        return Check::warn(name, found, "set database.direct_url to the server's own URL: wake-ups come by it");
    }
    let channel = format!("stepwell_doctor_{}", Uuid::now_v7().simple());
    let started = Instant::now();
    let round_trip = async {
        let mut listener = store.listener().await?;
        listener
            .listen(&channel)
            .await
            .map_err(|source| Error::Database { url: store.masked_url().to_owned(), source })?;
        store.notify(std::slice::from_ref(&channel), "hello").await?;
        listener.recv().await.map_err(|source| Error::Database { url: store.masked_url().to_owned(), source })
    };
    let fix =
        "give orchestrators and workers a direct connection, or a pooler in session mode: without notifications they \
               find work by polling, later by up to their polling_interval";
    match tokio::time::timeout(ROUND_TRIP, round_trip).await {
        Ok(Ok(_)) => {
            let took = started.elapsed().as_secs_f64() * 1000.0;
            Check::ok(name, format!("a notification came back, in {took:.1} ms with the connection made for it"))
        }
        Ok(Err(error)) => Check::warn(name, format!("no notification could be heard: {error}"), fix),
        Err(_) => Check::warn(name, format!("no notification came back within {ROUND_TRIP:?}"), fix),
    }
}

/// The database's clock decides everything but the order of ids, which clients make.
pub(super) async fn clock(store: &Store) -> Result<Check, Error> {
    let before = now();
    let (theirs,): (i64,) = fetch(store, "select (extract(epoch from clock_timestamp()) * 1e6)::bigint").await?;
    let ours = before + (now() - before) / 2;
    let apart = Duration::from_micros(theirs.abs_diff(ours));
    let found = format!("{:.1} s apart from this machine's", apart.as_secs_f64());
    Ok(match apart > SKEW {
        true => {
            Check::warn("clock", found, "let both machines follow NTP: lists are sorted by the ids that clients make")
        }
        false => Check::ok("clock", found),
    })
}

pub(super) async fn room(store: &Store, pool_size: u32) -> Result<Check, Error> {
    let (most, taken): (i64, i64) = fetch(
        store,
        "select current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
                (select count(*) from pg_stat_activity where backend_type = 'client backend')",
    )
    .await?;
    let left = (most - taken).max(0);
    let found = format!("{left} of {most} are free; a process takes up to {}", pool_size + 1);
    Ok(match left <= i64::from(pool_size) {
        true => {
            let fix = "raise max_connections, or lower database.pool_size, or end programs that keep connections idle";
            Check::warn("connections", found, fix)
        }
        false => Check::ok("connections", found),
    })
}

pub(super) async fn fetch<T>(store: &Store, query: &str) -> Result<T, Error>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    let url = || store.masked_url().to_owned();
    sqlx::query_as(query).fetch_one(store).await.map_err(|source| Error::Database { url: url(), source })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
