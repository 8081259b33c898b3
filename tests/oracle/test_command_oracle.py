"""COMMAND on both: what is said of every command, in both protocols, and CONFIG, DEBUG, SHUTDOWN and TIME beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle_differences import NEWER_COMMANDS
from oracle_harness import Oracle, plain, tree
from server_in_process import InProcess

from perdure.server import differences
from perdure.store.command import TABLE, Command, every_command

pytestmark = pytest.mark.oracle

NOT_IN_STOCK = dict.fromkeys(NEWER_COMMANDS, "of a later version") | {
    b"CLIENT|SETINFO": "of 7.2: every redis-py sends it",
    b"CLIENT|NO-TOUCH": "of 7.2",
}
COMMANDS = [entry for entry in every_command() if entry.name not in NOT_IN_STOCK]
DOC_FACTS = (b"since", b"group", b"doc_flags", b"deprecated_since")
OLDER_ARITY = {b"zrank": 3, b"zrevrank": 3}
"""What stock says of commands that newer versions give another argument."""
UNORDERED_INFO = (2, 6, 7, 8)
"""Members of a command's information that are sets: flags, ACL categories, tips, key specifications."""
NO_ARGUMENTS = {b"COMMAND|GETKEYS", b"COMMAND|GETKEYSANDFLAGS", b"DEBUG", b"REPLCONF"}
"""Stock's documentation leaves their arguments out."""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("ours"), enable_debug_command="yes")
    yield server
    server.close()


def without_notes(node: Any) -> Any:
    """A tree whose notes, which are in our own words, say nothing."""
    kind, value = node
    if not isinstance(value, list):
        return node
    out = [without_notes(member) for member in value]
    for i, member in enumerate(out[:-1]):
        if member == (b"$", b"notes"):
            out[i + 1] = (b"$", b"")
    return kind, out


def sorted_info(node: Any) -> Any:
    """A command's information, sets sorted, its subcommands (another list in every server) left out."""
    kind, members = without_notes(node)
    members = [(b":", b"%d" % OLDER_ARITY.get(members[0][1], int(members[1][1]))) if i == 1 else part
               for i, part in enumerate(members)]  # fmt: skip
    out = [
        (part[0], sorted(part[1], key=repr)) if i in UNORDERED_INFO else part for i, part in enumerate(members[:9])
    ]
    return kind, out


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.lower_name.decode())
def test_command_info_is_stocks(stock: Oracle, ours: InProcess, entry: Command, resp3: bool) -> None:
    stock.speak(resp3)
    ours.speak(resp3)
    asked = (b"COMMAND", b"INFO", entry.lower_name)
    theirs, mine = tree(stock(*asked)), tree(ours(*asked))
    assert theirs[0] == mine[0]
    assert sorted_info(mine[1][0]) == sorted_info(theirs[1][0])
    assert mine[1][0][1][9][0] == theirs[1][0][1][9][0], "subcommands' kind of list"


def pairs(node: Any) -> dict[bytes, Any]:
    members = node[1]
    return {key[1]: value for key, value in zip(members[::2], members[1::2], strict=True)}


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.lower_name.decode())
def test_command_docs_have_stocks_shape_and_facts(stock: Oracle, ours: InProcess, entry: Command, resp3: bool) -> None:
    stock.speak(resp3)
    ours.speak(resp3)
    asked = (b"COMMAND", b"DOCS", entry.lower_name)
    theirs, mine = tree(stock(*asked)), tree(ours(*asked))
    assert mine[0] == theirs[0]
    assert mine[1][0] == theirs[1][0]
    their_docs, docs = pairs(theirs[1][1]) if theirs[1] else {}, pairs(mine[1][1])
    assert {key: docs.get(key) for key in DOC_FACTS} == {key: their_docs.get(key) for key in DOC_FACTS}
    if entry.name not in NO_ARGUMENTS:
        assert (b"arguments" in docs) == (b"arguments" in their_docs)
    for key in docs:
        if key in their_docs:
            assert docs[key][0] == their_docs[key][0], key
    order = [key for key in their_docs if key in docs]
    assert [key for key in docs if key in their_docs] == order


