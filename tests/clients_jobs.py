"""Functions that workers of job queues import by name and run, perhaps in a process of their own."""

from __future__ import annotations

import os

import redis


def add(a: int, b: int) -> int:
    """What a job is for."""
    return a + b


def fail(words: str) -> None:
    """A job that cannot be done."""
    raise ValueError(words)


def worker_pid() -> int:
    """Which process runs this."""
    return os.getpid()


def fail_at_first(url: str, key: str, times: int) -> int:
    """Fails ``times`` times, counting in ``key``; then returns the count."""
    with redis.Redis.from_url(url) as client:
        count = client.incr(key)
    if count <= times:
        raise ValueError(f"attempt {count}")
    return count


def note(url: str, key: str, words: str) -> None:
    """Append ``words`` to the list ``key``: the order in which jobs ran."""
    with redis.Redis.from_url(url) as client:
        client.rpush(key, words)
