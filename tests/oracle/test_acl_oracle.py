"""Users and their rights on both: dialogs, random rules and random command lines, and files of users."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from dialogs import play, turns
from oracle_differences import of_later_version
from oracle_harness import Oracle, plain
from oracle_lines import Lines
from server_harness import PerdureServer, ServerProcess, StockServer
from server_in_process import InProcess

from perdure.server.acl_categories import CATEGORIES, own_commands
from perdure.server.acl_rules import RuleError, apply_rule, apply_to_selector, merge_selectors
from perdure.server.acl_user import READ_AND_WRITE, Selector, User
from perdure.store.command import TABLE, find

pytestmark = pytest.mark.oracle
Both = tuple[ServerProcess, ServerProcess]
HASH = "8bb0cf6eb9b17d0f7d22b456f121257dc1254e1f01665370476383ea776df414"
"""Of ``1234567``."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("acl")
    with StockServer(folder / "stock") as stock, PerdureServer(folder / "ours") as ours:
        yield stock.start(), ours.start()


_AGE = re.compile(rb"(age-seconds\r\n)(\$\d+\r\n[^\r]*|,[^\r]*)\r\n")
_CLIENT = re.compile(rb"(client-info\r\n)\$\d+\r\n[^\r]*?( cmd=\S+ user=\S*) [^\r]*\r\n")
_RULES = re.compile(rb"\$\d+\r\n((?:user \S+ )?[^\r]*[-+]@all[^\r]*)\r\n")


def comparable(reply: bytes) -> bytes:
    """A reply without ages and most of a client's line, and rules about commands, which stock hashes, sorted."""
    reply = _CLIENT.sub(rb"\1\2", _AGE.sub(rb"\1", reply))
    return _RULES.sub(lambda match: b" ".join(sorted(re.split(rb"[ ()]+", match[1]))), reply)


