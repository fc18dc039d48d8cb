// DBOS Transact: a workflow of four steps. Workflows are started directly, a hundred at a time, or enqueued on a queue;
// latency is that of calling the workflow.

import { done, now, options, pause, POOL, ready, require, tasks } from "./common.mjs";

const { DBOS } = require("@dbos-inc/dbos-sdk");

const silent = { info() {}, debug() {}, warn() {}, error: console.error };
DBOS.setConfig({
  name: "bench", systemDatabaseUrl: options.url, systemDatabasePoolSize: POOL, logger: silent, logLevel: "error",
});

const chain = DBOS.registerWorkflow(
  async () => {
    for (let step = 0; step < 4; step++) await DBOS.runStep(async () => 1, { name: `step${step}` });
    return 1;
  },
  { name: "chain" },
);
await DBOS.launch();

async function direct(count) {
  let left = count;
  const lane = async () => {
    while (left-- > 0) await (await DBOS.startWorkflow(chain)()).getResult();
  };
  await Promise.all(Array.from({ length: 100 }, lane));
}

let queue;
async function queued(count) {
  const handles = [];
  for (let left = count; left > 0; left -= 100) {
    const enqueue = () => DBOS.startWorkflow(chain, { queueName: queue.name })();
    handles.push(...(await Promise.all(Array.from({ length: Math.min(left, 100) }, enqueue))));
  }
  await Promise.all(handles.map((handle) => handle.getResult({ pollingIntervalMs: 50 })));
}

if (options.mode === "queued") {
  queue = await DBOS.registerQueue("bench", { workerConcurrency: 100, minPollingIntervalMs: 10 });
}
const through = options.mode === "queued" ? queued : direct;
await through(50);
await ready();
if (options.mode === "latency") {
  const whole = [];
  for (let sample = 0; sample < tasks; sample++) {
    await pause(sample);
    const begun = now();
    await chain();
    whole.push(now() - begun);
  }
  await done({ whole });
} else {
  const begun = now();
  await through(tasks);
  await done({ seconds: (now() - begun) / 1000, steps: tasks * 4 });
}
