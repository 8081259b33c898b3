"""Dialogs about connections and transactions, held with stock and with us, compared byte for byte.

A dialog is what one client sends at once, inline, or steps of several clients that
take turns.  Where we differ on purpose, the test says so and why.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dialogs import lines, play, say, turns
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_harness import plain, read_frame
from server_harness import PerdureServer, ServerProcess, StockServer

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("connection")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        yield stock.start(), ours.start()


@pytest.fixture(scope="module")
def both_locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """With a password: ``start`` waits for PONG, which nobody gets, so the harness's any answer is not enough."""
    folder = tmp_path_factory.mktemp("locked")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        for server in (stock, ours):
            server.start()
            assert say(server, b"CONFIG SET requirepass pw\r\n") == b"+OK\r\n"
        yield stock, ours


# ---- one client, everything at once --------------------------------------------------

DIALOGS = {
    "ping": 'PING; PING a; PING a b; ECHO; ECHO a b; ECHO hello; ECHO ""',
    "select": (
        "SELECT 16; SELECT -1; SELECT a; SELECT 99999999999; SELECT 01; SELECT; SELECT 1 2; "
        "SELECT 99999999999999999999999; SELECT 15; SET sel 1; SELECT 0; GET sel"
    ),
    "auth without a password": "AUTH a; AUTH a b; AUTH default b; AUTH; AUTH a b c",
    "hello": (
        "HELLO; HELLO 3; HELLO 2; HELLO a; HELLO 4; HELLO 1; HELLO 3 a; HELLO 3 AUTH; HELLO 3 AUTH a b; "
        'HELLO 3 AUTH default b SETNAME x; CLIENT GETNAME; HELLO 3 SETNAME "a b"; '
        'HELLO 3 SETNAME "a b" AUTH x y; HELLO 2 SETNAME q AUTH x y; CLIENT GETNAME; HELLO 3 SETNAME; '
        "HELLO SETNAME x; HELLO 3 setname z auth default d; CLIENT GETNAME; HELLO"
    ),
    "multi": "MULTI; SET m 1; GET m; FOO; EXEC; MULTI; SET m 1; GET m; INCR m; HGET m x; EXEC; EXEC",
    "empty multi": "MULTI; EXEC; HELLO 3; MULTI; EXEC",
    "nested multi": "MULTI; MULTI; PING; EXEC",
    "watch in multi": "MULTI; WATCH a; PING; EXEC",
    "unwatch in multi": "WATCH w; SET w 1; MULTI; UNWATCH; EXEC",
    "discard": "DISCARD; DISCARD x; MULTI; SET m 5; DISCARD x; EXEC; MULTI; SET m 7; DISCARD; GET m; EXEC",
    "exec refused": "EXEC a; MULTI; EXEC a; EXEC; WATCH a; SET a 1; EXEC x; MULTI; PING; EXEC",
    "queueing errors": "MULTI; FOO; CLIENT FOO; CLIENT; EXEC; MULTI; PING; WATCH; EXEC; MULTI; GET; EXEC",
    "own write breaks the watch": "WATCH k; SET k 1; MULTI; PING; EXEC; MULTI; PING; EXEC",
    "broken watch in RESP3": "HELLO 3; WATCH k; SET k 1; MULTI; PING; EXEC",
    "watch after it broke": "WATCH k; SET k 1; WATCH j; MULTI; PING; EXEC; SET j 1; MULTI; PING; EXEC",
    "unwatch mends": "WATCH k; SET k 1; UNWATCH; MULTI; PING; EXEC; UNWATCH x; UNWATCH",
    "error before broken watch": "WATCH k; SET k 1; MULTI; FOO; EXEC",
    "discard forgets watches": "WATCH k; MULTI; DISCARD; SET k 2; MULTI; PING; EXEC",
    "select in multi stays": "MULTI; SELECT 3; SET s3 1; EXEC; GET s3; SELECT 0; GET s3",
    "flush and swap in multi": (
        "SET f 1; MULTI; FLUSHALL; SET f 2; GET f; SWAPDB 0 9; GET f; SET g 1; EXEC; GET f; GET g; SELECT 9; "
        "GET f; MULTI; FLUSHDB; DBSIZE; EXEC; DBSIZE"
    ),
    "hello in multi": "MULTI; HELLO 3; CLIENT GETNAME; EXEC; CLIENT GETNAME",
    "config in multi": (
        "MULTI; CONFIG SET appendfsync always; SET c 1; GET c; CONFIG SET appendfsync everysec; "
        "CONFIG GET appendfsync; EXEC; GET c"
    ),
    "quit": "QUIT x; PING",
    "quit in multi": "SET q 1; MULTI; SET q 2; QUIT; EXEC",
    "quit did not run the queue": "GET q",
    "reset": (
        "SELECT 4; SET r 4; CLIENT SETNAME n; HELLO 3; RESET; GET r; CLIENT GETNAME; MULTI; RESET; EXEC; RESET x"
    ),
    "reset forgets watches": "WATCH k; RESET; SET k 3; MULTI; PING; EXEC",
    "names": (
        'CLIENT SETNAME; CLIENT SETNAME "a b"; CLIENT SETNAME ab; CLIENT GETNAME; CLIENT SETNAME ""; '
        'CLIENT GETNAME; CLIENT SETNAME "\\x7f"; CLIENT SETNAME "a\\n"; CLIENT ID x; HELLO 3; CLIENT GETNAME'
    ),
    "list's errors": (
        "CLIENT INFO x; CLIENT LIST x; CLIENT LIST TYPE; CLIENT LIST TYPE x; CLIENT LIST ID; CLIENT LIST ID a; "
        "CLIENT LIST ID 0; CLIENT LIST ID 999999 -1; CLIENT LIST ID 1 a; CLIENT LIST TYPE pubsub; "
        "CLIENT LIST TYPE master; CLIENT LIST TYPE slave; CLIENT LIST TYPE normal x; HELLO 3; "
        "CLIENT LIST TYPE replica"
    ),
    "kill's errors": (
        "CLIENT KILL; CLIENT KILL x; CLIENT KILL ID; CLIENT KILL ID x; CLIENT KILL ID 0; CLIENT KILL ID 99999; "
        "CLIENT KILL TYPE x; CLIENT KILL TYPE pubsub; CLIENT KILL USER x; CLIENT KILL USER default LADDR x; "
        "CLIENT KILL SKIPME x; CLIENT KILL ADDR 1 LADDR 2; CLIENT KILL ID 1 x; CLIENT KILL ID -1; "
        "CLIENT KILL ID 1.5; CLIENT KILL x y; CLIENT KILL ID 99999999999999999999 x"
    ),
    "kill oneself": "CLIENT KILL SKIPME no; PING",
    "reply skip": "CLIENT REPLY SKIP; PING 1; PING 2",
    "reply skip of an error": "CLIENT REPLY SKIP; FOO; PING 2",
    "reply skip twice": "CLIENT REPLY SKIP; CLIENT REPLY SKIP; PING 1; PING 2",
    "reply skip of nothing": "CLIENT REPLY SKIP; ; PING 1; PING 2",
    "reply skip of a syntax error": "CLIENT REPLY SKIP; CLIENT REPLY x; PING 2",
    "reply skip of reset": "CLIENT REPLY SKIP; RESET; PING 2",
    "reply skip of multi": "CLIENT REPLY SKIP; MULTI; PING; EXEC",
    "reply skip of queueing": "MULTI; CLIENT REPLY SKIP; PING; EXEC; PING 1; PING 2",
    "reply off": "PING 0; CLIENT REPLY OFF; PING 1; FOO; SET ro 1; CLIENT REPLY x; CLIENT REPLY ON; GET ro",
    "reply off and skip": "CLIENT REPLY OFF; CLIENT REPLY SKIP; PING; CLIENT REPLY ON; PING 2",
    "reply skip and off": "CLIENT REPLY SKIP; CLIENT REPLY OFF; PING; CLIENT REPLY ON; PING 2",
    "reply skip and on": "CLIENT REPLY SKIP; CLIENT REPLY ON; PING 2",
    "reply off and reset": "CLIENT REPLY OFF; RESET; PING 2",
    "reply off and a protocol error": "CLIENT REPLY OFF; *1; foo",
    "reply's errors": "CLIENT REPLY; CLIENT REPLY foo; PING",
    "no-evict": "CLIENT NO-EVICT on; CLIENT NO-EVICT OFF; CLIENT NO-EVICT x; CLIENT NO-EVICT",
    "unknown": "CLIENT; CLIENT FOO a b; CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none; FOO; FOO a b",
}


