"""huey: tasks, results, retries, times to come, locks and pipelines on each of its redis storages."""

from __future__ import annotations

import pytest
from clients_harness import PATIENCE_S, package

huey_package = package("huey")
from huey import PriorityRedisExpireHuey, PriorityRedisHuey, RedisExpireHuey, RedisHuey  # noqa: E402
from huey.api import Task  # noqa: E402
from huey.exceptions import TaskException, TaskLockedException  # noqa: E402

KINDS = {kind.__name__: kind for kind in (RedisHuey, RedisExpireHuey, PriorityRedisHuey, PriorityRedisExpireHuey)}


@pytest.fixture(params=KINDS)
def huey(request, url):
    """A queue of each kind: a list or a sorted set, results in a hash or in keys with a deadline."""
    return KINDS[request.param]("errands", url=url, notify_result=True)


def run_all(huey):
    """Run what is due, as the consumer's scheduler and worker do; how many tasks there were."""
    count = 0
    for due in huey.read_schedule():
        huey.enqueue(due)
    while huey.pending_count():
        huey.execute(huey.dequeue())
        count += 1
    return count


def test_tasks_are_run_and_results_taken_once(huey):
    @huey.task()
    def add(a, b):
        return a + b

    results = [add(n, n) for n in range(10)]
    assert huey.pending_count() == 10 and results[0]() is None
    assert run_all(huey) == 10
    assert [result(blocking=True, timeout=PATIENCE_S) for result in results] == [2 * n for n in range(10)]
    pipeline = add.s(1, 2).then(add, 3).then(add, 4)
    group = huey.enqueue(pipeline)
    assert run_all(huey) == 3 and group.get(blocking=True, timeout=PATIENCE_S) == [3, 6, 10]


def test_a_task_that_fails_is_retried_and_tells_why(huey):
    tries = []

    @huey.task(retries=2)
    def fail():
        tries.append(1)
        raise ValueError("no paper")

    result = fail()
    assert run_all(huey) == 3 and len(tries) == 3
    with pytest.raises(TaskException, match="no paper"):
        result.get(blocking=True, timeout=PATIENCE_S)


def test_scheduled_and_revoked_tasks(huey):
    @huey.task()
    def add(a, b):
        return a + b

    due, far = add.schedule((1, 2), delay=-5), add.schedule((3, 4), delay=3600)
    assert run_all(huey) == 2, "a worker puts what is not due into the schedule"
    assert due.get(blocking=True, timeout=PATIENCE_S) == 3
    assert [task.id for task in huey.scheduled()] == [far.id]
    soon = far.reschedule(delay=-1)
    assert run_all(huey) == 1 and soon.get(blocking=True, timeout=PATIENCE_S) == 7
    revoked = add(5, 6)
    revoked.revoke()
    assert revoked.is_revoked()
    run_all(huey)
    assert revoked.get() is None and not revoked.is_revoked()


def test_the_schedule_gives_what_is_due_in_one_script(huey):
    @huey.task()
    def nothing():
        return None

    huey.storage.add_to_schedule(huey.serialize_task(nothing.s()), huey_package.utils.normalize_time(delay=-10))
    huey.storage.add_to_schedule(huey.serialize_task(nothing.s()), huey_package.utils.normalize_time(delay=900))
    assert huey.scheduled_count() == 2
    (due,) = huey.read_schedule()
    assert isinstance(due, Task) and huey.scheduled_count() == 1
    assert huey.read_schedule() == []


def test_a_lock_lets_one_in(huey):
    with huey.lock_task("printer"):
        assert huey.is_locked("printer")
        with pytest.raises(TaskLockedException), huey.lock_task("printer"):
            pass
    assert not huey.is_locked("printer")
    huey.lock_task("printer").acquire()
    assert huey.flush_locks() == {"printer"} and not huey.is_locked("printer")


def test_values_counters_and_flushing(huey):
    huey.put("a", [1, 2])
    assert huey.get("a", peek=True) == [1, 2] and huey.result_count() == 1
    assert huey.storage.put_if_empty("b", b"1") and not huey.storage.put_if_empty("b", b"2")
    assert [huey.storage.incr("seen", n) for n in (1, 5)] == [1, 6]
    assert set(huey.storage.result_items()) >= {"a", "b"} or set(huey.storage.result_items()) >= {b"a", b"b"}
    huey.flush()
    assert (huey.pending_count(), huey.scheduled_count(), huey.result_count()) == (0, 0, 0)


@pytest.mark.parametrize("kind", [PriorityRedisHuey, PriorityRedisExpireHuey])
def test_urgent_tasks_come_first(kind, url):
    huey = kind("urgent", url=url)
    order = []

    @huey.task()
    def note(words):
        order.append(words)

    for words, priority in (("low", 1), ("high", 50), ("none", None), ("high too", 50)):
        note(words, priority=priority)
    assert run_all(huey) == 4 and order == ["high", "high too", "low", "none"]


def test_a_consumer_in_threads_works_a_queue_off(url):
    huey = RedisHuey("consumer", url=url, notify_result=True)

    @huey.task()
    def add(a, b):
        return a + b

    @huey.task()
    @huey.lock_task("one at a time")
    def alone(n):
        return n

    consumer = huey.create_consumer(workers=2, periodic=False, initial_delay=0.01, scheduler_interval=1)
    consumer.start()
    try:
        results = [add(n, 1) for n in range(20)]
        assert [each.get(blocking=True, timeout=PATIENCE_S) for each in results] == list(range(1, 21))
        assert alone(7).get(blocking=True, timeout=PATIENCE_S) == 7
        assert add.schedule((1, 1), delay=1).get(blocking=True, timeout=PATIENCE_S) == 2
    finally:
        consumer.stop(graceful=True)
