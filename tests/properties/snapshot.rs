//! The whole world as lines of text, from the database and from the model, so that they can be compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{ensure, Result};

use super::model::{Model, State, Try};
use crate::support::Session;

/// When every case begins.
pub const START: &str = "2030-01-01 00:00:00+00";

// Tasks are called by their correlation id, times are seconds since the start, rounded up: then a time that has come in
// the database has come in the model.
const LINES: &str = "
  with m as (select t.correlation_id as number, t.* from stepwell.tasks t),
       waiting as (select r.task_id, r.position as step, r.attempt from stepwell.ready_steps r
                   union all select k.task_id, k.position, k.attempt from stepwell.keyed_steps k where not k.admitted),
       flights as (select 'queued' as place, q.message, q.msg_id from pgmq.q_test_queue q
                   union all select 'queued', to_jsonb(w), 0 from waiting w
                   union all select 'reported', r.result, q.msg_id * 1000 + r.place from pgmq.q_step_results q
                     cross join lateral stepwell.results_of(q.message) with ordinality as r (result, place))
  select format('request %s waits', q.message ->> 'correlation_id') from pgmq.q_task_requests q
  union all
  select format('task %s %s, %s open, %s failed, events: %s', m.number, m.state, m.steps_remaining,
                case when m.state in ('in_progress', 'error') then m.steps_failed::text else '-' end,
                (select string_agg(e.kind, ' ' order by e.event_id) from stepwell.task_events e where e.task_id = m.task_id))
    from m
  union all
  select format('step %s/%s %s%s, attempt %s of %s, waits for %s, result %s, failed: %s', m.number, s.name, s.state,
                ' until ' || ceil(extract(epoch from s.run_at - $1::timestamptz))::integer, s.attempt, s.max_attempts,
                s.waiting_on, s.result, (select string_agg(a.kind, ' ' order by a.attempt) from stepwell.step_attempts a
                                          where a.task_id = s.task_id and a.position = s.position))
    from stepwell.steps s join m using (task_id)
  union all
  select format('%s: %s', f.place, string_agg(format('%s/s%s#%s', m.number, f.message ->> 'step', f.message ->> 'attempt'),
                ' ' order by case f.place when 'reported' then f.msg_id end,
                             m.number, (f.message ->> 'step')::int, (f.message ->> 'attempt')::int))
    from flights f left join m on m.task_id::text = f.message ->> 'task_id' group by f.place
  union all
  select format('claim %s until %s: %s', c.claim_id, extract(epoch from c.expires_at - $1::timestamptz)::integer,
                (select string_agg(format('%s/s%s#%s', m.number, u.position, u.attempt), ' '
                                   order by m.number, u.position, u.attempt)
                   from unnest(c.task_ids, c.positions, c.attempts) as u (task_id, position, attempt)
                   left join m using (task_id)))
    from stepwell.claims c
  union all
  select format('timer at %s for %s/s%s', ceil(extract(epoch from r.due_at - $1::timestamptz))::integer, m.number, r.position)
    from stepwell.step_timers r left join m using (task_id)
  union all
  select 'dead letter: ' || d.reason from stepwell.dead_letters d";

/// The invariants hold, and the database holds what the model says.
pub async fn compare(session: &mut Session, model: &Model) -> Result<()> {
    session.assert_invariants().await?;
    let found: BTreeSet<String> =
        session.column(&LINES.replace("$1", &format!("'{START}'"))).await?.into_iter().collect();
    let expected = lines(model);
    ensure!(
        found == expected,
        "the database has\n    {}\n  where the model has\n    {}",
        found.difference(&expected).cloned().collect::<Vec<_>>().join("\n    "),
        expected.difference(&found).cloned().collect::<Vec<_>>().join("\n    ")
    );
    Ok(())
}

/// The next messages that a claim of up to `batch` steps will pop.
pub async fn next_messages(session: &mut Session, batch: usize) -> Result<Vec<Try>> {
    tries(
        session,
        &format!(
            "select concat_ws(' ', t.correlation_id, q.message ->> 'step', q.message ->> 'attempt')
               from pgmq.q_test_queue q join stepwell.tasks t on t.task_id::text = q.message ->> 'task_id'
              order by q.msg_id limit {batch}"
        ),
    )
    .await
}