@pytest.mark.parametrize("name", DIALOGS)
def test_dialog_is_stocks(both: Both, name: str) -> None:
    stock, ours = both
    data = lines(*DIALOGS[name].split("; "))
    assert say(ours, data) == say(stock, data)


@pytest.mark.parametrize("name", DIALOGS)
def test_dialog_of_arrays_is_stocks(both: Both, name: str) -> None:
    """The same through the hot path's parser, in one chunk."""
    stock, ours = both
    data = b"".join(
        b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in argv)
        for argv in (line.encode().split() for line in DIALOGS[name].split("; ") if '"' not in line)
    )
    assert say(ours, data) == say(stock, data)


LOCKED = {
    "nothing without it": "PING; GET a; FOO; CLIENT FOO; GET; EXEC; EXEC a; MULTI; PING; CLIENT ID",
    "hello": (
        "HELLO; HELLO 3; HELLO 3 AUTH default no; HELLO 3 SETNAME x; HELLO 3 AUTH default pw; PING; CLIENT GETNAME"
    ),
    "auth": "AUTH no; PING; AUTH pw; PING; AUTH no; PING; AUTH a b c; AUTH x pw; AUTH default pw; AUTH ''",
    "a prefix is not it": "AUTH p; AUTH pwx; AUTH default ''; PING",
    "reset locks again": "AUTH pw; SET a 1; RESET; GET a; RESET; AUTH default pw; GET a",
    "quit": "QUIT; PING",
    "reply": "CLIENT REPLY OFF; AUTH pw; CLIENT REPLY OFF; PING; CLIENT REPLY ON",
    "reset in multi locks": "AUTH pw; MULTI; SET a 2; RESET; AUTH pw; EXEC; GET a",
}


