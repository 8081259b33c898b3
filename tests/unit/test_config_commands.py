"""CONFIG SET at run time, SHUTDOWN and DEBUG: what they change, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from server_in_process import InProcess, info_of

from perdure.server import process_stats
from perdure.server.client import CLOSING, NEEDS_AUTH
from perdure.store import errors

OK = b"+OK\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path)
    yield server
    server.close()


def test_options_of_the_start_reach_those_who_keep_copies(tmp_path: Path) -> None:
    server = InProcess(tmp_path, proto_max_bulk_len="2mb", hash_max_listpack_entries="7", loglevel="warning")
    assert server.server.limits.max_bulk_bytes == server.server.tx.max_bulk_bytes == 2 << 20
    assert server.server.tx.limits["hash-max-listpack-entries"] == 7
    server.server.log.notice("not written")
    assert server.log() == ""
    server.close()


def test_config_set_reaches_those_who_keep_copies(server: InProcess) -> None:
    assert server(
        b"CONFIG", b"SET", b"proto-max-bulk-len", b"1mb", b"client-query-buffer-limit", b"3mb",
        b"client-output-buffer-limit", b"normal 5mb 0 0", b"hash-max-ziplist-value", b"9", b"loglevel", b"debug",
    ) == OK  # fmt: skip
    state = server.server
    assert (state.limits.max_bulk_bytes, state.tx.max_bulk_bytes) == (1 << 20, 1 << 20)
    assert (state.limits.max_query_bytes, state.limits.output["normal"][0]) == (3 << 20, 5 << 20)
    assert state.tx.limits["hash-max-listpack-value"] == 9
    state.log.debug("written")
    assert "written" in server.log()


def test_the_fsync_policy_and_timestamps_change_while_the_log_runs(server: InProcess) -> None:
    seen: list[object] = []
    writer = server.server.writer
    server.server.writer = SimpleNamespace(set_policy=seen.append, set_timestamps=seen.append, refusing=None)
    assert server(b"CONFIG", b"SET", b"appendfsync", b"always", b"aof-timestamp-enabled", b"yes") == OK
    assert seen == ["always", True]
    server.server.writer = writer
    assert server(b"CONFIG", b"SET", b"appendfsync", b"no") == OK, "without a log there is nobody to tell"


def test_databases_cannot_be_changed(server: InProcess) -> None:
    assert b"immutable" in server(b"CONFIG", b"SET", b"databases", b"4")


def test_more_clients_than_files_can_be_open_are_refused(server: InProcess) -> None:
    reply = server(b"CONFIG", b"SET", b"maxclients", b"4000000000")
    assert reply.startswith(b"-ERR CONFIG SET failed (possibly related to argument 'maxclients') - The operating")
    assert server(b"CONFIG", b"SET", b"maxclients", b"100") == OK
    assert process_stats.can_open_files(64) >= 64


def test_a_password_set_later_leaves_who_is_in_and_its_removal_lets_everybody_in(server: InProcess) -> None:
    assert server(b"CONFIG", b"SET", b"requirepass", b"secret") == OK
    assert not server.client.state & NEEDS_AUTH
    assert b"#" in server(b"ACL", b"LIST")
    server.client.authenticated = False
    assert server(b"CONFIG", b"SET", b"requirepass", b"other") == OK
    assert server.client.state & NEEDS_AUTH
    assert server(b"GET", b"k") == b"-" + errors.NO_AUTH + b"\r\n"
    server.client.state &= ~NEEDS_AUTH
    server.client.authenticated = True
    assert server(b"CONFIG", b"SET", b"requirepass", b"") == OK
    assert not server.client.state & NEEDS_AUTH


def test_an_option_without_effect_is_warned_of(server: InProcess) -> None:
    assert server(b"CONFIG", b"SET", b"min-replicas-to-write", b"1") == OK
    assert "min-replicas-to-write" in server.log()


def test_resetstat_sets_every_counter_back(server: InProcess) -> None:
    server.server.writer.delayed_fsync = 3
    server(b"SET", b"k")
    server(b"SET", b"k", b"v")
    assert server(b"CONFIG", b"RESETSTAT") == OK
    found = info_of(server(b"INFO", b"everything"))
    assert list(found["Commandstats"]) == ["cmdstat_config|resetstat"]
    assert found["Errorstats"] == {}
    assert (found["Stats"]["total_error_replies"], found["Persistence"]["aof_delayed_fsync"]) == ("0", "0")


# ---- SHUTDOWN ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [b"", b"NOSAVE", b"now", b"NOW FORCE nosave", b"SAVE FORCE"])
def test_shutdown_ends_the_server_and_answers_nothing(server: InProcess, words: bytes) -> None:
    assert server(b"SHUTDOWN", *words.split()) == b""
    assert [status for _, status in server.stopped] == [0]
    assert server.client.state & CLOSING


# ---- DEBUG -----------------------------------------------------------------------------------


def test_debug_is_for_those_who_may(tmp_path: Path) -> None:
    for allowed, unix, address, may in (
        ("no", True, b"", False),
        ("local", True, b"", True),
        ("local", False, b"127.0.0.1:5", True),
        ("local", False, b"[::1]:5", True),
        ("local", False, b"127.0.0.11:5", False),
        ("yes", False, b"10.0.0.1:5", True),
    ):
        server = InProcess(tmp_path, enable_debug_command=allowed)
        server.client.unix, server.client.address = unix, address
        expected = OK if may else b"-" + errors.DEBUG_NOT_ALLOWED + b"\r\n"
        assert server(b"DEBUG", b"SLEEP", b"0") == expected, (allowed, unix, address)
        server.close()


def test_active_expiry_is_switched_off_and_on(tmp_path: Path) -> None:
    server = InProcess(tmp_path, enable_debug_command="yes")
    assert server(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0") == OK
    assert not server.server.active_expire
    assert server(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1") == OK
    assert server.server.active_expire
    server.close()