CLEAN = "0 ACL DELUSER u root a; 0 CONFIG SET requirepass ''; 0 FLUSHALL; 0 ACL LOG RESET"
TURNS = {
    "a user without rights": (
        "0 ACL SETUSER u on >p; 1 AUTH u p; 1 ACL WHOAMI; 1 GET a; 1 PING; 1 AUTH default x; 1 PING"
    ),
    "no password, wrong password, off": (
        "0 ACL SETUSER u on; 1 AUTH u p; 0 ACL SETUSER u nopass off; 1 AUTH u p; 0 ACL SETUSER u on; 1 AUTH u p; "
        "1 AUTH nobody p; 1 AUTH u; 1 AUTH a b c; 0 ACL SETUSER u resetpass; 1 AUTH u p; 1 PING"
    ),
    "several passwords": (
        "0 ACL SETUSER u on >one >two >one +ping; 1 AUTH u one; 1 AUTH u two; 1 AUTH u three; "
        "0 ACL SETUSER u <one; 1 AUTH u one; 0 ACL GETUSER u; 0 ACL SETUSER u nopass; 0 ACL GETUSER u; "
        f"1 AUTH u any; 0 ACL SETUSER u #{HASH}; "
        f"1 AUTH u 1234567; 0 ACL SETUSER u !{HASH}; "
        f"1 AUTH u 1234567; 0 ACL SETUSER u !{HASH}; "
        f"0 ACL SETUSER u <one; 0 ACL SETUSER u #{HASH[:-1]}; "
        f"0 ACL SETUSER u !{HASH.upper()}"
    ),
    "hello with a user": (
        "0 ACL SETUSER u on >p +@connection ~*; 1 HELLO 3 AUTH u x; 1 HELLO 2 AUTH u p; 1 ACL WHOAMI; "
        "1 CLIENT GETNAME; 1 GET a; 1 RESET; 1 ACL WHOAMI; 1 GET a; 0 ACL LOG; 0 ACL LOG RESET"
    ),
    "commands and subcommands": (
        "0 ACL SETUSER u on nopass +config|get -config|get +config -config|set +client|id; 1 AUTH u x; "
        "1 CONFIG GET port x; 1 CONFIG SET timeout 0; 1 CONFIG RESETSTAT; 1 CONFIG; 1 CLIENT ID x; "
        "1 CLIENT INFO; 1 CLIENT; 1 CONFIG nope; 0 ACL SETUSER u -@all +config|get; 1 CONFIG SET timeout 0; "
        "1 CONFIG HELP x; 1 CONFIG"
    ),
    "first arguments": (
        "0 ACL SETUSER u on nopass +select|0 +select|0 +SELECT|1; 1 AUTH u x; 1 SELECT 0; 1 SELECT 2; "
        "1 SELECT 1; 0 ACL LIST; 0 ACL SETUSER u -select; 1 SELECT 0; 0 ACL SETUSER u +select; 1 SELECT 2; "
        "0 ACL SETUSER u +select|3; 0 ACL LIST; 0 ACL SETUSER u -@connection; 0 ACL LIST"
    ),
    "keys": (
        "0 ACL SETUSER u on nopass +@all -@dangerous ~a* %R~r %W~w; 1 AUTH u x; 1 SET ab 1; 1 GET ab; 1 GET b; "
        "1 GET r; 1 SET r 1; 1 SET w 1; 1 GET w; 1 SET w 1 GET; 1 APPEND w x; 1 INCR w; 1 EXISTS w; "
        "1 EXISTS r a b; 1 TTL w; 1 STRLEN w; 1 DEL w; 1 DEL r; 1 EXPIRE w 5; 1 COPY r w; 1 COPY w r; "
        "1 RENAME a r; 1 RENAME r w; 1 MSET a 1 w 2; 1 MSET a 1 r 2; 1 MGET a r; 1 MGET a w; 1 WATCH w; "
        "1 WATCH zz; 1 OBJECT FREQ w; 1 SETRANGE w 0 x; 1 GETDEL w; 1 GETEX r PERSIST; 1 GETSET w 1; "
        "1 HSET w f 1; 1 HGET w f; 1 HDEL w f; 1 HINCRBY w f 1; 1 TYPE w; 1 TOUCH w; 1 DBSIZE"
    ),
    "selectors": (
        "0 ACL SETUSER u on nopass +get ~a (+set ~b) (+@hash %R~h); 1 AUTH u x; 1 GET a; 1 GET b; 1 SET a 1; "
        "1 SET b 1; 1 HGET h f; 1 HSET h f 1; 1 HGET z f; 1 MSET a 1 b 1; 0 ACL LOG; 0 ACL LOG RESET; "
        "0 ACL SETUSER u clearselectors; 1 SET b 1; 0 ACL LIST; 0 ACL SETUSER u (); 0 ACL LIST; "
        "0 ACL SETUSER u (+@all ~* &*); 1 SET b 1; 1 GET anything"
    ),
    "rights taken in a transaction": (
        "0 ACL SETUSER u on nopass +@all ~*; 1 AUTH u x; 1 MULTI; 1 SET a 1; 1 GET a; 1 INCR a; "
        "0 ACL SETUSER u -set resetkeys ~b; 1 EXEC; 0 ACL LOG; 0 ACL LOG RESET; 1 MULTI; 1 SET b 1; 1 GET b; "
        "1 EXEC; 0 ACL LOG; 0 ACL LOG RESET; 0 ACL SETUSER u allkeys; 1 MULTI; 1 GET b; 0 ACL SETUSER u reset; "
        "1 EXEC; 1 DISCARD; 0 ACL SETUSER u +exec; 1 EXEC; 0 ACL LOG 1; 0 ACL LOG RESET"
    ),
    "rights changed by the transaction itself": (
        "0 ACL SETUSER u on nopass +@all ~* &*; 1 AUTH u x; 1 MULTI; 1 ACL SETUSER u -get; 1 GET a; "
        "1 ACL SETUSER u +get; 1 GET a; 1 EXEC; 0 ACL LOG RESET"
    ),
    "deleted while it speaks": (
        "0 ACL SETUSER u on nopass +@all ~* &*; 1 AUTH u x; 2 AUTH u x; 3 PING; 0 ACL DELUSER u nobody; 1 PING; "
        "2 PING; 3 PING; 0 ACL USERS"
    ),
    "deletes itself": (
        "0 ACL SETUSER u on nopass +@all ~* &*; 1 AUTH u x; 1 ACL DELUSER u; 1 PING; 0 ACL USERS"
    ),
    "killed by user": (
        "0 ACL SETUSER u on nopass +@all; 1 AUTH u x; 2 PING; 0 CLIENT KILL USER u; 1 PING; 2 PING; "
        "0 CLIENT KILL USER v; 2 CLIENT KILL USER default LADDR x"
    ),
    "the list shows who speaks": (
        "0 ACL SETUSER u on nopass +client; 1 AUTH u x; 1 CLIENT KILL USER u; 1 CLIENT GETNAME"
    ),
    "the log groups": (
        "0 ACL LOG RESET; 0 ACL SETUSER u on nopass +get ~a; 1 AUTH u x; 1 GET b; 1 GET b; 1 GET c; 1 SET a 1; "
        "1 GET b; 1 AUTH u x; 1 AUTH nobody x; 1 auth nobody x; 0 ACL LOG; 0 ACL LOG 2; 0 ACL LOG 0; "
        "0 ACL LOG -5; 0 ACL LOG x; 0 HELLO 3; 0 ACL LOG 1; 0 ACL LOG reset; 0 ACL LOG; 0 HELLO 2"
    ),
    "the log forgets": (
        "0 ACL LOG RESET; 0 CONFIG SET acllog-max-len 2; 0 AUTH a x; 0 AUTH b x; 0 AUTH c x; 0 ACL LOG; "
        "0 AUTH b x; 0 ACL LOG; 0 CONFIG SET acllog-max-len 0; 0 AUTH d x; 0 ACL LOG; "
        "0 CONFIG SET acllog-max-len 128; 0 ACL LOG RESET"
    ),
    "the default user off": (
        "0 ACL SETUSER root on >r allkeys allcommands allchannels; 0 AUTH root r; 0 ACL SETUSER default off; "
        "1 PING; 1 AUTH default x; 1 AUTH x; 1 AUTH root r; 1 PING; 1 RESET; 1 PING; 0 ACL SETUSER default on; "
        "1 PING; 2 PING; 0 ACL SETUSER default >q; 2 PING; 3 PING; 3 AUTH q; 3 PING; 0 CONFIG GET requirepass; "
        "0 CONFIG SET requirepass z; 0 ACL LIST; 4 AUTH q; 4 AUTH z; 0 CONFIG SET requirepass ''; 4 RESET; "
        "4 PING; 0 ACL LIST"
    ),
    "the default user restricted": (
        "0 ACL SETUSER root on >r allkeys allcommands allchannels; 0 AUTH root r; 0 ACL SETUSER default -get ~x; "
        "0 ACL SETUSER default resetkeys ~x; 1 GET x; 1 SET x 1; 1 SET y 1; 0 ACL SETUSER default +@all allkeys; "
        "1 GET x"
    ),
    "channels by default": (
        "0 CONFIG SET acl-pubsub-default allchannels; 0 ACL SETUSER c; 0 ACL SETUSER c (~a); 0 ACL LIST; "
        "0 ACL SETUSER c reset; 0 ACL GETUSER c; 0 CONFIG SET acl-pubsub-default resetchannels; "
        "0 ACL SETUSER c reset; 0 ACL LIST; 0 ACL DELUSER c"
    ),
    "sorting by other keys": (
        "0 SADD s 2 1; 0 ACL SETUSER u on nopass +@all ~s; 1 AUTH u x; 1 SORT s; 1 SORT s BY w*; 1 SORT s BY none; "
        "1 SORT s GET #; 1 SORT_RO s GET x*; 1 SORT s BY w* FOO; 1 SORT s LIMIT 0 x BY w*; 1 SORT z BY w*; "
        "0 ACL SETUSER u %R~*; 1 SORT s BY w* GET x*; 1 SORT s STORE t; 0 ACL SETUSER u resetkeys ~s (%R~* +get); "
        "1 SORT s BY w*; 0 ACL SETUSER u (%R~* +sort); 1 SORT s BY w*; 1 SORT_RO s BY w*"
    ),
    "what nobody is asked about": (
        "0 ACL SETUSER u on nopass; 1 AUTH u x; 1 AUTH; 1 HELLO 9; 1 QUIT; 1 PING"
    ),
    "order of the checks": (
        "0 ACL SETUSER u on nopass +multi; 1 AUTH u x; 1 NOSUCH; 1 GET; 1 GET a; 1 CLIENT NOSUCH; 1 MULTI; "
        "1 SHUTDOWN; 1 GET a; 1 EXEC; 1 DISCARD"
    ),
    "several things wrong": (
        "0 ACL SETUSER a +get +nope; 0 ACL SETUSER a ~* ~b; 0 ACL USERS; 0 ACL SETUSER a +get (+nope); "
        "0 ACL SETUSER a (+get ~* ~a); 0 ACL SETUSER a (on); 0 ACL SETUSER a (>x); 0 ACL USERS; "
        "0 ACL SETUSER a '('; 0 ACL SETUSER a '(a' '(b' 'c'; 0 ACL SETUSER a 'b)'; 0 ACL SETUSER a ''; "
        "0 ACL SETUSER a ' '; 0 ACL DELUSER a"
    ),
}


