"""dramatiq with its redis broker, result backend and rate limiters: one large script does the dispatching."""

from __future__ import annotations

import threading

import pytest
from clients_harness import PATIENCE_S, eventually, package

dramatiq = package("dramatiq")
from dramatiq.brokers.redis import MAINTENANCE_SCALE, RedisBroker  # noqa: E402
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter  # noqa: E402
from dramatiq.rate_limits.backends import RedisBackend as LimitsBackend  # noqa: E402
from dramatiq.results import ResultFailure, Results  # noqa: E402
from dramatiq.results.backends import RedisBackend  # noqa: E402

PATIENCE_MS = int(PATIENCE_S * 1000)


@pytest.fixture
def broker(url):
    with_results = RedisBroker(url=url, dead_message_ttl=PATIENCE_MS)
    with_results.add_middleware(Results(backend=RedisBackend(url=url)))
    dramatiq.set_broker(with_results)  # messages ask for their results there
    yield with_results
    with_results.close()


@pytest.fixture
def work(broker):
    """Start a worker on all queues that actors have been declared for."""
    workers = []

    def start():
        workers.append(dramatiq.Worker(broker, worker_timeout=50, worker_threads=4))
        workers[-1].start()
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


def test_messages_are_dispatched_and_results_come_back(broker, work):
    @dramatiq.actor(broker=broker, store_results=True)
    def add(a, b):
        return a + b

    early = [add.send(n, n) for n in range(20)]
    work()
    late = [add.send(n, 1) for n in range(20)]
    got = [message.get_result(block=True, timeout=PATIENCE_MS) for message in early + late]
    assert got == [2 * n for n in range(20)] + [n + 1 for n in range(20)]
    broker.join(add.queue_name, timeout=PATIENCE_MS)
    assert (broker.client.hlen("dramatiq:default.msgs"), broker.client.llen("dramatiq:default")) == (0, 0)


def test_a_message_that_fails_is_retried_and_then_given_up(broker, work):
    tries = []

    @dramatiq.actor(broker=broker, store_results=True, max_retries=3, min_backoff=1, max_backoff=1)
    def at_third():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return len(tries)

    @dramatiq.actor(broker=broker, store_results=True, max_retries=0)
    def never():
        raise ValueError("no paper")

    work()
    good, bad = at_third.send(), never.send()
    assert good.get_result(block=True, timeout=PATIENCE_MS) == 3
    with pytest.raises(ResultFailure, match="no paper"):
        bad.get_result(block=True, timeout=PATIENCE_MS)
    assert eventually(lambda: broker.client.zcard("dramatiq:default.XQ") == 1), "the dead letter is kept"
    assert broker.client.hlen("dramatiq:default.XQ.msgs") == 1


def test_delayed_messages_groups_and_pipelines(broker, work):
    @dramatiq.actor(broker=broker, store_results=True)
    def add(a, b):
        return a + b

    work()
    delayed = add.send_with_options(args=(1, 2), delay=100)
    assert delayed.get_result(block=True, timeout=PATIENCE_MS) == 3
    together = dramatiq.group([add.message(n, n) for n in range(8)], broker=broker).run()
    assert list(together.get_results(block=True, timeout=PATIENCE_MS)) == [2 * n for n in range(8)]
    pipe = dramatiq.pipeline([add.message(1, 2), add.message(3), add.message(4)], broker=broker).run()
    assert pipe.get_result(block=True, timeout=PATIENCE_MS) == 10


def test_what_a_dead_worker_held_is_given_to_another(broker, url, work):
    """A worker without a heartbeat is taken for dead: maintenance in the script puts its messages back."""

    @dramatiq.actor(broker=broker, store_results=True)
    def add(a, b):
        return a + b

    message = add.send(20, 3)
    lost = RedisBroker(url=url)
    assert next(lost.consume("default", prefetch=1, timeout=50)).message_id == message.message_id
    taken = f"dramatiq:__acks__.{lost.broker_id}.default"
    assert broker.client.smembers(taken) == {message.options["redis_message_id"].encode()}
    broker.client.zadd("dramatiq:__heartbeats__", {lost.broker_id: 1})
    broker.maintenance_chance = MAINTENANCE_SCALE
    work()
    assert message.get_result(block=True, timeout=PATIENCE_MS) == 23
    assert not broker.client.exists(taken)
    lost.close()


def test_flushing_forgets_what_waits(broker):
    @dramatiq.actor(broker=broker, queue_name="papers")
    def nothing():
        return None

    for _ in range(10):
        nothing.send()
    assert broker.do_qsize("papers") == 10
    broker.flush("papers")
    assert broker.do_qsize("papers") == 0


def test_rate_limiters_count_as_they_say(url):
    backend = LimitsBackend(url=url)
    mutex = ConcurrentRateLimiter(backend, "mutex", limit=1)
    with mutex.acquire(raise_on_failure=False) as first, mutex.acquire(raise_on_failure=False) as second:
        assert first and not second
    bucket = BucketRateLimiter(backend, "bucket", limit=5, bucket=3_600_000)
    window = WindowRateLimiter(backend, "window", limit=5, window=600)
    for limiter in (bucket, window):
        through = []
        for _ in range(8):
            with limiter.acquire(raise_on_failure=False) as acquired:
                through.append(acquired)
        assert sum(through) == 5, limiter.key


def test_a_barrier_lets_all_go_when_the_last_has_come(url):
    barrier = Barrier(LimitsBackend(url=url), "start", ttl=60_000)
    assert barrier.create(parties=3) and not barrier.create(parties=3)
    assert barrier.wait(block=False) is False
    waited = []
    waiters = [
        threading.Thread(target=lambda: waited.append(barrier.wait(timeout=PATIENCE_MS))) for _ in range(2)
    ]
    for waiter in waiters:
        waiter.start()
    for waiter in waiters:
        waiter.join()
    assert waited == [True, True]
