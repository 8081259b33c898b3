"""CLIENT PAUSE: what is kept back, what is not, and what comes out in the end, beside stock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_harness import PerdureServer, ServerProcess, StockServer
from talks import Table, play, steps

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]
LONG = "CLIENT PAUSE 600000 WRITE"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("pause")
    options = ("--enable-debug-command", "yes")
    with StockServer(folder / "stock", *options) as stock, PerdureServer(folder / "ours", *options) as ours:
        yield stock.start(), ours.start()


def told(both: Both, text: str) -> list[dict[str, bytes]]:
    """Transcripts of stock and of us.  A step that begins with ``~`` is sent and not waited for."""
    out = []
    for server in both:
        table = Table(server)
        for who, lines in steps("z FLUSHALL; " + text):
            if lines.startswith("~"):
                table.sit(who).send(lines[1:].split("|"))
            else:
                table.say(who, lines)
        out.append(table.end())
    return out


PAUSES = {
    "the words": (
        "a CLIENT PAUSE; a CLIENT PAUSE x; a CLIENT PAUSE -1; a CLIENT PAUSE 10 foo; a CLIENT PAUSE 1.5; "
        "a CLIENT PAUSE 1 WRITE x; a CLIENT PAUSE 9223372036854775807; a CLIENT UNPAUSE x; a CLIENT PAUSE 0; a PING; "
        "a CLIENT PAUSE 99999999999999999999; a CLIENT UNPAUSE; a CLIENT PAUSE -1 foo"
    ),
    "writes wait, in order": (
        f"a {LONG}; b GET k; b ~SET k 1|GET k; c ~APPEND k 2; d GET k; d INFO nosuch; a CLIENT UNPAUSE; a GET k"
    ),
    "more from who waits": f"a {LONG}; b ~SET k 1; b ~GET k; b ~INCR k|PING; a GET k; a CLIENT UNPAUSE; b GET k",
    "published messages wait": (
        f"s SUBSCRIBE x; a {LONG}; b ~PUBLISH x 1; c ~SPUBLISH x 1; "
        f"d PUBSUB NUMSUB x; a CLIENT UNPAUSE"
    ),
    "transactions": (
        f"a {LONG}; b MULTI|GET k|EXEC; c ~MULTI|SET k 2|EXEC; d GET k; a CLIENT UNPAUSE; d GET k"
    ),
    "a transaction that was queued before": (
        f"b SUBSCRIBE nothing|RESET; b MULTI|SET k 1|DISCARD; a {LONG}; c ~MULTI|PUBLISH a b|EXEC; "
        f"a CLIENT UNPAUSE; c PING"
    ),
    "the transaction that pauses goes on": (
        "b MULTI|CLIENT PAUSE 600000 WRITE|SET z 1|GET z|EXEC; b GET z; c ~SET z 3; b GET z; b CLIENT UNPAUSE; c GET z"
    ),
    "errors do not wait": f"a {LONG}; b SET k; b FOO; b MULTI|SET|EXEC; a CLIENT UNPAUSE",
    "nothing expires": (
        "b DEBUG SET-ACTIVE-EXPIRE 0|SET e 1 PX 1|DEBUG SLEEP 0.02; "
        "c HELLO 3|CLIENT TRACKING ON BCAST|PSUBSCRIBE __key*|CONFIG SET notify-keyspace-events KEA; "
        f"a {LONG}; a GET e; a EXISTS e; a DBSIZE; a KEYS *; a TTL e; a MULTI|GET e|DBSIZE|EXEC; a CLIENT UNPAUSE; "
        "a GET e; a DBSIZE; c CONFIG SET notify-keyspace-events Ex"
    ),
    "a pause only grows": (
        f"a {LONG}; a CLIENT PAUSE 1 WRITE; b ~SET k 1; a DEBUG SLEEP 0.02; a GET k; "
        f"a CLIENT UNPAUSE; b GET k"
    ),
    "who monitors is not paused": (
        f"m MONITOR; a {LONG}; m SET k 1; m PUBLISH x y; b ~SET k 2; m PING; "
        f"a CLIENT UNPAUSE; b PING"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAUSES)
def test_pauses_are_stocks(both: Both, name: str) -> None:
    stock, ours = told(both, PAUSES[name])
    assert ours == stock


def test_a_pause_of_everything_ends_by_itself(both: Both) -> None:
    """And whatever was asked meanwhile is answered, CLIENT UNPAUSE and QUIT included."""
    stock, ours = told(both, "a PING; b CLIENT PAUSE 100; c PING; b CLIENT UNPAUSE|ECHO x; a SET k 1|GET k; c QUIT")
    assert ours == stock


def test_who_is_kept_back_is_shown_as_blocked_and_can_be_killed(both: Both) -> None:
    shown = []
    for server in both:
        table = Table(server)
        table.say("z", "FLUSHALL")
        table.say("a", LONG)
        table.sit("b").send(["SET killed 1", "SET killed 2"])
        table.say("a", "PING")
        with server.client() as client:
            listed = {c["id"]: c["flags"] for c in client.client_list()}
            blocked = client.info("clients")["blocked_clients"]
            unblocked = client.execute_command("CLIENT", "UNBLOCK", table.ids["b"]) if server is both[1] else 0
            killed = client.client_kill_filter(_id=table.ids["b"])
        table.talks["b"].until(b"never")
        table.say("a", "CLIENT UNPAUSE|GET killed")
        shown.append((listed[table.ids["b"]], blocked, unblocked, killed, table.end()))
    assert shown[1] == shown[0]


def test_who_leaves_while_kept_back_has_sent_nothing(both: Both) -> None:
    shown = []
    for server in both:
        table = Table(server)
        table.say("a", "DEL left|CLIENT PAUSE 600000 WRITE")
        table.sit("b").send(["SET left 1"])
        table.say("a", "PING")
        table.talks["b"].sock.close()
        with server.client() as client:
            while client.info("clients")["blocked_clients"]:
                pass
        del table.talks["b"]
        table.say("a", "CLIENT UNPAUSE|GET left")
        shown.append(table.end())
    assert shown[1] == shown[0]


def test_a_pause_is_over_for_whoever_comes_after_it(both: Both) -> None:
    stock, ours = (
        play(server, steps("a CLIENT PAUSE 30 WRITE; a DEBUG SLEEP 0.2; b SET k 1|GET k")) for server in both
    )
    assert ours == stock


# ---- where we are not stock, on purpose ----------------------------------------------


def test_the_transaction_that_pauses_may_write_to_a_key_that_has_expired(both: Both) -> None:
    """Stock keeps the key, writes over it, and ends with a failed assertion."""
    _, ours = both
    got = play(
        ours,
        steps(
            "b DEBUG SET-ACTIVE-EXPIRE 0|SET z 1 PX 1|DEBUG SLEEP 0.02; "
            "b MULTI|CLIENT PAUSE 600000 WRITE|SET z 1 NX|TTL z|EXEC; b CLIENT UNPAUSE|GET z|TTL z"
        ),
    )["b"]
    assert b"*3\r\n+OK\r\n+OK\r\n:-1\r\n" in got and b"+OK\r\n$1\r\n1\r\n:-1\r\n" in got
