"""redis-py's pub/sub as programs use it: handlers in a thread, confirmations, shard channels; RESP2 and RESP3."""

from __future__ import annotations

import threading

import pytest
import redis
from clients_harness import PATIENCE_S, eventually


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(request, url):
    with redis.Redis.from_url(url, protocol=request.param, decode_responses=True) as connected:
        yield connected


def next_of(pubsub, **options):
    """The next message, waited for."""
    return eventually(lambda: pubsub.get_message(timeout=0.5, **options))


def test_handlers_in_a_thread(client):
    got, done = [], threading.Event()

    def hear(message):
        got.append((message["channel"], message["data"]))
        if len(got) == 40:
            done.set()

    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(news=hear)
    pubsub.psubscribe(**{"chat.*": hear})
    thread = pubsub.run_in_thread(sleep_time=0.01, daemon=True)
    try:
        assert eventually(lambda: client.pubsub_numsub("news") == [("news", 1)] and client.pubsub_numpat() == 1)
        for n in range(20):
            assert client.publish("news", n) == 1
            assert client.publish("chat.room", n) == 1
        assert done.wait(PATIENCE_S)
    finally:
        thread.stop()
        thread.join()
    assert sorted(got) == sorted([("news", str(n)) for n in range(20)] + [("chat.room", str(n)) for n in range(20)])
    assert [data for channel, data in got if channel == "news"] == [str(n) for n in range(20)], "in order"
    assert eventually(lambda: client.pubsub_channels() == [])


def test_subscriptions_are_confirmed_and_counted(client):
    with client.pubsub() as pubsub:
        pubsub.subscribe("a", "b")
        pubsub.psubscribe("c*")
        confirmed = [next_of(pubsub) for _ in range(3)]
        assert [(each["type"], each["channel"], each["data"]) for each in confirmed] == [
            ("subscribe", "a", 1), ("subscribe", "b", 2), ("psubscribe", "c*", 3),
        ]  # fmt: skip
        if client.connection_pool.connection_kwargs["protocol"] == 2:  # redis-py takes RESP3's +PONG for a list
            pubsub.ping("still there?")
            assert next_of(pubsub)["data"] == "still there?"
        pubsub.unsubscribe()
        left = [next_of(pubsub) for _ in range(2)]
        assert sorted(each["channel"] for each in left) == ["a", "b"] and left[-1]["data"] == 1
        pubsub.punsubscribe("c*")
        assert next_of(pubsub)["data"] == 0
    assert eventually(lambda: client.pubsub_channels() == [])


def test_shard_channels(client):
    with client.pubsub() as pubsub:
        pubsub.ssubscribe("orders")
        assert next_of(pubsub)["type"] == "ssubscribe"
        assert client.pubsub_shardchannels() == ["orders"] and client.pubsub_shardnumsub("orders") == [("orders", 1)]
        assert client.spublish("orders", "one") == 1 and client.publish("orders", "other") == 0
        message = eventually(lambda: pubsub.get_sharded_message(timeout=0.5))
        assert (message["type"], message["data"]) == ("smessage", "one")


def test_what_is_binary_or_large_arrives_whole(client, url):
    payloads = [bytes(range(256)), b"", b"x" * 300_000, b"\r\n$5\r\n"]
    with redis.Redis.from_url(url) as raw, raw.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(b"bin\xff")
        assert eventually(lambda: raw.pubsub_numsub(b"bin\xff") == [(b"bin\xff", 1)])
        pubsub.get_message(timeout=0.5)
        for payload in payloads:
            assert raw.publish(b"bin\xff", payload) == 1
        assert [next_of(pubsub)["data"] for _ in payloads] == payloads


def test_a_transaction_publishes_when_it_is_executed(client):
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe("done")
        assert eventually(lambda: client.pubsub_numsub("done") == [("done", 1)])
        with client.pipeline() as pipe:
            pipe.set("k", 1).publish("done", "k").incr("k")
            assert pipe.execute() == [True, 1, 2]
        pubsub.get_message(timeout=0.5)
        assert next_of(pubsub)["data"] == "k"
