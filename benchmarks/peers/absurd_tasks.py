"""Absurd: a task of four steps. All are spawned while an asynchronous worker of ten runs."""

import argparse
import asyncio
import json
import sys
import time

import absurd_sdk
import psycopg

parser = argparse.ArgumentParser()
parser.add_argument("--mode")
parser.add_argument("--tasks", type=int)
parser.add_argument("--url")
parser.add_argument("--packages")
options = parser.parse_args()


async def main() -> None:
    look = await psycopg.AsyncConnection.connect(options.url, autocommit=True)
    app = absurd_sdk.AsyncAbsurd(options.url, queue_name="bench")
    client = absurd_sdk.AsyncAbsurd(options.url, queue_name="bench")
    await client.create_queue("bench")

    @app.register_task("chain", queue="bench")
    async def chain(params, ctx):
        async def one():
            return 1

        for step in range(4):
            await ctx.step(f"step{step}", one)
        return 1

    worker = asyncio.create_task(app.start_worker(concurrency=10, poll_interval=0.01))
    finished = 0

    async def through(count: int) -> None:
        nonlocal finished
        finished += count
        for _ in range(count):
            await client.spawn("chain", {}, queue="bench")
        while True:
            cursor = await look.execute("select count(*) from absurd.t_bench where state = 'completed'")
            if (await cursor.fetchone())[0] >= finished:
                return
            await asyncio.sleep(0.005)

    await through(20)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    begun = time.monotonic()
    await through(options.tasks)
    print(json.dumps({"seconds": time.monotonic() - begun, "steps": options.tasks * 4}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    worker.cancel()


asyncio.run(main())
