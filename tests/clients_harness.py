"""What the tests of real programs share: which server they run on, and how they wait.

``ours_unless_stock``  the class of the server, by PERDURE_CLIENTS_SERVER
``package``            a Python package under test; skips without it, fails with PERDURE_CLIENTS=required
``missing``            skips or fails for want of a program that is no Python package
``eventually``         waits for what another process or thread does
``words_of_trouble``   what a server's log must not say
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar

import pytest
from server_harness import PerdureServer, ServerProcess, StockServer

Found = TypeVar("Found")

PATIENCE_S = 30.0
"""Much longer than anything takes: only a failure waits that long."""


def ours_unless_stock() -> type[ServerProcess]:
    """perdure-server, or redis-server where PERDURE_CLIENTS_SERVER says ``stock``."""
    named = os.environ.get("PERDURE_CLIENTS_SERVER", "perdure")
    return {"perdure": PerdureServer, "stock": StockServer}[named]


def on_stock() -> bool:
    """Is it redis-server that is tested?"""
    return ours_unless_stock() is StockServer


def missing(what: str) -> None:
    """Skip the tests of a module, or of a fixture, for want of what they test; fail where it is required."""
    if os.environ.get("PERDURE_CLIENTS") == "required":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed", allow_module_level=True)


def package(name: str) -> ModuleType:
    """A Python package that is tested with; the module's tests are skipped if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        missing(name)
        raise


def eventually(look: Callable[[], Found], seconds: float = PATIENCE_S) -> Found:
    """What ``look`` finds, as soon as it finds something that is true; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain, the last answer was {found!r}")
        time.sleep(0.01)


def words_of_trouble(log: str) -> str:
    """The lines of a server's log that tell of a mistake of its own."""
    return "\n".join(line[:2000] for line in log.splitlines() if "Internal error" in line or "Traceback" in line)
