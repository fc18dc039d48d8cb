//! Whether a schema that carries a name we need is ours.

use sqlx::{Error as Refused, FromRow, PgPool};

use crate::error::{Error, Result};

/// What stands in a schema.
#[derive(Debug, FromRow)]
pub(super) struct Contents {
    #[sqlx(skip)]
    schema: &'static str,
    /// It belongs to an extension, as pgmq's may.
    extension: bool,
    /// The table of migrations is there; how many it has is another question.
    known: bool,
    /// Besides that table; the first few.
    holds: Option<String>,
    #[sqlx(skip)]
    migrations: bool,
}

const LOOK: &str = "select
    exists (select from pg_catalog.pg_extension e where e.extname = $1) as extension,
    pg_catalog.to_regclass(pg_catalog.format('%I.%I', $1, $2)) is not null as known,
    (select pg_catalog.string_agg(o.what, ', ')
       from (select 'table ' || c.relname as what, c.oid from pg_catalog.pg_class c
              where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname <> $2
             union all
             select 'function ' || p.proname, p.oid from pg_catalog.pg_proc p where p.pronamespace = n.oid
             union all
             select 'type ' || t.typname, t.oid from pg_catalog.pg_type t
              where t.typnamespace = n.oid and t.typtype in ('e', 'd', 'r')
              order by 2 limit 3) o) as holds
  from (select pg_catalog.to_regnamespace($1)) as n (oid)";

/// Looks into a schema, which need not exist. `table`: where its migrations are written down.
pub(super) async fn look(
    pool: &PgPool,
    schema: &'static str,
    table: &'static str,
) -> std::result::Result<Contents, Refused> {
    let found: Contents = sqlx::query_as(LOOK).bind(schema).bind(table).fetch_one(pool).await?;
    let migrations = match found.known {
        true => sqlx::query_scalar(&format!("select exists (select from {schema}.{table})")).fetch_one(pool).await?,
        false => false,
    };
    Ok(Contents { schema, migrations, ..found })
}

impl Contents {
    /// # Errors
    /// [`Error::ForeignSchema`] with `advice` when something else stands there, [`Error::SchemaWithoutData`] when only a
    /// dump without data can have made it.
    pub(super) fn refuse(self, advice: &'static str) -> Result<()> {
        match self.holds {
            Some(holds) if !self.extension && !self.known => {
                Err(Error::ForeignSchema { schema: self.schema, holds, advice })
            }
            Some(_) if !self.extension && !self.migrations => Err(Error::SchemaWithoutData { schema: self.schema }),
            _ => Ok(()),
        }
    }
}
