// pg-boss: jobs are fetched and completed by the hundred, without a pause while there are more.

import { Countdown, done, now, pool, ready, require, tasks, until } from "./common.mjs";

const { PgBoss } = require("pg-boss");

const db = pool();
const boss = new PgBoss({ db: { executeSql: (text, values) => db.query(text, values) }, supervise: false, schedule: false });
boss.on("error", console.error);
await boss.start();
await boss.createQueue("bench");

async function insert(count) {
  for (let left = count; left > 0; left -= 1000) {
    await boss.insert("bench", Array.from({ length: Math.min(left, 1000) }, () => ({ data: {} })));
  }
}

let finished = 0;
async function drain(count) {
  const countdown = new Countdown(count);
  const work = { batchSize: 100, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 };
  const worker = await boss.work("bench", work, async (jobs) => jobs.forEach(() => countdown.tick()));
  await countdown.over;
  finished += count;
  await until(async () => {
    const { rows } = await db.query("select count(*)::int as count from pgboss.job where state = 'completed'");
    return rows[0].count >= finished;
  });
  return worker;
}

await insert(500);
await drain(500);
await boss.offWork("bench");
await insert(tasks);
await ready();
const begun = now();
await drain(tasks);
await done({ seconds: (now() - begun) / 1000, steps: tasks });
