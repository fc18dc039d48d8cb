//! Every function that a role may call, called as that role with odd names, sizes and nulls. Whatever comes, a call succeeds or says
//! what is wrong with it; it replaces nothing, touches no other program's queue, violates no invariant, and the system works on.

mod support;

use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use stepwell::store::ClaimedStep;
use stepwell::worker::Handlers;
use stepwell::Client;
use support::runtime::{config, orchestrator, request, wait, worker, PATIENCE};
use support::{chain, define_with, effort, Session, TestDatabase};
use uuid::Uuid;

/// What an argument may be blamed for: data (22), constraints (23), cardinality (21), limits (54), what our functions raise, and
/// whatever has no message of its own.
const ALLOWED: [&str; 6] = ["21", "22", "23", "54", "P0001", "SW"];

/// The functions that this session's role may call, with the types of their arguments.
const MAY_CALL: &str = "
    select p.proname::text, array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, nth) order by nth)
      from pg_proc p
     where p.pronamespace = 'stepwell'::regnamespace and p.prorettype <> 'trigger'::regtype
       and has_function_privilege(p.oid, 'execute')
     order by p.oid::regprocedure::text";

/// The code, tables and rights of the schema, but for what `create_queue` adds for a namespace.
const CODE: &str = "
    select md5(string_agg(c.what, E'\\n' order by c.what))
      from (select pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') as what
              from pg_proc p
             where p.pronamespace = 'stepwell'::regnamespace and p.prokind = 'f'
               and p.proname !~ '^(pop|send|offer|count|skip)_.*_queue$'
             union all
            select r.oid::regclass::text || ' ' || r.relkind::text || coalesce(r.relacl::text, '')
              from pg_class r where r.relnamespace = 'stepwell'::regnamespace) c";

const MAIL: &str = "select md5(string_agg(q::text, ' ' order by q.msg_id)) from pgmq.q_mail_queue q";

/// What is there to be named.
struct Known {
    tasks: Vec<Uuid>,
    claims: Vec<i64>,
}

impl Known {
    async fn of(session: &mut Session) -> Result<Self> {
        Ok(Self {
            tasks: session.column("select task_id from stepwell.tasks order by random() limit 8").await?,
            claims: session.column("select claim_id from stepwell.claims order by random() limit 8").await?,
        })
    }

    fn task(&self, rng: &mut StdRng) -> String {
        match rng.random_range(0..6) {
            0 => "00000000-0000-0000-0000-000000000000".to_owned(),
            1 => "FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF".to_owned(),
            2 => Uuid::from_u128(rng.random()).to_string(),
            _ if self.tasks.is_empty() => Uuid::now_v7().to_string(),
            _ => pick(rng, &self.tasks).to_string(),
        }
    }
}

fn pick<'a, T>(rng: &mut StdRng, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

