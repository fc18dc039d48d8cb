//! Bringing the schema into a database: twice, from several processes at once, by an ordinary role, and meeting a schema
//! of another version.

mod support;

use std::time::Duration;

use anyhow::{Context, Result};
use stepwell::store::Store;
use stepwell::{Database, Error, Orchestrator, Worker};
use support::runtime::config;
use support::{chain, complete, drain, TestDatabase};

async fn store(url: &str) -> Result<Store> {
    Ok(Store::connect(url, 2, Duration::from_secs(10)).await?)
}

#[tokio::test]
async fn a_second_migration_changes_nothing() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let store = store(&db.url()).await?;
    assert!(matches!(store.check_schema().await, Err(Error::SchemaTooOld { found: 0, known }) if known > 0));
    store.migrate().await?;
    store.check_schema().await?;
    let mut session = db.session().await?;
    let applied =
        "select string_agg(version || ' ' || installed_on, ',' order by version) from stepwell._sqlx_migrations";
    let first: String = session.value(applied).await?;
    store.migrate().await?;
    assert_eq!(session.value::<String>(applied).await?, first);
    let public: i64 =
        session.value("select count(*) from pg_class where relnamespace = 'public'::regnamespace").await?;
    assert_eq!(public, 0, "nothing of ours stands in the schema public");
    drop(session);
    store.close().await;
    db.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_may_migrate_at_once() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut migrations = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let store = store(&db.url()).await?;
        migrations.spawn(async move {
            store.migrate().await?;
            store.check_schema().await?;
            store.close().await;
            Ok::<_, Error>(())
        });
    }
    migrations.join_all().await.into_iter().collect::<Result<(), Error>>()?;
    let mut session = db.session().await?;
    session.start(&chain(2)).await?;
    assert_eq!(drain(&mut session, |step| complete(step, "1")).await?, ["a", "b"]);
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_left_alone() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    session
        .run(
            "insert into stepwell._sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'of the future', true, '', 0)",
        )
        .await?;
    let too_new = |error: Error| matches!(error, Error::SchemaTooNew { found: 9999, known } if known < 9999);
    let store = store(&db.url()).await?;
    assert!(too_new(store.migrate().await.err().context("it migrated")?));
    assert!(too_new(store.check_schema().await.err().context("it fits")?));
    store.close().await;

    let database = Database::connect(&db.url(), &config()?).await?;
    let orchestrator = Orchestrator::start(database.clone()).await.err().context("an orchestrator started")?;
    assert!(orchestrator.to_string().contains("upgrade this program"), "{orchestrator}");
    assert!(too_new(orchestrator));
    let worker = Worker::start(database.clone(), vec!["test".to_owned()], 1).await.err().context("a worker started")?;
    assert!(too_new(worker));
    database.close().await;

    let mut config = config()?;
    config.database.url = Some(db.url());
    let embedded =
        Orchestrator::embedded(&config).await.err().context("an orchestrator with a link of its own started")?;
    assert!(too_new(embedded)); // and the end of this test finds nobody connected
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_schema_that_is_missing_or_older_stops_a_worker() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let database = Database::connect(&db.url(), &config()?).await?;
    let start = async || Worker::start(database.clone(), vec!["test".to_owned()], 1).await.err();
    assert!(matches!(start().await, Some(Error::SchemaTooOld { found: 0, .. })));

    database.store().migrate().await?;
    let mut session = db.session().await?;
    session.run("delete from stepwell._sqlx_migrations where version > 1").await?;
    assert!(matches!(start().await, Some(Error::SchemaTooOld { found: 1, known }) if known > 1));
    database.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_migration_that_fails_says_so_and_works_when_the_obstacle_is_gone() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut session = db.session().await?;
    session
        .run(
            "create function public.refuse() returns event_trigger language plpgsql as $$
             begin if exists (select from pg_tables where schemaname = 'stepwell' and tablename = 'tasks') then raise 'not today'; end if; end $$;
             create event trigger refuse on ddl_command_end execute function public.refuse()",
        )
        .await?;
    let store = store(&db.url()).await?;
    let error = store.migrate().await.err().context("it migrated")?;
    assert!(matches!(error, Error::Migration { .. }), "{error:?}");
    assert!(matches!(store.check_schema().await, Err(Error::SchemaTooOld { .. })));
    session.run("drop event trigger refuse; drop function public.refuse()").await?;
    store.migrate().await?;
    store.check_schema().await?;
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn an_ordinary_role_that_may_create_in_the_database_is_enough() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut session = db.session().await?;
    let role = format!("ordinary_{}", db.name());
    session.run(&format!("create role {role} login; grant create on database {} to {role}", db.name())).await?;
    let url = db.url().replacen("stepwell@", &format!("{role}@"), 1);
    let store = store(&url).await?;
    store.migrate().await?;
    store.close().await;

    let mut as_role = support::Session::connect(&url).await?;
    let task = as_role.start(&chain(2)).await?;
    assert_eq!(drain(&mut as_role, |step| complete(step, "1")).await?, ["a", "b"]);
    assert_eq!(as_role.task_state(task).await?, "complete");
    let privileged: bool = as_role.value("select rolsuper from pg_roles where rolname = current_user").await?;
    assert!(!privileged);
    drop(as_role);
    session.run(&format!("reassign owned by {role} to current_user; drop owned by {role}; drop role {role}")).await?;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn what_a_database_sets_by_default_does_not_reach_our_statements() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut session = db.session().await?;
    for (name, value) in [
        ("standard_conforming_strings", "off"),
        ("backslash_quote", "off"),
        ("search_path", "''"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("quote_all_identifiers", "on"),
        ("check_function_bodies", "off"),
        ("plpgsql.extra_errors", "'all'"),
        ("plpgsql.extra_warnings", "'all'"),
        ("plpgsql.variable_conflict", "use_column"),
        ("transform_null_equals", "on"),
        ("array_nulls", "off"),
        ("statement_timeout", "'250ms'"),
        ("lock_timeout", "'1ms'"),
        ("row_security", "off"),
        ("DateStyle", "'German, DMY'"),
        ("IntervalStyle", "sql_standard"),
        ("TimeZone", "'Asia/Kathmandu'"),
        ("bytea_output", "escape"),
        ("extra_float_digits", "-15"),
        ("xmlbinary", "hex"),
        ("xmloption", "document"),
        ("client_min_messages", "debug5"),
    ] {
        session.run(&format!("alter database {} set {name} = {value}", db.name())).await?;
    }
    let store = store(&db.url()).await?;
    store.migrate().await?;
    store.check_schema().await?;
    store.migrate().await?;
    store.close().await;

    // Those that a user of ours may well live with: the functions, called by a session that undoes nothing.
    for setting in ["default_transaction_read_only", "statement_timeout", "lock_timeout"] {
        session.run(&format!("alter database {} reset {setting}", db.name())).await?;
    }
    let mut hostile = db.session().await?;
    assert_eq!(hostile.value::<String>("show standard_conforming_strings").await?, "off");
    let task = hostile.start(&chain(2)).await?;
    assert_eq!(drain(&mut hostile, |step| complete(step, "1")).await?, ["a", "b"]);
    assert_eq!(hostile.task_state(task).await?, "complete");
    // And all of an orchestrator and a worker, whose sessions are settled.
    let database = Database::connect(&db.url(), &config()?).await?;
    for (setting, value) in [("standard_conforming_strings", "on"), ("default_transaction_isolation", "read committed")]
    {
        let shown = format!("select current_setting('{setting}')");
        let found: String = sqlx::query_scalar(&shown).fetch_one(database.store()).await?;
        assert_eq!(found, value, "{setting}");
    }
    database.close().await;
    drop((hostile, session));
    db.finish().await
}

