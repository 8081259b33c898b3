"""Users without a wire: rights, descriptions, the log, and that a user with all rights costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from server_in_process import InProcess

from perdure.server.acl_categories import CATEGORIES, command_named, every_name, members, own_commands, reach
from perdure.server.acl_log import AclLog, Entry
from perdure.server.acl_rules import RuleError, Unmatched, apply_rule, describe_user, merge_selectors
from perdure.server.acl_user import KEY, User
from perdure.server.client import NEEDS_AUTH, RESTRICTED
from perdure.server.key_flags import keys_with_flags
from perdure.store import command, errors, patterns
from perdure.store.command import find

OK = b"+OK\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path)
    yield server
    server.server.acl._check()
    server.close()


def user_with(rules: bytes) -> User:
    user = User(b"u", False)
    for rule in merge_selectors(rules.split(b" ")):
        apply_rule(user, rule, False)
    user._check()
    return user


def allowed(user: User, line: bytes) -> bool:
    argv = line.split(b" ")
    entry = find(argv)
    assert entry is not None
    return user.denial(entry, argv) is None


# ---- the hot path ------------------------------------------------------------------------


def test_nobody_looks_at_the_commands_of_a_user_with_all_rights(
    server: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(User, "denial", lambda self, entry, argv: asked.append(entry.name))
    assert not server.client.state & RESTRICTED
    server(b"SET", b"a", b"1")
    server(b"MULTI")
    server(b"GET", b"a")
    server(b"EXEC")
    assert asked == []
    assert server(b"ACL", b"SETUSER", b"u", b"on", b"nopass", b"+@all", b"~*", b"&*", b"-get", b"(+@all ~* &*)") == OK
    assert server(b"AUTH", b"u", b"x") == OK
    assert not server.client.state & RESTRICTED, "one selector that allows everything is enough"
    assert server(b"ACL", b"SETUSER", b"u", b"clearselectors") == OK
    assert server.client.state & RESTRICTED
    assert all(found[3] & RESTRICTED for found in server.server.engine.hot.values()), "every gate knows the bit"
    server(b"GET", b"a")
    assert asked == [b"GET"]


def test_the_bit_follows_every_change_of_users(server: InProcess) -> None:
    acl, client = server.server.acl, server.client
    server(b"ACL", b"SETUSER", b"default", b"-get")
    assert client.state & RESTRICTED
    server(b"ACL", b"SETUSER", b"default", b"+get")
    assert client.state & RESTRICTED, "what was taken away may be more than what was given back"
    server(b"ACL", b"SETUSER", b"default", b"+@all")
    assert not client.state & RESTRICTED
    server(b"ACL", b"SETUSER", b"default", b"off")
    assert client.authenticated and not client.state & NEEDS_AUTH
    newcomer = server.server.new_client(None)  # type: ignore[arg-type]
    assert newcomer.state & NEEDS_AUTH and newcomer.user is acl.default
    server(b"ACL", b"SETUSER", b"default", b"on")


def test_a_restricted_user_costs_its_patterns_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in matches: each key is tried on patterns up to the first that fits."""
    tried = []

    def matcher(pattern: bytes) -> patterns.Matcher:
        tried.append(pattern)
        return patterns.matcher(pattern)

    monkeypatch.setattr("perdure.server.acl_user.matcher", matcher)
    user = user_with(b"+@all ~a* ~b* ~c*")
    assert allowed(user, b"MGET " + b" ".join(b"b%d" % i for i in range(100)))
    assert len(tried) == 200


# ---- scripts -----------------------------------------------------------------------------


def test_a_script_may_what_its_caller_may(server: InProcess) -> None:
    engine, client = server.server.engine, server.client
    argv = [b"SET", b"a", b"1"]
    entry = find(argv)
    assert entry is not None
    assert engine.script_refusal(client, entry, argv) is None
    server(b"ACL", b"SETUSER", b"default", b"-set", b"resetkeys", b"~b")
    refusal = errors.script_not_permitted(b"can't run this command or subcommand")
    assert engine.script_refusal(client, entry, argv) == refusal
    get = find([b"GET", b"a"])
    assert get is not None
    text = engine.script_refusal(client, get, [b"GET", b"a"])
    assert text == errors.script_not_permitted(
        b"can't access at least one of the keys mentioned in the command arguments"
    )
    reply = server(b"ACL", b"LOG")
    assert reply.count(b"\r\nlua\r\n") == 2 and reply.count(b"$3\r\nkey\r\n") == 1
    assert server.server.acl.allows(client, get, [b"GET", b"b"])
    assert not server.server.acl.allows(client, get, [b"GET", b"a"])
    assert server(b"ACL", b"LOG").count(b"reason") == reply.count(b"reason"), "asking is no attempt"
    server(b"ACL", b"SETUSER", b"default", b"+@all", b"allkeys")


