"""RQ: jobs are enqueued, run here and in forked processes, fail, are retried, wait for each other and for a time."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import clients_jobs
import pytest
from clients_harness import package

rq = package("rq")
from rq.job import Job, JobStatus  # noqa: E402
from rq.registry import (  # noqa: E402
    CanceledJobRegistry,
    FailedJobRegistry,
    FinishedJobRegistry,
    ScheduledJobRegistry,
    StartedJobRegistry,
)
from rq.results import Result  # noqa: E402
from rq.scheduler import RQScheduler  # noqa: E402


@pytest.fixture
def queue(client):
    return rq.Queue("work", connection=client)


def burst(queue):
    """Work the queue off in this process."""
    rq.SimpleWorker([queue], connection=queue.connection).work(burst=True, logging_level="ERROR")


def rq_worker(url, queue, *options):
    """The program ``rq worker``, which forks for each job, until the queue is empty."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", url, *options, queue.name]
    subprocess.run(command, cwd=Path(__file__).parent.parent, timeout=120, check=True, capture_output=True)


def test_a_job_is_run_and_its_result_is_kept(queue):
    job = queue.enqueue(clients_jobs.add, 2, 3)
    assert (queue.count, queue.job_ids, job.get_status()) == (1, [job.id], JobStatus.QUEUED)
    burst(queue)
    assert (job.return_value(), job.get_status(refresh=True)) == (5, JobStatus.FINISHED)
    assert queue.count == 0
    assert job.id in FinishedJobRegistry(queue=queue)
    assert queue.connection.ttl(job.key) > 0, "the result goes by itself after a while"
    fetched = Job.fetch(job.id, connection=queue.connection)
    assert fetched.args == (2, 3) and fetched.ended_at >= fetched.started_at
    assert fetched.latest_result().type == Result.Type.SUCCESSFUL


def test_the_program_runs_jobs_in_processes_of_their_own_and_brings_a_scheduler(queue, url):
    jobs = [queue.enqueue(clients_jobs.worker_pid) for _ in range(2)]
    due = queue.enqueue_at(datetime.now(UTC) - timedelta(seconds=1), clients_jobs.add, 1, 1)
    bad = queue.enqueue(clients_jobs.fail, "no paper")
    rq_worker(url, queue, "--with-scheduler")
    assert len({job.return_value() for job in jobs}) == 2
    assert due.return_value() == 2 and bad.get_status() == JobStatus.FAILED


def test_a_job_that_fails_stands_among_the_failed_until_it_is_requeued(queue):
    job = queue.enqueue(clients_jobs.fail, "no paper")
    burst(queue)
    failed = FailedJobRegistry(queue=queue)
    assert job.get_status(refresh=True) == JobStatus.FAILED and job.id in failed
    assert "ValueError: no paper" in job.latest_result().exc_string
    failed.requeue(job.id)
    assert queue.job_ids == [job.id] and job.id not in failed
    burst(queue)
    assert len(job.results()) == 2


def test_a_job_is_retried_as_often_as_was_said(queue, url):
    good = queue.enqueue(clients_jobs.fail_at_first, url, "attempts", 2, retry=rq.Retry(max=3))
    bad = queue.enqueue(clients_jobs.fail_at_first, url, "other", 9, retry=rq.Retry(max=2))
    burst(queue)
    assert good.get_status(refresh=True) == JobStatus.FINISHED and good.return_value() == 3
    assert bad.get_status(refresh=True) == JobStatus.FAILED
    assert queue.connection.get("other") == b"3"


def test_jobs_wait_for_the_job_that_they_depend_on(queue, url):
    first = queue.enqueue(clients_jobs.note, url, "order", "first")
    second = queue.enqueue(clients_jobs.note, url, "order", "second", depends_on=first)
    third = queue.enqueue(clients_jobs.note, url, "order", "third", depends_on=[first, second])
    assert queue.job_ids == [first.id]
    assert second.get_status() == third.get_status() == JobStatus.DEFERRED
    burst(queue)
    assert queue.connection.lrange("order", 0, -1) == [b"first", b"second", b"third"]


def test_jobs_go_to_the_front_in_bulk_and_out_again(queue, url):
    last = queue.enqueue(clients_jobs.note, url, "order", "last")
    many = queue.enqueue_many([rq.Queue.prepare_data(clients_jobs.note, (url, "order", str(n))) for n in range(20)])
    first = queue.enqueue(clients_jobs.note, url, "order", "first", at_front=True)
    many[5].cancel()
    many[6].delete()
    assert queue.get_job_position(first) == 0 and queue.get_job_position(last) == 1
    assert many[5].id in CanceledJobRegistry(queue=queue)
    burst(queue)
    left = [str(n).encode() for n in range(20) if n not in (5, 6)]
    assert queue.connection.lrange("order", 0, -1) == [b"first", b"last", *left]


def test_scheduled_jobs_come_when_their_time_has_come(queue):
    now = datetime.now(UTC)
    due = queue.enqueue_at(now - timedelta(seconds=1), clients_jobs.add, 1, 1)
    later = queue.enqueue_in(timedelta(hours=1), clients_jobs.add, 2, 2)
    registry = ScheduledJobRegistry(queue=queue)
    assert registry.get_job_ids() == [due.id, later.id] and queue.count == 0
    scheduler = RQScheduler([queue], connection=queue.connection)
    assert scheduler.acquire_locks() == {queue.name}
    assert not RQScheduler([queue], connection=queue.connection).acquire_locks(), "one scheduler a queue"
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    assert queue.job_ids == [due.id] and registry.get_job_ids() == [later.id]
    burst(queue)
    assert due.return_value() == 2
    assert registry.get_scheduled_time(later) > now + timedelta(minutes=59)


def test_queues_are_served_in_order_and_workers_are_known(client, url):
    low, high = (rq.Queue(name, connection=client) for name in ("low", "high"))
    low.enqueue(clients_jobs.note, url, "order", "low")
    high.enqueue(clients_jobs.note, url, "order", "high")
    worker = rq.SimpleWorker([high, low], connection=client)
    seen = []
    worker.push_exc_handler(lambda *_: seen.append("never"))
    worker.register_birth()
    assert [each.name for each in rq.Worker.all(connection=client)] == [worker.name]
    assert rq.Worker.count(queue=low) == 1
    worker.register_death()
    worker.work(burst=True, logging_level="ERROR")
    assert client.lrange("order", 0, -1) == [b"high", b"low"] and not seen
    assert StartedJobRegistry(queue=low).count == 0
    assert {queue.name for queue in rq.Queue.all(connection=client)} == {"low", "high"}
    assert low.delete() is None and rq.Queue.all(connection=client) == [high]


def test_a_job_that_must_be_one_of_its_kind_is_one(queue):
    first = queue.enqueue(clients_jobs.add, 1, 2, job_id="nightly", unique=True)
    with pytest.raises(rq.exceptions.DuplicateJobError):
        queue.enqueue(clients_jobs.add, 1, 2, job_id="nightly", unique=True)
    assert queue.job_ids == [first.id]
    burst(queue)
    assert first.return_value() == 3
