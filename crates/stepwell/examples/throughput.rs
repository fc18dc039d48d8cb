//! scratch
use std::time::Instant;
use stepwell::*;
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    telemetry::init("info");
    let mut config = Config::load(Some("production"))?;
    let n: usize = std::env::args().nth(1).map(|s| s.parse().unwrap()).unwrap_or(5000);
    config.database.url = Some(std::env::var("DATABASE_URL")?);
    let orch = Orchestrator::embedded(&config).await?;
    let client = Client::new(orch.database().clone());
    let wf = Workflow::from_json(
        r#"{"namespace":"bench","name":"chain","version":"1","steps":[{"name":"a","handler":"h"},{"name":"b","handler":"h","depends_on":"a"},{"name":"c","handler":"h","depends_on":"b"},{"name":"d","handler":"h","depends_on":"c"}]}"#,
    )?;
    client.register(&[wf]).await?;
    let handlers =
        worker::Handlers::new().with("h", |_s: std::sync::Arc<store::ClaimedStep>| async { Ok("1".to_owned()) });
    let w = Worker::start_with(orch.database().clone(), vec!["bench".into()], 10, handlers).await?;
    let mut lat = vec![];
    for _ in 0..50 {
        let t = Instant::now();
        let s = client
            .submit(&[Request { workflow: "bench/chain".into(), context: "{}".into(), ..Default::default() }])
            .await?;
        client.wait(&[s[0].task_id], None, |_| ()).await?;
        lat.push(t.elapsed());
    }
    lat.sort();
    println!("chain p50 {:?} p95 {:?}", lat[25], lat[47]);
    let reqs: Vec<_> = (0..n)
        .map(|_| Request { workflow: "bench/chain".into(), context: "{}".into(), ..Default::default() })
        .collect();
    let t = Instant::now();
    let s = client.submit(&reqs).await?;
    println!("submitted {:?}", t.elapsed());
    let ids: Vec<_> = s.iter().map(|s| s.task_id).collect();
    client.wait(&ids, None, |_| ()).await?;
    println!("{} steps/s", (n * 4) as f64 / t.elapsed().as_secs_f64());
    println!("{}", serde_json::to_string(&orch.status())?);
    w.stop(std::time::Duration::from_secs(5)).await;
    orch.stop().await?;
    Ok(())
}
