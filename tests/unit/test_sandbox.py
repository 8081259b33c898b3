"""The sandbox: nothing of the host is in reach, nothing is left behind, and memory and nesting are bounded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_in_process import InProcess, info_of

from perdure.server.client import POSTPONED
from perdure.server.scripting import machine
from perdure.store import script_errors


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path)
    yield server
    server.close()


def run(server: InProcess, source: str | bytes, *arguments: bytes) -> bytes:
    body = source if isinstance(source, bytes) else source.encode()
    return server(b"EVAL", body, *(arguments or (b"0",)))


REACHED = "return 'reached'"


@pytest.mark.parametrize(
    "source",
    [
        "return io.open('/etc/passwd')", "return os.execute('true')", "return require('os')", "return python.eval('1')",
        "return debug.getregistry()", "return package.loaded", "return dofile('/etc/passwd')", "return getfenv(0)",
        "setfenv(1, {})", "module('x')", "print('x')", "newproxy(true)", "return loadfile('/etc/passwd')",
        "return getmetatable(redis).__index", "getmetatable(_G).__index = nil", "setmetatable(_G, nil)",
        "rawset(_G, 'x', 1)", "rawset(redis, 'call', 1)", "x = 1", "_G.x = 1", "redis.call = 1", "string.upper = 1",
        "table.insert(redis, 1)", "table.insert(_G, 1)", "getmetatable('').__index = {}",
        "getmetatable('').__index.upper = 1", "setmetatable(string, {})", "return loadstring(string.dump(error))()",
        "local f = loadstring('return os') return f()", "return (load(function() return nil end))() .. io",
        "coroutine.wrap(function() x = 1 end)()", "pcall(rawset, 1) error('stop')", "math.random = nil",
        "KEYS = nil",
        "getmetatable(_G).x = 1", "next(_G, 'x')", "return tostring(python)", "cjson.null.x = 1",
        "cjson.new().encode = 1",
    ],
)  # fmt: skip
def test_what_is_out_of_reach_is_an_error_and_changes_nothing(server: InProcess, source: str) -> None:
    assert run(server, source).startswith(b"-")
    assert run(server, "return {type(redis.call), ('x'):upper(), type(math.random), #KEYS, cjson.encode({1})}") == (
        b"*5\r\n$8\r\nfunction\r\n$1\r\nX\r\n$8\r\nfunction\r\n:0\r\n$3\r\n[1]\r\n"
    )


def test_no_function_in_reach_leads_to_python_or_to_the_real_environment(server: InProcess) -> None:
    """Everything that can be reached from the environment, followed as far as a script can."""
    source = """
    local seen, found, count = {}, {}, 0
    local function follow(v, path)
      if seen[v] then return end
      if type(v) == 'userdata' and v ~= cjson.null then found[#found + 1] = path end
      if type(v) ~= 'table' then return end
      seen[v] = true
      count = count + 1
      for k, member in pairs(v) do
        if type(k) ~= 'string' and type(k) ~= 'number' then found[#found + 1] = path .. '[' .. type(k) .. ']' end
        if k == 'python' or k == 'io' or k == 'debug' and path ~= '_G.redis' then found[#found + 1] = k end
        follow(member, path .. '.' .. tostring(k))
      end
      local meta = getmetatable(v)
      if meta then follow(meta, path .. '(meta)') end
    end
    follow(_G, '_G')
    follow(getmetatable(''), 'strings')
    found[#found + 1] = 'tables: ' .. count
    return found
    """
    reply = run(server, source)
    assert reply.startswith(b"*1\r\n"), reply
    assert int(reply.rstrip().split(b" ")[-1]) >= 12


def test_nothing_a_script_does_is_seen_by_the_next(server: InProcess) -> None:
    run(server, "KEYS.x = 1 ARGV.y = 2 local t = {} setmetatable(t, {__index = redis}) t.call = 1")
    run(server, "pcall(function() table.insert(cjson, 'x') end) pcall(rawset, bit, 1, 2)")
    run(server, "redis.setresp(3) redis.call('select', 3)")
    assert (
        run(server, "return {KEYS.x or 0, ARGV.y or 0, cjson[1] or 0, bit[1] or 0}")
        == b"*4\r\n:0\r\n:0\r\n:0\r\n:0\r\n"
    )
    server(b"HSET", b"h", b"a", b"1")
    assert run(server, "return redis.call('hgetall', 'h')") == b"*2\r\n$1\r\na\r\n$1\r\n1\r\n"


def test_a_cached_call_works_after_its_error_was_caught(server: InProcess) -> None:
    source = """
    local call, encode, random = redis.call, cjson.encode, math.random
    local fails = 0
    for i = 1, 20 do
      if not pcall(call, 'nosuch') then fails = fails + 1 end
      if not pcall(encode, print) then fails = fails + 1 end
      if not pcall(random, 0) then fails = fails + 1 end
      call('incr', 'n')
    end
    return {fails, call('get', 'n'), encode({random(1)})}
    """
    assert run(server, source.replace("print", "call")) == b"*3\r\n:60\r\n$2\r\n20\r\n$3\r\n[1]\r\n"


# ---- memory ------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InProcess]:
    """A server whose Lua has little memory."""
    monkeypatch.setattr(machine, "MEMORY_BYTES", 16 << 20)
    monkeypatch.setattr(machine, "MARGIN_BYTES", 4 << 20)
    server = InProcess(tmp_path)
    yield server
    server.close()


GREEDY = [
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = {} end",
    "return #string.rep('x', 2 ^ 30)",
    "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
    "local t = {} local function f() while true do t[#t + 1] = {} end end while true do coroutine.wrap(f)() end",
    "local t = {} local f = function() while true do t[#t + 1] = {} end end while true do xpcall(f, error) end",
    "redis.call('set', 'b', string.rep('x', 1e6)) local t = {} while true do "
    "redis.call('append', 'b', 'y') t[#t + 1] = redis.call('get', 'b') end",
    "local t = {} while true do t[#t + 1] = redis.call('mget', 'a', 'b', 'c') end",
    "local t = {} while true do t[#t + 1] = cjson.decode('[[[1],[2]],[3]]') end",
    "local t = {} while true do t[#t + 1] = cmsgpack.pack(string.rep('y', 1000)) .. #t end",
    "local s = string.rep('x', 3e6) return cjson.encode({s, s, s, s})",
]


@pytest.mark.parametrize("source", GREEDY)
def test_memory_without_end_ends_the_script_and_nothing_else(small: InProcess, source: str) -> None:
    small(b"SET", b"k", b"v")
    before = run(small, "return redis.call('get', 'k')")
    assert run(small, source) == b"-" + script_errors.LUA_MEMORY + b"\r\n"
    assert run(small, "return redis.call('get', 'k')") == before == b"$1\r\nv\r\n"
    assert small(b"SCRIPT", b"EXISTS", b"x") == b"*1\r\n:0\r\n"


def test_what_does_not_fit_is_refused_before_it_is_pushed(small: InProcess) -> None:
    reply = run(small, "return #ARGV[1]", b"0", b"z" * (6 << 20))
    assert reply == b"-" + script_errors.LUA_MEMORY + b"\r\n"
    assert run(small, "return #ARGV[1]", b"0", b"z" * (2 << 20)) == b":2097152\r\n"


def test_libraries_are_there_again_when_their_memory_was_used_up(small: InProcess) -> None:
    library = b"""#!lua name=l
    redis.register_function('greedy', function() local t = {} while true do t[#t + 1] = {} end end)
    redis.register_function('one', function() return 1 end)"""
    small(b"FUNCTION", b"LOAD", library)
    for _ in range(2):
        assert small(b"FCALL", b"greedy", b"0") == b"-" + script_errors.LUA_MEMORY + b"\r\n"
        assert small(b"FCALL", b"one", b"0") == b":1\r\n"
    load = small(b"FUNCTION", b"LOAD", b"#!lua name=g\nlocal t = {} while true do t = {t, t, {}} end")
    assert load.startswith(b"-ERR Error registering functions")
    assert small(b"FCALL", b"one", b"0") == b":1\r\n"


def test_a_dropped_machine_gives_its_memory_back(small: InProcess) -> None:
    gc.disable()
    try:
        for _ in range(3):
            run(small, "return 1")
            runtime = small.server.scripts.machine.runtime
            held = gc.get_referrers(runtime)
            assert held
            del held
            used = runtime.get_memory_used(total=True)
            assert used < 4 << 20
            del runtime
            run(small, GREEDY[1])
            assert small.server.scripts.vm_bytes() == 0
    finally:
        gc.enable()
    assert info_of(small(b"INFO", b"memory"))["Memory"]["used_memory_vm_eval"] == "0"


# ---- what must not take long -----------------------------------------------------------------------


def test_deep_nesting_is_refused(server: InProcess) -> None:
    assert run(server, "local function f() return f() + 1 end return f()").startswith(
        b"-ERR user_script:1: stack overflow"
    )
    assert run(server, "local t = {} for i = 1, 9000 do t = {t} end return cjson.encode(t)").startswith(
        b"-ERR user_script"
    )
    assert run(server, "return cjson.decode(string.rep('[', 5000))").startswith(b"-ERR user_script:1: Found too many")
    assert run(server, "return cmsgpack.unpack(string.rep('\\145', 100000))").startswith(b"-ERR")
    source = "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]"
    assert run(server, source).startswith(b"-ERR")


def test_errors_of_any_kind_do_not_end_the_server(server: InProcess) -> None:
    for value in ("{}", "setmetatable({}, {__tostring = error})", "setmetatable({}, {__index = error})", "{err = {}}",
                  "function() end", "coroutine.create(function() end)", "cjson.null", "{err = true}", "redis", "1/0",
                  "setmetatable({}, {__newindex = error})"):  # fmt: skip
        assert run(server, f"error({value})").startswith(b"-ERR") or run(server, f"error({value})").startswith(b"-")
        run(server, f"return {value}")
        run(server, f"return {{{value}}}")
        run(server, f"local ok, e = pcall(error, {value}) return e")
    assert run(server, "return 1") == b":1\r\n"


def test_a_script_that_promised_not_to_write_is_not_kept_back_by_a_pause(server: InProcess) -> None:
    reads = b"#!lua flags=no-writes\nreturn 1"
    sha1 = server(b"SCRIPT", b"LOAD", reads).split(b"\r\n")[1]
    server(b"FUNCTION", b"LOAD", b"#!lua name=l\n"
           b"redis.register_function{function_name='f', callback=function() return 2 end,"
           b"flags={'no-writes'}} redis.register_function('g', function() end)")  # fmt: skip
    server(b"CLIENT", b"PAUSE", b"600000", b"WRITE")
    assert run(server, reads) == b":1\r\n"
    assert server(b"EVALSHA", sha1, b"0") == b":1\r\n"
    assert server(b"FCALL", b"f", b"0") == b":2\r\n"
    for line in ([b"EVAL", b"return 1", b"0"], [b"EVAL", b"#!lua\nreturn 1", b"0"], [b"FCALL", b"g", b"0"]):
        assert server(*line) == b""
        assert server.client.state & POSTPONED
        server.server.engine.pause.forget(server.client)
    server(b"CLIENT", b"UNPAUSE")
