"""Celery with kombu's redis transport and the redis result backend: tasks, retries, chords, times to come, fan-out."""

from __future__ import annotations

import gc
import uuid
from functools import partial

import pytest
from clients_harness import PATIENCE_S, eventually, package

celery = package("celery")
from celery.contrib.testing.worker import start_worker  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated")


def app_on(url, **settings):
    """An application with all tasks of these tests; broker, results and fan-out are on the server at ``url``."""
    app = celery.Celery("errands", broker=f"{url}/0", backend=f"{url}/1", set_as_current=False)
    app.conf.update(
        worker_hijack_root_logger=False, broker_connection_retry_on_startup=False, result_extended=True,
        task_default_queue=f"errands-{uuid.uuid4().hex[:8]}", **settings,
    )  # fmt: skip

    task = partial(app.task, shared=False)

    @task(name="add")
    def add(a, b):
        return a + b

    @task(name="total")
    def total(numbers):
        return sum(numbers)

    @task(name="fail")
    def fail(words):
        raise ValueError(words)

    @task(name="third time", bind=True, max_retries=5)
    def third_time(self):
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return self.request.retries

    @task(name="long errand", bind=True)
    def long_errand(self):
        self.update_state(state="PROGRESS", meta={"done": 50})
        return self.AsyncResult(self.request.id).info["done"]

    return app


@pytest.fixture
def new_app(url):
    """Make an application; its connections are let go in the end."""
    made = []

    def make(**settings):
        made.append(app_on(url, **settings))
        return made[-1]

    yield make
    gc.collect()  # results unsubscribe when they are thrown away, which must not be while another test runs
    for application in made:
        application.backend.result_consumer.stop()
        application.close()


def worker(app):
    """A worker in a thread, for a ``with``."""
    return start_worker(app, pool="solo", concurrency=1, perform_ping_check=False, shutdown_timeout=PATIENCE_S)


@pytest.fixture
def app(new_app):
    application = new_app()
    with worker(application):
        yield application


def done(result):
    return result.get(timeout=PATIENCE_S)


def test_tasks_are_run_and_results_come_back(app, client):
    results = [app.tasks["add"].delay(n, n) for n in range(20)]
    assert [done(result) for result in results] == [2 * n for n in range(20)]
    assert all(result.successful() for result in results)
    failed = app.tasks["fail"].delay("no paper")
    with pytest.raises(ValueError, match="no paper"):
        done(failed)
    assert failed.state == "FAILURE" and "Traceback" in failed.traceback
    assert done(app.tasks["long errand"].delay()) == 50
    results[0].forget()
    assert results[0].state == "PENDING"
    assert eventually(lambda: client.hlen("unacked") == 0 and client.zcard("unacked_index") == 0)


def test_a_task_is_retried_until_it_is_done(app):
    assert done(app.tasks["third time"].delay()) == 2


def test_a_chord_collects_what_its_group_brought(app):
    add, total = app.tasks["add"], app.tasks["total"]
    assert done(celery.chord([add.s(n, 1) for n in range(12)], app=app)(total.s())) == sum(range(1, 13))
    assert done(celery.chain(add.s(1, 2), add.s(10), add.s(100), app=app).delay()) == 113
    both = celery.group([add.s(n, n) for n in range(5)], app=app).delay()
    assert both.get(timeout=PATIENCE_S) == [0, 2, 4, 6, 8]
    broken = celery.chord([add.s(1, 1), app.tasks["fail"].s("in a group")], app=app)(total.s())
    assert eventually(lambda: broken.state == "FAILURE")
    assert isinstance(broken.result, celery.exceptions.ChordError) and "in a group" in str(broken.result)


def test_a_task_waits_for_its_time_and_is_not_run_after_it(app, client):
    soon = app.tasks["add"].apply_async((1, 2), countdown=0.3)
    assert done(soon) == 3
    late = app.tasks["add"].apply_async((1, 2), expires=-1)
    with pytest.raises(celery.exceptions.TaskRevokedError):
        done(late)
    far = app.tasks["add"].apply_async((3, 4), countdown=3600)
    assert eventually(lambda: client.zcard("unacked_index") == 1), "a task that waits is held, and not acknowledged"
    assert far.state == "PENDING"


def test_workers_are_asked_through_broadcasts(app):
    inspect = app.control.inspect(timeout=PATIENCE_S, limit=1)
    (answer,) = inspect.ping().values()
    assert answer == {"ok": "pong"}
    far = app.tasks["add"].apply_async((3, 4), countdown=3600)
    (waiting,) = eventually(lambda: next(iter(inspect.scheduled().values())))
    assert waiting["request"]["id"] == far.id
    far.revoke()
    assert eventually(lambda: far.id in next(iter(inspect.revoked().values())))


def test_messages_wait_for_a_worker_by_priority(new_app):
    app = new_app(broker_transport_options={"queue_order_strategy": "priority", "priority_steps": [0, 5]})
    add = app.tasks["add"]
    with app.connection_for_write() as connection, connection.channel() as channel:
        results = [add.apply_async((n, n), priority=5 * (n % 2)) for n in range(6)]
        queue = app.conf.task_default_queue
        assert channel._size(queue) == 6
        with worker(app):
            assert sorted(done(result) for result in results) == [0, 2, 4, 6, 8, 10]
        for n in range(3):
            add.delay(n, n)
        assert app.control.purge() == 3 and channel._size(queue) == 0


def test_a_task_whose_worker_is_gone_is_given_to_another(new_app, client):
    """The unacknowledged are kept in a hash and by time in a sorted set, from where they are restored."""
    app = new_app(broker_transport_options={"visibility_timeout": 1})
    result = app.tasks["add"].delay(20, 3)
    with app.connection_for_read() as lost, lost.channel() as channel:
        queue = app.amqp.queues[app.conf.task_default_queue](channel)
        assert queue.get().payload is not None
        assert (client.hlen("unacked"), channel._size(queue.name)) == (1, 0)
        ((tag, taken_at),) = client.zrange("unacked_index", 0, -1, withscores=True)
        client.zadd("unacked_index", {tag: taken_at - 3600})
        channel.qos.restore_visible(num=10)
        assert (client.hlen("unacked"), channel._size(queue.name)) == (0, 1)
    with worker(app):
        assert done(result) == 23
