"""Procrastinate: an asynchronous worker of ten; jobs are deferred in batches before it starts."""

import argparse
import asyncio
import json
import sys
import time

import procrastinate

parser = argparse.ArgumentParser()
parser.add_argument("--mode")
parser.add_argument("--tasks", type=int)
parser.add_argument("--url")
parser.add_argument("--packages")
options = parser.parse_args()

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=options.url))


@app.task(name="noop")
async def noop() -> None:
    pass


async def defer(count: int) -> None:
    for left in range(count, 0, -1000):
        await noop.configure().batch_defer_async(*[{} for _ in range(min(left, 1000))])


async def drain() -> None:
    await app.run_worker_async(concurrency=10, wait=False, install_signal_handlers=False, listen_notify=False)


async def main() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await defer(50)
        await drain()
        await defer(options.tasks)
        print("ready", flush=True)
        sys.stdin.readline()
        begun = time.monotonic()
        await drain()
        print(json.dumps({"seconds": time.monotonic() - begun, "steps": options.tasks}), flush=True)
        sys.stdin.readline()


asyncio.run(main())
