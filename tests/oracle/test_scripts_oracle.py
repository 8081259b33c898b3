"""Scripts beside stock: replies and error texts, values through the libraries, what INFO counts."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from random import Random

import pytest
from oracle_harness import Oracle, encode, plain, read_frame
from script_lines import SCRIPTS as ALL_SCRIPTS
from server_in_process import InProcess, info_of

from perdure.store.command import TABLE

pytestmark = pytest.mark.oracle
SCRIPTS = [script for script in ALL_SCRIPTS if "'z'" not in script or b"ZADD" in TABLE]


@pytest.fixture
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("ours"))
    yield server
    server.close()


def differences(stock: Oracle, ours: InProcess, lines: list[list[bytes]]) -> str:
    """What the two answer differently, in words."""
    found = []
    for argv, theirs in zip(lines, stock.run(lines), strict=True):
        mine = ours(*argv)
        if mine != theirs:
            shown = b" ".join(argv)[:300].decode("latin-1")
            found.append(f"{shown}\n    stock: {theirs[-300:]!r}\n    ours:  {mine[-300:]!r}")
    return "\n".join(found[:10])


def both_speak(stock: Oracle, ours: InProcess, resp3: bool) -> None:
    stock.reset(resp3)
    stock(b"SCRIPT", b"FLUSH")
    ours.speak(resp3)
    ours(b"FLUSHALL")


@pytest.mark.parametrize("resp3", [False, True])
def test_scripts_answer_as_in_stock(stock: Oracle, ours: InProcess, resp3: bool) -> None:
    both_speak(stock, ours, resp3)
    lines = [[b"EVAL", script.encode("latin-1"), b"0"] for script in SCRIPTS]
    assert not differences(stock, ours, lines)


@pytest.mark.parametrize("resp3", [False, True])
def test_scripts_answer_the_same_the_second_time_and_by_their_sha1(
    stock: Oracle, ours: InProcess, resp3: bool
) -> None:
    both_speak(stock, ours, resp3)
    lines = []
    for script in SCRIPTS[::3]:
        if not script.startswith("math.") and "collectgarbage" not in script:
            body = script.encode("latin-1")
            lines += [[b"SCRIPT", b"LOAD", body], [b"EVAL", body, b"0"]]
    assert not differences(stock, ours, lines)
    digests = [reply.split(b"\r\n")[1] for reply in (ours(*line) for line in lines[::2]) if reply[:1] == b"$"]
    assert not differences(stock, ours, [[b"EVALSHA", digest, b"0"] for digest in digests])
    assert not differences(stock, ours, [[b"EVALSHA_RO", digest.upper(), b"0"] for digest in digests])


ASKED = [
    b"EVAL", b"EVAL x", b"EVAL return_1 x", b"EVAL return_1 5", b"EVAL return_1 -1", b"EVAL x_x 0", b"EVAL x_x -1",
    b"EVAL return_KEYS 2 a b c", b"EVAL return_ARGV 2 a b c", b"EVAL return_{KEYS,ARGV} 3 a b c d e f",
    b"EVAL return_{#KEYS,#ARGV} 0", b"EVAL return_ARGV 1 a", b"EVAL return_{#KEYS,#ARGV} 4 a b c d",
    b"EVAL return_1 9223372036854775808", b"EVAL return_1 0x1", b"EVAL return_1 01",
    b"EVALSHA x 0", b"EVALSHA x y", b"EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", b"SCRIPT LOAD return_1",
    b"EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8dc 0", b"EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8dc x",
    b"SCRIPT EXISTS", b"SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x 9f4b4b8c", b"SCRIPT LOAD x_x",
    b"SCRIPT LOAD", b"SCRIPT LOAD #!lua", b"SCRIPT KILL", b"SCRIPT KILL x", b"FUNCTION KILL", b"SCRIPT FLUSH x",
    b"SCRIPT FLUSH ASYNC", b"SCRIPT FLUSH sync", b"SCRIPT FLUSH SYNC x", b"SCRIPT FLUSH", b"SCRIPT DEBUG",
    b"SCRIPT", b"SCRIPT x", b"SCRIPT HELP x",
    b"EVAL_RO return_redis.call('set','a',1) 0", b"EVAL_RO return_redis.call('get','a') 0", b"EVALSHA_RO x 0",
    b"EVAL_RO return_redis.call('incr','a') 1 a", b"MULTI", b"EVAL return_redis.call('incr','m') 0", b"EVAL x_x 0",
    b"EVAL return_redis.call('lpush','m',1) 0", b"EVALSHA x 0", b"SCRIPT LOAD return_5", b"EXEC",
    b"MULTI", b"EVAL", b"EXEC", b"MULTI", b"SCRIPT KILL", b"EXEC", b"COMMAND GETKEYS EVAL x 2 a b c",
    b"COMMAND GETKEYS EVAL x 0 a", b"COMMAND GETKEYS FCALL x 1 a", b"COMMAND GETKEYSANDFLAGS EVAL_RO x 1 a b",
]  # fmt: skip


@pytest.mark.parametrize("resp3", [False, True])
def test_what_is_asked_around_scripts_is_answered_as_in_stock(stock: Oracle, ours: InProcess, resp3: bool) -> None:
    both_speak(stock, ours, resp3)
    lines = [[word.replace(b"_", b" ") if i else word for i, word in enumerate(line.split())] for line in ASKED]
    for line in lines:
        line[0] = line[0].replace(b" ", b"_")
    assert not differences(stock, ours, lines)


def test_the_debugger_is_switched_off_as_in_stock(stock: Oracle, ours: InProcess) -> None:
    for mode in (b"NO", b"no", b"x"):
        assert ours(b"SCRIPT", b"DEBUG", mode) == stock(b"SCRIPT", b"DEBUG", mode)


# ---- values through the libraries -------------------------------------------------------------


def lua_literal(rng: Random, depth: int = 0) -> str:
    """A value as Lua source."""
    roll = rng.random()
    if roll < 0.3:
        n = rng.choice((rng.randint(-40, 300), rng.randint(-(2**33), 2**33), rng.randint(-(2**53), 2**53)))
        return str(n)
    if roll < 0.5:
        return repr(rng.choice((rng.uniform(-10, 10), rng.uniform(-1e18, 1e18), rng.randint(1, 99) / 8, 2.0**-1074)))
    if roll < 0.7 or depth > 4:
        data = rng.randbytes(rng.choice((0, 1, 3, 31, 32, 70)))
        return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'
    if roll < 0.78:
        return rng.choice(("true", "false", "cjson.null"))
    members = [lua_literal(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 3, 16)))]
    if roll < 0.9:
        return "{" + ",".join(members) + "}"
    return "{" + ",".join(f"k{rng.randrange(50)}={member}" for member in members[:1]) + "}"


@pytest.mark.parametrize("seed", range(3))
def test_values_packed_and_unpacked_are_stocks(stock: Oracle, ours: InProcess, seed: int) -> None:
    both_speak(stock, ours, False)
    rng = Random(seed)
    lines = []
    for _ in range(150):
        literal = lua_literal(rng).encode()
        lines += [
            [b"EVAL", b"return cjson.encode(%b)" % literal, b"0"],
            [b"EVAL", b"return cjson.encode(cjson.decode(cjson.encode({%b})))" % literal, b"0"],
            [b"EVAL", b"return cmsgpack.pack(%b)" % literal, b"0"],
            [b"EVAL", b"return cjson.encode({cmsgpack.unpack(cmsgpack.pack(%b))})" % literal, b"0"],
            [b"EVAL", b"return {%b}" % literal, b"0"],
        ]
    assert not differences(stock, ours, lines)


def struct_lines(rng: Random) -> list[bytes]:
    """A format with values, packed, and unpacked from bytes."""
    options, values = [], []
    for _ in range(rng.randint(1, 6)):
        option = rng.choice("bBhHlLiIfdsxc<>! i3 i8 I1 T")
        size = rng.randint(1, 9) if option in "iIc" else rng.choice((1, 2, 4, 8)) if option == "!" else ""
        options.append(f"{option}{size}")
        if option in "bBhHlLiIT3 8 1":
            values.append(str(rng.randint(-(2**40), 2**40)))
        elif option in "fd":
            values.append(repr(rng.uniform(-1e6, 1e6)))
        elif option in "sc":
            values.append(f"'{'x' * rng.randint(0, 9)}'")
    form = "".join(options).encode()
    data = "".join(f"\\{byte:03d}" for byte in rng.randbytes(rng.randint(0, 40))).encode()
    arguments = b"".join(b", " + value.encode() for value in values)
    return [
        b"return struct.pack('%b'%b)" % (form, arguments),
        b"local t = {struct.unpack('%b', '%b')} for i, v in ipairs(t) do t[i] = v .. '' end return t" % (form, data),
        b"return struct.size('%b')" % form,
    ]


@pytest.mark.parametrize("seed", range(2))
def test_structures_packed_and_unpacked_are_stocks(stock: Oracle, ours: InProcess, seed: int) -> None:
    both_speak(stock, ours, False)
    rng = Random(seed)
    scripts = [script for _ in range(250) for script in struct_lines(rng)]
    assert not differences(stock, ours, [[b"EVAL", script, b"0"] for script in scripts])


BIT_FUNCTIONS = (
    "tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap", "tohex",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_bits_are_stocks(stock: Oracle, ours: InProcess, seed: int) -> None:
    both_speak(stock, ours, False)
    rng = Random(seed)
    lines = []
    for _ in range(300):
        numbers = [rng.choice((rng.randint(-(2**34), 2**34), rng.randint(-9, 40), rng.randint(-99, 99) / 2))
                   for _ in range(rng.randint(1, 3))]  # fmt: skip
        name = rng.choice(BIT_FUNCTIONS)
        script = f"return bit.{name}({', '.join(map(str, numbers))})"
        lines.append([b"EVAL", script.encode(), b"0"])
    assert not differences(stock, ours, lines)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_packed_values_are_refused_as_in_stock(stock: Oracle, ours: InProcess, seed: int) -> None:
    both_speak(stock, ours, False)
    rng = Random(seed)
    lines = []
    for _ in range(300):
        data = "".join(f"\\{byte:03d}" for byte in rng.randbytes(rng.randint(0, 6)))
        text = "".join(rng.choice('{}[],:"0123456789.eE+-truefalsn\\u /') for _ in range(rng.randint(0, 9)))
        lines += [
            [b"EVAL", b"return cjson.encode({pcall(cmsgpack.unpack, '%b')})" % data.encode(), b"0"],
            [b"EVAL", b"return {pcall(cjson.decode, ARGV[1])}", b"0", text.encode()],
        ]
    assert not differences(stock, ours, lines)


# ---- replies ----------------------------------------------------------------------------------------


def raw_of_both(stock: Oracle, ours: InProcess, script: bytes, until: bytes) -> tuple[bytes, bytes]:
    """Replies that nest too deep to be read as a tree."""
    stock.socket.sendall(encode([b"EVAL", script, b"0"]))
    theirs = b""
    while not theirs.endswith(until):
        theirs += stock.stream.readline()
    return theirs, ours(b"EVAL", script, b"0")


@pytest.mark.parametrize(
    "script",
    [
        b"local t = {} t[1] = t return t",
        b"local t = {} t.set = {[t] = true} return t",
    ],
)
def test_what_nests_without_end_is_cut_where_stock_cuts_it(stock: Oracle, ours: InProcess, script: bytes) -> None:
    both_speak(stock, ours, False)
    theirs, mine = raw_of_both(stock, ours, script, b"-ERR reached lua stack limit\r\n")
    assert mine == theirs


def test_large_replies_come_back_whole(stock: Oracle, ours: InProcess) -> None:
    both_speak(stock, ours, False)
    setup = [b"EVAL", b"for i = 1, 3000 do redis.call('rpush', 'l', i, string.rep('x', i % 99)) end", b"0"]
    script = b"local t = redis.call('lrange', 'l', 0, -1) return {#t, t[6000], t}"
    assert not differences(stock, ours, [setup, [b"EVAL", script, b"0"]])
    big = [b"EVAL", b"redis.call('set', 'b', string.rep('y', 3e6)) return #redis.call('get', 'b')", b"0"]
    assert not differences(stock, ours, [big, [b"EVAL", b"return redis.call('get', 'b')", b"0"]])


def test_many_keys_and_arguments_are_the_scripts_tables(stock: Oracle, ours: InProcess) -> None:
    both_speak(stock, ours, False)
    words = [b"w%d" % n for n in range(700)]
    script = b"return {#KEYS, #ARGV, KEYS[1], KEYS[#KEYS], ARGV[1], ARGV[#ARGV]}"
    lines = [[b"EVAL", script, b"%d" % n, *words] for n in (0, 1, 2, 3, 5, 300, 699, 700)]
    lines += [[b"EVAL", script, b"%d" % n, *words[:9]] for n in range(10)]
    lines.append([b"EVAL", script, b"1", b"k", b"z" * 1_500_000])
    assert not differences(stock, ours, lines)


# ---- INFO ------------------------------------------------------------------------------------------------

COUNTED = [
    b"return redis.call('nosuch')", b"return redis.pcall('nosuch')", b"redis.pcall('nosuch') return 1",
    b"return redis.call('get')", b"return redis.call('lpush', 'string', 1)",
    b"return redis.pcall('lpush', 'string', 1)",
    b"return {redis.pcall('lpush', 'string', 1)}", b"return redis.call('subscribe', 'x')", b"error('x')",
    b"error({err = 'MY error'})", b"return {err = 'MY error'}", b"return {{err = 'MY error'}, {err = 'OTHER x'}}",
    b"return redis.error_reply('THIRD one')", b"pcall(redis.call, 'nosuch') return 1", b"x x",
    b"local ok, e = pcall(redis.call, 'nosuch') return redis.error_reply(e)", b"redis.call()",
    b"redis.pcall() return 1",
    b"return redis.call('set', 'string', 'v')", b"return {err = 'nocode'}", b"redis.log()",
]  # fmt: skip


def counters(server: Oracle | InProcess) -> dict[str, object]:
    info = info_of(server(b"INFO", b"everything"))
    calls = {}
    for name, value in info["Commandstats"].items():
        fields = dict(field.split("=") for field in value.split(","))
        calls[name] = tuple(fields[field] for field in ("calls", "rejected_calls", "failed_calls"))
    calls.pop("cmdstat_info", None)
    return {"errors": info.get("Errorstats", {}), "calls": calls, "total": info["Stats"]["total_error_replies"]}


@pytest.mark.parametrize("script", COUNTED, ids=lambda script: script.decode())
def test_calls_and_errors_inside_are_counted_as_in_stock(stock: Oracle, ours: InProcess, script: bytes) -> None:
    both_speak(stock, ours, False)
    found = []
    for server in (stock, ours):
        server(b"SET", b"string", b"v")
        server(b"CONFIG", b"RESETSTAT")
        server(b"EVAL", script, b"0")
        found.append(counters(server))
    found[0]["calls"].pop("cmdstat_config|resetstat", None)  # type: ignore[attr-defined]
    found[1]["calls"].pop("cmdstat_config|resetstat", None)  # type: ignore[attr-defined]
    assert found[1] == found[0]


def test_info_tells_how_many_scripts_and_functions_there_are(stock: Oracle, ours: InProcess) -> None:
    both_speak(stock, ours, False)
    library = b"#!lua name=l\nredis.register_function('f', function() end) redis.register_function('g', function() end)"
    for server in (stock, ours):
        for line in ([b"FUNCTION", b"FLUSH"], [b"FUNCTION", b"LOAD", library], [b"EVAL", b"return 1", b"0"],
                     [b"SCRIPT", b"LOAD", b"return 2"], [b"EVAL", b"return 1", b"0"]):  # fmt: skip
            server(*line)
        memory = info_of(server(b"INFO", b"memory"))["Memory"]
        counts = [memory[f"number_of_{name}"] for name in ("cached_scripts", "libraries", "functions")]
        assert counts == ["2", "1", "2"]
        for name in ("lua", "vm_eval", "scripts_eval", "vm_functions", "vm_total", "functions", "scripts"):
            assert int(memory[f"used_memory_{name}"]) > 0
    stock(b"FUNCTION", b"FLUSH")


def test_numbers_are_printed_for_commands_as_in_stock(stock: Oracle, ours: InProcess) -> None:
    both_speak(stock, ours, False)
    rng = Random(5)
    numbers = [0.1, 1e15, 1e16, 123456789012345678, 1e17, 1e-7, -1e300, 5e-324, 2**53, -(2**53), 1 / 3, math.pi]
    numbers += [rng.uniform(-1e20, 1e20) for _ in range(50)]
    numbers += [float(rng.randint(-(10**18), 10**18)) for _ in range(50)]
    texts = [repr(n) for n in numbers] + ["1/0", "-1/0", "0/0", "-(0/0)"]
    scripts = [f"redis.call('set', 'n', {text}) return redis.call('get', 'n')" for text in texts]
    lines = [[b"EVAL", script.encode(), b"0"] for script in scripts]
    assert not differences(stock, ours, lines)


def test_a_reply_is_one_frame(ours: InProcess) -> None:
    for script in SCRIPTS:
        raw = ours(b"EVAL", script.encode("latin-1"), b"0")
        stream = io.BytesIO(raw)
        read_frame(stream)
        assert not stream.read(1), script


def test_select_in_a_script_is_its_own(stock: Oracle, ours: InProcess) -> None:
    both_speak(stock, ours, False)
    lines = [
        [b"SELECT", b"2"],
        [b"EVAL", b"redis.call('set', 'a', 1) redis.call('select', 3) redis.call('set', 'b', 2)", b"0"],
        [b"DBSIZE"], [b"SET", b"c", b"3"], [b"KEYS", b"a"], [b"SELECT", b"3"], [b"KEYS", b"*"],
        [b"EVAL", b"redis.call('select', 0) error('x')", b"0"], [b"DBSIZE"], [b"SELECT", b"0"],
    ]  # fmt: skip
    assert not differences(stock, ours, lines)
    assert plain(ours(b"DBSIZE")) == 0
