// Absurd: a task of four steps. All are spawned while a worker of ten runs.

import { done, now, pool, ready, require, tasks, until } from "./common.mjs";

const { Absurd } = require("absurd-sdk");

const db = pool();
const app = new Absurd({ db, queueName: "bench", log: { log() {}, info() {}, warn() {}, error: console.error } });
await app.createQueue("bench");
app.registerTask({ name: "chain" }, async (_params, ctx) => {
  for (let step = 0; step < 4; step++) await ctx.step(`step${step}`, async () => 1);
  return 1;
});
await app.startWorker({ concurrency: 10, pollInterval: 0.01 });

let finished = 0;
async function through(count) {
  finished += count;
  for (let left = count; left > 0; left -= 100) {
    await Promise.all(Array.from({ length: Math.min(left, 100) }, () => app.spawn("chain", {})));
  }
  await until(async () => {
    const { rows } = await db.query("select count(*)::int as count from absurd.t_bench where state = 'completed'");
    return rows[0].count >= finished;
  });
}

await through(50);
await ready();
const begun = now();
await through(tasks);
await done({ seconds: (now() - begun) / 1000, steps: tasks * 4 });
