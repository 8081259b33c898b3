"""INFO's numbers: what they count, while loading too, and what the log says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from server_in_process import InProcess, info_of

from perdure.server import process_stats
from perdure.server.info import SECTIONS, human, log_fields, percent, sections
from perdure.server.log_gate import NoLogWriter
from perdure.server.version import PERDURE_VERSION, REDIS_VERSION
from perdure.wal.jobs import LogRefused


@pytest.fixture
def server(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path)
    yield server
    server.close()


def test_sizes_are_printed_as_stock_prints_them() -> None:
    assert [human(n) for n in (0, 1023, 1024, 990608, 6762496, 25276063744)] == [
        "0B", "1023B", "1.00K", "967.39K", "6.45M", "23.54G",
    ]  # fmt: skip
    assert human(1 << 60) == "1024.00P"
    assert (percent(1, 3), percent(1, 0)) == ("33.33%", "0.00%")


def test_sections_come_in_their_own_order_and_unknown_ones_are_none() -> None:
    assert sections([b"keyspace", b"SERVER", b"nosuch"]) == ["server", "keyspace"]
    assert sections([b"nosuch"]) == []
    assert sections([]) == [name for name in SECTIONS if name not in ("commandstats", "latencystats")]
    assert sections([b"all"]) == sections([b"everything"]) == list(SECTIONS)
    assert "commandstats" in sections([b"default", b"commandstats"])


def test_the_server_says_who_it_is(server: InProcess) -> None:
    fields = info_of(server(b"INFO", b"server"))["Server"]
    assert (fields["redis_version"], fields["perdure_version"]) == (REDIS_VERSION, PERDURE_VERSION)


def test_errors_of_every_kind_are_counted_by_code_and_by_command(server: InProcess) -> None:
    server(b"CONFIG", b"RESETSTAT")
    server(b"SET", b"k", b"v")
    server(b"HGET", b"k", b"f")
    server(b"NOSUCH")
    server(b"SET", b"k")
    found = info_of(server(b"INFO", b"everything"))
    assert found["Errorstats"] == {"errorstat_ERR": "count=2", "errorstat_WRONGTYPE": "count=1"}
    assert found["Stats"]["total_error_replies"] == "3"
    assert found["Commandstats"]["cmdstat_hget"].endswith("rejected_calls=0,failed_calls=1")
    assert found["Commandstats"]["cmdstat_set"].endswith("rejected_calls=1,failed_calls=0")


def test_expired_keys_are_counted(server: InProcess) -> None:
    for key in (b"a", b"b"):
        server(b"SET", key, b"v", b"PX", b"100000")
    server.server.keyspace.databases[0].expires[b"b"] = 1
    assert server(b"GET", b"b") == b"$-1\r\n"
    assert info_of(server(b"INFO", b"stats"))["Stats"]["expired_keys"] == "1"


def test_a_loading_server_says_how_far_it_is(tmp_path: Path) -> None:
    server = InProcess(tmp_path, loading=True)
    load = server.server.load
    load.started_s, load.total_bytes, load.loaded_bytes, load.commands = server.server.started_s, 400, 100, 7
    fields = info_of(server(b"INFO", b"persistence"))["Persistence"]
    assert (fields["loading"], fields["loading_total_bytes"], fields["loading_loaded_bytes"]) == ("1", "400", "100")
    assert (fields["loading_loaded_perc"], fields["perdure_loading_commands"]) == ("25.00", "7")
    assert int(fields["loading_start_time"]) and int(fields["loading_eta_seconds"]) >= 0
    assert server(b"GET", b"k").startswith(b"-LOADING ")
    assert info_of(server(b"INFO", b"errorstats"))["Errorstats"] == {"errorstat_LOADING": "count=1"}
    load.loaded_bytes = 0
    assert info_of(server(b"INFO", b"persistence"))["Persistence"]["loading_eta_seconds"] == "1"
    server.close()


def test_the_log_says_its_positions_and_whether_it_refuses() -> None:
    writer = SimpleNamespace(
        refusing=None, policy="always", lsn=30, written_lsn=20, durable_lsn=10, batch=3, fsyncs=2, last_fsync_us=150.7,
        failures=1, last_write_error="", rotations=4,
    )  # fmt: skip
    fields = dict(log_fields(writer))
    assert fields["perdure_log_status"] == "ok"
    assert [fields[f"perdure_log_{name}"] for name in ("lsn", "written_lsn", "durable_lsn")] == [30, 20, 10]
    assert (fields["perdure_log_fsyncs"], fields["perdure_log_last_fsync_usec"]) == (2, 150)
    assert fields["perdure_log_rotations"] == 4
    writer.refusing = LogRefused(28)
    assert dict(log_fields(writer))["perdure_log_status"] == "refusing: No space left on device"
    assert dict(log_fields(NoLogWriter()))["perdure_log_policy"] == "none"


def test_no_log_is_shown_as_none(tmp_path: Path) -> None:
    server = InProcess(tmp_path, appendonly="no")
    fields = info_of(server(b"INFO", b"persistence"))["Persistence"]
    assert fields["aof_enabled"] == "0"
    assert "aof_current_size" not in fields
    assert fields["aof_last_write_status"] == "ok"
    server.close()


def test_a_refusing_log_is_an_err_status(server: InProcess) -> None:
    server.server.writer.refusing = LogRefused(5)
    fields = info_of(server(b"INFO", b"persistence"))["Persistence"]
    assert fields["aof_last_write_status"] == "err"
    assert fields["perdure_log_status"] == "refusing: Input/output error"


def test_memory_and_cpu_are_this_process_own() -> None:
    memory = process_stats.memory()
    assert 0 < memory.used <= memory.rss <= memory.peak_rss
    assert process_stats.total_memory() > memory.rss
    assert process_stats.cpu_seconds()[""][1] > 0


def test_average_ttl_is_of_keys_that_live(server: InProcess) -> None:
    server(b"SET", b"a", b"v", b"PX", b"100000")
    server(b"SET", b"b", b"v")
    keys, expires, ttl = info_of(server(b"INFO", b"keyspace"))["Keyspace"]["db0"].split(",")
    assert (keys, expires) == ("keys=2", "expires=1")
    assert 0 < int(ttl.removeprefix("avg_ttl=")) <= 100_000
