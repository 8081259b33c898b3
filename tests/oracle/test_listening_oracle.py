"""Pub/sub, tracking, MONITOR and keyspace events: dialogs of several clients, held with stock and with us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle_harness import plain, read_frame
from server_harness import PerdureServer, ServerProcess, StockServer
from talks import Table, play, steps, use_up_ids

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]
QUIET = "z FLUSHALL|CONFIG SET notify-keyspace-events ''|CONFIG SET tracking-table-max-keys 1000000"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("listening")
    options = ("--enable-debug-command", "yes")
    with StockServer(folder / "stock", *options) as stock, PerdureServer(folder / "ours", *options) as ours:
        for server in (stock, ours):
            use_up_ids(server.start())
        yield stock, ours


def assert_same_talk(both: Both, text: str) -> None:
    dialog = steps(QUIET.replace("''", '""') + "; " + text)
    stock, ours = both
    theirs, mine = play(stock, dialog), play(ours, dialog)
    for who in theirs:
        assert mine[who] == theirs[who], f"what {who} got"


PUBSUB = {
    "subscribed mode": (
        "a SUBSCRIBE x y; b PUBLISH x hi; a PING; a PING foo|PING a b; a GET k; a SET k; a FOO; "
        "a CLIENT INFO|ECHO a; "
        "a UNSUBSCRIBE x y; a GET k; a UNSUBSCRIBE; a UNSUBSCRIBE q; a PUNSUBSCRIBE; a SUNSUBSCRIBE"
    ),
    "in RESP3 anything goes": (
        "a HELLO 3; a SUBSCRIBE x; a PUBLISH x hi; a GET k; a PING; b PUBLISH x 2; a UNSUBSCRIBE; a UNSUBSCRIBE; "
        "a PSUBSCRIBE a*; a SSUBSCRIBE s; a PUNSUBSCRIBE|SUNSUBSCRIBE|PUNSUBSCRIBE"
    ),
    "patterns": (
        "a PSUBSCRIBE x*; a SUBSCRIBE xa; b PUBLISH xa 1; c PSUBSCRIBE x*; b PUBLISH xa 2; b PUBLISH x 3; "
        "b PUBSUB NUMPAT; c PUNSUBSCRIBE x*; b PUBSUB NUMPAT; b PUBLISH xa 4"
    ),
    "globs": (
        "a PSUBSCRIBE h[ae]?l*o; b PUBLISH hello 1; b PUBLISH hillo 2; b PUBLISH haxlxxo 3; a PUNSUBSCRIBE; "
        'a PSUBSCRIBE \\x; b PUBLISH x 4; b PUBLISH "\\\\x" 5; a PUNSUBSCRIBE|PSUBSCRIBE *; '
        'b PUBLISH "" 6; b PUBLISH a ""'
    ),
    "counts": (
        "a SUBSCRIBE a a b; a PSUBSCRIBE p q; a SSUBSCRIBE s; a SUBSCRIBE c; a UNSUBSCRIBE a; a PUNSUBSCRIBE p p; "
        "a SUNSUBSCRIBE s s; a UNSUBSCRIBE b c|PUNSUBSCRIBE q|PING"
    ),
    "order of subscribers and messages": (
        "a SUBSCRIBE x; b SUBSCRIBE x; c PUBLISH x 1|PUBLISH x 2|SET k v|PUBLISH x 3; a UNSUBSCRIBE x; c PUBLISH x 4"
    ),
    "a transaction": (
        "a SUBSCRIBE x; b MULTI|PUBLISH x 1|SET k 1|PUBLISH x 2|EXEC|PUBLISH x 3; b MULTI|PUBLISH x 4|DISCARD; "
        "c MULTI|SUBSCRIBE q w|PING|EXEC; b PUBLISH q 5; c MULTI; c UNSUBSCRIBE q; c PING"
    ),
    "a transaction in RESP3": (
        "a HELLO 3|SUBSCRIBE x; a MULTI|UNSUBSCRIBE|PSUBSCRIBE a b|GET k|EXEC; b PUBLISH x 1; b PUBLISH a 2"
    ),
    "reset leaves": (
        "a SUBSCRIBE x|PSUBSCRIBE x|SSUBSCRIBE x; a RESET; b PUBLISH x 1|SPUBLISH x 1|PUBSUB NUMPAT; a GET k"
    ),
    "protocols": (
        "a SUBSCRIBE z; a HELLO 3; a RESET; a HELLO 3; a SUBSCRIBE z; b PUBLISH z 1; a HELLO 2; "
        "b PUBLISH z 2; a GET a; "
        "a UNSUBSCRIBE z; a HELLO 3"
    ),
    "shards": (
        "a SSUBSCRIBE s t; b SPUBLISH s 1; b PUBLISH s 1; b SPUBLISH none 1; c SUBSCRIBE s; "
        "b SPUBLISH s 2; b PUBLISH s 3; "
        "b PUBSUB SHARDNUMSUB s q; b PUBSUB NUMSUB s q; a SUNSUBSCRIBE t; b PUBSUB SHARDCHANNELS; "
        "b PUBSUB CHANNELS; b PUBSUB CHANNELS s*; b PUBSUB CHANNELS t*; b PUBSUB SHARDCHANNELS x"
    ),
    "what it is not": (
        "a PUBSUB; a PUBSUB FOO; a PUBSUB CHANNELS a b; a PUBSUB NUMSUB; a PUBSUB NUMPAT x; a PUBSUB SHARDNUMSUB; "
        "a PUBSUB SHARDCHANNELS a b; a SUBSCRIBE|PSUBSCRIBE|PUBLISH a|PUBLISH a b c|SPUBLISH a|SSUBSCRIBE; "
        "a PUBSUB channels; a PUBSUB HELP x"
    ),
    "answers off": (
        "a HELLO 3; a CLIENT REPLY OFF|SUBSCRIBE x|SUBSCRIBE|CLIENT REPLY ON; b PUBLISH x 1; "
        "a CLIENT REPLY SKIP|SUBSCRIBE z w|PING; a CLIENT REPLY SKIP|PUBLISH z 3|PING; "
        "a CLIENT REPLY OFF|PUBLISH x 4|PUBSUB CHANNELS|UNSUBSCRIBE x|CLIENT REPLY ON"
    ),
    "who quits gets no more": "a SUBSCRIBE x; a QUIT; b PUBLISH x 1; b PUBSUB NUMSUB x",
    "large": f"a SUBSCRIBE {'c' * 3000}; b PUBLISH {'c' * 3000} {'m' * 5000}; b PUBLISH x {'m' * 50000}",
}
TRACKING = {
    "what was read": (
        "a HELLO 3; a CLIENT TRACKING ON; a GET k; b SET k 1; b SET k 2; a GET k; a SET k 3; b SET k 6; "
        "a MULTI|GET k|SET k 5|GET k|EXEC; b SET k 6; a HGET h f|MGET k j; b MSET j 1 k 2; a EXISTS q r; b SET r 1"
    ),
    "flushes": (
        "a HELLO 3|CLIENT TRACKING ON; b FLUSHALL; a FLUSHALL; b FLUSHDB; a GET k; b FLUSHALL x; b SELECT 5|FLUSHDB; "
        "b SET k 1; a CLIENT TRACKING OFF; b FLUSHALL"
    ),
    "other databases share the names": "a HELLO 3|CLIENT TRACKING ON|GET k; b SELECT 3|SET k 1; b SET k 2",
    "broadcast": (
        "a HELLO 3; a CLIENT TRACKING ON BCAST PREFIX a PREFIX b; b MSET a1 1 b1 1 a0 1 c 1; a SET a1 1; "
        "b MULTI|SET a1 2|SET a2 3|EXEC; b FLUSHALL; b SET xx 1|DEL a1; b FLUSHALL; a CLIENT TRACKING OFF; b SET a1 2"
    ),
    "broadcast of everything": (
        "a HELLO 3; a CLIENT TRACKING ON BCAST; c HELLO 3|CLIENT TRACKING ON BCAST PREFIX x; a SET x 1; b SET x2 2; "
        'b RENAME x2 y|SET "" 1|HSET h f v|APPEND s x'
    ),
    "no loop": (
        "a HELLO 3; a CLIENT TRACKING ON NOLOOP; a GET x; a SET x 1; b SET x 1; a GET x; b RENAME x y; "
        "a GET y; a GET z; "
        "b COPY y z; a DEL y; a FLUSHALL; b SET y 1; a GET y|EXISTS k1 k2; b MSET k2 1 k1 1"
    ),
    "no loop of broadcasts": (
        "a HELLO 3; a CLIENT TRACKING ON BCAST NOLOOP; a SET x 1; a MULTI|SET x 1|SET y 2|EXEC; b SET x 1; "
        "a SET q 1 PX 1|DEBUG SLEEP 0.02|GET q|SET q 2"
    ),
    "opt in": (
        "a HELLO 3; a CLIENT TRACKING ON OPTIN; a GET k; b SET k 1; a CLIENT CACHING YES|GET k; b SET k 1; "
        "a CLIENT CACHING YES|MULTI|GET k|GET j|EXEC|GET l; b MSET k 1 j 1 l 1; "
        "a CLIENT CACHING YES|CLIENT GETNAME|GET k; "
        "b SET k 1; a CLIENT CACHING YES|FOO|GET k; b SET k 1; a CLIENT CACHING YES|GET|GET k; b SET k 1; "
        "a CLIENT CACHING YES|CLIENT FOO|GET k; b SET k 1; a MULTI|CLIENT CACHING YES|GET k|GET j|EXEC; "
        "b MSET k 1 j 1; "
        "a GET k; b SET k 1; a CLIENT CACHING YES|CLIENT TRACKINGINFO; a CLIENT TRACKINGINFO"
    ),
    "opt out": (
        "a HELLO 3; a CLIENT TRACKING ON OPTOUT; a GET k; b SET k 1; a CLIENT CACHING NO|GET k; b SET k 1; a GET k; "
        "b SET k 2; a CLIENT CACHING NO|CLIENT TRACKINGINFO"
    ),
    "redirected": (
        "r SUBSCRIBE __redis__:invalidate; a CLIENT TRACKING ON REDIRECT {r}; a GET k; b SET k 1; b FLUSHALL; "
        "a GET k; a SET k 2; a CLIENT GETREDIR|CLIENT TRACKINGINFO; r UNSUBSCRIBE; a GET k; b SET k 3; "
        "r SUBSCRIBE x; "
        "a GET k; b SET k 4; a CLIENT TRACKING OFF|CLIENT TRACKING ON BCAST REDIRECT {r}; b MSET k 1 j 1"
    ),
    "redirected to RESP3": (
        "r HELLO 3; a CLIENT TRACKING ON REDIRECT {r}; a GET k; b SET k 1; b FLUSHALL; "
        "a GET k; a SET k 2; c HELLO 3|CLIENT TRACKING ON REDIRECT {r} NOLOOP; c GET k|SET k 1; b FLUSHDB"
    ),
    "redirected to who left": (
        "a CLIENT TRACKING ON REDIRECT {r}; a GET k; r QUIT; b SET k 3; a CLIENT TRACKINGINFO; a HELLO 3; a GET k; "
        "b SET k 5; a CLIENT GETREDIR; a CLIENT TRACKING ON; a CLIENT TRACKINGINFO; a GET k; b SET k 6"
    ),
    "RESP2 without a redirection": "a CLIENT TRACKING ON; a GET k; b SET k 1; a HELLO 3; a GET k; b SET k 2",
    "options": (
        "a CLIENT TRACKINGINFO; a CLIENT TRACKING foo; a CLIENT TRACKING; a CLIENT TRACKING ON REDIRECT; "
        "a CLIENT TRACKING ON REDIRECT x; a CLIENT TRACKING ON REDIRECT 99999; a CLIENT TRACKING ON REDIRECT 0; "
        "a CLIENT TRACKING ON REDIRECT {b} REDIRECT {b}; a CLIENT TRACKING ON PREFIX a; "
        "a CLIENT TRACKING ON BCAST OPTIN; "
        "a CLIENT TRACKING ON OPTIN OPTOUT; a CLIENT TRACKING ON BCAST PREFIX a PREFIX ab; "
        "a CLIENT TRACKING ON PREFIX; "
        "a CLIENT TRACKING ON BCAST PREFIX c PREFIX b; a CLIENT TRACKINGINFO; a CLIENT TRACKING ON BCAST PREFIX cd; "
        "a CLIENT TRACKING ON BCAST PREFIX d; a CLIENT TRACKINGINFO; a CLIENT TRACKING ON; "
        "a CLIENT TRACKING OFF BCAST PREFIX z REDIRECT 99999; a CLIENT TRACKING OFF; a CLIENT TRACKING ON OPTIN; "
        "a CLIENT TRACKING ON OPTOUT; a CLIENT CACHING NO; a CLIENT CACHING x; a CLIENT CACHING YES; "
        "a CLIENT TRACKING OFF; a CLIENT CACHING YES; a CLIENT CACHING; a CLIENT TRACKING ON; a CLIENT CACHING YES; "
        "a CLIENT CACHING NO; a CLIENT TRACKING on OPTIN; a CLIENT TRACKINGINFO; a CLIENT TRACKING ON NOLOOP; "
        "a CLIENT TRACKINGINFO; a HELLO 3|CLIENT TRACKINGINFO; a CLIENT GETREDIR; a RESET; "
        "a CLIENT TRACKINGINFO|CLIENT GETREDIR"
    ),
    "answers off": (
        "a HELLO 3; a CLIENT TRACKING ON; a CLIENT REPLY OFF|GET k|CLIENT REPLY ON; b SET k 1; "
        "a CLIENT REPLY OFF|GET k|SET k 1|CLIENT REPLY ON; b FLUSHALL"
    ),
    "both told at once": (
        "b CONFIG SET notify-keyspace-events KEA; a HELLO 3; a CLIENT TRACKING ON; a SUBSCRIBE foo; a GET k; "
        "b SET k 1|PUBLISH foo 1; a GET k|SET k 2|PUBLISH foo 2|GET k"
    ),
    "expired": (
        "a HELLO 3|CLIENT TRACKING ON; b SET k 1 PX 1; b DEBUG SET-ACTIVE-EXPIRE 0; a GET j k; "
        "b DEBUG SLEEP 0.02; a GET k|GET k|SET k 2; b DEBUG SET-ACTIVE-EXPIRE 1"
    ),
}  # fmt: skip
MONITOR = {
    "all sorts": (
        'm MONITOR; a PING; a set k "a\\nb\\x01\\xff\'\\"\\\\"; a SELECT 3; a MULTI|GET k|FOO|EXEC; '
        'a MULTI|GET k|PING|EXEC; '
        "a AUTH foo; a AUTH u p; a HELLO 3 AUTH u p; a HELLO 3 SETNAME x; a CONFIG GET save; a CLIENT GETNAME; "
        'a CLIENT KILL x; a GET; a FOO; a HSET k v; a INCR k; a CONFIG SET save ""; m PING; m MONITOR; '
        'a DEBUG SLEEP 0; '
        "m RESET; m PING; a PING; a HELLO 2 AUTH default x SETNAME y"
    ),
    "in a transaction": "a MULTI|MONITOR|EXEC; a PING",
    "transactions and subscriptions": (
        "m MONITOR; a EXEC; a WATCH k|MULTI|DISCARD|UNWATCH; a SUBSCRIBE x; a UNSUBSCRIBE; a PUBLISH x y; a DBSIZE; "
        "a FLUSHALL; a SWAPDB 0 1; a TIME x; a RESET; m QUIT"
    ),
    "who monitors has no keys": (
        "m MONITOR; "
        "m PUBLISH a b|GET k|MULTI|GET k|SET a b|EXEC|DBSIZE|SUBSCRIBE x|PING|DBSIZE|FLUSHALL|KEYS *|SPUBLISH a b; "
        "a PUBLISH x hi"
    ),
    "two": "m MONITOR; n HELLO 3|MONITOR; a PING; m CLIENT TRACKING ON|ECHO x; n PING",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBSUB)
def test_pubsub_is_stocks(both: Both, name: str) -> None:
    assert_same_talk(both, PUBSUB[name])


@pytest.mark.parametrize("name", TRACKING)
def test_tracking_is_stocks(both: Both, name: str) -> None:
    assert_same_talk(both, TRACKING[name])


@pytest.mark.parametrize("name", MONITOR)
def test_monitor_is_stocks(both: Both, name: str) -> None:
    assert_same_talk(both, MONITOR[name])


@pytest.mark.parametrize("option", ["KEA", "KE", "Kx", "Ex", "A", "Kg", "", "KEAn"])
def test_expiry_is_an_event_as_the_option_asks(both: Both, option: str) -> None:
    assert_same_talk(
        both,
        f'b CONFIG SET notify-keyspace-events "{option}"|CONFIG GET notify-keyspace-events|DEBUG SET-ACTIVE-EXPIRE 0; '
        "b SET gone 1 PX 1|DEBUG SLEEP 0.02; a PSUBSCRIBE __key*; "
        "c HELLO 3|SUBSCRIBE __keyevent@0__:expired|GET gone; "
        "b DEBUG SET-ACTIVE-EXPIRE 1",
    )


def test_expiry_by_the_clock_is_an_event_and_an_invalidation(both: Both) -> None:
    told = []
    for server in both:
        table = Table(server)
        table.say("b", "FLUSHALL|CONFIG SET notify-keyspace-events Kx|SELECT 2|SET k 1 PX 30")
        table.say("a", "SUBSCRIBE __keyspace@2__:k")
        table.say("t", "HELLO 3|CLIENT TRACKING ON BCAST")
        for who in "at":
            table.talks[who].until(b"k\r\n")
        told.append(table.end())
    assert told[0] == told[1]


WORDS = (
    "SUBSCRIBE x; SUBSCRIBE x y; UNSUBSCRIBE x; UNSUBSCRIBE y; PSUBSCRIBE x*; PUNSUBSCRIBE x*; SSUBSCRIBE x; "
    "SUNSUBSCRIBE x; PUBLISH x 1; PUBLISH x 2; PUBLISH y 3; PUBLISH xyz 4; SPUBLISH x 5; RESET; HELLO 3; "
    "HELLO 2; PING; "
    "GET k; SET k 1; SET x 2; GET x; MGET k x; DEL k; DEL k x; RENAME k x; FLUSHALL; SELECT 1; SELECT 0; "
    "MULTI|GET k|SET x 1|EXEC; "
    "CLIENT TRACKING ON; CLIENT TRACKING OFF; CLIENT TRACKING ON NOLOOP; CLIENT TRACKING ON BCAST; "
    "CLIENT TRACKING ON BCAST NOLOOP PREFIX k; CLIENT TRACKING ON OPTIN; CLIENT CACHING YES|GET k; "
    "CLIENT TRACKING ON REDIRECT {b}; CLIENT TRACKING ON REDIRECT {c} BCAST; CLIENT TRACKINGINFO; MONITOR; FOO; GET; "
    "CLIENT REPLY SKIP|PUBLISH x 6|GET x; PUBSUB NUMSUB x y; PUBSUB NUMPAT; PUBSUB SHARDNUMSUB x"
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(WORDS.split("; "))), max_size=30))
def test_random_talks_are_stocks(both: Both, dialog: list[tuple[str, str]]) -> None:
    stock, ours = both
    # A flush tells the client to which another's invalidations are redirected behind its answer here, if it is its own.
    redirected = any("REDIRECT" in word for _, word in dialog)
    assume(not redirected or not {("b", "FLUSHALL"), ("c", "FLUSHALL")} & set(dialog))
    dialog = [("a", "FLUSHALL"), *dialog]
    assert play(ours, dialog) == play(stock, dialog)


def fields(line: bytes) -> dict[bytes, bytes]:
    return dict(word.split(b"=", 1) for word in line.split())


def test_the_list_of_clients_says_who_listens_to_what(both: Both) -> None:
    told = []
    for server in both:
        table = Table(server)
        for who, lines in steps(
            "a SUBSCRIBE x y|PSUBSCRIBE p|SSUBSCRIBE s t u|CLIENT SETNAME no; "
            "b CLIENT SETNAME b|CLIENT TRACKING ON REDIRECT {a}; "
            "c HELLO 3|CLIENT SETNAME c|CLIENT TRACKING ON BCAST|SUBSCRIBE x; d CLIENT SETNAME d|MONITOR; "
            "e CLIENT SETNAME e|CLIENT TRACKING ON REDIRECT {f}|GET k; f QUIT; g SET k 1|CLIENT SETNAME g"
        ):  # fmt: skip
            table.say(who, lines)
        with server.connect() as sock, sock.makefile("rb") as stream:
            lists = {}
            for line in ("CLIENT LIST", "CLIENT LIST TYPE pubsub", "CLIENT LIST TYPE normal"):
                sock.sendall(line.encode() + b"\r\n")
                lists[line] = table.cleaned(plain(read_frame(stream)))
            shown = {
                line: [
                    {name: found[name] for name in (b"name", b"flags", b"sub", b"psub", b"ssub", b"redir", b"resp")}
                    for found in map(fields, text.splitlines())
                ]
                for line, text in lists.items()
            }
            sock.sendall(b"INFO\r\n")
            info = plain(read_frame(stream)).decode()
        names = ("pubsub", "tracking_")
        counts = [line for line in info.splitlines() if line.startswith(names)]
        told.append((shown, counts))
        table.end()
    assert told[1] == told[0]


def test_the_table_keeps_to_its_limit(both: Both) -> None:
    """Which keys go is stock's chance, and ours the oldest: how many are told of, and how many stay, is the same."""
    told = []
    for server in both:
        table = Table(server)
        table.say("z", "FLUSHALL|CONFIG SET tracking-table-max-keys 3")
        table.say("a", "HELLO 3|CLIENT TRACKING ON|CLIENT REPLY OFF|MGET k1 k2 k3 k4 k5 k6 k7|CLIENT REPLY ON")
        table.talks["a"].send(["PING"])
        while table.talks["a"].got.count(b"invalidate") < 4:
            table.talks["a"].until(b"invalidate")
        with server.client() as client:
            stats = client.info("stats")
            told.append((stats["tracking_total_keys"], stats["tracking_total_items"]))
        table.say("z", "CONFIG SET tracking-table-max-keys 1000000")
        table.end()
    assert told == [(3, 3), (3, 3)]


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
def test_clients_are_killed_by_type(both: Both, kind: str) -> None:
    told = []
    for server in both:
        table = Table(server)
        for who, lines in steps(f"a SUBSCRIBE x; b PING; c MONITOR; k CLIENT KILL TYPE {kind}"):
            table.say(who, lines)
        told.append(table.end())
    assert told[1] == told[0]
    assert told[0]["a"].endswith(b"<closed>") is (kind == "pubsub")


