"""A rate limiter: so many requests a minute for each caller, across all web servers.

An API allows each key ten calls in a minute.  There are many web servers, so they count
together.  The count of a window is one key with a deadline; INCR and the deadline go in
one transaction, as a counter without a deadline would lock its caller out for ever.

Counting by the clock's minutes alone lets through twenty calls in two seconds, ten
before the full minute and ten after it.  So the minute before counts as well, with the
part of it that still lies within the last sixty seconds: a sliding window out of two
counters, with no list of every call.

The counters are in the log: a limit that a restart resets is an invitation.

    python examples/rate_limiter.py           REDIS_URL names the server
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis


@dataclass(frozen=True)
class Verdict:
    """May this call go through, how many more may, and if not, in how many seconds it is worth trying."""

    allowed: bool
    left: int
    retry_after_s: float


class RateLimiter:
    """``limit`` calls in any ``window_s`` seconds for each caller."""

    def __init__(
        self, client: redis.Redis, limit: int, window_s: int = 60, clock: Callable[[], float] = time.time
    ) -> None:
        self.client = client
        self.limit = limit
        self.window_s = window_s
        self.clock = clock

    def check(self, caller: str) -> Verdict:
        """Count a call of ``caller`` and judge it.  A call that is refused is not counted."""
        now = self.clock()
        window = int(now // self.window_s)
        passed = now / self.window_s - window
        current, previous = f"rate:{caller}:{window}", f"rate:{caller}:{window - 1}"
        pipe = self.client.pipeline(transaction=True)
        pipe.incr(current)
        pipe.expire(current, 2 * self.window_s)
        pipe.get(previous)
        count, _, before = pipe.execute()
        used = count + int(before or 0) * (1 - passed)
        if used <= self.limit:
            return Verdict(True, int(self.limit - used), 0.0)
        self.client.decr(current)
        return Verdict(False, 0, self._retry_after_s(count - 1, int(before or 0), passed))

    def _retry_after_s(self, count: int, before: int, passed: float) -> float:
        room = self.limit - 1 - count
        if room < 0 or before == 0:
            return (1 - passed) * self.window_s
        return max(1 - room / before - passed, 0.0) * self.window_s


def main() -> None:
    """Two callers, one of them greedy."""
    client = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    now = 1_000_000 * 60 + 30.0  # half past, in a minute of the example's own
    for caller in ("greedy", "modest"):
        client.unlink(*(f"rate:{caller}:{1_000_000 + minute}" for minute in range(-1, 3)))
    limiter = RateLimiter(client, limit=10, clock=lambda: now)

    verdicts = [limiter.check("greedy") for _ in range(15)]
    print(f"greedy called 15 times at once: {sum(v.allowed for v in verdicts)} went through")
    print(f"  and is told to try again in {verdicts[-1].retry_after_s:.0f} s")
    print(f"modest is not touched by that: {limiter.check('modest')}")

    now += 50
    print(f"50 s later, a new minute by the clock: {limiter.check('greedy')}")
    more = [limiter.check("greedy") for _ in range(10)]
    print(f"  but two thirds of those before it still count: {sum(v.allowed for v in more)} of 10 more went through")

    now += 60
    print(f"a quiet minute later: {limiter.check('greedy')}")


if __name__ == "__main__":
    main()
