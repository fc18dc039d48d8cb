// graphile-worker as https://worker.graphile.org/docs/performance configures it: a local queue of 500, completion in
// batches, 24 jobs at the same time. For latency without a local queue, as its own test of latency.

import { Countdown, done, now, options, pause, pool, ready, require, tasks } from "./common.mjs";

const { run, makeWorkerUtils, Logger } = require("graphile-worker");

const pgPool = pool();
const logger = new Logger(() => () => {});
const batched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const worker = { concurrentJobs: 24, maxPoolSize: 25, ...(options.mode === "drain" ? batched : {}) };
const preset = { worker: { ...worker, logger } };
let started = () => {};
const utils = await makeWorkerUtils({ pgPool, preset });
await utils.migrate();

async function start(count) {
  const countdown = new Countdown(count);
  const runner = await run({ pgPool, preset, noHandleSignals: true, taskList: { noop: () => started() } });
  runner.events.on("job:complete", () => countdown.tick()); // when that is in the database
  return { runner, countdown };
}

async function add(count) {
  for (let left = count; left > 0; left -= 1000) {
    await utils.addJobs(Array.from({ length: Math.min(left, 1000) }, () => ({ identifier: "noop", payload: {} })));
  }
}

await add(500);
const warm = await start(500);
await warm.countdown.over;

if (options.mode === "drain") {
  await warm.runner.stop();
  await add(tasks);
  await ready();
  const begun = now();
  const { countdown } = await start(tasks);
  await countdown.over;
  await done({ seconds: (now() - begun) / 1000, steps: tasks });
} else {
  await ready();
  const start = [];
  for (let sample = 0; sample < tasks; sample++) {
    await pause(sample);
    const begun = now();
    const handled = new Promise((resolve) => (started = () => resolve(now())));
    await utils.addJob("noop", {});
    start.push((await handled) - begun);
  }
  await done({ start });
}
