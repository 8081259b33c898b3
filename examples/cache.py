"""A cache in front of something slow.

A shop shows product pages.  What a product costs is computed from a dozen tables and
takes a while, and the same few products are asked for all day long.  So each answer is
kept for a minute: asked for again, it comes from the cache; after a minute, or when the
product is changed, it is computed anew.

When a popular answer runs out, a hundred requests notice at once.  Only the one that
gets the short-lived lock (SET NX EX) computes it; the others take the stale copy, which
is kept a little longer than the fresh one, so that nobody waits and the database sees
one query in place of a hundred.

    python examples/cache.py                  REDIS_URL names the server
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import redis

Load = Callable[[str], Any]


class Cache:
    """Answers of ``load``, kept for ``fresh_s`` seconds and shown stale for ``stale_s`` more."""

    def __init__(self, client: redis.Redis, load: Load, fresh_s: int = 60, stale_s: int = 600) -> None:
        self.client = client
        self.load = load
        self.fresh_s = fresh_s
        self.stale_s = stale_s

    def get(self, name: str) -> Any:
        """The answer for ``name``: fresh if there is one, stale while another computes it, computed otherwise."""
        fresh, stale = self.client.mget(f"cache:{name}", f"cache:{name}:stale")
        if fresh is not None:
            self.client.incr("cache:hits")
            return json.loads(fresh)
        may_compute = self.client.set(f"cache:{name}:lock", 1, nx=True, ex=10)
        if not may_compute and stale is not None:
            self.client.incr("cache:stale-hits")
            return json.loads(stale)
        return self._compute(name)

    def _compute(self, name: str) -> Any:
        value = self.load(name)
        text = json.dumps(value)
        pipe = self.client.pipeline(transaction=True)
        pipe.set(f"cache:{name}", text, ex=self.fresh_s)
        pipe.set(f"cache:{name}:stale", text, ex=self.fresh_s + self.stale_s)
        pipe.delete(f"cache:{name}:lock")
        pipe.incr("cache:misses")
        pipe.execute()
        return value

    def forget(self, name: str) -> None:
        """What the answer was made of has changed: neither the fresh nor the stale copy is right any more."""
        self.client.unlink(f"cache:{name}", f"cache:{name}:stale")

    def counts(self) -> dict[str, int]:
        """How often it helped."""
        names = ("hits", "stale-hits", "misses")
        found = self.client.mget(f"cache:{name}" for name in names)
        return {name: int(count or 0) for name, count in zip(names, found, strict=True)}


def main() -> None:
    """A morning in the shop."""
    prices = {"teapot": 39, "cup": 9}
    asked: list[str] = []

    def slow_price(product: str) -> dict[str, Any]:
        asked.append(product)
        return {"product": product, "price": prices[product]}

    client = redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
    client.delete("cache:hits", "cache:stale-hits", "cache:misses")
    cache = Cache(client, slow_price)
    for product in prices:
        cache.forget(product)

    for _ in range(100):
        cache.get("teapot")
    print(f"100 visitors looked at the teapot, the database was asked {asked.count('teapot')} time(s)")

    prices["teapot"] = 35
    cache.forget("teapot")
    print(f"the price has changed: {cache.get('teapot')}")

    client.delete("cache:teapot")  # as if its minute were over
    client.set("cache:teapot:lock", "another visitor is computing it", ex=10)
    print(f"it ran out, and while another computes it, we show the stale one: {cache.get('teapot')}")
    client.delete("cache:teapot:lock")

    print("so far:", ", ".join(f"{count} {name}" for name, count in cache.counts().items()))


if __name__ == "__main__":
    main()
