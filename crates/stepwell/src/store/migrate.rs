//! The schema in the database: pgmq, then our migrations, both embedded in this program.

use once_cell::sync::Lazy;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, FromRow, PgConnection, PgPool};

use super::{foreign, session, OrFail, Store};
use crate::error::{Error, Result};

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The newest migration of this program.
static NEWEST: Lazy<i64> = Lazy::new(|| MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0));

/// Chosen once; serializes the steps that have no lock of their own.
const MIGRATION_LOCK: i64 = 0x5374_6570_7765_6c6c;

/// A migration that a database has.
#[derive(FromRow)]
pub(super) struct AppliedMigration {
    pub(super) version: i64,
    pub(super) description: String,
    pub(super) checksum: Vec<u8>,
    pub(super) applied_at: i64,
}

impl AppliedMigration {
    /// Whether this program knows it as another.
    fn differs(&self) -> bool {
        MIGRATIONS.iter().any(|known| known.version == self.version && *known.checksum != *self.checksum)
    }
}

impl Store {
    /// Brings the schema to this program's version. Safe to call twice and from many processes at once.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`] when a newer Stepwell migrated this database; [`Error::SchemaDiffers`] when one did whose
    /// migrations were others; [`Error::MayNotMigrate`] when there is
    /// something to do and the role may not; [`Error::Configuration`] when there is and only a pooler to do it through;
    /// [`Error::Pgmq`] and [`Error::Migration`] when a statement fails.
    pub async fn migrate(&self) -> Result<()> {
        let found = self.newest_migration().await?;
        if found == *NEWEST {
            return Ok(());
        }
        self.refuse_newer(found)?;
        self.refuse_pooler(found)?;
        self.refuse_others_than_the_owner(found).await?;

        // A connection of its own, closed after: what is set for migrating must not leak into the pool.
        let pool = self.pool_to_migrate();
        let outcome = self.migrate_over(&pool).await;
        let _closed = tokio::time::timeout(self.call_timeout, pool.close()).await;
        match outcome {
            Err(error) if waited_for_a_lock(&error) => Err(Error::MigrationBlocked),
            outcome => outcome,
        }
    }

    async fn migrate_over(&self, pool: &PgPool) -> Result<()> {
        self.refuse_foreign_schemas(pool).await?;
        self.install_pgmq(pool).await?;
        let mut connection = pool.acquire().await.or_fail(self)?;
        self.create_schema(&mut connection).await?;
        // The migrator keeps its table in our schema, beside nobody else's.
        sqlx::query("set search_path to stepwell").execute(&mut *connection).await.or_fail(self)?;
        MIGRATIONS.run_direct(&mut *connection).await.map_err(|error| match error {
            MigrateError::VersionMissing(found) => Error::SchemaTooNew { found, known: *NEWEST },
            MigrateError::VersionMismatch(version) => Error::SchemaDiffers { version },
            source => Error::Migration { source },
        })
    }