@pytest.mark.parametrize("name", TURNS)
def test_turns_are_stocks(both: Both, name: str) -> None:
    steps = turns(TURNS[name])
    replies = []
    for server in both:
        replies.append(list(map(comparable, play(server, steps))))
        cleaned = play(server, turns(CLEAN))
        assert cleaned[1:] == [b"+OK\r\n"] * 3
    assert list(zip(steps, replies[1], strict=True)) == list(zip(steps, replies[0], strict=True))


# ---- one line after another ------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path)
    yield server
    server.server.acl._check()
    server.close()


@pytest.fixture
def theirs(stock: Oracle) -> Iterator[Oracle]:
    stock.reset()
    yield stock
    stock(b"ACL", b"DELUSER", b"u", b"v", b"b", b"")


LINES = """
ACL; ACL NOSUCH; ACL CAT; ACL CAT nosuch; ACL CAT a b; ACL CAT @read; ACL WHOAMI; ACL WHOAMI x; ACL USERS; ACL USERS x
ACL LIST; ACL LIST x; ACL GETUSER; ACL GETUSER nosuch; ACL GETUSER default; ACL GETUSER default x; ACL GENPASS 0
ACL GENPASS -1; ACL GENPASS 4097; ACL GENPASS x; ACL GENPASS 1 2; ACL LOG 1 2; ACL LOG x; ACL LOAD; ACL SAVE; ACL LOAD x
ACL SETUSER; ACL DELUSER; ACL DELUSER default; ACL DELUSER u default; ACL SETUSER 'a b'; ACL SETUSER "a\\x00b"
ACL DRYRUN; ACL DRYRUN u; ACL DRYRUN default nosuch; ACL DRYRUN nosuch get a; ACL DRYRUN default get
ACL DRYRUN default get a; ACL DRYRUN default config nosuch; ACL DRYRUN default config; ACL DRYRUN default config get a
ACL HELP x
ACL DRYRUN default Config Set a b; ACL SETUSER u %; ACL SETUSER u %R; ACL SETUSER u %~a; ACL SETUSER u %RWR~a
ACL SETUSER u %rw~a; ACL SETUSER u %W; ACL SETUSER u %X~a; ACL SETUSER u ~; ACL SETUSER u '~a b'; ACL SETUSER u '&a b'
ACL SETUSER u '%R~a b'; ACL GETUSER u; ACL SETUSER u +config|nosuch; ACL SETUSER u +config|get|x; ACL SETUSER u -get|x
ACL SETUSER u +get|; ACL SETUSER u +nosuch|x; ACL SETUSER u +|; ACL SETUSER u +; ACL SETUSER u -; ACL SETUSER u +@
ACL SETUSER u -@nosuch; ACL SETUSER u skip-sanitize-payload; ACL GETUSER u; ACL SETUSER u SANITIZE-PAYLOAD NOPASS On
ACL GETUSER u; ACL SETUSER u RESET; ACL LIST; ACL SETUSER u ">"; ACL SETUSER u "<"; ACL SETUSER u "<"; ACL SETUSER u "#"
ACL SETUSER u "on\\x00x" "+get\\x00y" ">a\\x00b"; ACL GETUSER u; ACL SETUSER u allcommands nocommands ALLKEYS ResetKeys
ACL GETUSER u; ACL SETUSER u +@all -@all +@ALL allchannels &*; ACL LIST; ACL SETUSER u &a; ACL SETUSER u ~a
ACL SETUSER u resetchannels &a &b &a resetkeys ~a %R~a %R~b %W~b; ACL GETUSER u; AUTH; AUTH a b c; AUTH x; AUTH u x
""".replace("\n", "; ").strip("; ").split("; ")