/// All messages in the queue, and what waits to come there.
pub async fn messages(session: &mut Session) -> Result<Vec<Try>> {
    let sql = "select concat_ws(' ', t.correlation_id, f.position, f.attempt)
                 from stepwell.messages_in_flight() f join stepwell.tasks t using (task_id)
                where f.place in ('test_queue', 'ready_steps', 'keyed_steps')";
    tries(session, sql).await
}

async fn tries(session: &mut Session, sql: &str) -> Result<Vec<Try>> {
    let found: Vec<String> = session.column(sql).await?;
    let read = |line: &String| {
        let mut numbers = line.split(' ').map(str::parse::<usize>);
        let mut next = || Ok::<_, anyhow::Error>(numbers.next().expect("three numbers")?);
        Ok(Try { task: next()?, step: next()?, attempt: next()? as i16 })
    };
    found.iter().map(read).collect()
}

/// Until when the steps wait that wait for a retry, by task and step.
pub async fn waits(session: &mut Session) -> Result<BTreeMap<(usize, usize), i64>> {
    let waits: Vec<String> = session
        .column(&format!(
            "select concat_ws(' ', t.correlation_id, s.position,
                              ceil(extract(epoch from s.run_at - '{START}'::timestamptz))::integer)
               from stepwell.steps s join stepwell.tasks t using (task_id) where s.state = 'waiting_for_retry'"
        ))
        .await?;
    let read = |line: &String| {
        let numbers = line.split(' ').map(str::parse).collect::<Result<Vec<i64>, _>>()?;
        Ok(((usize::try_from(numbers[0])?, usize::try_from(numbers[1])?), numbers[2]))
    };
    waits.iter().map(read).collect()
}

fn lines(model: &Model) -> BTreeSet<String> {
    let mut lines: BTreeSet<String> = model.requests.iter().map(|number| format!("request {number} waits")).collect();
    for (number, task) in &model.tasks {
        let count = |is: fn(State) -> bool| task.steps.iter().filter(|step| is(step.state)).count();
        let failed = match task.state {
            "in_progress" | "error" => count(|state| state == State::Error).to_string(),
            _ => "-".to_owned(),
        };
        let (open, events) = (count(|state| state != State::Complete), task.events.join(" "));
        lines.insert(format!("task {number} {}, {open} open, {failed} failed, events: {events}", task.state));
        for (place, step) in task.steps.iter().enumerate() {
            lines.insert(format!(
                "step {number}/s{place} {}, attempt {} of {}, waits for {}, result {}, failed: {}",
                name(step.state),
                step.attempt,
                step.max_attempts,
                model.open_dependencies(*number, place),
                step.result.map(|result| result.to_string()).unwrap_or_default(),
                step.failures.join(" ")
            ));
        }
    }
    let mut queue = model.queue.clone();
    queue.sort_unstable();
    let reported: Vec<Try> = model.results.iter().map(|(it, ..)| *it).collect();
    for (place, tries) in [("queued", queue), ("reported", reported)] {
        if !tries.is_empty() {
            lines.insert(format!("{place}: {}", names(&tries)));
        }
    }
    for (id, claim) in &model.claims {
        lines.insert(format!("claim {id} until {}: {}", claim.expires, names(&claim.tries)));
    }
    lines.extend(model.timers.iter().map(|(due, task, step)| format!("timer at {due} for {task}/s{step}")));
    lines
}

fn name(state: State) -> String {
    match state {
        State::Waiting { until } => format!("waiting_for_retry until {until}"),
        state => format!("{state:?}").to_lowercase(),
    }
}

fn names<'a>(tries: impl IntoIterator<Item = &'a Try>) -> String {
    let names: Vec<String> =
        tries.into_iter().map(|Try { task, step, attempt }| format!("{task}/s{step}#{attempt}")).collect();
    names.join(" ")
}