def check_arguments(node: Any, resp3: bool) -> None:
    """What redis-cli asserts of an argument's documentation."""
    argument = pairs(node)
    assert node[0] == (b"%" if resp3 else b"*")
    assert argument[b"name"][0] == b"$" and argument[b"type"][0] == b"$"
    if b"flags" in argument:
        assert argument[b"flags"][0] == (b"~" if resp3 else b"*")
        assert all(kind == b"+" for kind, _ in argument[b"flags"][1])
    nested = argument[b"type"][1] in (b"block", b"oneof")
    assert nested == (b"arguments" in argument)
    for part in argument[b"arguments"][1] if nested else ():
        check_arguments(part, resp3)


@pytest.mark.parametrize("resp3", [False, True])
def test_every_argument_tree_is_one_that_redis_cli_reads(ours: InProcess, resp3: bool) -> None:
    ours.speak(resp3)
    everything = pairs(tree(ours(b"COMMAND", b"DOCS")))
    for docs in everything.values():
        facts = pairs(docs)
        for argument in facts.get(b"arguments", (b"*", []))[1]:
            check_arguments(argument, resp3)
    assert len(everything) == plain(ours(b"COMMAND", b"COUNT")) == len(plain(ours(b"COMMAND")))


ASKED = [
    "COMMAND INFO nosuch get",
    "COMMAND INFO CONFIG|nosuch get|x Config|Get",
    "COMMAND DOCS nosuch",
    "COMMAND LIST FILTERBY",
    "COMMAND LIST FILTERBY PATTERN get",
    "COMMAND LIST FILTERBY PATTERN MGE?",
    "COMMAND LIST FILTERBY ACLCAT nosuch",
    "COMMAND LIST FILTERBY ACLCAT @READ",
    "COMMAND LIST FILTERBY MODULE x",
    "COMMAND LIST filterby FOO x",
    "COMMAND LIST x",
    "COMMAND LIST FILTERBY PATTERN a b",
    "COMMAND GETKEYS",
    "COMMAND GETKEYS ping",
    "COMMAND GETKEYS nosuch a b",
    "COMMAND GETKEYS ping a b",
    "COMMAND GETKEYS config get",
    "COMMAND GETKEYS config get x",
    "COMMAND GETKEYS config nosuch",
    "COMMAND GETKEYS get a",
    "COMMAND GETKEYS get a b",
    "COMMAND GETKEYS set a",
    "COMMAND GETKEYS mset a b c d",
    "COMMAND GETKEYS del a b c d",
    "COMMAND GETKEYS rename a b",
    "COMMAND GETKEYS object encoding foo",
    "COMMAND GETKEYS hset h f v",
    "COMMAND GETKEYS sort a by w_* get x store d limit 0 1 store e",
    "COMMAND GETKEYS sort a store",
    "COMMAND GETKEYS sort a limit store x store y",
    "COMMAND GETKEYS sort a get store",
    "COMMAND GETKEYS sort_ro a by w_* get store x",
    "COMMAND GETKEYS sunionstore d a b",
    "COMMAND GETKEYS smove a b c",
    "COMMAND GETKEYS sintercard 2 a b",
    "COMMAND GETKEYS sintercard 2 a b limit 1",
    "COMMAND GETKEYS sintercard x a b",
    "COMMAND GETKEYS sintercard 3 a b",
    "COMMAND GETKEYSANDFLAGS sdiffstore d a b",
    "COMMAND GETKEYSANDFLAGS sort_ro a by w_*",
    "COMMAND GETKEYSANDFLAGS sort a store d",
    "COMMAND GETKEYSANDFLAGS sintercard 2 a b",
    "COMMAND GETKEYSANDFLAGS",
    "COMMAND GETKEYSANDFLAGS ping",
    "COMMAND GETKEYSANDFLAGS ping a b",
    "COMMAND GETKEYSANDFLAGS set a b",
    "COMMAND GETKEYSANDFLAGS set a b get",
    "COMMAND GETKEYSANDFLAGS set a b xx GET keepttl",
    "COMMAND GETKEYSANDFLAGS mset a b c d",
    "COMMAND GETKEYSANDFLAGS mset a b c",
    "COMMAND GETKEYSANDFLAGS lcs a b",
    "COMMAND GETKEYSANDFLAGS copy a b",
    "COMMAND GETKEYSANDFLAGS rename a b",
    "COMMAND GETKEYSANDFLAGS del a b c",
    "COMMAND GETKEYSANDFLAGS object encoding foo",
    "COMMAND GETKEYSANDFLAGS hgetall h",
    "COMMAND HELP x",
    "COMMAND foo",
    "COMMAND COUNT x",
    "CONFIG",
    "CONFIG GET",
    "CONFIG foo",
    "CONFIG HELP x",
    "CONFIG GET nosuch",
    "CONFIG GET maxclients",
    "CONFIG GET maxclients MaxClients maxcl*",
    "CONFIG SET a",
    "CONFIG SET maxclients",
    "CONFIG SET hz 3 a",
    "CONFIG SET nosuch 1",
    "CONFIG SET hz x",
    "CONFIG SET hz 3 hz 4",
    "CONFIG SET hz 3 nosuch 4",
    "CONFIG GET hz",
    "CONFIG SET hz 10",
    "CONFIG RESETSTAT x",
    "CONFIG RESETSTAT",
    "TIME x",
    "DEBUG",
    "DEBUG foo",
    "DEBUG a b",
    "DEBUG SLEEP",
    "DEBUG SLEEP a",
    "DEBUG SLEEP -1",
    "DEBUG SLEEP 0.001",
    "DEBUG sleep 0.001abc",
    "DEBUG SLEEP 0.01 x",
    "DEBUG SET-ACTIVE-EXPIRE",
    "DEBUG SET-ACTIVE-EXPIRE 0",
    "SHUTDOWN FOO",
    "SHUTDOWN NOSAVE SAVE",
    "SHUTDOWN ABORT NOW",
    "SHUTDOWN ABORT",
    "SHUTDOWN ABORT ABORT",
    "SHUTDOWN NOW FORCE x",
    "INFO nosuch",
    "INFO cluster",
    "INFO cluster nosuch",
    "INFO MODULES",
    "INFO module_list",
]


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("line", ASKED)
def test_what_is_asked_is_answered_as_by_stock(stock: Oracle, ours: InProcess, line: str, resp3: bool) -> None:
    stock.speak(resp3)
    ours.speak(resp3)
    argv = [word.encode() for word in line.split()]
    assert ours(*argv) == stock(*argv)


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("line", ["COMMAND HELP", "CONFIG HELP", "DEBUG HELP", "TIME", "CONFIG GET *", "COMMAND LIST"])
def test_answers_that_must_differ_have_stocks_shape(stock: Oracle, ours: InProcess, line: str, resp3: bool) -> None:
    stock.speak(resp3)
    ours.speak(resp3)
    argv = [word.encode() for word in line.split()]
    theirs, mine = tree(stock(*argv)), tree(ours(*argv))
    assert mine[0] == theirs[0]
    assert {kind for kind, _ in mine[1]} == {kind for kind, _ in theirs[1]}


def test_debug_is_refused_as_by_stock_unless_it_is_allowed(tmp_path: Path) -> None:
    oracle = Oracle("--enable-debug-command", "no")
    mine = InProcess(tmp_path)
    try:
        for line in ([b"DEBUG"], [b"DEBUG", b"HELP"], [b"DEBUG", b"SLEEP", b"0"], [b"DEBUG", b"nosuch"]):
            assert mine(*line) == oracle(*line)
    finally:
        oracle.close()
        mine.close()


def test_what_stock_has_and_we_have_not_is_listed(stock: Oracle) -> None:
    stock.speak(False)
    theirs = {name.partition(b"|")[0].upper().decode() for name in plain(stock(b"COMMAND", b"LIST"))}
    assert theirs - {name.decode() for name in TABLE} == set(differences.absent())
