"""PREFIX while the log is rewritten: a crash at any call of the disk, a disk that is full or fails at any call.

The whole server as in ``test_server_crashes``, with rewrites among its requests.  The child's work is done in
this process, on the same simulated disk, so that its calls are crash points, too.  PERDURE_SWEEP takes more, as there.
"""

from __future__ import annotations

import errno
import os
import random
from itertools import pairwise

import pytest
from log_bench import StandingClock
from rewrite_model import MANIFEST, RewritingLife, assert_tidy, filled, names_of, new_life
from server_crashes import Crashes, crash_on, noted
from server_model import (
    Life,
    Promise,
    judge,
    load,
    plain,
    random_executor,
    random_step,
    requests,
    slow_syncs,
    time_of,
)

from perdure.server import rewrite
from perdure.wal.executor import InlineExecutor
from perdure.wal.manifest import parse
from perdure.wal.simulated import MUTATING, Call, Fault, SimulatedCrash, SimulatedFilesystem, When

SWEEP = os.environ.get("PERDURE_SWEEP", "")
SEEDS = {"1": 60, "full": 1000}.get(SWEEP, 8)
STATES = {"1": 8, "full": 40}.get(SWEEP, 4)
RUNS = {"1": 6, "full": 40}.get(SWEEP, 2)
COMMANDS = {"1": 120, "full": 120}.get(SWEEP, 50)
POLICIES = ("always", "everysec", "no")


# ---- every call of a run -------------------------------------------------------------------------


def fixed_run(life: RewritingLife, run: int) -> None:
    """Requests with three rewrites among them, in both forms, and an end."""
    rng = random.Random(run)
    life.start(3)
    sent = asked = 0
    while sent < COMMANDS:
        found = [words for words in requests(rng, life.promise, life.clock) if words[0] != b"CONFIG"]
        rng.choice(life.clients).send(*found)
        sent += len(found)
        if rng.random() < 0.7:
            life.turn()
        if asked < 3 and sent > (asked + 1) * COMMANDS // 5:
            asked += 1
            life.rewrite(rdb=(asked + run) % 2 > 0)
        for _ in range(rng.randrange(3)):
            life.run_job(rng)
        if rng.random() < 0.3:
            life.cron(rng.choice((0.01, 0.3, 1.1)))
    life.settle()
    life.finish()
    life.close()


