"""Waiting for what another process does, which there is no other way to learn of."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_S = 60.0
_POLL_S = 0.005


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds; AssertionError if it does not in a minute."""
    deadline = time.monotonic() + LONGEST_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(_POLL_S)