#[tokio::test]
async fn a_schema_that_is_somebody_elses_is_refused_and_nothing_is_changed() -> Result<()> {
    let everything = "select string_agg(n.nspname || '.' || c.relname, ' ' order by n.nspname, c.relname) from pg_class c
                        join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('stepwell', 'pgmq', 'public')";
    for (made, schema, holds) in [
        ("create schema stepwell; create table stepwell.wells (depth int)", "stepwell", "table wells"),
        (
            "create schema stepwell; create function stepwell.dig() returns int language sql as 'select 1'",
            "stepwell",
            "function dig",
        ),
        ("create schema pgmq; create view pgmq.queues as select 1 as n", "pgmq", "table queues"),
        ("create schema pgmq; create type pgmq.mood as enum ('good')", "pgmq", "type mood"),
    ] {
        let db = TestDatabase::empty().await?;
        let mut session = db.session().await?;
        session.run(made).await?;
        let before: Option<String> = session.value(everything).await?;
        let store = store(&db.url()).await?;
        let error = store.migrate().await.err().context("it migrated")?;
        let message = error.to_string();
        assert!(matches!(error, Error::ForeignSchema { .. }), "{error:?}");
        assert!(
            message.contains(&format!("the schema {schema} in the database is somebody else's (it holds {holds})")),
            "{message}"
        );
        assert!(message.contains("rename it") && message.contains("a database of its own"), "{message}");
        assert_eq!(session.value::<Option<String>>(everything).await?, before);
        session.run(&format!("alter schema {schema} rename to theirs")).await?;
        store.migrate().await?;
        store.close().await;
        drop(session);
        db.finish().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_schema_that_was_made_empty_for_us_is_filled() -> Result<()> {
    let db = TestDatabase::empty().await?;
    let mut session = db.session().await?;
    session.run("create schema stepwell; create schema pgmq").await?;
    let store = store(&db.url()).await?;
    store.migrate().await?;
    store.check_schema().await?;
    store.close().await;
    drop(session);
    db.finish().await
}

#[tokio::test]
async fn a_dump_without_data_is_told_from_a_database_and_what_to_do() -> Result<()> {
    let db = TestDatabase::new().await?;
    let mut session = db.session().await?;
    // What such a dump leaves behind.
    session.run("truncate stepwell._sqlx_migrations, pgmq.__pgmq_migrations, stepwell.dispatch_settings").await?;
    let store = store(&db.url()).await?;
    for schema in ["stepwell", "pgmq"] {
        let error = store.migrate().await.err().context("it migrated")?;
        assert!(matches!(error, Error::SchemaWithoutData { .. }), "{error:?}");
        let message = error.to_string();
        let todo = format!("drop schema {schema} cascade");
        assert!(message.contains(&todo) && message.contains("pg_dump --exclude-schema"), "{message}");
        session.run(&todo).await?;
    }
    store.migrate().await?;
    store.close().await;
    session.start(&chain(1)).await?;
    drop(session);
    db.discard().await
}