@pytest.mark.parametrize("resp3", [False, True])
def test_replies_are_stocks(theirs: Oracle, ours: InProcess, resp3: bool) -> None:
    theirs.speak(resp3)
    ours.speak(resp3)
    for line in LINES:
        argv = [word.encode("latin-1").replace(b"\\x00", b"\0") for word in shlex.split(line)]
        assert comparable(ours(*argv)) == comparable(theirs(*argv)), line


def test_passwords_are_random_hex_digits_of_the_length_asked_for(ours: InProcess) -> None:
    for bits, digits in ((b"1", 1), (b"4", 1), (b"5", 2), (b"4096", 1024)):
        assert re.fullmatch(rb"[0-9a-f]{%d}" % digits, plain(ours(b"ACL", b"GENPASS", bits)))
    assert len(plain(ours(b"ACL", b"GENPASS"))) == 64
    assert ours(b"ACL", b"GENPASS") != ours(b"ACL", b"GENPASS")


def test_categories_hold_the_commands_that_they_hold_in_stock(theirs: Oracle, ours: InProcess) -> None:
    known = {entry.lower_name for entry in own_commands() if entry.since <= "7.0.15"}
    for category in CATEGORIES:
        mine = set(plain(ours(b"ACL", b"CAT", category.encode()))) & known
        assert mine == set(plain(theirs(b"ACL", b"CAT", category.encode()))) & known, category


