"""arq: enqueue, work, retry, defer, cron and abort; in an environment of its own, with the redis-py that it wants.

``make test`` puts that environment into .venv/arq; PERDURE_ARQ_PYTHON names the interpreter of another.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clients_harness import missing

HERE = Path(__file__).parent / "arq"
SCENES = ["enqueue_and_work", "fail_and_retry", "one_of_its_kind", "defer", "by_the_clock", "abort"]


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that has arq."""
    beside = Path(sys.prefix, "arq", "bin", "python")
    path = os.environ.get("PERDURE_ARQ_PYTHON", str(beside if beside.exists() else sys.executable))
    if subprocess.run([path, "-c", "import arq"], capture_output=True).returncode:
        missing("arq")
    return path


def run(python: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, str(HERE / "errands.py"), *argv], capture_output=True, text=True, timeout=120)


def test_every_scene_is_played(python):
    script = f"import sys; sys.path.insert(0, {str(HERE)!r}); import errands; print(*errands.SCENES)"
    done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == SCENES


@pytest.mark.parametrize("scene", SCENES)
def test_arq(scene, python, url):
    done = run(python, scene, url)
    assert done.returncode == 0, done.stderr[-3000:]
