//! The schema as the migrations make it, against `golden/schema.sql`, so that every change of it is seen in review.
//!
//! `UPDATE_GOLDEN=1 cargo test -p stepwell --test schema` writes the file anew.

mod support;

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use stepwell::store::Store;
use support::{Session, TestDatabase};

/// Each query gives one text a row. Only what PostgreSQL 14 to 18 print alike; bodies of functions by their digest, for
/// they can be read in `migrations/`.
const PARTS: [(&str, &str); 7] = [
    (
        "types",
        "select format('%s: %s', t.typname, string_agg(e.enumlabel, ' ' order by e.enumsortorder))
           from pg_type t join pg_enum e on e.enumtypid = t.oid
          where t.typnamespace = 'stepwell'::regnamespace group by t.typname order by t.typname",
    ),
    (
        "tables",
        "select format(E'%s%s\\n%s', c.relname, coalesce(' with (' || array_to_string(c.reloptions, ', ') || ')', ''),
                  (select string_agg(format('  %s %s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                            case when a.attnotnull then ' not null' else '' end,
                            case a.attidentity when 'a' then ' identity' else '' end,
                            coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), ''),
                            case when a.attstorage <> t.typstorage then ' storage ' || a.attstorage::text else '' end),
                            E'\\n' order by a.attnum)
                     from pg_attribute a join pg_type t on t.oid = a.atttypid
                     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))
           from pg_class c
          where c.relnamespace = 'stepwell'::regnamespace and c.relkind = 'r' and c.relname <> '_sqlx_migrations'
          order by c.relname",
    ),
    (
        "constraints",
        "select format('%s %s: %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
           from pg_constraint k join pg_class c on c.oid = k.conrelid
          where k.connamespace = 'stepwell'::regnamespace and c.relname <> '_sqlx_migrations' and k.contype <> 'n'
          order by c.relname, k.conname",
    ),
    (
        "indexes without a constraint",
        "select pg_get_indexdef(i.indexrelid)
           from pg_index i join pg_class c on c.oid = i.indexrelid
          where c.relnamespace = 'stepwell'::regnamespace
            and not exists (select from pg_constraint k where k.conindid = i.indexrelid)
          order by c.relname",
    ),
    (
        "views",
        "select format('%s (%s)', c.relname, (select string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)),
                  ', ' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0))
           from pg_class c where c.relnamespace = 'stepwell'::regnamespace and c.relkind = 'v' order by c.relname",
    ),
    (
        "functions",
        "select format(E'%s(%s)\\n  returns %s, %s %s%s, body %s', p.proname, pg_get_function_arguments(p.oid),
                  pg_get_function_result(p.oid), l.lanname,
                  case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end
                    || case when p.prosecdef then ' security definer' else '' end,
                  coalesce(', set ' || array_to_string(p.proconfig, ', '), ''), left(md5(p.prosrc), 8))
           from pg_proc p join pg_language l on l.oid = p.prolang
          where p.pronamespace = 'stepwell'::regnamespace
          order by p.proname, pg_get_function_identity_arguments(p.oid)",
    ),
    (
        "queues",
        "select format('%s: %s', m.queue_name,
                  (select array_to_string(c.reloptions, ', ') from pg_class c where c.oid = format('pgmq.q_%s', m.queue_name)::regclass))
           from pgmq.meta m order by m.queue_name",
    ),
];

#[tokio::test]
async fn the_migrations_make_the_schema_that_is_recorded() -> Result<()> {
    let db = TestDatabase::empty().await?; // the template for tests has another clock
    let store = Store::connect(&db.url(), 2, Duration::from_secs(10)).await?;
    store.migrate().await?;
    store.close().await;
    let mut session = db.session().await?;
    let found = describe(&mut session).await?;
    drop(session);

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/schema.sql");
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(golden.parent().context("a folder")?)?;
        std::fs::write(&golden, &found)?;
    }
    let recorded = std::fs::read_to_string(&golden).with_context(|| golden.display().to_string())?;
    ensure!(
        recorded == found,
        "the schema differs from tests/golden/schema.sql:\n{}\nIf that is what you want, record it:\n\
         UPDATE_GOLDEN=1 cargo test -p stepwell --test schema",
        difference(&recorded, &found)
    );
    db.finish().await
}

async fn describe(session: &mut Session) -> Result<String> {
    let mut text = String::from(
        "-- The schema that the migrations make; written by tests/schema.rs (UPDATE_GOLDEN=1), never by hand.\n",
    );
    for (title, sql) in PARTS {
        text.push_str(&format!("\n-- {title}\n"));
        for row in session.column::<String>(sql).await? {
            text.push_str(&row);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Lines that only one of the two has.
fn difference(recorded: &str, found: &str) -> String {
    let without = |text: &str, other: &str, mark: char| -> String {
        text.lines()
            .filter(|line| !other.lines().any(|candidate| candidate == *line))
            .map(|line| format!("{mark} {line}\n"))
            .collect()
    };
    without(recorded, found, '-') + &without(found, recorded, '+')
}

#[test]
fn a_difference_shows_the_lines_that_only_one_side_has() {
    assert_eq!(difference("same\nold\n", "same\nnew\n"), "- old\n+ new\n");
}
