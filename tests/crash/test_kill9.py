"""SIGKILL under load loses no answered write, in any appendfsync mode.

The kernel outlives the process: what the server handed over before it answered is
there after a kill, fsynced or not.  A seed fixes what is written and how many answers
are waited for before the kill; where in the server's work the kill falls is chance.
The directory of a mode lives through its rounds, so that every round begins on what
the kills before it left.

PERDURE_SWEEP=1 (make crash) runs 200 seeds a mode, PERDURE_SWEEP=full 4,000.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from crash_writers import STYLES, Progress, Writer, judge, open_accounts
from server_harness import PerdureServer, read_state

SEEDS_A_BLOCK = 20
BLOCKS = {"1": 10, "full": 200}.get(os.environ.get("PERDURE_SWEEP", ""), 1)
ANSWER_S = 60.0


def kill_under_load(server: PerdureServer, seed: int) -> str:
    """One round on a running server, which runs again afterwards; returns what is wrong, or ""."""
    rng = Random(seed)
    known = read_state(server, databases=1)
    progress = Progress()
    writers = [
        Writer(server, f"r{seed}w{i}", Random(rng.getrandbits(64)), style, progress) for i, style in enumerate(STYLES)
    ]
    for writer in writers:
        writer.start()
    came = progress.wait_for(rng.randrange(50, 5000), ANSWER_S)
    ended_by_itself = not server.alive()
    server.kill9()
    for writer in writers:
        writer.join(ANSWER_S)
        assert not writer.is_alive(), f"seed {seed}: a client hangs on a dead server"
    assert came, f"seed {seed}: no progress: {[w.wrong for w in writers]} {server.log()[-2000:]}"
    assert not ended_by_itself, f"seed {seed}: it ended by itself: {server.log()[-2000:]}"
    if rng.random() < 0.1:
        server.start_to_any_answer()
        server.kill9()
    server.start()
    return "\n".join(judge(writers, known, read_state(server, databases=1)))


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_every_answered_write_survives_kill_9(policy, block, tmp_path):
    with PerdureServer(tmp_path / "data", "--appendfsync", policy) as server:
        server.start()
        open_accounts(server)
        for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
            wrong = kill_under_load(server, seed)
            assert not wrong, f"appendfsync {policy}, seed {seed}:\n{wrong}"
        assert server.terminate() == 0


def test_a_clean_end_keeps_everything_and_needs_no_mending(tmp_path):
    with PerdureServer(tmp_path / "data", "--appendfsync", "everysec") as server:
        server.start()
        with server.client() as client:
            for i in range(300):
                client.set(f"k{i}", i)
        before = read_state(server)
        assert server.terminate() == 0
        server.start()
        assert read_state(server) == before
        assert "torn" not in server.log().lower()
