"""Importing this begins the count of memory (``server.heap``); ``server.main`` does so before anything else.

What is allocated earlier stays uncounted, so this imports next to nothing.  ``HEAP`` is the
counter, None where it was not built, does not work here, or is not wanted
(``PERDURE_NATIVE=no`` in the environment).
"""

from __future__ import annotations

import os
import resource
from types import ModuleType

_GIB = 1 << 30
_MOST_BYTES = 1024 * _GIB


def _begin() -> ModuleType | None:
    if os.environ.get("PERDURE_NATIVE") == "no":
        return None
    try:
        from perdure.server import heap
    except ImportError:
        return None
    most = min(max(4 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 4 * _GIB), _MOST_BYTES)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        most = limit // 2
    return heap if heap.install(most) else None


HEAP = _begin()
