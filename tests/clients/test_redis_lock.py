"""redis-py's Lock: SET NX PX to take it, scripts to extend it and to give it back; with threads and in asyncio."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis
import redis.asyncio
from clients_harness import PATIENCE_S, eventually
from redis.exceptions import LockError, LockNotOwnedError


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request, url):
    with redis.Redis.from_url(url, protocol=request.param) as connected:
        yield connected


def test_a_lock_is_taken_once_and_given_back(client):
    mine, other = client.lock("door", timeout=30), client.lock("door", timeout=30)
    assert mine.acquire(blocking=False) and not other.acquire(blocking=False)
    assert mine.locked() and mine.owned() and not other.owned()
    assert 0 < client.pttl("door") <= 30_000
    mine.release()
    assert not mine.locked() and other.acquire(blocking=False)


def test_who_does_not_have_it_cannot_give_it_back(client):
    mine, thief = client.lock("door", timeout=30), client.lock("door", timeout=30, thread_local=False)
    assert mine.acquire()
    with pytest.raises(LockError, match="unlocked"):
        thief.release()
    thief.local.token = b"another token"
    with pytest.raises(LockNotOwnedError):
        thief.release()
    thief.local.token = b"another token"
    with pytest.raises(LockNotOwnedError):
        thief.extend(10)
    assert mine.owned()
    client.set("door", "taken over")
    with pytest.raises(LockNotOwnedError):
        mine.release()
    assert client.get("door") == b"taken over"


def test_a_lock_is_extended_and_taken_anew(client):
    lock = client.lock("door", timeout=10)
    assert lock.acquire() and lock.extend(20) and 20_000 < client.pttl("door") <= 30_000
    assert lock.extend(5, replace_ttl=True) and client.pttl("door") <= 5000
    assert lock.reacquire() and 5000 < client.pttl("door") <= 10_000
    client.delete("door")
    with pytest.raises(LockNotOwnedError):
        lock.reacquire()


def test_waiting_ends_in_time_or_with_the_lock(client):
    holder = client.lock("door", timeout=PATIENCE_S, thread_local=False)
    assert holder.acquire()
    assert not client.lock("door", blocking_timeout=0.05, sleep=0.01).acquire()
    with pytest.raises(LockError), client.lock("door", blocking_timeout=0.02, sleep=0.01):
        pass
    waiter = client.lock("door", blocking_timeout=PATIENCE_S, sleep=0.01, thread_local=False)
    got = []
    thread = threading.Thread(target=lambda: got.append(waiter.acquire()))
    thread.start()
    holder.release()
    thread.join()
    assert got == [True] and waiter.owned()


def test_a_lock_that_nobody_gives_back_runs_out(client):
    forgotten = client.lock("door", timeout=0.05)
    assert forgotten.acquire()
    assert eventually(lambda: client.lock("door", timeout=30).acquire(blocking=False))
    with pytest.raises(LockNotOwnedError):
        forgotten.release()


def test_one_at_a_time_among_many_threads(client):
    inside, seen = [], []

    def enter():
        with client.lock("door", timeout=PATIENCE_S, sleep=0.001):
            inside.append(1)
            seen.append(len(inside))
            client.incr("count")
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 8 and client.get("count") == b"8"


def test_scripts_are_loaded_again_after_a_flush(client):
    lock = client.lock("door", timeout=30)
    assert lock.acquire()
    client.script_flush()
    assert lock.extend(5)
    client.script_flush()
    lock.release()
    assert not lock.locked()


def test_the_lock_of_asyncio(url):
    async def enter(client, inside, seen):
        async with client.lock("door", timeout=PATIENCE_S, sleep=0.001):
            inside.append(1)
            seen.append(len(inside))
            await client.incr("count")
            inside.pop()

    async def main():
        seen, inside = [], []
        async with redis.asyncio.Redis.from_url(url) as client:
            await asyncio.gather(*(enter(client, inside, seen) for _ in range(8)))
            return seen, await client.get("count")

    assert asyncio.run(main()) == ([1] * 8, b"8")