@pytest.mark.parametrize("run", range(RUNS))
@pytest.mark.parametrize("policy", POLICIES)
def test_crash_at_every_call_of_a_run_with_rewrites_keeps_every_answered_command(policy: str, run: int) -> None:
    crashes, life = Crashes(), new_life(policy, manual=run % 2 > 0)
    calls: list[int] = []

    def judge_here(call: Call) -> None:
        if call.name in MUTATING:
            calls.append(call.number)
            life.look()
            crashes.judge_all(life.fs, life.promise, STATES)

    life.fs.on_call = judge_here  # type: ignore[assignment]
    with time_of(life.clock):
        fixed_run(life, run)
    life.fs.on_call = None
    crashes.judge_all(life.fs, life.promise, STATES)
    assert life.server.rewriter.rewrites >= 2
    assert life.server.rewriter.ok
    assert_tidy(life.fs)
    for number in calls if SWEEP else calls[:: len(calls) // 12]:
        life = new_life(policy, manual=run % 2 > 0)
        life.fs.faults[number] = Fault(crash=When.PART)
        with time_of(life.clock), pytest.raises(SimulatedCrash):
            fixed_run(life, run)
        life.look()
        crashes.judge_all(life.fs, life.promise, STATES)
    assert crashes.count > 50


# ---- random lives ----------------------------------------------------------------------------------


def lives(seed: int, crashes: Crashes) -> int:
    """One disk, several processes with faults and rewrites, each ended by a crash; how many BASEs were adopted."""
    rng = random.Random(seed)
    fs, promise, adopted = SimulatedFilesystem(), Promise(), 0
    for _ in range(4):
        clock = StandingClock()
        life = RewritingLife(fs, promise, random_executor(rng), clock)
        life.policy = rng.choice(POLICIES)
        ill, judging = rng.random() < 0.5, rng.random() * 0.1

        def judge_some(call: Call, life: Life = life, share: float = judging) -> None:
            if call.name in MUTATING and rng.random() < share:
                life.look()
                crashes.judge_all(life.fs, life.promise, STATES)

        fs.on_call = slow_syncs(clock, rng, judge_some)  # type: ignore[assignment]
        fs.faults[rng.randint(1, rng.choice((60, 200, 600)))] = Fault(crash=rng.choice(list(When)))
        fs.capacity = rng.choice((None, None, sum(map(len, fs.files().values())) + 300_000))
        try:
            with time_of(clock):
                life.start(3, seed)
                for _ in range(rng.choice((20, 60, 100))):
                    random_step(life, rng, ill)
                    if rng.random() < 0.1:
                        life.rewrite(rdb=rng.random() < 0.5)
                fs.faults.clear()
                life.settle()
                life.finish()
                life.check()
        except SimulatedCrash:
            life.look()
        except OSError:
            assert life.writer is None, "only a start may fail"
        if life.writer is not None:
            adopted += life.server.rewriter.base_bytes > 0
        fs.on_call, fs.sick, fs.capacity = None, {}, None
        crashes.judge_all(fs, promise, STATES)
        fs, promise = crash_on(fs, promise, rng)
    return adopted


@pytest.mark.parametrize("chunk", range(4))
def test_random_lives_with_rewrites_keep_every_answered_command(chunk: int) -> None:
    crashes, adopted = Crashes(), 0
    for seed in range(chunk * 100_000, chunk * 100_000 + SEEDS):
        with noted(f"lives({seed}, Crashes()) replays it"):
            adopted += lives(seed, crashes)
    assert crashes.count > 50
    assert adopted > SEEDS // 2


# ---- a disk that fails --------------------------------------------------------------------------------


def calls_of_a_rewrite(rdb: bool) -> list[Call]:
    life = filled()
    with time_of(life.clock):
        life.fs.trace = trace = []  # type: ignore[var-annotated]
        life.rewrite(rdb)
        life.finish()
    return [call for call in trace if call.name in MUTATING | {"read", "size"}]


@pytest.mark.parametrize("rdb", [True, False])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_call_that_fails_leaves_the_old_log_and_the_next_rewrite_works(code: int, rdb: bool) -> None:
    calls = calls_of_a_rewrite(rdb)
    assert {call.name for call in calls} >= {"create", "write", "sync", "rename", "sync_directory", "remove", "read"}
    first = calls[0].number
    failed = 0
    for number in range(first, calls[-1].number + 1):
        life = filled()
        fs, rewriter = life.fs, life.server.rewriter
        with time_of(life.clock):
            fs.faults[number] = Fault(error=code)
            life.rewrite(rdb)
            life.turn()
            assert rewriter.in_progress or rewriter.ok == (rewriter.failures == 0)
            judge(fs.kill(), life.promise, len(life.promise.states) - 1)
            failed += not rewriter.ok
            life.clients[1].send("SET a after", "INCR n")
            life.settle()
            fs.faults.clear()
            life.finish()
            life.rewrite(rdb)
            life.finish()
            assert rewriter.ok
            assert rewriter.failures == 0
            assert_tidy(fs)
            judge(fs.kill(), life.promise, len(life.promise.states) - 1)
            for state in fs.legal_states(3):
                judge(state, life.promise, life.promise.power_floor)
    assert failed > 10


@pytest.mark.parametrize("name", ["create", "write", "sync", "rename", "read"])
def test_a_hundred_failures_pile_up_nothing(name: str) -> None:
    life = filled()
    fs, rewriter = life.fs, life.server.rewriter
    with time_of(life.clock):
        before = len(names_of(fs))
        for turn in range(100):
            life.clients[1].send(f"SET a {turn}")
            life.turn()
            fs.on_call = lambda call: (  # type: ignore[assignment]
                Fault(error=errno.ENOSPC) if call.name == name and "rewriteaof" in call.path else None
            )
            life.rewrite(rdb=turn % 2 > 0)
            life.turn()
            life.turn()
            assert not rewriter.in_progress
            assert not rewriter.ok
            fs.on_call = None
        assert rewriter.failures == 100
        assert not [n for n in names_of(fs) if n.startswith("temp-rewriteaof")]
        assert len(names_of(fs)) <= before + 100, "an INCR a try at most: they hold what was written between tries"
        life.rewrite()
        life.finish()
        assert_tidy(fs)
        judge(fs.kill(), life.promise, len(life.promise.states) - 1)


def test_failures_without_writes_between_them_begin_no_files() -> None:
    life = filled()
    with time_of(life.clock):
        life.fs.sick["rename"] = errno.EIO
        life.rewrite()
        life.turn()
        life.fs.sick.clear()
        life.finish()
        for _ in range(20):
            life.fs.on_call = lambda call: (  # type: ignore[assignment]
                Fault(error=errno.EIO) if call.name == "write" and "rewriteaof" in call.path else None
            )
            life.rewrite()
            life.turn()
            assert not life.server.rewriter.ok
        assert len([n for n in names_of(life.fs) if n.endswith(".incr.aof")]) <= 3


def test_automatic_rewrites_wait_longer_and_longer_when_they_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    life = filled()
    rewriter, config = life.server.rewriter, life.server.config._values
    config["auto-aof-rewrite-min-size"], config["auto-aof-rewrite-percentage"] = 10, 1
    now = [1_000_000.0]
    monkeypatch.setattr(rewrite.time, "time", lambda: now[0])
    tries: list[float] = []
    life.fs.sick["create"] = errno.EIO
    with time_of(life.clock):
        for _ in range(4 * 3600):
            before = rewriter.failures
            rewriter.tick()
            life.turn()
            if rewriter.failures > before:
                tries.append(now[0])
            now[0] += 1
        gaps = [round(b - a) for a, b in pairwise(tries)]
        # As in stock the delay is counted from the next look on.
        assert gaps[:8] == [1, 1, 61, 121, 241, 481, 961, 1921]
        assert max(gaps) <= 3601
        life.fs.sick.clear()
        life.clients[0].send("BGREWRITEAOF")
        life.finish()
        assert (rewriter.ok, rewriter.failures) == (True, 0)


def test_a_base_that_is_not_what_memory_holds_does_not_count() -> None:
    """The disk, or the codec, has changed a value on its way."""
    life = filled()
    fs, rewriter = life.fs, life.server.rewriter
    rewriter._codes = list  # type: ignore[method-assign]
    with time_of(life.clock):

        def rot(call: Call) -> None:
            if call.name == "close" and "rewriteaof" in call.path:
                data = fs._node(call.path).data
                data[data.index(b"\x01n") + 3] ^= 1

        before = fs.content(MANIFEST)
        fs.on_call = rot  # type: ignore[assignment]
        life.server.config._values["rdbchecksum"] = False
        life.clients[1].send("SET n 5")
        life.turn()
        life.rewrite()
        life.turn()
        life.turn()
        assert not rewriter.ok
        assert "does not hold what memory does" in rewriter._error or "not those that were written" in rewriter._error
        assert not [n for n in names_of(fs) if "base" in n or "rewriteaof" in n]
        fs.on_call = None
        assert len(parse(before, "").entries) + 1 == len(parse(fs.content(MANIFEST), "").entries)
        judge(fs.kill(), life.promise, len(life.promise.states) - 1)


# ---- a log that begins while the server runs ---------------------------------------------------------------


def off_and_on(life: RewritingLife) -> None:
    client = life.clients[1]
    client.send("CONFIG SET appendonly no")
    life.turn()
    client.send("SET a unlogged", "INCR n")
    life.turn()
    client.send("CONFIG SET appendonly yes", "INCR n")
    client.send("SET a between")
    life.turn()
    for number in range(3):
        client.send(f"SET b {number}", "INCR n")
        life.turn()
        life.server.rewriter.tick()
        life.executor.drain()


@pytest.mark.parametrize("when", When)
def test_a_crash_while_the_log_begins_leaves_the_former_log_or_the_whole_new_one(when: When) -> None:
    whole = filled()
    with time_of(whole.clock):
        off_and_on(whole)
    former = plain(load(filled().fs.kill())[0].keyspace)
    assert whole.server.config["appendonly"]
    assert not whole.server.rewriter.in_progress
    assert whole.server.rewriter.ok
    final = plain(whole.server.keyspace)
    assert plain(load(whole.fs.kill())[0].keyspace) == final
    assert_tidy(whole.fs)
    kinds = set()
    start = filled().fs.calls
    for number in range(start + 1, whole.fs.calls + 1):
        life = filled()
        life.fs.faults[number] = Fault(crash=when)
        with time_of(life.clock), pytest.raises(SimulatedCrash):
            off_and_on(life)
            life.fs.names("/data")
        answered = [reply for reply in life.clients[1].replies if reply == b"OK"]
        for state in (life.fs.kill(), *life.fs.legal_states(6)):
            server, recovery = load(state)
            found = plain(server.keyspace)
            is_former = found == former
            kinds.add(is_former)
            if not is_former:
                assert recovery.end.entries[0].kind == "b"
                assert found[2, b"a"][0] in (b"unlogged", b"between")
            again = RewritingLife(state, Promise([found], {recovery.end.lsn: 0}), InlineExecutor(), StandingClock())
            again.start(1)
            assert plain(load(again.fs.kill())[0].keyspace) == found
            assert_tidy(again.fs)
        assert answered
    assert kinds == {True, False}


@pytest.mark.parametrize("name", ["create", "write", "sync", "rename", "sync_directory"])
def test_a_log_that_cannot_begin_is_tried_again(name: str) -> None:
    life = filled()
    with time_of(life.clock):
        client = life.clients[1]
        client.send("CONFIG SET appendonly no", "INCR n")
        life.turn()
        life.fs.on_call = lambda call: (  # type: ignore[assignment]
            Fault(error=errno.EIO) if call.name == name and ("rewriteaof" in call.path or name != "write") else None
        )
        client.send("CONFIG SET appendonly yes")
        life.turn()
        client.send("INCR n")
        life.turn()
        life.fs.on_call = None
        if not life.server.config["appendonly"]:
            assert "Unable to turn on AOF" in str(client.replies[-2])
            client.send("CONFIG SET appendonly yes")
        for _ in range(8):
            life.turn()
            life.server.rewriter.tick()
        client.send("INCR n")
        life.turn()
        assert life.server.rewriter.ok
        assert plain(load(life.fs.kill())[0].keyspace) == plain(life.server.keyspace)


def test_without_a_log_a_rewrite_writes_a_base_that_nothing_follows() -> None:
    life = filled()
    with time_of(life.clock):
        life.clients[1].send("CONFIG SET appendonly no", "SET a unlogged")
        life.turn()
        life.rewrite()
        for _ in range(3):
            life.turn()
        assert life.server.rewriter.ok
        assert [e.kind for e in parse(life.fs.content(MANIFEST), "").entries] == ["b"]
        assert_tidy(life.fs)
        assert plain(load(life.fs.kill())[0].keyspace) == plain(life.server.keyspace)


# ---- what the command answers ------------------------------------------------------------------------------


def test_the_command_answers_as_stock_does() -> None:
    life = filled()
    client, server = life.clients[1], life.server
    with time_of(life.clock):
        client.send("BGREWRITEAOF", "BGREWRITEAOF", "MULTI", "INCR n", "BGREWRITEAOF", "EXEC")
        life.turn()
        started, refused = client.replies[-6:-4]
        assert started == b"Background append only file rewriting started"
        assert str(refused) == "ERR Background append only file rewriting already in progress"
        life.finish()
        client.send("MULTI", "INCR n", "BGREWRITEAOF", "EXEC")
        life.turn()
        assert client.replies[-1][1] == b"Background append only file rewriting scheduled"
        assert server.rewriter.scheduled
        life.finish()
        assert (server.rewriter.rewrites, server.rewriter.ok, server.rewriter.scheduled) == (2, True, False)
        assert plain(load(life.fs.kill())[0].keyspace) == plain(server.keyspace)
