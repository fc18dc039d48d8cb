// What the programs of Node.js share: their arguments, their packages, and the words of benchmarks/support/contestant.rb.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

export const { values: options } = parseArgs({
  options: { mode: { type: "string" }, tasks: { type: "string" }, url: { type: "string" }, packages: { type: "string" } },
});
export const tasks = Number(options.tasks);
export const require = createRequire(`${options.packages}/`);
export const POOL = 20;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Says that it is ready, and waits until it may start. */
export async function ready() {
  process.stdout.write("ready\n");
  await lines.next();
}

/** Says what was measured, waits until it is no longer needed, and ends. */
export async function done(measured) {
  process.stdout.write(`${JSON.stringify(measured)}\n`);
  await lines.next();
  process.exit(0);
}

export const now = () => performance.now();
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Pauses that are not in step with anything that polls. */
export const pause = (sample) => sleep(2 + ((sample * 7919) % 10_000) / 1000);

/** Resolves as soon as `count` events have been counted. */
export class Countdown {
  constructor(count) {
    this.left = count;
    this.over = new Promise((resolve) => (this.resolve = resolve));
  }

  tick() {
    if (--this.left === 0) this.resolve();
  }
}

/** Asks until the answer is true. */
export async function until(question) {
  while (!(await question())) await sleep(5);
}

export function pool() {
  const { Pool } = require("pg");
  return new Pool({ max: POOL });
}