@pytest.mark.parametrize("name", LOCKED)
def test_dialog_with_a_password_is_stocks(both_locked: Both, name: str) -> None:
    stock, ours = both_locked
    data = lines(*LOCKED[name].split("; "))
    assert say(ours, data) == say(stock, data)


def test_who_came_before_the_password_stays_and_who_came_after_is_freed_with_it(both: Both) -> None:
    steps = turns(
        "1 PING; 1 CONFIG SET requirepass x; 1 PING; 2 PING; 2 AUTH x; 3 PING; "
        '1 CONFIG SET requirepass ""; 3 PING; 2 PING; 1 CONFIG SET requirepass y; 3 PING; 2 PING; '
        '1 CONFIG SET requirepass ""'
    )
    stock, ours = both
    assert play(ours, steps) == play(stock, steps)


# ---- clients that take turns ---------------------------------------------------------

TURNS = {
    "another's write breaks the watch": "1 WATCH a b; 2 SET b 1; 1 MULTI; 1 GET b; 1 EXEC",
    "another key does not": "1 WATCH a b; 2 SET c 1; 1 MULTI; 1 GET c; 1 EXEC",
    "another database does not": "1 WATCH a; 2 SELECT 1; 2 SET a 1; 1 MULTI; 1 PING; 1 EXEC",
    "a read does not": "2 SET a 1; 1 WATCH a; 2 GET a; 1 MULTI; 1 PING; 1 EXEC",
    "a write that changed nothing does not": (
        "2 DEL a; 1 WATCH a; 2 DEL a; 2 SET a 1 XX; 2 HDEL a f; 1 MULTI; 1 PING; 1 EXEC"
    ),
    "a failed write does not": "2 SET a x; 1 WATCH a; 2 INCR a; 1 MULTI; 1 PING; 1 EXEC",
    "set and removed does": "2 DEL a; 1 WATCH a; 2 SET a 1; 2 DEL a; 1 MULTI; 1 PING; 1 EXEC",
    "another's transaction does": "1 WATCH a; 2 MULTI; 2 SET a 5; 2 EXEC; 1 MULTI; 1 PING; 1 EXEC",
    "before the queueing or behind": "1 WATCH a; 1 MULTI; 1 PING; 2 APPEND a x; 1 EXEC; 1 EXEC",
    "rename to it": "2 SET z 1; 1 WATCH a; 2 RENAME z a; 1 MULTI; 1 PING; 1 EXEC",
    "rename from it": "2 SET a 1; 1 WATCH a; 2 RENAME a z; 1 MULTI; 1 PING; 1 EXEC",
    "move to it": "2 SELECT 5; 2 SET mv 1; 1 WATCH mv; 2 MOVE mv 0; 1 MULTI; 1 PING; 1 EXEC",
    "copy to it": "2 SET z 1; 1 WATCH a; 2 COPY z a REPLACE; 1 MULTI; 1 PING; 1 EXEC",
    "its expiry set": "2 SET a 1; 1 WATCH a; 2 EXPIRE a 100; 1 MULTI; 1 PING; 1 EXEC",
    "flushall with it": "2 SET a 1; 1 WATCH a; 2 FLUSHALL; 1 MULTI; 1 PING; 1 EXEC",
    "flushall without it": "2 DEL a; 2 SET b 1; 1 WATCH a; 2 FLUSHALL; 1 MULTI; 1 PING; 1 EXEC",
    "flushdb of another": "2 SET a 1; 1 WATCH a; 2 SELECT 1; 2 FLUSHDB; 1 MULTI; 1 PING; 1 EXEC",
    "swapdb that takes it": "2 SET a 1; 1 WATCH a; 2 SWAPDB 0 7; 1 MULTI; 1 PING; 1 EXEC",
    "swapdb that brings it": "2 FLUSHALL; 2 SELECT 7; 2 SET a 1; 1 WATCH a; 2 SWAPDB 7 0; 1 MULTI; 1 PING; 1 EXEC",
    "swapdb of neither": "2 FLUSHALL; 2 SET b 1; 1 WATCH a; 2 SWAPDB 0 7; 1 MULTI; 1 PING; 1 EXEC",
    "watched twice, by two": "1 WATCH a; 1 WATCH a; 3 WATCH a; 2 SET a 9; 1 MULTI; 3 MULTI; 1 EXEC; 3 EXEC",
    "the watcher's own transaction": (
        "1 WATCH a; 1 MULTI; 1 INCR cnt; 1 EXEC; 1 WATCH cnt; 1 MULTI; 1 INCR cnt; 1 EXEC"
    ),
    "removed in time": "2 SET a 1 PX 100000; 1 WATCH a; 1 MULTI; 1 PERSIST a; 1 EXEC; 2 TTL a",
}


