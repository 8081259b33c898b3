"""Fixtures of the tests that compare with stock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oracle_harness import Oracle


@pytest.fixture(scope="session")
def stock() -> Iterator[Oracle]:
    """A stock server for the whole session: ``stock.reset()`` before use, which ``assert_same`` does."""
    server = Oracle()
    yield server
    server.close()
