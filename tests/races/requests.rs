//! Two clients with the same key, two orchestrators with the same request.

use anyhow::Result;
use uuid::Uuid;

use crate::race::{Race, Side, LANES};
use crate::support::session::Answer;
use crate::support::{chain, complete, drain, Session};

async fn submit_with_key(session: &mut Session, key: &String) -> Answer<(Uuid, bool)> {
    let request = format!(r#"{{"workflow": "test/chain", "context": {{}}, "idempotency_key": "{key}"}}"#);
    let submitted = session.submit(&[request]).await?.remove(0);
    Ok((submitted.task_id, submitted.created))
}

#[tokio::test]
async fn submit_against_submit_with_the_same_key() -> Result<()> {
    let mut race = Race::new().await?;
    race.session.register(&chain(1)).await?;
    for wave in 0..Race::waves() {
        let keys: Vec<String> = (0..LANES).map(|lane| format!("order-{wave}-{lane}")).collect();
        for (one, other) in race.run(&keys, submit_with_key, submit_with_key).await? {
            assert_eq!(one.0, other.0, "both get the same task");
            race.won(match (one.1, other.1) {
                (true, false) => Side::Left,
                (false, true) => Side::Right,
                both => anyhow::bail!("{both:?}: one of two creates the task"),
            });
        }
        assert_eq!(race.session.queued("task_requests").await?, LANES as i64);
        assert_eq!(drain(&mut race.session, |step| complete(step, "1")).await?, ["a"; LANES]);
    }
    race.finish("one client", "the other client").await
}

/// A submit that is repeated after a broken connection leaves its requests in the queue twice. Orchestrators that pop a
/// long queue together take every other message, so they meet the same requests in different orders.
#[tokio::test]
async fn initialize_against_initialize_of_the_same_requests() -> Result<()> {
    const REQUESTS: usize = 1_000;
    let mut race = Race::new().await?;
    race.session.widen_queues().await?;
    race.session.register(&chain(1)).await?;
    for _wave in 0..Race::waves() / 5 {
        let request = |_| format!(r#"{{"workflow": "test/chain", "context": {{}}, "task_id": "{}"}}"#, Uuid::now_v7());
        let requests: Vec<String> = (0..REQUESTS).map(request).collect();
        for _ in 0..2 {
            race.session.submit(&requests).await?;
        }
        let initialize = async |s: &mut Session, (): &()| s.initialize(400).await;
        let outcomes = race.run(&[(); LANES], initialize, initialize).await?;
        for (left, right) in &outcomes {
            for side in [(Side::Left, left), (Side::Right, right)].iter().filter(|(_, it)| it.initialized > 0) {
                race.won(side.0);
            }
        }
        assert_eq!(outcomes.iter().map(|(l, r)| l.initialized + r.initialized).sum::<i32>(), REQUESTS as i32);
        assert_eq!(race.session.queued("test_queue").await?, REQUESTS as i64);
        race.session
            .run("delete from pgmq.q_test_queue; delete from stepwell.tasks; delete from stepwell.steps")
            .await?;
    }
    race.finish("one orchestrator", "the other orchestrator").await
}