@pytest.mark.parametrize("name", TURNS)
def test_turns_are_stocks(both: Both, name: str) -> None:
    stock, ours = both
    assert play(ours, turns("0 FLUSHALL; " + TURNS[name])) == play(stock, turns("0 FLUSHALL; " + TURNS[name]))


WORDS = (
    "WATCH a; WATCH a b; WATCH b; UNWATCH; MULTI; MULTI; EXEC; EXEC; EXEC; DISCARD; SET a 1; SET b 2; "
    "DEL a; DEL a b; GET a; INCR a; GETSET b x; RENAME a b; COPY a b; MOVE a 1; SELECT 0; SELECT 1; "
    "SELECT 99; FLUSHDB; FLUSHALL; SWAPDB 0 1; SWAPDB 1 1; RESET; PING; FOO; GET; HELLO 3; HELLO 2; "
    "EXPIRE a 100; PERSIST a; HSET a f 1; HDEL a f; DBSIZE; PEXPIREAT b 1; GETEX a PX 1000; APPEND a x"
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(WORDS.split("; "))), max_size=40))
def test_random_turns_are_stocks(both: Both, steps: list[tuple[int, str]]) -> None:
    stock, ours = both
    assert play(ours, [(0, "FLUSHALL"), *steps]) == play(stock, [(0, "FLUSHALL"), *steps])


# ---- CLIENT LIST and KILL ------------------------------------------------------------


def fields(line: bytes) -> dict[bytes, bytes]:
    return dict(word.split(b"=", 1) for word in line.split())


SAME_FIELDS = (
    b"name",
    b"flags",
    b"db",
    b"sub",
    b"psub",
    b"ssub",
    b"multi",
    b"events",
    b"cmd",
    b"user",
    b"redir",
    b"resp",
)


