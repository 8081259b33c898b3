"""FUNCTION and FCALL beside stock: libraries, their errors, and each other's DUMP."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from oracle_harness import Oracle, plain, tree
from server_in_process import InProcess

from perdure.server.scripting import payload
from perdure.snapshot.rdb import payload as payloads

pytestmark = pytest.mark.oracle

REGISTER = "redis.register_function"
LIBRARY = """#!lua name=l
redis.register_function('f', function() return 1 end)
redis.register_function{function_name='g', callback=function(k, a) return {k, a} end, description='what g does',
  flags={'no-writes', 'allow-stale', 'ALLOW-OOM', 'no-cluster'}}
redis.register_function('e', function() error('boo') end)
redis.register_function('c', function() return redis.call('nosuch') end)
redis.register_function('set', function(k, a) return redis.call('set', k[1], a[1]) end)
redis.register_function('global', function() x = 1 end)
redis.register_function('keys', function() return KEYS end)
redis.register_function('late', function() redis.register_function('x', function() end) end)
redis.register_function('names', function()
  local t = {} for k in pairs(redis) do t[#t + 1] = k end for k in pairs(_G) do t[#t + 1] = k end table.sort(t) return t
end)
local count = 0
redis.register_function('count', function() count = count + 1 return count end)
redis.register_function('three', function(...) return select('#', ...) end)
redis.register_function('resp3', function() redis.setresp(3) return {map={a=true}} end)
redis.register_function{function_name='ro', callback=function(k) return redis.call('set', k[1], 1) end,
  flags={'no-writes'}}
"""
CODES = [
    "", "return 1", "#!lua", "#!lua\n", "#!\n", "#! lua name=x\n", "#!lua name=a name=b\n", "#!lua foo=b\n",
    "#!lua name=a-b\n", "#!lua name=\n", "#!js name=ab\n", "#!LUA name=ab\n", "#!lua name='a b'\n", '#!lua name="ab\n',
    "#!lua name=x", "#!lua NAME=zz\nx",
]  # fmt: skip
BODIES = [
    "", "x", "return 1", "x = 1", "x()", "local y = nil + 1",
    f"{REGISTER}()", f"{REGISTER}('f')", f"{REGISTER}('f', 1)",
    f"{REGISTER}({{}}, function() end)", f"{REGISTER}('a-b', function() end)", f"{REGISTER}('', function() end)",
    f"{REGISTER}('f', 'g', 'h')", f"{REGISTER}{{}}", f"{REGISTER}{{function_name='x'}}", f"{REGISTER}(nil)",
    f"{REGISTER}{{callback=function() end}}", f"{REGISTER}{{function_name={{}}, callback=function() end}}",
    f"{REGISTER}{{function_name='x', callback=1}}", f"{REGISTER}{{function_name='x', callback=function() end, foo=1}}",
    f"{REGISTER}{{function_name='x', callback=function() end, flags=1}}",
    f"{REGISTER}{{function_name='x', callback=function() end, flags={{'foo'}}}}",
    f"{REGISTER}{{function_name='x', callback=function() end, flags={{1}}}}",
    f"{REGISTER}{{function_name='x', callback=function() end, description={{}}}}",
    f"{REGISTER}{{function_name='x', callback=function() end, [1]=1}}",
    f"{REGISTER}{{function_name='x', callback=function() end, [true]=1}}",
    f"{REGISTER}{{FUNCTION_NAME='x', callback=function() end}}",
    f"{REGISTER}('f', function() end) {REGISTER}('f', function() end)", f"{REGISTER}(1, function() end)",
    f"{REGISTER}{{function_name=2, callback=function() end, description=3}}", "redis.call('get', 'x')",
    "redis.log(redis.LOG_DEBUG, 'x')", "redis.x = 1", f"{REGISTER} = 1", "local x = redis.setresp", "local x = cjson",
    "local x = pairs", "local x = _G", "local x = redis.REDIS_VERSION_NUM + redis.LOG_WARNING",
]  # fmt: skip


@pytest.fixture
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("ours"))
    yield server
    server.close()


def unordered(node: Any) -> Any:
    """A reply without its order: stock lists functions as its table has them."""
    kind, value = node
    return (kind, sorted(map(unordered, value), key=repr)) if isinstance(value, list) else node


def compare(stock: Oracle, ours: InProcess, *argv: bytes | str) -> bytes:
    """Run a command on both, whose replies must be the same; ours."""
    line = [arg.encode() if isinstance(arg, str) else arg for arg in argv]
    theirs, mine = stock(*line), ours(*line)
    if theirs != mine:
        assert unordered(tree(mine)) == unordered(tree(theirs)), line
    return mine


@pytest.fixture(params=[False, True])
def both(request: pytest.FixtureRequest, stock: Oracle, ours: InProcess) -> tuple[Oracle, InProcess]:
    stock.reset(request.param)
    stock(b"FUNCTION", b"FLUSH")
    ours.speak(request.param)
    return stock, ours


def test_code_that_is_no_library_is_refused_as_in_stock(both: tuple[Oracle, InProcess]) -> None:
    for code in CODES:
        compare(*both, "FUNCTION", "LOAD", code)
    for body in BODIES:
        compare(*both, "FUNCTION", "LOAD", "REPLACE", "#!lua name=l\n" + body)
    compare(*both, "FUNCTION", "LIST", "WITHCODE")


def test_functions_are_called_as_in_stock(both: tuple[Oracle, InProcess]) -> None:
    compare(*both, "FUNCTION", "LOAD", LIBRARY)
    for name in ("f", "g", "G", "e", "c", "set", "global", "keys", "late", "names", "count", "count", "three", "resp3",
                 "ro", "nosuch"):  # fmt: skip
        for command in ("FCALL", "FCALL_RO"):
            compare(*both, command, name, "1", "key", "value", "more")
    for arguments in ("f x", "f 5", "f -1", "nosuch x", "f", "g 0", "g 2 a b", "g 2 a b c d", "f 9223372036854775808"):
        compare(*both, "FCALL", *arguments.split())
    compare(*both, "GET", "key")
    compare(*both, "FUNCTION", "STATS")


def test_libraries_are_listed_replaced_and_removed_as_in_stock(both: tuple[Oracle, InProcess]) -> None:
    other = "#!lua name=Other\nredis.register_function('h', function() return 2 end)"
    for line in (
        ["LOAD", LIBRARY], ["LOAD", LIBRARY], ["LOAD", "FOO", LIBRARY], ["LOAD", "replace", LIBRARY], ["LOAD"],
        ["LOAD", "REPLACE"], ["LOAD", "REPLACE", "REPLACE"], ["LOAD", "REPLACE", "REPLACE", LIBRARY], ["LOAD", other],
        ["LOAD", "#!lua name=m\nredis.register_function('F', function() end)"],
        ["LOAD", f"#!lua name=m\n{REGISTER}('Q', function() end) {REGISTER}('q', function() end)"],
        ["LIST"], ["LIST", "WITHCODE"], ["LIST", "LIBRARYNAME", "o*"], ["LIST", "withcode", "libraryname", "[lm]"],
        ["LIST", "LIBRARYNAME"], ["LIST", "FOO"], ["LIST", "WITHCODE", "WITHCODE"],
        ["LIST", "LIBRARYNAME", "a", "LIBRARYNAME", "b"], ["LIST", "LIBRARYNAME", "nothing"], ["STATS"], ["STATS", "x"],
        ["DELETE"], ["DELETE", "nosuch"], ["DELETE", "L"], ["DELETE", "l"], ["LIST"], ["KILL"], ["FLUSH", "FOO"],
        ["FLUSH", "SYNC", "x"], ["FLUSH", "async"], ["LIST"], ["LOAD", other], ["FLUSH"], ["STATS"], ["x"],
        ["DUMP", "x"],
        ["RESTORE"], ["DUMP"],
    ):  # fmt: skip
        compare(*both, "FUNCTION", *line)


def test_each_restores_what_the_other_dumped(both: tuple[Oracle, InProcess]) -> None:
    stock, ours = both
    long = "#!lua name=long\nredis.register_function('long', function() return 1 end) --" + "padding " * 3000
    random = Random(1).randbytes(20000).replace(b"\n", b"").replace(b"\r", b"")
    noise = b"#!lua name=noise\nredis.register_function('noise', function() return 1 end) --" + random
    for code in (LIBRARY.encode(), long.encode(), noise):
        compare(*both, "FUNCTION", "LOAD", code)
    theirs, mine = plain(stock(b"FUNCTION", b"DUMP")), plain(ours(b"FUNCTION", b"DUMP"))
    assert sorted(payload.restore(theirs)) == sorted(payload.restore(mine))
    for dumped in (theirs, mine):
        for policy in ((), ("APPEND",)):  # which library is named first hangs on stock's hash
            line = [b"FUNCTION", b"RESTORE", dumped, *(word.encode() for word in policy)]
            assert ours(*line).endswith(b"already exists\r\n")
            assert stock(*line).endswith(b"already exists\r\n")
        for policy in (("REPLACE",), ("FLUSH",), ("foo",), ("FLUSH", "x")):
            compare(*both, "FUNCTION", "RESTORE", dumped, *policy)
        compare(*both, "FUNCTION", "FLUSH")
        compare(*both, "FUNCTION", "RESTORE", dumped)
        compare(*both, "FUNCTION", "LIST", "WITHCODE")
        compare(*both, "FCALL", "g", "1", "a", "b")


def test_restoring_beside_others_is_checked_as_in_stock(both: tuple[Oracle, InProcess]) -> None:
    first = "#!lua name=a\nredis.register_function('f', function() return 1 end)"
    dumped = payload.dump([first.encode()])
    for there in ("#!lua name=b\nredis.register_function('F', function() end)", first,
                  "#!lua name=b\nredis.register_function('g', function() end)"):  # fmt: skip
        for policy in ("APPEND", "REPLACE", "FLUSH"):
            compare(*both, "FUNCTION", "FLUSH")
            compare(*both, "FUNCTION", "LOAD", there)
            compare(*both, "FUNCTION", "RESTORE", dumped, policy)
            compare(*both, "FUNCTION", "LIST")
    for codes in ([first, first], ["return 1"], ["#!lua name=x\nerror()"], [first, "#!lua name=z\n"]):
        compare(*both, "FUNCTION", "RESTORE", payload.dump([code.encode() for code in codes]), "FLUSH")
        compare(*both, "FUNCTION", "LIST")


def test_a_damaged_payload_is_refused_as_in_stock(both: tuple[Oracle, InProcess]) -> None:
    good = payload.dump([LIBRARY.encode()])
    rng = Random(3)
    damaged = [b"", b"x", good[:-1], good[1:], good[:-10], good + b"x", good[:-10] + b"\x0b\x00" + good[-8:],
               good[:-8] + bytes(8), payloads.closed(good[:-10], 11)]  # fmt: skip
    for _ in range(20):
        at = rng.randrange(len(good))
        damaged.append(good[:at] + bytes((good[at] ^ (1 << rng.randrange(8)),)) + good[at + 1 :])
    for text in damaged:
        compare(*both, "FUNCTION", "RESTORE", text)
    for body in (b"\xf5", b"\x00\x01a", b"\xf5\xc3\x05\x0a\x00ab", b"\xf5\xc0\x07"):
        compare(*both, "FUNCTION", "RESTORE", payloads.closed(body, 10))
    compare(*both, "FUNCTION", "LIST")


def test_a_library_that_does_not_end_is_given_up(both: tuple[Oracle, InProcess]) -> None:
    compare(*both, "FUNCTION", "LOAD", "#!lua name=l\nwhile true do end")
    compare(*both, "FUNCTION", "LIST")
