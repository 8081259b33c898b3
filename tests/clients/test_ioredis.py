"""node's ioredis: pipelines, MULTI, pub/sub, streams, blocking pops and commands defined in Lua.

Skipped without node, or where ``npm ci`` has not been run in tests/clients/ioredis, which ``make test`` does.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "ioredis"
SCENES = ["values", "pipelines", "transactions", "pubsub", "streams", "blocking", "scripts", "connections"]


@pytest.fixture(scope="module")
def node() -> str:
    """node, with ioredis installed beside the scenes."""
    path = shutil.which("node")
    if path is None or not (HERE / "node_modules" / "ioredis").is_dir():
        pytest.skip("node, or ioredis (npm ci --prefix tests/clients/ioredis), is not installed")
    return path


def test_every_scene_is_played():
    told = (HERE / "scenes.js").read_text()
    assert [name for name in SCENES if f"  async {name}()" in told] == SCENES
    assert told.count("\n  async ") == len(SCENES)


@pytest.mark.parametrize("scene", SCENES)
def test_ioredis(scene, node, server):
    done = subprocess.run(
        [node, str(HERE / "scenes.js"), str(server.port), scene], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{scene}\n"), done.stderr[-3000:]