def test_client_info_has_stocks_fields_and_states(both: Both) -> None:
    told = []
    for server in both:
        steps = turns(
            "1 CLIENT SETNAME me; 1 SELECT 3; 1 WATCH k; 1 SET k 1; 1 CLIENT INFO; 1 CLIENT NO-EVICT ON; "
            "1 MULTI; 1 PING; 1 CLIENT INFO; 2 CLIENT LIST; 1 DISCARD; 1 HELLO 3; 1 CLIENT INFO; 1 RESET; "
            "1 CLIENT INFO; 1 MULTI; 1 SELECT 2; 1 CLIENT INFO; 1 EXEC"
        )
        replies = play(server, steps)
        # lib-name and lib-ver are 7.2's, after CLIENT SETINFO, which redis-py sends
        listed = next(line for line in plain(replies[9]).split(b"\n") if b"name=me " in line)
        infos = [
            plain(replies[4]),
            listed,
            plain(replies[12]).removeprefix(b"txt:"),
            plain(replies[14]),
            plain(replies[18])[1],
        ]
        told.append([[(name, fields(info)[name]) for name in SAME_FIELDS] for info in infos])
        names = list(fields(infos[0]))
        assert names[:10] == [b"id", b"addr", b"laddr", b"fd", b"name", b"age", b"idle", b"flags", b"db", b"sub"]
        assert set(names) <= {*fields(infos[1])}
    assert told[1] == told[0]


def test_client_setinfo_is_shown(both: Both) -> None:
    _, ours = both
    replies = play(
        ours,
        turns(
            "1 CLIENT SETINFO LIB-NAME redis-py; 1 client setinfo lib-ver 8.1; 1 CLIENT INFO; "
            '1 CLIENT SETINFO lib-name "a b"; 1 CLIENT SETINFO x y; 1 CLIENT SETINFO x'
        ),
    )
    assert replies[:2] == [b"+OK\r\n"] * 2
    assert b" lib-name=redis-py lib-ver=8.1\n" in replies[2]
    assert replies[3:] == [
        b"-ERR lib-name cannot contain spaces, newlines or special characters.\r\n",
        b"-ERR Unrecognized option 'x'\r\n",
        b"-ERR wrong number of arguments for 'client|setinfo' command\r\n",
    ]


@pytest.mark.parametrize("how", ["ID", "old form", "all others"])
def test_a_killed_client_is_gone_and_its_watches_with_it(both: Both, how: str) -> None:
    for server in both:
        with (
            server.connect() as victim,
            victim.makefile("rb") as stream,
            server.connect() as killer,
            killer.makefile("rb") as answers,
        ):
            victim.sendall(b"WATCH a\r\nMULTI\r\nCLIENT ID\r\nEXEC\r\nWATCH a\r\n")
            number = int([read_frame(stream) for _ in range(5)][3].split(b":")[1])
            commands = {
                "ID": (b"CLIENT KILL ID %d\r\n" % number, b":1\r\n"),
                "old form": (b"CLIENT KILL %b:0\r\n" % server.socket_path.encode(), b"+OK\r\n"),
                "all others": (b"CLIENT KILL SKIPME yes TYPE normal\r\n", b":1\r\n"),
            }
            line, expected = commands[how]
            killer.sendall(line)
            assert read_frame(answers) == expected
            assert stream.read() == b""
            if how != "old form":  # that one meant every client of the socket, the killer too
                killer.sendall(b"CLIENT LIST ID %d\r\n" % number)
                assert read_frame(answers) == b"$0\r\n\r\n"


# ---- where we are not stock, on purpose ----------------------------------------------


def test_quit_closes_even_where_nothing_is_answered(both: Both) -> None:
    """Stock leaves the connection open: it closes behind an answer, and there is none."""
    _, ours = both
    with ours.connect() as sock:
        sock.sendall(b"CLIENT REPLY OFF\r\nQUIT\r\n")
        assert sock.recv(10) == b""


def test_exec_answers_whole_when_it_kills_its_own_client(both: Both) -> None:
    """Stock stops in the middle of the array."""
    _, ours = both
    assert say(ours, lines("MULTI", "CLIENT KILL SKIPME no", "PING", "EXEC", "PING")) == (
        b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+PONG\r\n"
    )
