//! How a database that is in use is doing.

use super::connection::fetch;
use super::Check;
use crate::error::Error;
use crate::store::Store;

/// Transactions that have been open for so long keep dead rows in the queues from being cleaned.
pub(super) async fn old_snapshots(store: &Store) -> Result<Check, Error> {
    let name = "transactions";
    let (oldest,): (Option<String>,) = fetch(
        store,
        "select (select o.what from (
                   select format('a transaction of %s (pid %s, %s) has been open for %s',
                                 coalesce(nullif(a.application_name, ''), a.usename), a.pid, a.state,
                                 date_trunc('second', clock_timestamp() - a.xact_start)) as what, a.xact_start as since
                     from pg_stat_activity a
                    where a.backend_type = 'client backend' and a.datname = current_database()
                      and (a.backend_xmin is not null or a.backend_xid is not null)
                      and a.xact_start < clock_timestamp() - interval '5 minutes'
                   union all
                   select format('a prepared transaction (%s) has been open for %s', p.gid,
                                 date_trunc('second', clock_timestamp() - p.prepared)), p.prepared
                     from pg_prepared_xacts p
                    where p.database = current_database() and p.prepared < clock_timestamp() - interval '5 minutes') o
                 order by o.since limit 1)",
    )
    .await?;
    Ok(match oldest {
        None => Check::ok(name, "none has been open for 5 minutes"),
        Some(found) => Check::warn(
            name,
            format!("{found}: until it ends, nothing is cleaned"),
            "end it: commit, or `select pg_terminate_backend(PID)`, or `rollback prepared 'GID'`",
        ),
    })
}

pub(super) async fn vacuum(store: &Store) -> Result<Check, Error> {
    let name = "vacuum";
    let (table, dead, live): (Option<String>, i64, i64) = fetch(
        store,
        "select t.name, coalesce(t.n_dead_tup, 0), coalesce(t.n_live_tup, 0)
           from (select) one
           left join lateral (
             select format('%I.%I', s.schemaname, s.relname) as name, s.n_dead_tup, s.n_live_tup
               from pg_stat_user_tables s
              where s.schemaname in ('stepwell', 'pgmq') and s.n_dead_tup > 100000 and s.n_dead_tup > 2 * s.n_live_tup
              order by s.n_dead_tup desc limit 1) t on true",
    )
    .await?;
    Ok(match table {
        None => Check::ok(name, "keeps up with what is written"),
        Some(table) => Check::warn(
            name,
            format!("{table} has {dead} dead rows and {live} live ones"),
            format!(
                "`vacuum analyze {table}`; then see what keeps autovacuum away (old transactions, too few workers)"
            ),
        ),
    })
}

pub(super) async fn requests(store: &Store) -> Result<Check, Error> {
    let name = "orchestrator";
    let (waiting, seconds): (i64, f64) = fetch(
        store,
        "select count(*), coalesce(extract(epoch from clock_timestamp() - min(q.enqueued_at)), 0)::float8
           from (select r.enqueued_at from stepwell.queued_requests r limit 10000) q",
    )
    .await?;
    Ok(match waiting > 0 && seconds > 10.0 {
        true => Check::warn(
            name,
            format!("{waiting} requests wait, the oldest for {seconds:.0} s"),
            "start an orchestrator (`stepwell serve`); if one runs, its log says what keeps it",
        ),
        false => Check::ok(name, "no request waits for one"),
    })
}

pub(super) async fn leases(store: &Store) -> Result<Check, Error> {
    let (expired,): (i64,) =
        fetch(store, "select count(*) from stepwell.claims c where c.expires_at < stepwell.now() - interval '30 s'")
            .await?;
    Ok(match expired {
        0 => Check::ok("leases", "none has expired unnoticed"),
        _ => Check::warn(
            "leases",
            format!("{expired} claims of dead workers have not been recovered"),
            "start an orchestrator (`stepwell serve`): it gives their steps to other workers",
        ),
    })
}

pub(super) async fn dead_letters(store: &Store) -> Result<Check, Error> {
    let (letters,): (i64,) =
        fetch(store, "select count(*) from (select from stepwell.dead_letters d limit 10000) d").await?;
    Ok(match letters {
        0 => Check::ok("dead letters", "none"),
        _ => Check::warn(
            "dead letters",
            format!("{letters} messages that nobody could use"),
            "`stepwell dead-letters list` says why; `stepwell dead-letters replay` puts them back",
        ),
    })
}
