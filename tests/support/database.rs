//! A fresh database for each test, cloned from a template that is migrated once.
//!
//! All test processes share one server: whoever comes starts or joins it, the last one out stops it. Databases are named
//! after the process that made them, so what a killed one left is found and dropped by the next.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{ensure, Result};
use rustix::process::{test_kill_process, Pid};
use sqlx::{Connection, PgConnection};
use stepwell::embedded::{Cluster, Options};
use stepwell::store::Store;

use super::{eventually, Session};

/// Serializes what one test process prepares for the others.
const PREPARING: i64 = 0x7465_7374;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A migrated database for one test. End the test with [`finish`](Self::finish); a test that fails before only leaves.
pub struct TestDatabase {
    cluster: Option<Cluster>,
    name: String,
}

impl TestDatabase {
    /// A clone of the migrated template.
    pub async fn new() -> Result<Self> {
        Self::create(true).await
    }

    /// A database that no migration has seen.
    pub async fn empty() -> Result<Self> {
        Self::create(false).await
    }

    async fn create(migrated: bool) -> Result<Self> {
        // A cluster of each version of PostgreSQL that the tests run on.
        let version = std::env::var("STEPWELL_POSTGRES_VERSION").unwrap_or_default();
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stepwell-tests{version}"));
        let cluster = Cluster::start(&Options { directory, ..Options::default() }).await?;
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let database = Self { cluster: Some(cluster), name };
        let mut maintenance = database.maintenance().await?;
        // Programs of the wrong version would make a green run say nothing.
        let found: String = sqlx::query_scalar("show server_version").fetch_one(&mut maintenance).await?;
        ensure!(found.starts_with(&version), "this is PostgreSQL {found}, not {version}");
        let template = match migrated {
            true => template(&mut maintenance, database.server_url()).await?,
            false => "template1".to_owned(),
        };
        run(&mut maintenance, &format!("create database {} template {template}", database.name)).await?;
        maintenance.close().await?;
        Ok(database)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        url_of(self.server_url(), &self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A connection of its own.
    pub async fn session(&self) -> Result<Session> {
        Session::connect(&self.url()).await
    }

    /// Several connections.
    pub async fn sessions(&self, count: usize) -> Result<Vec<Session>> {
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            sessions.push(self.session().await?);
        }
        Ok(sessions)
    }

    /// Runs the history checker; every violation is an error.
    pub async fn assert_invariants(&self) -> Result<()> {
        self.session().await?.assert_invariants().await
    }

    /// The end of every test: the invariants hold, and nobody is connected any more.
    pub async fn finish(mut self) -> Result<()> {
        self.assert_invariants().await?;
        self.assert_nobody_is_connected().await?;
        self.leave().await
    }

    /// The end of a test that broke the database on purpose.
    pub async fn discard(mut self) -> Result<()> {
        self.assert_nobody_is_connected().await?;
        self.leave().await
    }

    async fn assert_nobody_is_connected(&self) -> Result<()> {
        let mut maintenance = self.maintenance().await?;
        // A backend ends a moment after its client has hung up.
        eventually("every connection of the test is closed", async || {
            let connected: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = $1 and backend_type = 'client backend'",
            )
            .bind(&self.name)
            .fetch_one(&mut maintenance)
            .await?;
            Ok((connected == 0).then_some(()))
        })
        .await
    }

    async fn leave(&mut self) -> Result<()> {
        if self.cluster.is_some() {
            let mut maintenance = self.maintenance().await?;
            run(&mut maintenance, &format!("drop database if exists {} with (force)", self.name)).await?;
            maintenance.close().await?;
        }
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await?;
        }
        Ok(())
    }

    async fn maintenance(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(self.server_url()).await?)
    }

    fn server_url(&self) -> &str {
        self.cluster.as_ref().expect("the test has left its database").url()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.cluster.is_none() {
            return;
        }
        // The test fails already: its own error is the one to show, so trouble in here is not told.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.map(|runtime| runtime.block_on(self.leave()))
            });
        });
    }
}

/// The template for these migrations, made by whichever test process comes first.
async fn template(maintenance: &mut PgConnection, server_url: &str) -> Result<String> {
    let name = format!("template_{:016x}", digest_of_migrations()?);
    let known = "select exists (select from pg_database where datname = $1)";
    if sqlx::query_scalar(known).bind(&name).fetch_one(&mut *maintenance).await? {
        return Ok(name);
    }
    sqlx::query("select pg_advisory_lock($1)").bind(PREPARING).execute(&mut *maintenance).await?;
    if !sqlx::query_scalar(known).bind(&name).fetch_one(&mut *maintenance).await? {
        drop_what_others_left(maintenance).await?;
        // Tests do not survive a crash of the machine, so their commits need not either. And the role is called like the
        // schema, whose names it would find without a qualifier where other roles do not.
        run(maintenance, "alter role current_user set synchronous_commit = off").await?;
        run(maintenance, "alter role current_user set search_path = public").await?;
        run(maintenance, "drop database if exists template_unfinished").await?;
        run(maintenance, "create database template_unfinished template template1").await?;
        let store = Store::connect(&url_of(server_url, "template_unfinished"), 2, Duration::from_secs(10)).await?;
        store.migrate().await?;
        sqlx::query("select stepwell.use_fake_clock()").execute(store.pool()).await?;
        store.close().await;
        // A rename waits for no one: the backends of the store may still be on their way out.
        eventually("the template is free", async || {
            Ok(run(maintenance, &format!("alter database template_unfinished rename to {name}")).await.ok())
        })
        .await?;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(PREPARING).execute(&mut *maintenance).await?;
    Ok(name)
}

/// Templates of other migrations, and databases of test processes that were killed.
async fn drop_what_others_left(maintenance: &mut PgConnection) -> Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        r"select datname::text from pg_database where datname ~ '^(template_[0-9a-f]{16}|test_\d+_\d+)$'",
    )
    .fetch_all(&mut *maintenance)
    .await?;
    for name in names {
        let maker =
            name.strip_prefix("test_").and_then(|rest| rest.split('_').next()?.parse().ok()).and_then(Pid::from_raw);
        if maker.is_none_or(|pid| test_kill_process(pid).is_err()) {
            run(maintenance, &format!("drop database if exists {name} with (force)")).await?;
        }
    }
    Ok(())
}

fn digest_of_migrations() -> Result<u64> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    ensure!(!files.is_empty(), "no migrations in {folder}");
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        (file.file_name(), std::fs::read(&file)?).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

async fn run(connection: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

fn url_of(server_url: &str, database: &str) -> String {
    let (server, rest) = server_url.rsplit_once('/').expect("a URL with a database");
    let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
    format!("{server}/{database}?{parameters}")
}
