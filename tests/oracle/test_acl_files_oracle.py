"""Users in files on both: ACL LOAD and SAVE, ``user`` lines, what is wrong with them, and who is closed by a load."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from dialogs import CLOSED, play, turns
from oracle_harness import Oracle, plain
from server_harness import PerdureServer, ServerProcess, StockServer, stock_path
from server_in_process import InProcess

from perdure.server.acl import AclRefused, read_users
from perdure.server.config import ConfigError, load
from perdure.server.config_file import parse_command_line
from perdure.wal.filesystem import RealFilesystem

pytestmark = pytest.mark.oracle
OK = b"+OK\r\n"

FILES = (
    "",
    "\n\n \t\r\n",
    "user a on\n",
    "user a on",
    " user a on >p ~* &* +@all\t\r\n\nuser b off\n",
    "user a on\nuser a off\n",
    "user a on\nuser b on\nuser a on\nuser b +nope\n",
    "bad\n\nuser b on +nope foo\nuser c ~* ~a +nope +bad\nuser\nuser default off nopass\n",
    "user   x   on  >p\t\r\n",
    "USER a\n",
    "User a\n",
    "# a comment\n",
    "user a\tb on\n",
    "user a on >p>q #zz\n",
    "user a on (+get ~b) ( +set ~c ) ()\n",
    "user a on 'x y'\n",
    "user default on nopass +@all ~* &*\nuser z on",
    "user default on #" + "0" * 64 + " ~* &* +@all\n",
    "user default off nopass ~* &* +@all\nuser a on +get|x +select|0\n",
    "user a reset on +@hash -@all\n",
    "user a " + "on " * 600 + "+get\n",
)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    path = tmp_path_factory.mktemp("theirs") / "users.acl"
    path.write_text("")
    oracle = Oracle("--aclfile", str(path))
    oracle.acl = path  # type: ignore[attr-defined]
    yield oracle
    oracle.close()


def sorted_words(reply: bytes) -> object:
    """ACL LIST, the rules of each line sorted: stock has single commands in the order of a hash table."""
    lines = plain(reply)
    return sorted(sorted(line.split(b" ")) for line in lines) if isinstance(lines, list) else lines


@pytest.mark.parametrize("text", FILES)
def test_a_file_is_taken_or_refused_as_by_stock(theirs: Oracle, tmp_path: Path, text: str) -> None:
    path: Path = theirs.acl  # type: ignore[attr-defined]
    ours = InProcess(tmp_path, aclfile=str(path))
    path.write_text("user early on nopass\nuser default on nopass ~* &* +@all\n")
    assert theirs(b"ACL", b"LOAD") == ours(b"ACL", b"LOAD") == OK
    path.write_text(text)
    assert ours(b"ACL", b"LOAD") == theirs(b"ACL", b"LOAD")
    assert sorted_words(ours(b"ACL", b"LIST")) == sorted_words(theirs(b"ACL", b"LIST"))
    ours.server.acl._check()
    path.write_text("user default on nopass ~* &* +@all\n")
    theirs(b"AUTH", b"default", b"x")
    assert theirs(b"ACL", b"LOAD") == OK
    ours.close()


def test_no_file_says_which(theirs: Oracle, tmp_path: Path) -> None:
    path: Path = theirs.acl  # type: ignore[attr-defined]
    ours = InProcess(tmp_path, aclfile=str(path))
    path.unlink()
    assert ours(b"ACL", b"LOAD") == theirs(b"ACL", b"LOAD")
    path.write_text("")
    ours.close()


def test_what_one_saves_the_other_loads(theirs: Oracle, tmp_path: Path) -> None:
    path: Path = theirs.acl  # type: ignore[attr-defined]
    ours = InProcess(tmp_path, aclfile="users.acl")
    mine = tmp_path / "users.acl"
    rules = b"on >p (+get ~a) %R~x %W~y &c +@hash -hget +select|0 +config|get".split()
    for one in (theirs, ours):
        assert one(b"ACL", b"SETUSER", b"u", *rules) == OK
        assert one(b"ACL", b"SETUSER", b"stars", b"%R~*", b"%W~*", b"~k") == OK
        assert one(b"ACL", b"SAVE") == OK
    saved, stocks = mine.read_bytes(), path.read_bytes()
    assert sorted(saved.replace(b"%RW~*", b"~*").split()) == sorted(stocks.split())
    path.write_bytes(saved)
    assert theirs(b"ACL", b"LOAD") == OK
    mine.write_bytes(stocks.replace(b" ~* ~k", b" ~*"))  # stock itself does not load that
    assert ours(b"ACL", b"LOAD") == OK
    assert theirs(b"ACL", b"DELUSER", b"u", b"stars") == b":2\r\n"
    ours.close()


def test_a_disk_that_refuses_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "users.acl"
    path.write_text("user a on\n")
    ours = InProcess(tmp_path, aclfile="users.acl")
    refusing = RealFilesystem()

    def rename(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    refusing.rename = rename  # type: ignore[method-assign]
    ours.server.fs = refusing
    assert ours(b"ACL", b"SAVE").startswith(b"-ERR There was an error trying to save the ACLs.")
    assert "No space left on device" in ours.log()
    assert path.read_text() == "user a on\n"
    ours.close()


# ---- the start -----------------------------------------------------------------------------

LINES = (
    "user", "user a on\nuser a off", "user a foo", "user a on >p foo", "user a on ~* ~b", "user a &* &b", "user a #bad",
    "user a <nope", "user a +config|get|x", "user a +nope +select|", "user a (foo)", 'user a "on',
)  # fmt: skip
REASON = re.compile(r"at line (\d+)\n>>> .*\n(?:Error in user declaration '.*': )?([^\n]*)")


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_line_gives_stocks_reason(tmp_path: Path, line: str) -> None:
    """The word that it is said of is the wrong one; stock names one that stands two words before."""
    path = tmp_path / "redis.conf"
    path.write_text(f"port 0\nunixsocket {tmp_path}/s\n{line}\n")
    done = subprocess.run([stock_path(), str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    stock = re.search(REASON, done.stdout + done.stderr)
    with pytest.raises(ConfigError) as caught:
        load(parse_command_line([str(path)], "0"), lambda size: b"", str(tmp_path))
    ours = re.search(REASON, caught.value.text)
    assert stock and ours
    assert ours.groups() == stock.groups()


def test_users_of_redis_conf_are_there_from_the_start(tmp_path: Path) -> None:
    replies = []
    rules = ("default on >p ~* +@all", "bob on >q %R~b* +@read (+set ~c)")
    options = [word for line in rules for word in ("--user", *line.split())]
    for kind in (StockServer, PerdureServer):
        with kind(tmp_path / kind.__name__, *options, "--requirepass", "ignored") as server:
            server.start()
            wait_until_loaded(server, password="p")
            steps = turns(
                "1 PING; 1 AUTH ignored; 1 AUTH p; 1 ACL WHOAMI; 1 CONFIG GET requirepass; 2 AUTH bob q; 2 GET b; "
                "2 SET b 1; 2 SET c 1; 2 GET a; 1 ACL USERS"
            )
            replies.append(play(server, steps))
    assert replies[1] == replies[0]


def wait_until_loaded(server: ServerProcess, password: str) -> None:
    """Behind a password a start is told by NOAUTH, which a server that still loads says as well."""
    with server.client(password=password, protocol=2) as client:
        while True:
            try:
                client.dbsize()
                return
            except redis.BusyLoadingError:
                continue


def refused(server: ServerProcess, reason: str) -> None:
    status, log = server.refused()
    assert status == 1
    assert reason in log, log


def test_a_start_with_users_that_cannot_be_loaded_is_refused_and_touches_nothing(tmp_path: Path) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text("user a on +nope\n")
    for options, reason in (
        (["--user", "a", "on", "+nope"], "Error loading ACL rule '+nope' for the user named 'a': Unknown command"),
        (["--user", "a b", "on"], "Spaces not allowed in ACL usernames"),
        (["--aclfile", str(acl)], f"{acl}:1: Error in applying operation '+nope'"),
        (["--aclfile", str(acl), "--user", "a", "on"], "redis.conf and "),
        (["--aclfile", str(tmp_path / "none")], "No such file or directory"),
    ):
        for kind in (StockServer, PerdureServer):
            with kind(tmp_path / kind.__name__, *options) as server:
                refused(server, reason)
    assert not list((tmp_path / "PerdureServer").iterdir())


def test_a_load_closes_the_clients_of_every_user_but_the_default_one(tmp_path: Path) -> None:
    for kind in (StockServer, PerdureServer):
        acl = tmp_path / f"{kind.__name__}.acl"
        acl.write_text("user bob on nopass +@all ~* &*\n")
        with kind(tmp_path / kind.__name__, "--aclfile", str(acl)) as server:
            server.start()
            steps = turns("1 AUTH bob x; 2 PING; 3 AUTH bob x; 3 ACL LOAD; 1 PING; 3 PING; 2 PING; 2 ACL LOAD")
            assert play(server, steps) == [OK, b"+PONG\r\n", OK, OK, CLOSED, CLOSED, b"+PONG\r\n", OK]


def test_a_parenthesis_that_nobody_closes_is_told_of() -> None:
    """Stock tells, too, and then frees what it never had: it may crash."""
    _, trouble = read_users(b"user a on (+get ~b\nuser b on +nope\n", b"f", False)
    assert trouble == (
        b"f:1: Unmatched parenthesis in selector definition."
        b"f:2: Error in applying operation '+nope': Unknown command or category name in ACL. "
    )


def test_a_zero_byte_in_a_file_is_no_end_of_it() -> None:
    """Stock reads lines as C strings, and sees another line than a person does."""
    _, trouble = read_users(b"user a\x00b on\nuser c on\n", b"f", False)
    assert trouble.startswith(b"'f:1: username 'a\x00b' contains invalid characters.")


def test_a_user_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    server = InProcess(tmp_path)
    server.config.users.append((b"a", [b"on", b"+nope"]))
    with pytest.raises(AclRefused):
        server.server.acl.load_at_start()
    server.close()
