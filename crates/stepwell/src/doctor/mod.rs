//! Whether a database is fit for Stepwell: each check says what was found, and what to do about it.

mod connection;
mod health;
mod settings;

use serde::Serialize;

use crate::config::Config;
use crate::error::Error;
use crate::store::{MigrationState, Store};

/// How bad what was found is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but slower, or less safely, than it could.
    Warn,
    /// It does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What [`examine`] found.
#[derive(Debug, Clone, Serialize)]
pub struct Examination {
    /// Whether there was a connection at all.
    pub reachable: bool,
    /// Each check, in the order of their importance.
    pub checks: Vec<Check>,
}

impl Examination {
    /// The worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// Looks at a database, whether or not it is migrated. Changes nothing in it.
pub async fn examine(url: &str, config: &Config) -> Examination {
    let store = match Store::open(url, &config.database).await {
        Ok(store) => store,
        Err(error) => {
            return Examination { reachable: false, checks: vec![connection::refused(&error)] };
        }
    };
    let mut checks = Vec::new();
    if let Err(error) = examine_all(&store, config, &mut checks).await {
        let fix = "try again; if it stays, the server's log says more";
        checks.push(Check::fail("examination", error.to_string(), fix));
    }
    store.close().await;
    Examination { reachable: true, checks }
}

async fn examine_all(store: &Store, config: &Config, checks: &mut Vec<Check>) -> Result<(), Error> {
    checks.push(connection::answers(store).await?);
    checks.push(connection::version(store).await?);
    checks.push(connection::primary(store).await?);
    checks.push(connection::encoding(store).await?);
    checks.push(connection::pgmq(store).await?);
    let schema = schema(store).await?;
    let privileges = connection::privileges(store).await?;
    let visible = schema.verdict == Verdict::Ok && connection::sees_everything(store).await?;
    checks.extend([schema, privileges]);
    checks.push(connection::listens(store).await);
    checks.push(connection::clock(store).await?);
    checks.push(connection::room(store, config.database.pool_size).await?);
    checks.extend(settings::check(store).await?);
    checks.push(health::old_snapshots(store).await?);
    if visible {
        checks.push(health::vacuum(store).await?);
        checks.push(health::requests(store).await?);
        checks.push(health::leases(store).await?);
        checks.push(health::dead_letters(store).await?);
    }
    Ok(())
}

async fn schema(store: &Store) -> Result<Check, Error> {
    let name = "schema";
    let migrations = match store.migrations().await {
        Err(Error::MissingPrivilege { .. }) => {
            let found = "there, but this user may not read which migrations it has";
            return Ok(Check::fail(name, found, "grant what the next check says"));
        }
        migrations => migrations?,
    };
    let of =
        |state| migrations.iter().filter(|migration| migration.state == state).map(|m| m.version).collect::<Vec<_>>();
    let (applied, pending) = (of(MigrationState::Applied), of(MigrationState::Pending));
    if let Some(newest) = of(MigrationState::Unknown).last() {
        let found = format!("at migration {newest}, which this program does not know");
        return Ok(Check::fail(name, found, "upgrade this program: the database was migrated by a newer one"));
    }
    if let Some(first) = of(MigrationState::Differs).first() {
        let found = format!("migration {first} was made by another build of this program");
        return Ok(Check::fail(
            name,
            found,
            "use a new database; before the first release migrations are edited in place",
        ));
    }
    if pending.is_empty() {
        return Ok(Check::ok(name, format!("at migration {}, the newest", applied.len())));
    }
    let found = match applied.is_empty() {
        true => "not there yet".to_owned(),
        false => format!("{} of {} migrations are missing", pending.len(), migrations.len()),
    };
    Ok(Check::fail(name, found, "run `stepwell migrate`, or start an orchestrator, which migrates"))
}