fn word(rng: &mut StdRng, of: &[&'static str]) -> &'static str {
    of[rng.random_range(0..of.len())]
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(rng: &mut StdRng, known: &Known) -> String {
    const ODD: [&str; 34] = [
        "",
        " ",
        "a",
        "test",
        "test_queue",
        "odd",
        "odd_queue",
        "requests",
        "task_requests",
        "step_results",
        "results",
        "mail",
        "mail_queue",
        "Mail",
        "test/chain",
        "test/keyed",
        "a/b",
        "s0",
        "worker",
        "another",
        "queue",
        "_queue",
        "pg_class",
        "stepwell.tasks",
        "%I%s%L",
        "\\",
        "x\"; drop schema stepwell cascade; --",
        "x'); delete from stepwell.tasks; --",
        "ü\u{202e}",
        "1.0.0",
        "high",
        "9999999999",
        "null",
        "tasks",
    ];
    match rng.random_range(0..12) {
        0 => "x".repeat(*pick(rng, &[63, 64, 300, 100_000])),
        1 => known.task(rng),
        _ => word(rng, &ODD).to_owned(),
    }
}

/// A JSON value that may be a request, a result, a message, a definition, or none of them.
fn jsonb(rng: &mut StdRng, known: &Known) -> String {
    let odd = |rng: &mut StdRng| match rng.random_range(0..8) {
        0 => json!(null),
        1 => json!(-1),
        2 => json!([1, null, {}]),
        3 => json!({ "a": { "b": [] } }),
        4 => json!(1e300),
        5 => json!(true),
        6 => json!(text(rng, known)),
        _ => json!(1),
    };
    let mut value = match rng.random_range(0..6) {
        0 => return odd(rng).to_string(),
        1 => {
            json!({ "workflow": word(rng, &["test/chain", "test/keyed", "none/such"]), "context": { "customer": 1 }, "tags": ["a"],
            "priority": "high", "task_id": Uuid::now_v7(), "idempotency_key": text(rng, known), "correlation_id": "c" })
        }
        2 => json!({ "task_id": known.task(rng), "step": rng.random_range(-1..3), "attempt": rng.random_range(0..3),
            "outcome": word(rng, &["complete", "error", "none"]), "result": 1, "duration_us": rng.random_range(-5..5_000),
            "error": { "kind": "permanent", "class": "E", "message": "m", "context": {} } }),
        3 => json!({ "task_id": known.task(rng), "step": rng.random_range(0..3), "attempt": 1 }),
        4 => {
            json!({ "worker": "worker", "results": [{ "task_id": known.task(rng), "step": 0, "attempt": 1, "outcome": "complete" }] })
        }
        _ => {
            json!({ "namespace": text(rng, known), "name": "fuzzed", "version": "1", "steps": [{ "name": "a", "depends_on": [] }] })
        }
    };
    if let (Some(object), true) = (value.as_object_mut(), rng.random_bool(0.5)) {
        let keys: Vec<String> = object.keys().cloned().collect();
        let changed = odd(rng);
        object.insert(pick(rng, &keys).clone(), changed);
    }
    value.to_string()
}

/// An expression of a type.
fn argument(rng: &mut StdRng, known: &Known, of: &str) -> String {
    if rng.random_bool(0.08) {
        return format!("null::{of}");
    }
    if let Some(element) = of.strip_suffix("[]") {
        return match rng.random_range(0..10) {
            0 => format!("'{{}}'::{of}"),
            1 => format!("array[[{0}],[{0}]]::{of}", argument(rng, known, element)),
            2 => format!("array_fill({}, array[{}])::{of}", argument(rng, known, element), pick(rng, &[2, 300, 2_000])),
            _ => {
                let elements: Vec<String> =
                    (0..rng.random_range(1..4)).map(|_| argument(rng, known, element)).collect();
                format!("array[{}]::{of}", elements.join(", "))
            }
        };
    }
    let value = match of {
        "text" | "name" | "character varying" => quoted(&text(rng, known)),
        "uuid" => quoted(&known.task(rng)),
        "jsonb" => quoted(&jsonb(rng, known)),
        "boolean" => rng.random_bool(0.5).to_string(),
        "smallint" => quoted(word(rng, &["-32768", "-1", "0", "1", "2", "32767"])),
        "integer" => quoted(word(rng, &["-2147483648", "-1", "0", "1", "2", "10", "500", "2147483647"])),
        "bigint" if !known.claims.is_empty() && rng.random_bool(0.5) => quoted(&pick(rng, &known.claims).to_string()),
        "bigint" => quoted(word(rng, &["-9223372036854775808", "-1", "0", "1", "1000000", "9223372036854775807"])),
        "double precision" => quoted(word(rng, &["-1", "0", "0.5", "1e300", "NaN", "Infinity", "-Infinity"])),
        "interval" => {
            quoted(word(rng, &["-1 s", "0", "1 us", "1 s", "60 s", "1 month", "178000000 years", "-178000000 years"]))
        }
        "timestamp with time zone" => {
            quoted(word(rng, &["-infinity", "infinity", "2001-01-01", "2030-01-01", "4713-01-01 BC", "294276-01-01"]))
        }
        _ => return format!("null::{of}"),
    };
    format!("{value}::{of}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_role_calls_ends_and_breaks_nothing() -> Result<()> {
    let seed = rand::rng().random();
    fuzz(seed).await.with_context(|| format!("seed {seed}"))
}

async fn fuzz(seed: u64) -> Result<()> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let db = TestDatabase::new().await?;
    let mut owner = db.session().await?;
    owner.register(&chain(3)).await?;
    let limit = json!({ "concurrency": { "key": "customer", "limit": 1 } });
    owner.register(&define_with("keyed", json!([{ "name": "s0" }]), limit)).await?;
    owner
        .run("select pgmq.create('mail_queue'); select pgmq.send('mail_queue', '{}') from generate_series(1, 3)")
        .await?;
    let mail: String = owner.value(MAIL).await?;

    for kind in ["client", "operator", "worker", "orchestrator"] {
        let role = format!("{kind}_of_{}", db.name());
        owner.run(&format!("create role {role} login; select stepwell.grant_role('{role}', '{kind}')")).await?;
        let code: String = owner.value(CODE).await?;
        let mut caller = Session::connect(&db.url().replacen("//stepwell@", &format!("//{role}@"), 1)).await?;
        caller.run("set statement_timeout = '20s'").await?;
        let functions: Vec<(String, Vec<String>)> = caller.rows(MAY_CALL).await?;
        ensure!(functions.len() > 8, "{kind} may call {functions:?}");
        for round in 0..effort::rounds(30, 600) {
            if round % 10 == 0 {
                owner.submit(&[r#"{"workflow":"test/chain","context":{}}"#; 5]).await?;
                owner.submit(&[r#"{"workflow":"test/keyed","context":{"customer":7}}"#; 5]).await?;
                owner.initialize(8).await?;
                owner.claim(4).await?;
            }
            let known = Known::of(&mut owner).await?;
            for (function, types) in &functions {
                let arguments: Vec<String> = types.iter().map(|of| argument(rng, &known, of)).collect();
                let call = format!("select count(*) from stepwell.{function}({}) as answer", arguments.join(", "));
                if let Err(error) = caller.value::<i64>(&call).await {
                    let state = error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
                    let allowed =
                        state.as_ref().is_some_and(|state| ALLOWED.iter().any(|class| state.starts_with(class)));
                    let shown: String = call.chars().take(2_000).collect();
                    ensure!(allowed, "{kind}: {state:?} {error}: {shown}");
                }
            }
            owner.assert_invariants().await.with_context(|| format!("after round {round} of {kind}"))?;
        }
        drop(caller);
        ensure!(owner.value::<String>(CODE).await? == code, "{kind} has changed what the schema is");
        ensure!(owner.value::<String>(MAIL).await? == mail, "{kind} has touched the queue of another program");
        owner.run(&format!("drop owned by {role}; drop role {role}")).await?;
    }

    // What a role may set, set back.
    owner
        .run(
            "select stepwell.configure_dispatch(1000, '60 s');
             select stepwell.resume_namespace(n.namespace) from stepwell.namespaces n where n.paused_at is not null;
             select stepwell.limit_namespace('test', null, null, null)",
        )
        .await?;
    let config = config()?;
    let orchestrator = orchestrator(&db, &config).await?;
    let handler = |_: Arc<ClaimedStep>| async { Ok("1".to_owned()) };
    let handlers = ["a", "b", "c", "s0"].iter().fold(Handlers::new(), |handlers, name| handlers.with(*name, handler));
    let worker = worker(orchestrator.database(), 4, handlers).await?;
    let client = Client::new(orchestrator.database().clone());
    let task = client.submit(&[request("test/chain", "{}")]).await?[0].task_id;
    wait(&client, &[task]).await?;
    ensure!(owner.task_state(task).await? == "complete", "the next task is {}", owner.task_state(task).await?);
    worker.stop(PATIENCE).await;
    orchestrator.stop().await?;
    drop(owner);
    db.finish().await
}
