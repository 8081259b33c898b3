"""redis-py in asyncio: many at once, pipelines, WATCH, blocking pops, pub/sub, and connections that break off."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
import redis
import redis.asyncio
from clients_harness import PATIENCE_S
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

PROTOCOLS = pytest.mark.parametrize("protocol", [2, 3], ids=["RESP2", "RESP3"])
pytestmark = PROTOCOLS


@contextlib.asynccontextmanager
async def connected(url, protocol, **options):
    client = redis.asyncio.Redis.from_url(url, protocol=protocol, decode_responses=True, **options)
    try:
        yield client
    finally:
        await client.aclose()


async def blocked(client, count):
    """Wait until ``count`` clients of the server are blocked."""
    while (await client.info("clients"))["blocked_clients"] != count:
        await asyncio.sleep(0.005)


def run(scene):
    return asyncio.run(asyncio.wait_for(scene, PATIENCE_S))


def test_many_connections_at_once(url, protocol):
    async def scene():
        async with connected(url, protocol, max_connections=200) as client:
            await asyncio.gather(*(client.set(f"key:{n}", n) for n in range(200)))
            got = await asyncio.gather(*(client.get(f"key:{n}") for n in range(200)))
            assert got == [str(n) for n in range(200)]
            await asyncio.gather(*(client.incr("count") for _ in range(200)))
            assert await client.get("count") == "200"
            found = [key async for key in client.scan_iter("key:*", count=50)]
            assert sorted(found) == sorted(f"key:{n}" for n in range(200))

    run(scene())


def test_pipelines_with_and_without_a_transaction(url, protocol):
    async def scene():
        async with connected(url, protocol) as client:
            for transaction in (True, False):
                async with client.pipeline(transaction=transaction) as pipe:
                    pipe.delete("h", "l", "s")
                    pipe.hset("h", mapping={"a": 1, "b": 2}).hgetall("h").rpush("l", *"xyz").lrange("l", 0, -1)
                    pipe.sadd("s", "m").smembers("s").expire("h", 100).type("l")
                    replies = await pipe.execute()
                assert replies[2] == {"a": "1", "b": "2"} and replies[4] == ["x", "y", "z"]
                assert replies[6] == {"m"} and replies[7:] == [True, "list"]
            async with client.pipeline() as pipe:
                pipe.set("x", "word").incr("x").set("y", 1)
                replies = await pipe.execute(raise_on_error=False)
            assert isinstance(replies[1], redis.ResponseError) and await client.get("y") == "1"

    run(scene())


def test_watch_lets_one_of_many_through_at_a_time(url, protocol):
    async def raise_it(client):
        async def change(pipe):
            count = int(await pipe.get("count") or 0)
            pipe.multi()
            pipe.set("count", count + 1)

        await client.transaction(change, "count")

    async def scene():
        async with connected(url, protocol) as client:
            await asyncio.gather(*(raise_it(client) for _ in range(15)))
            assert await client.get("count") == "15"

    run(scene())


def test_blocking_pops_are_served_in_the_order_of_arrival(url, protocol):
    async def scene():
        async with connected(url, protocol) as client:
            waiting = []
            for n in range(3):
                waiting.append(asyncio.ensure_future(client.blpop(["a", "b"], timeout=PATIENCE_S)))
                await blocked(client, n + 1)
            await client.rpush("b", "1", "2")
            await client.rpush("a", "3")
            assert [tuple(await each) for each in waiting] == [("b", "1"), ("b", "2"), ("a", "3")]
            moving = asyncio.ensure_future(client.blmove("from", "to", PATIENCE_S, "LEFT", "RIGHT"))
            await blocked(client, 1)
            await client.lpush("from", "x")
            assert await moving == "x" and await client.lrange("to", 0, -1) == ["x"]
            assert await client.blpop("nothing", timeout=0.02) is None
            least = asyncio.ensure_future(client.bzpopmin("z", timeout=PATIENCE_S))
            await blocked(client, 1)
            await client.zadd("z", {"m": 1.5, "n": 2})
            assert list(await least) == ["z", "m", 1.5]

    run(scene())


def test_a_waiting_client_that_is_cancelled_takes_nothing(url, protocol):
    async def scene():
        async with connected(url, protocol) as client:
            waiting = asyncio.ensure_future(client.blpop("jobs", timeout=PATIENCE_S))
            await blocked(client, 1)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
            await blocked(client, 0)
            await client.rpush("jobs", "job")
            assert await client.lpop("jobs") == "job"

    run(scene())


async def messages(pubsub, count):
    got = []
    while len(got) < count:
        message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1.0)
        if message is not None and message["type"] != "pong":
            got.append((message["type"], message["pattern"], message["channel"], message["data"]))
    return got


def test_messages_come_to_channels_and_patterns(url, protocol):
    async def scene():
        async with connected(url, protocol) as client, client.pubsub() as pubsub:
            await pubsub.subscribe("news", "sport")
            await pubsub.psubscribe("n*")
            while await client.pubsub_numpat() != 1:
                await asyncio.sleep(0.005)
            assert sorted(await client.pubsub_channels()) == ["news", "sport"]
            assert await client.publish("news", "rain") == 2 and await client.publish("nothing", "x") == 1
            assert await messages(pubsub, 3) == [
                ("message", None, "news", "rain"), ("pmessage", "n*", "news", "rain"),
                ("pmessage", "n*", "nothing", "x"),
            ]  # fmt: skip
            await pubsub.ping()
            await pubsub.unsubscribe("news")
            await pubsub.punsubscribe()
            while await client.pubsub_numpat():
                await asyncio.sleep(0.005)
            assert await client.publish("news", "sun") == 0 and await client.publish("sport", "1:0") == 1
            assert await messages(pubsub, 1) == [("message", None, "sport", "1:0")]

    run(scene())


def test_keyspace_events_tell_of_changes(url, protocol):
    async def scene():
        async with connected(url, protocol) as client, client.pubsub() as pubsub:
            await client.config_set("notify-keyspace-events", "KEA")
            await pubsub.psubscribe("__key*__:*")
            assert (await pubsub.get_message(timeout=PATIENCE_S))["type"] == "psubscribe"
            await client.set("k", 1, px=1)
            events = await messages(pubsub, 6)
            assert [(channel, data) for _, _, channel, data in events] == [
                ("__keyspace@0__:k", "set"), ("__keyevent@0__:set", "k"),
                ("__keyspace@0__:k", "expire"), ("__keyevent@0__:expire", "k"),
                ("__keyspace@0__:k", "expired"), ("__keyevent@0__:expired", "k"),
            ]  # fmt: skip
            await client.config_set("notify-keyspace-events", "")

    run(scene())


def test_killed_connections_are_made_again(url, protocol):
    async def scene():
        named = connected(url, protocol, client_name="victim", retry=Retry(NoBackoff(), 1))
        async with named as client, connected(url, protocol) as other:
            await client.set("a", 1)
            victims = [each["id"] for each in await other.client_list() if each["name"] == "victim"]
            assert len(victims) == 1 and await other.client_kill_filter(_id=victims[0]) == 1
            assert await client.get("a") == "1"

    run(scene())
