//! The schema in the database: pgmq, then our migrations, both embedded in this program.

use once_cell::sync::Lazy;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, FromRow, PgConnection};

use super::{OrFail, Store};
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
        self.install_pgmq().await?;

        // A connection of its own, closed after: the search path must not leak into the pool. The migrator keeps its
        // table in our schema, beside nobody else's.
        let options = self.direct().connect_options().as_ref().clone().options([("search_path", "stepwell")]);
        let mut connection = PgConnection::connect_with(&options).await.or_fail(self)?;
        self.create_schema(&mut connection).await?;
        let outcome = MIGRATIONS.run_direct(&mut connection).await;
        let _closed = connection.close().await;
        match outcome {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(found)) => Err(Error::SchemaTooNew { found, known: *NEWEST }),
            Err(MigrateError::VersionMismatch(version)) => Err(Error::SchemaDiffers { version }),
            Err(source) => Err(Error::Migration { source }),
        }
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
        let (role, may): (String, bool) = sqlx::query_as(
            "select current_user::text,
                    coalesce((select pg_has_role(n.nspowner, 'usage') from pg_namespace n where n.nspname = 'stepwell'),
                             has_database_privilege(current_database(), 'create'))",
        )
        .fetch_one(self.direct())
        .await
        .or_fail(self)?;
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
    async fn install_pgmq(&self) -> Result<()> {
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
            match self.create_extension().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "the pgmq extension cannot be created, its SQL is installed instead")
                }
            }
        }
        pgmq::install::install_sql_from_embedded(self.direct()).await.map_err(|source| Error::Pgmq { source })
    }

    async fn create_extension(&self) -> Result<()> {
        let mut transaction = self.direct().begin().await.or_fail(self)?;
        sqlx::query("select pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await
            .or_fail(self)?;
        sqlx::query("create extension if not exists pgmq").execute(&mut *transaction).await.or_fail(self)?;
        transaction.commit().await.or_fail(self)
    }
}
