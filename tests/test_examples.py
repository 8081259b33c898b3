"""The examples run as they stand, against our server, and print what their stories promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from server_harness import PerdureServer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAID = {
    "cache.py": [
        "100 visitors looked at the teapot, the database was asked 1 time(s)",
        "the price has changed: {'product': 'teapot', 'price': 35}",
        "stale one: {'product': 'teapot', 'price': 35}",
        "99 hits, 1 stale-hits, 2 misses",
    ],
    "leaderboard.py": [
        "today: 1. mallory (900), 2. ada (45), 3. grace (45)",
        "without the cheater: 1. ada (45), 2. grace (45), 3. linus (10), 4. edsger (10)",
        "around linus: 2. grace (45), 3. linus (10), 4. edsger (10)",
        "at least 20 points: 2",
        "the week: 1. grace (95), 2. ada (45)",
        "nobody is nowhere: []",
    ],
    "session_store.py": [
        "the old cookie is worth nothing: None",
        "'user': 'ada'",
        "paid: {'teapot': 1, 'cup': 2}",
        "from another tab: {}",
        "after the logout: None",
    ],
    "rate_limiter.py": [
        "greedy called 15 times at once: 10 went through",
        "modest is not touched by that: Verdict(allowed=True, left=9, retry_after_s=0.0)",
        "still count: 2 of 10 more went through",
        "a quiet minute later: Verdict(allowed=True",
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with PerdureServer(tmp_path_factory.mktemp("examples") / "data", tcp=True) as running:
        yield running.start()


def test_every_example_is_run():
    assert sorted(SAID) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", SAID)
def test_example_tells_its_story_twice(name, server):
    """Twice, as an example that leaves something behind surprises who runs it again."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name)],
            env={**os.environ, "REDIS_URL": server.url},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        for words in SAID[name]:
            assert words in done.stdout, done.stdout
