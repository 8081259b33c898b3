"""A rate limiter (package limits): fixed, moving and sliding windows, each by scripts; time is set forward by keys."""

from __future__ import annotations

import threading

import pytest
from clients_harness import eventually, package

limits = package("limits")
from limits import parse  # noqa: E402
from limits.storage import storage_from_string  # noqa: E402
from limits.strategies import (  # noqa: E402
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)

STRATEGIES = [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter]


@pytest.fixture
def storage(url):
    return storage_from_string(url)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_so_many_go_through_and_no_more(strategy, storage):
    limiter, ten = strategy(storage), parse("10 per hour")
    assert storage.check()
    assert limiter.test(ten, "ada")
    assert [limiter.hit(ten, "ada") for _ in range(13)] == [True] * 10 + [False] * 3
    assert not limiter.test(ten, "ada") and limiter.test(ten, "bob")
    stats = limiter.get_window_stats(ten, "ada")
    assert stats.remaining == 0 and stats.reset_time > 0
    assert limiter.get_window_stats(ten, "bob").remaining == 10
    assert limiter.hit(ten, "bob", cost=7) and not limiter.hit(ten, "bob", cost=4) and limiter.hit(ten, "carl", cost=3)
    limiter.clear(ten, "ada")
    assert limiter.hit(ten, "ada")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_window_passes(strategy, storage):
    limiter, two = strategy(storage), parse("2 per 1 second")
    assert limiter.hit(two, "ada") and limiter.hit(two, "ada")
    assert eventually(lambda: limiter.hit(two, "ada"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_hits_at_the_same_time_are_all_counted(strategy, storage):
    limiter, twenty = strategy(storage), parse("20 per hour")
    through = []
    threads = [
        threading.Thread(target=lambda: through.extend(limiter.hit(twenty, "crowd") for _ in range(10)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(through), sum(through)) == (40, 20)


def test_counts_are_kept_with_a_deadline_and_reset(storage, client):
    limiter, ten = FixedWindowRateLimiter(storage), parse("10 per minute")
    limiter.hit(ten, "ada")
    (key,) = client.keys("*ada*")
    assert 0 < client.ttl(key) <= 60 and client.get(key) == b"1"
    assert storage.reset() == 1 and client.dbsize() == 0
