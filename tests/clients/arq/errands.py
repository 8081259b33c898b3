"""What arq does on a server, told in scenes: ``python errands.py SCENE URL``.  0: it went as it should.

On its own, as arq wants a redis-py that is older than the other programs want.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from arq import Retry, Worker, create_pool, cron, func
from arq.connections import RedisSettings
from arq.jobs import JobStatus

PATIENCE_S = 30


async def add(ctx, a, b):
    return a + b


async def fail(ctx):
    raise ValueError("no paper")


async def third_time(ctx):
    if ctx["job_try"] < 3:
        raise Retry(defer=0.01)
    return ctx["job_try"]


async def for_ever(ctx):
    await asyncio.sleep(3600)


async def midnight(ctx):
    await ctx["redis"].incr("nights")


FUNCTIONS = [add, third_time, for_ever, func(fail, max_tries=1)]


async def burst(pool, **options):
    """Work until nothing is due; returns the worker, closed."""
    worker = Worker(
        FUNCTIONS, redis_settings=pool.connection_pool.arq_settings, burst=True, poll_delay=0.01,
        handle_signals=False, **options,
    )  # fmt: skip
    await worker.main()
    await worker.close()
    return worker


async def enqueue_and_work(pool):
    jobs = [await pool.enqueue_job("add", n, n) for n in range(20)]
    assert await jobs[0].status() == JobStatus.queued
    assert sorted(each.args for each in await pool.queued_jobs()) == [(n, n) for n in range(20)]
    worker = await burst(pool)
    assert worker.jobs_complete == 20
    assert [await job.result(timeout=PATIENCE_S) for job in jobs] == [2 * n for n in range(20)]
    assert await jobs[0].status() == JobStatus.complete
    assert len(await pool.all_job_results()) == 20
    info = await jobs[5].result_info()
    assert info is not None and info.success and info.job_try == 1


async def fail_and_retry(pool):
    bad, good, nobody = [await pool.enqueue_job(name) for name in ("fail", "third_time", "unknown")]
    worker = await burst(pool)
    assert (worker.jobs_complete, worker.jobs_failed, worker.jobs_retried) == (1, 2, 2)
    assert await good.result(timeout=PATIENCE_S) == 3
    for job, words in ((bad, "no paper"), (nobody, "'unknown' not found")):
        try:
            await job.result(timeout=PATIENCE_S)
        except Exception as failure:
            assert words in str(failure), failure
        else:
            raise AssertionError(f"no failure: {words}")


async def one_of_its_kind(pool):
    first = await pool.enqueue_job("add", 1, 2, _job_id="nightly")
    assert await pool.enqueue_job("add", 1, 2, _job_id="nightly") is None
    many = await asyncio.gather(*(pool.enqueue_job("add", n, 1, _job_id="crowd") for n in range(30)))
    assert sum(job is not None for job in many) == 1, "WATCH lets one of them through"
    await burst(pool)
    assert await first.result(timeout=PATIENCE_S) == 3
    assert await pool.enqueue_job("add", 1, 2, _job_id="nightly") is None, "its result is still there"


async def defer(pool):
    soon = await pool.enqueue_job("add", 1, 2, _defer_by=0.2)
    far = await pool.enqueue_job("add", 1, 2, _defer_by=timedelta(hours=1))
    assert await soon.status() == await far.status() == JobStatus.deferred
    worker = Worker(
        FUNCTIONS, redis_settings=pool.connection_pool.arq_settings, poll_delay=0.01, handle_signals=False
    )  # fmt: skip
    running = asyncio.ensure_future(worker.main())
    assert await soon.result(timeout=PATIENCE_S) == 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await worker.close()
    assert await far.status() == JobStatus.deferred
    assert await pool.zcard("arq:queue") == 1


async def by_the_clock(pool):
    await burst(pool, cron_jobs=[cron(midnight, hour=0, minute=0, run_at_startup=True)])
    assert await pool.get("nights") == b"1"
    assert (await pool.zcard("arq:queue")) == 0


async def abort(pool):
    job = await pool.enqueue_job("for_ever")
    worker = Worker(
        FUNCTIONS, redis_settings=pool.connection_pool.arq_settings, poll_delay=0.01, allow_abort_jobs=True,
        handle_signals=False, health_check_interval=1,
    )  # fmt: skip
    running = asyncio.ensure_future(worker.main())
    while await job.status() != JobStatus.in_progress:
        await asyncio.sleep(0.01)
    assert b"j_ongoing=" in await pool.get("arq:queue:health-check")
    assert await job.abort(timeout=PATIENCE_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await worker.close()


SCENES = {scene.__name__: scene for scene in (
    enqueue_and_work, fail_and_retry, one_of_its_kind, defer, by_the_clock, abort,
)}  # fmt: skip


async def main(name: str, url: str) -> None:
    """One scene on the server at ``url``."""
    settings = RedisSettings.from_dsn(url)
    pool = await create_pool(settings)
    pool.connection_pool.arq_settings = settings
    try:
        await SCENES[name](pool)
    finally:
        await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
