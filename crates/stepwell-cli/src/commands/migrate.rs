//! `stepwell migrate`.

use std::time::{Duration, Instant};

use serde::Serialize;
use stepwell::embedded::{Cluster, Options};
use stepwell::store::{MigrationState, MigrationStatus, Store};
use stepwell::telemetry::{self, Level};
use stepwell::{Config, Error};

use crate::arguments::Migrate;
use crate::failure::{Failure, DONE};
use crate::humane;
use crate::output::{styled, styles};
use crate::progress::spinner;
use crate::session::{unreachable, Session};
use crate::table::Table;

#[derive(Serialize)]
struct Migrations {
    database: String,
    applied: Vec<i64>,
    pending: Vec<i64>,
    migrations: Vec<View>,
}

#[derive(Serialize)]
struct View {
    version: i64,
    description: String,
    state: MigrationState,
    applied_at: Option<String>,
}

pub(crate) async fn run(session: &Session, arguments: &Migrate) -> Result<u8, Failure> {
    let config = session.config()?;
    telemetry::init(&config.logging.with_level(Level::Warn));
    let cluster = match config.database.url {
        Some(_) => None,
        None => Some(Cluster::start(&Options::from(&config.embedded)).await.map_err(Error::from)?),
    };
    let url = cluster.as_ref().map(Cluster::url).or(config.database.url.as_deref()).unwrap_or_default();
    let outcome = tokio::select! {
        () = session.interrupt.cancelled() => Err(Failure::Interrupted),
        outcome = on(session, arguments, url, &config) => outcome,
    };
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(Error::from)?;
    }
    outcome
}

async fn on(session: &Session, arguments: &Migrate, url: &str, config: &Config) -> Result<u8, Failure> {
    // A migration takes as long as it takes.
    let patience = Duration::from_secs(86_400);
    let store = Store::open(url, &config.database).await.map_err(unreachable)?;
    let store = store.with_call_timeout(patience);
    let outcome = migrate(session, arguments, &store).await;
    store.close().await;
    outcome
}

async fn migrate(session: &Session, arguments: &Migrate, store: &Store) -> Result<u8, Failure> {
    let output = session.output;
    let before = store.migrations().await?;
    let started = Instant::now();
    let after = match arguments.dry_run {
        true => before.clone(),
        false => {
            let spinner = spinner(format!("migrating {}", store.masked_url()));
            let migrated = store.migrate().await;
            spinner.finish_and_clear();
            migrated?;
            store.migrations().await?
        }
    };
    let took = started.elapsed();
    let (pending, newest) = (versions(&after, MigrationState::Pending), after.last().map_or(0, |last| last.version));
    let applied: Vec<i64> =
        versions(&before, MigrationState::Pending).into_iter().filter(|version| !pending.contains(version)).collect();
    if output.is_json() {
        let migrations = after.into_iter().map(view).collect();
        output.json(&Migrations { database: store.masked_url().to_owned(), applied, pending, migrations })?;
    } else if arguments.dry_run {
        output.line(table(session, &after))?;
        output.note(match pending.len() {
            0 => "Nothing to do.".to_owned(),
            count => format!("`stepwell migrate` would apply {}.", humane::count(count, "migration")),
        });
    } else if applied.is_empty() {
        output.line(format!("{} is up to date, at migration {newest}.", store.masked_url()))?;
    } else {
        let applied = humane::count(applied.len(), "migration");
        let (url, took) = (store.masked_url(), humane::duration(took));
        output.line(format!("{} {url}: {applied} in {took}, now at {newest}.", styled(styles::GOOD, "Migrated")))?;
    }
    Ok(DONE)
}

fn versions(migrations: &[MigrationStatus], state: MigrationState) -> Vec<i64> {
    migrations.iter().filter(|migration| migration.state == state).map(|migration| migration.version).collect()
}

fn view(migration: MigrationStatus) -> View {
    View {
        version: migration.version,
        description: migration.description,
        state: migration.state,
        applied_at: migration.applied_at.map(humane::timestamp),
    }
}

fn table(session: &Session, migrations: &[MigrationStatus]) -> String {
    let mut table = Table::new(session.output, &["migration", "what it does", "state", "applied"]);
    for migration in migrations {
        table.row([
            format!("{:04}", migration.version),
            migration.description.clone(),
            match migration.state {
                MigrationState::Applied => styled(styles::GOOD, "applied"),
                MigrationState::Pending => styled(styles::DOUBTFUL, "pending"),
                MigrationState::Differs => styled(styles::BAD, "differs"),
                MigrationState::Unknown => styled(styles::BAD, "unknown to this program"),
            },
            migration.applied_at.map(humane::moment).unwrap_or_default(),
        ]);
    }
    table.render(&[1, 2, 3])
}