    /// One connection at a time, whose settings are those of a migration.
    fn pool_to_migrate(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.direct().options().get_acquire_timeout())
            .after_connect(|connection, _| Box::pin(session::settle_to_migrate(connection)))
            .connect_lazy_with(self.direct().connect_options().as_ref().clone())
    }

    /// Before anything is changed: whether the schemas `stepwell` and `pgmq` are ours to fill.
    async fn refuse_foreign_schemas(&self, pool: &PgPool) -> Result<()> {
        let [ours, pgmq] =
            [foreign::look(pool, "stepwell", "_sqlx_migrations"), foreign::look(pool, "pgmq", "__pgmq_migrations")];
        let (ours, pgmq) = (self.in_time(ours).await.or_fail(self)?, self.in_time(pgmq).await.or_fail(self)?);
        ours.refuse("rename it (alter schema stepwell rename to …), or give Stepwell a database of its own")?;
        pgmq.refuse(
            "if it is pgmq, installed by hand, create it as an extension instead; else rename it (alter schema pgmq rename to …), \
             or give Stepwell a database of its own",
        )
    }

    /// Makes sure that the schema is the one this program was written for.
    ///
    /// # Errors
    /// [`Error::SchemaTooNew`], [`Error::SchemaTooOld`] or [`Error::SchemaDiffers`].
    pub async fn check_schema(&self) -> Result<()> {
        let found = self.newest_migration().await?;
        self.refuse_newer(found)?;
        if found < *NEWEST {
            return Err(Error::SchemaTooOld { found, known: *NEWEST });
        }
        Ok(())
    }

    fn refuse_newer(&self, found: i64) -> Result<()> {
        if found > *NEWEST {
            return Err(Error::SchemaTooNew { found, known: *NEWEST });
        }
        Ok(())
    }

    /// Migrations are serialized by a lock that a session holds, which a pooler would lend to anybody.
    fn refuse_pooler(&self, found: i64) -> Result<()> {
        if self.has_sessions() {
            return Ok(());
        }
        Err(Error::Configuration {
            message: format!(
                "the schema in the database is at migration {found}, this program needs {}, and a pooler \
                 (database.prepared_statements is false) cannot migrate: set database.direct_url to the server's own URL",
                *NEWEST
            ),
        })
    }

    async fn refuse_others_than_the_owner(&self, found: i64) -> Result<()> {
        let asked = sqlx::query_as::<_, (String, bool)>(
            "select current_user::text,
                    coalesce((select pg_has_role(n.nspowner, 'usage') from pg_namespace n where n.nspname = 'stepwell'),
                             has_database_privilege(current_database(), 'create'))",
        )
        .fetch_one(self.direct());
        let (role, may) = self.in_time(asked).await.or_fail(self)?;
        if may {
            return Ok(());
        }
        Err(Error::MayNotMigrate { role, found, known: *NEWEST })
    }

    /// The newest migration that the database has; 0 when it has none.
    async fn newest_migration(&self) -> Result<i64> {
        let applied = self.applied_migrations().await?;
        if let Some(version) = applied.iter().find(|applied| applied.differs()).map(|applied| applied.version) {
            return Err(Error::SchemaDiffers { version });
        }
        Ok(applied.last().map_or(0, |newest| newest.version))
    }

    /// The migrations that the database has, by version.
    pub(super) async fn applied_migrations(&self) -> Result<Vec<AppliedMigration>> {
        let any: bool = sqlx::query_scalar("select to_regclass('stepwell._sqlx_migrations') is not null")
            .fetch_one(self)
            .await
            .or_fail(self)?;
        if !any {
            return Ok(Vec::new());
        }
        sqlx::query_as(
            "select version, description, checksum, (extract(epoch from installed_on) * 1e6)::bigint as applied_at
               from stepwell._sqlx_migrations where success order by version",
        )
        .fetch_all(self)
        .await
        .or_fail(self)
    }

    async fn create_schema(&self, connection: &mut PgConnection) -> Result<()> {
        let mut transaction = connection.begin().await.or_fail(self)?;
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await
            .or_fail(self)?;
        sqlx::query("create schema if not exists stepwell").execute(&mut *transaction).await.or_fail(self)?;
        transaction.commit().await.or_fail(self)
    }

    /// The server's own extension where it offers one that we may create, else the SQL that the pgmq crate carries.
    async fn install_pgmq(&self, pool: &PgPool) -> Result<()> {
        let (installed, offered): (bool, bool) = sqlx::query_as(
            "select exists (select from pg_extension where extname = 'pgmq'),
                    exists (select from pg_available_extensions where name = 'pgmq')
                      and to_regclass('pgmq.__pgmq_migrations') is null",
        )
        .fetch_one(self)
        .await
        .or_fail(self)?;
        if installed {
            return Ok(());
        }
        if offered {
            match self.create_extension(pool).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "the pgmq extension cannot be created, its SQL is installed instead")
                }
            }
        }
        pgmq::install::install_sql_from_embedded(pool).await.map_err(|source| Error::Pgmq { source })
    }

    async fn create_extension(&self, pool: &PgPool) -> Result<()> {
        let mut transaction = pool.begin().await.or_fail(self)?;
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await
            .or_fail(self)?;
        sqlx::query("create extension if not exists pgmq").execute(&mut *transaction).await.or_fail(self)?;
        transaction.commit().await.or_fail(self)
    }
}

/// SQLSTATE 55P03, from wherever it came.
fn waited_for_a_lock(error: &Error) -> bool {
    let source = match error {
        Error::Database { source, .. } => source,
        Error::Migration { source: MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) } => {
            source
        }
        Error::Pgmq { source: pgmq::PgmqError::DatabaseError(source) } => source,
        _ => return false,
    };
    source.as_database_error().and_then(|error| error.code()).as_deref() == Some("55P03")
}