# ---- random rules, random lines --------------------------------------------------------

KEY_PATTERNS = (
    "~*", "~k*", "~?", "%R~k*", "%W~k*", "%RW~s*", "%R~*", "%W~*", "~h*", "allkeys", "resetkeys", "~l[a-m]*",
)  # fmt: skip
COMMANDS = sorted(entry.lower_name.decode() for entry in own_commands() if entry.since <= "7.0.15")
OTHERS = (
    "on", "off", "nopass", ">a", ">b", "<a", "resetpass", "allcommands", "nocommands", "reset", "&a", "&b*", "&*",
    "allchannels", "resetchannels", "clearselectors", "+select|0", "+set|x", "sanitize-payload", "foo", "+nope",
)  # fmt: skip


def random_rule(chance: Random, depth: int = 0) -> str:
    kind = chance.random()
    if kind < 0.3:
        return chance.choice(KEY_PATTERNS)
    if kind < 0.5:
        return chance.choice("+-") + "@" + chance.choice([*CATEGORIES, "all"])
    if kind < 0.75:
        return chance.choice("+-") + chance.choice(COMMANDS)
    if kind < 0.85 and not depth:
        return "(" + " ".join(random_rule(chance, 1) for _ in range(chance.randint(0, 4))) + ")"
    return chance.choice(OTHERS)


IN_STOCK = {entry.name for entry in own_commands() if entry.since <= "7.0.15"}


