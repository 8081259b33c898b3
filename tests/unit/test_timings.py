"""Durations: distributions, the slow log, the latency monitor, and that the hot paths tell of what is slow."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from oracle_harness import plain
from server_harness import PerdureServer
from server_in_process import InProcess

from perdure.server import latency_report
from perdure.server.client import TIMED
from perdure.server.histogram import MOST_NS, bounds_of, cell_of, cumulative, percentile, record
from perdure.server.latency import HISTORY, LatencyMonitor
from perdure.server.slowlog import SlowLog, trimmed
from perdure.server.timings import NEVER_NS, quick_arguments
from perdure.store.command import TABLE

# ---- distributions -----------------------------------------------------------------------


def test_a_duration_lies_within_its_cell() -> None:
    rng = Random(1)
    for _ in range(2000):
        us = rng.randrange(1 << rng.randrange(1, 20))
        least, most = bounds_of(cell_of(us * 1000 + rng.randrange(1000)))
        assert least <= max(us * 1000, 1) <= most
        assert most - least <= us * 1000 / 100


def test_cells_follow_one_another_without_a_gap() -> None:
    cells = range(1, cell_of(MOST_NS) + 1)
    ends = [bounds_of(cell) for cell in cells]
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(ends))
    assert len(cells) < 3200


def test_bounds_double_and_counts_grow() -> None:
    cells: dict[int, int] = {}
    for us in range(1, 5000):
        record(cells, us * 1000)
    steps = cumulative(cells)
    assert [us for us, _ in steps] == [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454]
    assert steps[0][1] == 1 and steps[5][1] == 33 and steps[-1][1] == 4999
    assert all(a[1] < b[1] for a, b in itertools.pairwise(steps))


def test_percentiles_are_within_a_hundredth() -> None:
    cells: dict[int, int] = {}
    for us in range(1, 10_001):
        record(cells, us * 1000)
    for percent in (1.0, 50.0, 99.0, 99.9):
        assert abs(percentile(cells, percent) / 1000 - percent * 100) <= percent + 0.1
    assert percentile(cells, 0.0) == 1000
    assert percentile({}, 50.0) == 0


def test_what_takes_longer_than_a_second_counts_as_a_second() -> None:
    cells: dict[int, int] = {}
    record(cells, 77 * MOST_NS)
    assert cumulative(cells) == [(1_073_741, 1)]


# ---- the slow log, the monitor -----------------------------------------------------------


def test_an_entry_is_bounded_whatever_was_sent() -> None:
    shown = trimmed([b"MSET", *[b"x" * 500] * 100])
    assert len(shown) == 32
    assert shown[-1] == b"... (70 more arguments)"
    assert shown[1] == b"x" * 128 + b"... (372 more bytes)"
    assert trimmed([b"a" * 128] * 32) == [b"a" * 128] * 32


def test_the_slow_log_keeps_its_latest_entries_and_goes_on_counting() -> None:
    log = SlowLog()
    log.set_most(3)
    for us in range(10):
        log.add([b"GET", b"%d" % us], us, 5, b"127.0.0.1:1", b"")
    assert [entry.number for entry in log.latest(-1)] == [9, 8, 7]
    assert [entry.us for entry in log.latest(2)] == [9, 8]
    log.set_most(1)
    assert len(log) == 1
    log.set_most(0)
    log.add([b"GET"], 1, 5, b"", b"")
    assert len(log) == 0


def test_of_several_samples_in_a_second_the_worst_counts() -> None:
    monitor = LatencyMonitor()
    monitor.sample(b"command", 50, 1)
    assert not monitor.series
    monitor.threshold_ms = 10
    for ms, unix_s in ((9, 1), (10, 1), (30, 1), (20, 1), (15, 2)):
        monitor.sample(b"command", ms, unix_s)
    assert list(monitor.series[b"command"].samples) == [(1, 30), (2, 15)]
    for unix_s in range(1000):
        monitor.sample(b"command", 11, unix_s)
    assert len(monitor.series[b"command"].samples) == HISTORY
    assert monitor.series[b"command"].worst_ms == 30
    assert monitor.forget([b"command", b"command", b"nosuch"]) == 1


def test_a_graph_has_a_column_for_each_sample_and_its_age() -> None:
    monitor = LatencyMonitor()
    monitor.threshold_ms = 1
    for ms, unix_s in ((1, 0), (12, 86_400), (7, 90_000), (4, 90_060)):
        monitor.sample(b"command", ms, unix_s)
    drawn = latency_report.graph(b"command", monitor.series[b"command"], 90_061).decode()
    head, _, picture = drawn.partition("-" * 80 + "\n")
    assert head == "command - high 12 ms, low 1 ms (all time high 12 ms)\n"
    assert [line.rstrip() for line in picture.splitlines()] == [" #", " |_", " ||_", "_|||", "", "1111", "dhms"]


# ---- commands ------------------------------------------------------------------------------


@pytest.fixture()
def server(tmp_path: Path) -> Iterator[InProcess]:
    server = InProcess(tmp_path, enable_debug_command="yes")
    yield server
    server.close()


def test_quick_is_what_takes_constant_time_with_its_least_arguments() -> None:
    assert quick_arguments(TABLE[b"GET"]) == 2
    assert quick_arguments(TABLE[b"SET"]) == 3
    assert quick_arguments(TABLE[b"LPUSH"]) == 3
    assert quick_arguments(TABLE[b"LPOP"]) == 2
    for name in (b"LRANGE", b"KEYS", b"SMEMBERS", b"MSET", b"SORT", b"DEL", b"SUNION"):
        assert quick_arguments(TABLE[name]) == 0


def test_a_low_threshold_has_every_command_timed(server: InProcess) -> None:
    engine = server.server.engine
    assert engine.timings.watch_ns == 10_000_000
    for us, low in ((b"999", TIMED), (b"1000", 0), (b"-1", 0), (b"0", TIMED)):
        server(b"CONFIG", b"SET", b"slowlog-log-slower-than", us)
        assert engine.state & TIMED == low
        assert engine.timings.watch_ns == (int(us) * 1000 if us != b"-1" else NEVER_NS)
    server(b"CONFIG", b"SET", b"slowlog-max-len", b"0")
    assert not engine.state & TIMED
    server(b"CONFIG", b"SET", b"latency-monitor-threshold", b"2")
    assert engine.timings.watch_ns == 2_000_000


def test_events_of_the_log_and_of_expiry_are_sampled_while_somebody_asks(server: InProcess) -> None:
    class Log:
        policy, fsyncs, last_fsync_us, fsync_in_flight = "always", 0, 0.0, False

        def commit(self, payload: bytes) -> int:
            self.fsyncs += 1
            self.last_fsync_us = 5_000.0
            return 1

    timings, log = server.server.engine.timings, Log()
    assert timings.commit(log, b"x") == 1
    assert not timings.monitor.series
    server(b"CONFIG", b"SET", b"latency-monitor-threshold", b"1")
    timings.look_at_log(log)
    timings.monitor.forget([])
    timings.commit(log, b"x")
    assert set(timings.monitor.series) == {b"aof-fsync-always"}
    timings.sample(b"expire-cycle", 0)
    assert b"expire-cycle" in timings.monitor.series


def test_resetting_the_counters_forgets_durations(server: InProcess) -> None:
    server(b"SET", b"k", b"v")
    assert plain(server(b"LATENCY", b"HISTOGRAM", b"set"))[0] == b"set"
    server(b"CONFIG", b"RESETSTAT")
    assert plain(server(b"LATENCY", b"HISTOGRAM", b"set")) == []


# ---- the hot paths -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["compiled", "python"])
def process(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PerdureServer]:
    if request.param == "compiled":
        pytest.importorskip("perdure.server.native", reason="the compiled hot path is not built here")
    with PerdureServer(tmp_path_factory.mktemp(request.param)) as server:
        server.environment = {**os.environ, "PERDURE_NATIVE": "no" if request.param == "python" else "yes"}
        yield server.start()


def test_a_slow_command_is_seen_alone_and_in_a_pipeline(process: PerdureServer) -> None:
    """What copies or sorts so much takes longer than a millisecond on any machine."""
    with process.client(client_name="joe") as client:
        client.config_set("slowlog-log-slower-than", 1000)
        client.config_set("latency-monitor-threshold", 1)
        client.rpush("big", *["x" * 10] * 100_000)
        client.set("large", b"x" * 100_000_000)
        client.slowlog_reset()
        client.sort("big", alpha=True, start=0, num=1)
        pipe = client.pipeline(transaction=False)
        for _ in range(20):
            pipe.get("nosuch")
        pipe.sort("big", alpha=True, start=0, num=2).get("nosuch").execute()
        client.get("large")
        # A busy machine may take the processor away from any of the others.
        entries = [entry for entry in client.slowlog_get(30) if entry["command"] != b"GET nosuch"]
        found = [entry["command"] for entry in entries]
        assert found == [b"GET large", b"SORT big LIMIT 0 2 ALPHA", b"SORT big LIMIT 0 1 ALPHA"]
        assert all(entry["duration"] >= 1000 and entry["client_name"] == b"joe" for entry in entries)
        assert all(entry["client_address"] == f"{process.socket_path}:0".encode() for entry in entries)
        events = {event[0] for event in client.execute_command("LATENCY LATEST")}
        assert {b"command", b"fast-command"} <= events


def test_a_threshold_of_zero_logs_everything_in_order(process: PerdureServer) -> None:
    with process.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        pipe = client.pipeline(transaction=False)
        for n in range(50):
            pipe.set("k", n).incr("n")
        pipe.execute()
        client.config_set("slowlog-log-slower-than", 10_000)
        found = [entry["command"].split()[0] for entry in client.slowlog_get(200)]
        assert found == [*[b"INCRBY", b"SET"] * 50, b"SLOWLOG"]


def test_distributions_hold_about_as_many_calls_as_there_were(process: PerdureServer) -> None:
    with process.client() as client:
        client.config_resetstat()
        pipe = client.pipeline(transaction=False)
        for n in range(3000):
            pipe.set("k", n).hset("h", "f", n)
        pipe.execute()
        for _ in range(300):
            client.get("k")
        histogram = client.execute_command("LATENCY HISTOGRAM", "set", "hset", "get")
        calls = {name: facts[b"calls"] if isinstance(facts, dict) else facts[1] for name, facts in _pairs(histogram)}
        assert calls.keys() == {b"set", b"hset", b"get"}
        for name, expected in ((b"set", 3000), (b"hset", 3000), (b"get", 300)):
            assert expected - 16 <= calls[name] <= expected
        assert "latency_percentiles_usec_set" in client.info("latencystats")


def _pairs(flat: object) -> list[tuple[bytes, object]]:
    if isinstance(flat, dict):
        return list(flat.items())
    assert isinstance(flat, list)
    return list(zip(flat[::2], flat[1::2], strict=True))


def test_freeing_memory_is_an_event(server: InProcess) -> None:
    timings = server.server.engine.timings
    server(b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-random", b"latency-monitor-threshold", b"1")
    for n in range(20):
        server(b"SET", b"k%d" % n, b"x")
    sampled: list[bytes] = []
    timings.sample = lambda event, began_ns: sampled.append(event)  # type: ignore[method-assign]
    server(b"CONFIG", b"SET", b"maxmemory", b"1")
    server(b"SET", b"k", b"x")
    assert b"eviction-cycle" in sampled
