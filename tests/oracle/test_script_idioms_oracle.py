"""Scripts of the kinds that queues, locks and limiters are made of, run by redis-py on ours and on stock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from server_harness import PerdureServer, ServerProcess, StockServer

pytestmark = pytest.mark.oracle

TAKE = """
-- move up to ARGV[1] jobs from a list to a hash of jobs in work; returns them
local jobs = {}
for _ = 1, tonumber(ARGV[1]) do
  local id = redis.call('lpop', KEYS[1])
  if not id then break end
  local job = redis.call('hget', KEYS[2], id)
  if job then
    redis.call('hset', KEYS[3], id, cmsgpack.pack({job = job, at = ARGV[2]}))
    jobs[#jobs + 1] = {id, job}
  end
end
return jobs
"""
COUNT = """
-- a window that counts: returns {allowed, count, ms left}
local count = redis.call('incrby', KEYS[1], ARGV[2])
if count == tonumber(ARGV[2]) then redis.call('pexpire', KEYS[1], ARGV[3]) end
local left = redis.call('pttl', KEYS[1])
return {count <= tonumber(ARGV[1]) and 1 or 0, count, left > 0 and 1 or 0}
"""
DISPATCH = """
local command, now = ARGV[1], tonumber(ARGV[2])
local commands = {}
function_table = nil
return command
"""
MERGE = """
local state = redis.call('get', KEYS[1])
state = state and cjson.decode(state) or {total = 0, names = {}}
for _, name in ipairs(ARGV) do
  state.total = state.total + 1
  table.insert(state.names, name)
end
table.sort(state.names)
redis.call('set', KEYS[1], cjson.encode(state))
return cjson.encode(state.names)
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServerProcess]]:
    ours = PerdureServer(tmp_path_factory.mktemp("ours"))
    stock = StockServer(tmp_path_factory.mktemp("stock"))
    with ours, stock:
        yield [ours.start(), stock.start()]


def on_both(servers: list[ServerProcess], use: Callable[[redis.Redis], Any], **options: Any) -> Any:
    """What a program gets, the same from both servers, in either protocol."""
    results = []
    for protocol in (2, 3):
        for server in servers:
            with server.client(protocol=protocol, **options) as client:
                client.flushall()
                client.script_flush()
                results.append(use(client))
    assert all(result == results[0] for result in results), results
    return results[0]


def error_of(call: Callable[[], Any]) -> str:
    try:
        return repr(call())
    except redis.RedisError as error:
        return f"{type(error).__name__}: {error}"


def test_a_lock_is_released_and_extended_by_who_holds_it(servers: list[ServerProcess]) -> None:
    def use(client: redis.Redis) -> Any:
        lock = client.lock("lock", timeout=50)
        thief = client.lock("lock", timeout=50, blocking=False)
        seen = [lock.acquire(), thief.acquire(), lock.extend(10), lock.reacquire(), lock.owned(), lock.locked()]
        thief.local.token = b"not his"
        seen += [error_of(thief.release), error_of(lambda: thief.extend(5)), lock.release(), client.exists("lock")]
        return seen

    assert on_both(servers, use)[:2] == [True, False]


def test_a_registered_script_is_sent_once(servers: list[ServerProcess]) -> None:
    def use(client: redis.Redis) -> Any:
        script = client.register_script(COUNT)
        seen = [script(keys=["w"], args=[3, 1, 60_000]) for _ in range(5)]
        client.script_flush()
        seen.append(script(keys=["w"], args=[3, 1, 60_000]))
        with client.pipeline() as pipe:
            script(keys=["w"], args=[9, 2, 60_000], client=pipe)
            pipe.get("w")
            seen.append(pipe.execute())
        return seen

    assert on_both(servers, use)[4] == [0, 5, 1]


def test_jobs_are_taken_once_each(servers: list[ServerProcess]) -> None:
    def use(client: redis.Redis) -> Any:
        for n in range(5):
            client.hset("jobs", f"id{n}", b"\x80\x04job%d\r\n\x00" % n)
            client.rpush("queue", f"id{n}")
        take = client.register_script(TAKE)
        first = take(keys=["queue", "jobs", "working"], args=[3, 17])
        rest = take(keys=["queue", "jobs", "working"], args=[30, 18])
        return first, rest, take(keys=["queue", "jobs", "working"], args=[3, 19]), client.hgetall("working")

    assert len(on_both(servers, use)[0]) == 3


def test_a_document_is_merged_in_place(servers: list[ServerProcess]) -> None:
    def use(client: redis.Redis) -> Any:
        merge = client.register_script(MERGE)
        return [merge(keys=["doc"], args=names) for names in (["b"], ["a", "c"], [])] + [client.get("doc")]

    assert on_both(servers, use, decode_responses=True)[1] == '["a","b","c"]'


def test_mistakes_in_scripts_read_the_same(servers: list[ServerProcess]) -> None:
    def use(client: redis.Redis) -> Any:
        return [
            error_of(lambda: client.eval(DISPATCH, 0, "x", 1)),
            error_of(lambda: client.evalsha("0" * 40, 0)),
            error_of(lambda: client.eval("return redis.call('lpush', KEYS[1])", 1, "x")),
            error_of(lambda: client.eval("syntax", 0)),
            error_of(lambda: client.eval_ro("return redis.call('set', KEYS[1], 1)", 1, "x")),
            error_of(lambda: client.script_kill()),
            client.script_exists("0" * 40, client.script_load("return 1")),
        ]

    assert "NoScriptError" in on_both(servers, use)[1]


def test_functions_by_their_client(servers: list[ServerProcess]) -> None:
    library = "#!lua name=tools\nredis.register_function('swap', function(keys)\n" + (
        "local a, b = redis.call('get', keys[1]), redis.call('get', keys[2])\n"
        "redis.call('mset', keys[1], b, keys[2], a) return {a, b} end)"
    )

    def use(client: redis.Redis) -> Any:
        client.function_flush("SYNC")
        client.mset({"a": 1, "b": 2})
        seen = [client.function_load(library), client.fcall("swap", 2, "a", "b"), client.mget("a", "b")]
        dumped = client.function_dump()
        client.function_delete("tools")
        client.function_restore(dumped)
        return seen + [len(client.function_list()), client.fcall("swap", 2, "a", "b")]

    on_both(servers, use)


def test_scripts_and_functions_outlive_a_restart_as_far_as_they_should(tmp_path: Path) -> None:
    with PerdureServer(tmp_path / "data", "--appendfsync", "always") as server:
        server.start()
        with server.client() as client:
            sha1 = client.script_load("return 1")
            client.function_load("#!lua name=l\nredis.register_function('f', function() return 'here' end)")
            client.eval("for i = 1, 100 do redis.call('rpush', KEYS[1], i) end", 1, "list")
        server.kill9()
        server.start()
        with server.client() as client:
            assert client.script_exists(sha1) == [False]
            assert client.fcall("f", 0) == b"here"
            assert client.lrange("list", 0, -1) == [b"%d" % n for n in range(1, 101)]
