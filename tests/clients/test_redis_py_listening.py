"""redis-py listens: pub/sub, sharded and asynchronous, its client-side cache, MONITOR, and one who does not read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection
from server_harness import PerdureServer

WAIT_S = 30.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    folder = tmp_path_factory.mktemp("redis-py")
    with PerdureServer(folder, "--notify-keyspace-events", "KEA", "--appendfsync", "always", tcp=True) as server:
        yield server.start()


def until(ask: Callable[[], Any]) -> Any:
    """The first true answer."""
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        answer = ask()
        if answer:
            return answer
    raise AssertionError("it did not happen")


def next_message(pubsub: Any, kinds: tuple[str, ...] = ("message", "pmessage", "smessage")) -> dict[str, Any]:
    """The next message that is no confirmation."""
    found: dict[str, Any] = until(
        lambda: (got := pubsub.get_message(timeout=1.0)) is not None and got["type"] in kinds and got
    )
    return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_channels_and_patterns(server: PerdureServer, protocol: int) -> None:
    with server.client(protocol=protocol, decode_responses=True) as client, client.pubsub() as pubsub:
        seen: list[Any] = []
        pubsub.subscribe("news", handled=seen.append)
        pubsub.psubscribe("n?ws*")
        until(lambda: client.pubsub_numsub("news", "handled") == [("news", 1), ("handled", 1)])
        until(lambda: client.pubsub_numpat() == 1)
        assert client.publish("news", "hello") == 2
        assert next_message(pubsub) == {"type": "message", "pattern": None, "channel": "news", "data": "hello"}
        assert next_message(pubsub) == {"type": "pmessage", "pattern": "n?ws*", "channel": "news", "data": "hello"}
        client.publish("handled", "x")
        until(lambda: pubsub.get_message(timeout=0.1) or seen)
        assert seen[0]["data"] == "x"
        if protocol == 2:  # the answer is a message there, and redis-py waits for one
            pubsub.ping("are you there")
            assert next_message(pubsub, ("pong",))["data"] == "are you there"
        pubsub.unsubscribe()
        pubsub.punsubscribe()
        until(lambda: client.pubsub_channels() == [] and pubsub.get_message(timeout=0.1) is None)
        assert not pubsub.subscribed


@pytest.mark.parametrize("protocol", [2, 3])
def test_shard_channels(server: PerdureServer, protocol: int) -> None:
    with server.client(protocol=protocol) as client, client.pubsub() as pubsub:
        pubsub.ssubscribe("shard")
        until(lambda: client.pubsub_shardnumsub("shard") == [(b"shard", 1)])
        assert client.spublish("shard", "hello") == 1
        assert client.publish("shard", "not this") == 0
        assert next_message(pubsub)["data"] == b"hello"
        assert client.pubsub_shardchannels() == [b"shard"]
        pubsub.sunsubscribe("shard")
        until(lambda: client.pubsub_shardchannels() == [])


def test_a_thread_that_listens(server: PerdureServer) -> None:
    seen: list[bytes] = []
    with server.client() as client:
        pubsub = client.pubsub()
        pubsub.subscribe(threaded=lambda message: seen.append(message["data"]))
        thread = pubsub.run_in_thread(sleep_time=0.01)
        try:
            for i in range(200):
                client.publish("threaded", i)
            until(lambda: len(seen) == 200)
        finally:
            thread.stop()
            thread.join()
    assert seen == [b"%d" % i for i in range(200)]


def test_expiry_is_told(server: PerdureServer) -> None:
    with server.client() as client, client.pubsub() as pubsub:
        pubsub.psubscribe("__keyevent@*__:expired")
        until(lambda: client.pubsub_numpat() == 1)
        client.set("session", "x", px=30)
        assert next_message(pubsub)["data"] == b"session"


@pytest.mark.parametrize("protocol", [2, 3])
def test_asyncio(server: PerdureServer, protocol: int) -> None:
    async def listen() -> list[bytes]:
        client = redis.asyncio.from_url(server.url, protocol=protocol)
        found: list[bytes] = []
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe("async")
            await pubsub.psubscribe("as*")
            await pubsub.ssubscribe("async-shard")
            confirmed = 0
            while confirmed < 3:
                confirmed += await pubsub.get_message(timeout=1.0) is not None
            senders = [client.publish("async", i) for i in range(50)]
            assert await asyncio.gather(*senders) == [2] * 50
            await client.spublish("async-shard", "end")
            async for message in pubsub.listen():
                found.append(message["data"])
                if message["data"] == b"end":
                    break
        return found

    got = asyncio.run(asyncio.wait_for(listen(), WAIT_S))
    assert sorted(got[:-1]) == sorted([b"%d" % i for i in range(50)] * 2)


def test_the_client_side_cache_sees_what_others_change(server: PerdureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CacheProxyConnection, "MIN_ALLOWED_VERSION", "7.0.0")  # it wants one that INFO does not claim
    with (
        redis.Redis(port=server.port, protocol=3, cache_config=CacheConfig()) as cached,
        server.client() as other,
    ):
        other.set("cached", "1")
        assert cached.get("cached") == b"1"
        cache = cached.get_cache()
        assert cache is not None and cache.size == 1
        assert cached.get("cached") == b"1"
        other.set("cached", "2")
        until(lambda: cached.get("cached") == b"2")
        other.flushall()
        until(lambda: cached.get("cached") is None)
        other.set("cached", "3", px=20)
        until(lambda: cached.get("cached") is None)


def test_monitor(server: PerdureServer) -> None:
    with server.client() as client, server.client() as other, other.monitor() as monitor:
        client.set("watched", 'a "quoted"\nvalue')
        while "watched" not in (seen := monitor.next_command())["command"]:
            pass
        assert seen["command"].startswith("SET watched a ")
        assert seen["db"] == 0 and seen["client_type"] == "unix"


def test_a_pause_holds_up_writers_and_no_readers(server: PerdureServer) -> None:
    with server.client() as client, server.client() as other, server.connect() as sock:
        client.client_pause(600_000, all=False)
        sock.sendall(b"SET paused 1\r\n")
        until(lambda: other.info("clients")["blocked_clients"] == 1)
        assert other.get("paused") is None
        client.client_unpause()
        assert sock.recv(100) == b"+OK\r\n"
        assert other.get("paused") == b"1"


def test_a_subscriber_that_does_not_read_is_closed_and_costs_no_more_memory(server: PerdureServer) -> None:
    with server.client() as client, server.connect() as sock:
        client.config_set("client-output-buffer-limit", "pubsub 8mb 0 0")
        before = client.info("stats")["client_output_buffer_limit_disconnections"]
        sock.sendall(b"SUBSCRIBE flood\r\n")
        until(lambda: client.pubsub_numsub("flood") == [(b"flood", 1)])
        resident = server.resident_bytes()
        sent = 0
        while client.publish("flood", b"x" * (1 << 20)):
            sent += 1
            assert sent < 100
        assert client.info("stats")["client_output_buffer_limit_disconnections"] == before + 1
        assert client.pubsub_channels("flood") == []
        assert server.resident_bytes() - resident < 64 << 20
        client.config_set("client-output-buffer-limit", "pubsub 32mb 8mb 60")