def rights(user: User) -> list[object]:
    """All that a user may do with stock's commands, in a shape that can be compared."""
    out: list[object] = [user.flags, user.passwords]
    for one in user.selectors:
        keys = "all" if one.all_keys or one.keys.get(b"*") == READ_AND_WRITE else one.keys
        first_args = {name: words for name, words in one.first_args.items() if name not in one.commands}
        out.append((keys, one.all_channels, list(one.channels), one.commands & IN_STOCK, first_args))
    return out


def listed(reply: bytes) -> bytes:
    """The user ``u`` in ACL LIST."""
    line: bytes = next(line for line in plain(reply) if line.startswith(b"user u "))
    return line


def read_back(line: bytes) -> User:
    """A user as a description makes it; commands that there are in stock only are passed over."""
    user = User(b"u", False)
    for rule in merge_selectors(line.split(b" ")[2:]):
        is_selector = rule.startswith(b"(")
        if is_selector:
            user.selectors.append(Selector(False))
        for word in rule[1:-1].split(b" ") if is_selector else [rule]:
            word = b"%RW~*" if word == b"~*" else word  # behind which stock goes on
            try:
                apply_to_selector(user.selectors[-1], word) if is_selector else apply_rule(user, word, False)
            except RuleError as error:
                assert error.unknown, word
    return user


@pytest.mark.parametrize("seed", range(3))
def test_random_rules_make_the_same_user_on_both(theirs: Oracle, ours: InProcess, seed: int) -> None:
    """As stock describes it, and as we do; the words may differ, as we have commands that stock has not."""
    chance = Random(seed)
    for _ in range(150):
        rules = [random_rule(chance).encode() for _ in range(chance.randint(1, 5))]
        reply = ours(b"ACL", b"SETUSER", b"u", *rules)
        assert reply == theirs(b"ACL", b"SETUSER", b"u", *rules), rules
        if b"u" not in ours.server.acl.users:
            continue
        mine, its = (listed(one(b"ACL", b"LIST")) for one in (ours, theirs))
        user = ours.server.acl.users[b"u"]
        assert rights(read_back(mine)) == rights(user), mine
        assert rights(read_back(its)) == rights(user), its


def keys_are_doubtful(line: list[bytes]) -> bool:
    """Where stock's two ways of finding keys do not agree.

    PFMERGE into a key from no other: one of its key specifications finds nothing, and stock then asks about none.
    A number of keys that is none: stock takes what C's ``atoi`` makes of it, and the command is refused anyway.
    """
    entry = find(line)
    counts = [spec.begin[1] + spec.find[1] for spec in entry.key_specs if spec.find[0] == "keynum"] if entry else []
    return (line[0].upper() == b"PFMERGE" and len(line) == 2) or any(
        at < len(line) and not line[at].isdigit() for at in counts
    )


@pytest.mark.parametrize("seed", range(3))
def test_random_lines_are_allowed_and_denied_as_by_stock(theirs: Oracle, ours: InProcess, seed: int) -> None:
    chance = Random(seed)
    lines = [
        line
        for line in Lines(seed).many(1500)
        if line and line[0].upper() in TABLE and not keys_are_doubtful(line) and not of_later_version(line)
    ]
    allowed = 0
    for at, line in enumerate(lines):
        if at % 10 == 0:
            rules = [b"reset", b"+@all"] + [
                rule.encode() for rule in (random_rule(chance) for _ in range(chance.randint(1, 5))) if "-@" not in rule
            ]
            if ours(b"ACL", b"SETUSER", b"u", *rules) != b"+OK\r\n":
                rules = [b"reset", b"+@all", b"%R~k*", b"(%W~* +@all)"]
                ours(b"ACL", b"SETUSER", b"u", *rules)
            assert theirs(b"ACL", b"SETUSER", b"u", *rules) == b"+OK\r\n"
        mine = ours(b"ACL", b"DRYRUN", b"u", *line)
        assert mine == theirs(b"ACL", b"DRYRUN", b"u", *line), (rules, line)
        allowed += mine == b"+OK\r\n"
    assert len(lines) / 10 < allowed < len(lines) * 9 / 10