# ---- rules -------------------------------------------------------------------------------


def test_a_description_makes_the_same_user_again() -> None:
    """For random sets of commands, which no handful of rules may have made."""
    chance = Random(5)
    names = sorted(every_name())
    for _ in range(60):
        user = User(b"u", False)
        apply_rule(user, chance.choice([b"+@all", b"-@all"]), False)
        for name in chance.sample(names, chance.randint(0, len(names))):
            apply_rule(user, chance.choice([b"+", b"-"]) + name, False)
        again = user_with(describe_user(user))
        assert again.root.commands == user.root.commands
        assert again.root.future == user.root.future
        assert describe_user(again) == describe_user(user)


@pytest.mark.parametrize(
    "words, merged",
    [
        (b"on (+get ~a) off", [b"on", b"(+get ~a)", b"off"]),
        (b"( +get ~a ) (+set)", [b"( +get ~a )", b"(+set)"]),
        (b"(a (b c)", [b"(b c)"]),
        (b"a) b", [b"a)", b"b"]),
        (b"(+get ~x)y ~z)", [b"(+get ~x)y ~z)"]),
    ],
)
def test_selectors_are_put_together(words: bytes, merged: list[bytes]) -> None:
    assert merge_selectors(words.split(b" ")) == merged


def test_a_selector_without_an_end_says_where_it_began() -> None:
    with pytest.raises(Unmatched) as caught:
        merge_selectors([b"on", b"(a", b"b"])
    assert caught.value.index == 1


def test_a_refused_rule_leaves_the_user_of_before(server: InProcess) -> None:
    server(b"ACL", b"SETUSER", b"u", b"+get", b"~a")
    before = describe_user(server.server.acl.users[b"u"])
    assert server(b"ACL", b"SETUSER", b"u", b"-get", b"~b", b"+nosuch").startswith(b"-ERR Error in ACL SETUSER")
    assert describe_user(server.server.acl.users[b"u"]) == before
    with pytest.raises(RuleError):
        user_with(b"+nosuch")


def test_a_container_is_about_its_subcommands_and_a_category_about_its_containers() -> None:
    user = user_with(b"+config -config|set")
    assert allowed(user, b"CONFIG GET x") and not allowed(user, b"CONFIG SET x y")
    for category in CATEGORIES:
        assert members(category) <= reach(category) <= every_name()
    assert {entry.name for entry in own_commands()} == every_name()
    assert command_named(b"Config|Get") is not None and command_named(b"config|nosuch") is None


def test_rules_mean_commands_by_their_own_names(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.TABLE, b"FETCH", command.TABLE[b"GET"])
    monkeypatch.delitem(command.TABLE, b"GET")
    assert server(b"ACL", b"SETUSER", b"u", b"on", b"nopass", b"+get", b"~*") == OK
    assert server(b"ACL", b"SETUSER", b"u", b"+fetch").startswith(b"-ERR")
    server(b"AUTH", b"u", b"x")
    assert server(b"FETCH", b"a") == b"$-1\r\n"
    assert server(b"SET", b"a", b"1").startswith(b"-NOPERM")


def test_keys_of_bitfield_are_written_unless_all_of_it_reads() -> None:
    for line, flags in (
        (b"BITFIELD k GET u8 0 OVERFLOW WRAP GET u8 1", ("RO", "access")),
        (b"BITFIELD k GET u8 0 SET u8 0 1", ("RW", "access", "update")),
        (b"BITFIELD k GET u8", ("RW", "access", "update")),
    ):
        entry = find(line.split())
        assert entry is not None
        assert keys_with_flags(entry, line.split()) == [(b"k", flags)]


# ---- the log -----------------------------------------------------------------------------


def test_the_log_is_bounded_and_groups_only_what_is_near_in_time_and_place() -> None:
    log = AclLog()

    def add(thing: bytes, ms: int) -> None:
        log.add(Entry(KEY, b"toplevel", thing, b"u", b"", ms), 12)

    add(b"a", 0)
    add(b"a", 60_000)
    assert [entry.count for entry in log.latest(10)] == [2]
    add(b"a", 120_001)
    assert [entry.count for entry in log.latest(10)] == [1, 2]
    for i in range(10):
        add(b"%d" % i, 120_002)
    add(b"a", 120_003)
    assert [entry.count for entry in log.latest(1)] == [1], "the tenth from the front is as far as anyone looks"
    assert len(log.entries) == 12
    assert log.latest(-1) == []