RIGHTS = (
    "a ACL SETUSER u on >p ~* +@all resetchannels &news.* &exact; b AUTH u p; b SUBSCRIBE news.x; "
    "b SUBSCRIBE exact other; b PSUBSCRIBE news.*; b PSUBSCRIBE news*; b SSUBSCRIBE other; b SSUBSCRIBE exact; "
    "b RESET; b AUTH u p|PUBLISH other x|PUBLISH news.x 1|SPUBLISH other 1|SPUBLISH exact 1|PUBSUB CHANNELS; "
    "b MULTI|PUBLISH other 1|EXEC; c AUTH u p|SUBSCRIBE exact; d AUTH u p|PSUBSCRIBE news.*; "
    "e AUTH u p|SSUBSCRIBE news.a; a ACL SETUSER u resetchannels &news.*; a PUBSUB NUMSUB exact; "
    "a ACL SETUSER u &more; "
    "a ACL SETUSER u resetchannels; a PUBSUB NUMPAT; a ACL DELUSER u; a ACL SETUSER default resetchannels allchannels"
)


def test_rights_to_channels_are_stocks(both: Both) -> None:
    """Who may not listen any more is closed."""
    assert_same_talk(both, RIGHTS)


# ---- where we are not stock, on purpose ----------------------------------------------


def test_what_a_transaction_sends_to_its_own_client_comes_behind_it(both: Both) -> None:
    """Stock puts it between the members of EXEC's array, where clients take it for one of them."""
    _, ours = both
    got = play(ours, steps("a HELLO 3|SUBSCRIBE x; a MULTI|PUBLISH x m|PING|EXEC"))["a"]
    assert b"*2\r\n:1\r\n+PONG\r\n>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\nm\r\n" in got


def test_overlapping_prefixes_are_refused_wherever_they_stand(both: Both) -> None:
    """Stock says so, and OK behind it, and takes them, unless it is the first that overlaps."""
    _, ours = both
    got = play(ours, steps("a CLIENT TRACKING ON BCAST PREFIX a PREFIX b PREFIX ba; a CLIENT GETREDIR"))["a"]
    refusal = (
        b"-ERR Prefix 'b' overlaps with another provided prefix 'ba'. Prefixes for a single client must not overlap."
    )
    assert got.startswith(refusal + b"\r\n$") and b":-1\r\n" in got
