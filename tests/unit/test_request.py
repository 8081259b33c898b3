"""The strict request parser: any split of a stream gives the same commands; what is wrong gets stock's words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_harness import PerdureServer, ServerProcess, StockServer

from perdure.server.request import MAX_LINE_BYTES, ProtocolError, QueryTooBig, RequestParser
from perdure.store.resp import encode


def new_parser(*, authenticated: bool = True, max_bulk: int = 512 << 20, max_held: int = 1 << 30) -> RequestParser:
    return RequestParser(authenticated=authenticated, max_bulk=max_bulk, max_held=max_held)


def parse(chunks: list[bytes], **limits: int) -> tuple[list[list[bytes]], bytes]:
    """The commands in what was fed chunk by chunk, and the protocol error's text that ended it."""
    parser = new_parser(**limits)  # type: ignore[arg-type]
    out: list[list[bytes]] = []
    try:
        for chunk in chunks:
            parser.feed(chunk)
            while (argv := parser.next()) is not None:
                if argv:
                    out.append(argv)
    except ProtocolError as error:
        return out, error.text
    return out, b""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """``data`` in pieces."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


# ---- splits --------------------------------------------------------------------------

arguments = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"", b"\r\n", b"*1\r\n$4\r\nPING\r\n", b"$-1\r\n", b"x" * 300])
)
inline_words = st.text("abcdefgXYZ0123:*$-_", min_size=1, max_size=8).map(str.encode).filter(lambda w: w[:1] != b"*")
commands = st.one_of(
    st.lists(arguments, min_size=1, max_size=6).map(lambda argv: (encode(argv), argv)),
    st.lists(inline_words, min_size=1, max_size=4).map(lambda words: (b" ".join(words) + b"\r\n", words)),
    st.sampled_from([(b"\r\n", None), (b"\n", None), (b"*0\r\n", None), (b"*-1\r\n", None), (b"  \t \n", None)]),
)
fragments = st.sampled_from([b"*2\r\n", b"$3\r\n", b"\r\n", b"abc", b'"', b"*", b"$"])
cuts = st.lists(st.integers(0, 1 << 16), max_size=12)


@settings(max_examples=400, deadline=None)
@given(st.lists(commands, max_size=8), cuts)
def test_any_split_of_a_valid_stream_gives_the_same_commands(
    stream: list[tuple[bytes, list[bytes] | None]], places: list[int]
) -> None:
    data = b"".join(raw for raw, _ in stream)
    expected = [argv for _, argv in stream if argv is not None]
    assert parse(cut(data, places)) == (expected, b"")
    assert parse([data[i : i + 1] for i in range(len(data))]) == (expected, b"")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=8), fragments), max_size=14), cuts)
def test_any_split_of_garbage_gives_the_same_verdict(pieces: list[bytes], places: list[int]) -> None:
    data = b"".join(pieces)
    assert parse(cut(data, places)) == parse([data])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(arguments, min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 1 << 16))
def test_what_is_left_over_can_be_taken_between_requests(argvs: list[list[bytes]], place: int) -> None:
    data = b"".join(map(encode, argvs))
    first, second = cut(data, [place])
    parser = new_parser()
    parser.feed(first)
    found = []
    while (argv := parser.next()) is not None:
        found.append(argv)
    assert parser.idle == (first == b"".join(map(encode, found)))
    parser.feed(second)
    while not parser.before_array and (argv := parser.next()) is not None:
        found.append(argv)
    rest = parser.rest() if parser.before_array else b""
    assert found + parse([rest])[0] == argvs
    assert parser.idle


# ---- bounds --------------------------------------------------------------------------


def test_a_bulk_longer_than_the_limit_is_refused_at_its_header() -> None:
    assert parse([b"*1\r\n$11\r\n"], max_bulk=10) == ([], b"invalid bulk length")
    assert parse([b"*1\r\n$10\r\n0123456789\r\n"], max_bulk=10) == ([[b"0123456789"]], b"")


def test_the_stranger_may_send_ten_arguments_of_16_KiB() -> None:
    assert parse([encode([b"x" * 16384] * 10)], authenticated=False) == ([[b"x" * 16384] * 10], b"")
    assert parse([b"*11\r\n"], authenticated=False) == ([], b"unauthenticated multibulk length")
    assert parse([b"*1\r\n$16385\r\n"], authenticated=False) == ([], b"unauthenticated bulk length")


def test_a_request_that_holds_too_much_is_too_big() -> None:
    parser = new_parser(max_held=1000)
    with pytest.raises(QueryTooBig):
        for _ in range(20):
            parser.feed(b"*1\r\n$2000\r\n" if parser.idle else b"x" * 100)
            parser.next()


def test_many_small_arguments_count_for_what_they_cost() -> None:
    parser = new_parser(max_held=10_000)
    parser.feed(b"*1000\r\n")
    with pytest.raises(QueryTooBig):
        for _ in range(1000):
            parser.feed(b"$0\r\n\r\n")
            parser.next()


def test_one_request_after_another_holds_nothing() -> None:
    parser = new_parser(max_held=1000)
    for _ in range(100):
        parser.feed(encode([b"SET", b"k", b"x" * 300]))
        assert parser.next() == [b"SET", b"k", b"x" * 300]
    assert parser.idle and parser.held_bytes == 0


def test_a_line_without_an_end_is_given_up_at_64_KiB() -> None:
    assert parse([b"x" * MAX_LINE_BYTES]) == ([], b"")
    assert parse([b"x" * MAX_LINE_BYTES, b"x"]) == ([], b"too big inline request")
    assert parse([b"*" + b"1" * MAX_LINE_BYTES]) == ([], b"too big mbulk count string")
    assert parse([b"*1\r\n", b"$" + b"1" * MAX_LINE_BYTES]) == ([], b"too big bulk count string")


def test_a_command_of_a_million_arguments_is_parsed() -> None:
    found, error = parse([b"*1000000\r\n", b"$1\r\na\r\n" * 1_000_000])
    assert (len(found), len(found[0]), error) == (1, 1_000_000, b"")


# ---- the same as stock ---------------------------------------------------------------


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    folder: Path = tmp_path_factory.mktemp("request")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        yield stock.start(), ours.start()


def answer(server: ServerProcess, data: bytes) -> bytes:
    """What a server answers to raw bytes, up to the end of the connection, which we ask for behind them."""
    out = b""
    with server.connect() as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already, and may have said why
        while True:
            try:
                part = sock.recv(1 << 16)
            except ConnectionResetError:
                return out
            if not part:
                return out
            out += part


PING = encode([b"PING"])
BAD = [
    b"*1\r\n$a\r\n",
    b"*1\r\n\r\n",
    b"*1\r\nx\r\n",
    b"*a\r\n",
    b"*\r\n",
    b"*2147483648\r\n",
    b"*2147483647\r\n$-1\r\n",
    b"*1\r\n$-1\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$9223372036854775808\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*01\r\n$4\r\nPING\r\n",
    b"*+1\r\n$4\r\nPING\r\n",
    b"* 1\r\n$4\r\nPING\r\n",
    b"*1 \r\n",
    b"*-a\r\n" + PING,
    b"*-0\r\n" + PING,
    b"*2\r\n$4\r\nPING\r\n$\r\n",
    PING + b"*1\r\n$x\r\n" + PING,
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\nPING\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n*1\r\n$4\r\nPING\r\n",
    b"*1\r\n_\r\n",
    b"*1\r\n#t\r\n",
    b"*2\r\n$4\r\nECHO\r\n,1.5\r\n",
    b'PING "abc\r\n',
    b"PING 'abc\r\n",
    b'PING "abc"x\r\n',
    b'ECHO a"b c"d\r\n',
    b"x" * 65537,
    b"x" * 65540 + b"\r\n",
    b"*" + b"1" * 65537,
    b"*" + b"1" * 70000 + b"\r\n",
    b"*1\r\n$" + b"1" * 70000,
    b"POST / HTTP/1.1\r\nPING\r\n",
    b"Host: localhost\r\nPING\r\n",
    encode([b"post"]) + PING,
]
ODD = [
    b"*-1\r\n" + PING,
    b"*-5\r\n" + PING,
    b"*0\r\n" + PING,
    b"*1\r\n$4\r\nPINGxx" + PING,
    b"*1\rx$4\ryPING\r\n",
    b"\r\n\r\nPING\r\n",
    b"PING\n",
    b"PING\r\r\n",
    b"  PING  \r\n",
    b"\xff\xfe\r\n",
    b"PING\x0b\x0cx\r\n",
    b"\x0b\x0cPING\r\n",
    b"*1\r\n$0\r\n\r\n" + PING,
    b"$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPI",
    b"\r\n" * 3 + PING,
    b"PING\r\n" + PING + b"PING\n",
    b'ECHO ""\r\n',
    b'ECHO "a"\x0b\r\n',
]


@pytest.mark.oracle
@pytest.mark.parametrize("data", BAD + ODD, ids=lambda data: repr(data[:24]))
def test_raw_bytes_are_answered_as_by_stock(both: tuple[ServerProcess, ServerProcess], data: bytes) -> None:
    stock, ours = both
    assert answer(ours, data) == answer(stock, data)


quoting = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b'"',
                b"'",
                b"\\",
                b" ",
                b"\t",
                b"\\x",
                b"\\x4",
                b"\\x41",
                b"\\n",
                b"\\'",
                b'\\"',
                b"\\\\",
                b"\x0b",
                b"\x0c",
            ]
        ),
        st.binary(min_size=1, max_size=3).map(
            lambda b: b.replace(b"\n", b"n").replace(b"\0", b"0").replace(b"*", b"x")
        ),
    ),
    max_size=10,
).map(b"".join)


@pytest.mark.oracle
@settings(max_examples=300, deadline=None)
@given(st.lists(quoting, min_size=1, max_size=8))
def test_quoting_is_split_as_stock_splits_it(both: tuple[ServerProcess, ServerProcess], lines: list[bytes]) -> None:
    stock, ours = both
    for line in lines:
        data = b"ECHO " + line + b"\r\n"
        assert answer(ours, data) == answer(stock, data), line
