"""How much memory is used: what INFO shows as ``used_memory``, and ``maxmemory`` is compared with.

What counts is what was allocated since the program itself was there: the interpreter and
the modules are this server's machine code, and stock does not count its own either.

``HeapMeter``      reads ``server.heap``, which counts what Python's objects take
``EstimateMeter``  where that was not built, or cannot be: what glibc's ``malloc`` and Python's
                   arenas say.  Python says how many small blocks are in use but not their
                   sizes, so the average is what the resident arenas give for each block when
                   they last had to grow, for then they were about full.  A reading costs
                   up to a millisecond, so one is used again for ``_FRESH`` times as long.

It must not know: limits, what is done about it.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from typing import Any, Protocol

from perdure.server import process_stats

_FRESH = 20
_LEAST_BYTES = 1 << 16
"""What an empty server takes at the least; an estimate would say less by chance."""
_MALLOC_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")


def _c_function(name: str) -> Any:
    """A function of the C library, None where there is no such."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None


def _trim() -> None:
    """Have ``malloc`` give back what is free."""
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


class Meter(Protocol):
    """How much is used, in bytes."""

    exact: bool
    """Does a reading cost nothing, and see every single object?"""

    def used(self) -> int: ...

    def adjust(self, nbytes: int) -> None:
        """So much was freed (below 0) or allocated, about; for who does not see it at once."""

    def watch_closely(self, on: bool) -> None:
        """Will ``used`` be asked often from now on?"""

    def active(self) -> int:
        """What the allocators hold of the system for it."""

    def purge(self) -> None:
        """Have the allocators give back what they can."""

    def describe(self) -> str:
        """What the allocators hold, for people."""


class HeapMeter:
    """What ``server.heap`` counts."""

    def __init__(self, heap: Any) -> None:
        gc.collect()
        self._heap = heap
        self._program: int = heap.used()
        self.exact = False

    def used(self) -> int:
        """Bytes allocated since the program was there."""
        return max(0, int(self._heap.used()) - self._program)

    def adjust(self, nbytes: int) -> None:
        """It is seen without being told."""

    def watch_closely(self, on: bool) -> None:
        """Have each allocation counted, so that ``used`` costs nothing."""
        self._heap.count(on)
        self.exact = on

    def active(self) -> int:
        """Arenas and large blocks."""
        _, large, arenas = self._heap.measure(False)
        return max(0, int(arenas) + int(large) - self._program)

    def purge(self) -> None:
        """Arenas go back by themselves; for large blocks ``malloc`` is asked."""
        _trim()

    def describe(self) -> str:
        """As counted, and as the pools say."""
        small, large, arenas = self._heap.measure(False)
        lines = (
            ("bytes in use, of the program itself, too", self._heap.used()),
            ("bytes of the program itself", self._program),
            ("small blocks: bytes in use in all pools", small),
            ("small blocks: bytes of arenas", arenas),
            ("large blocks: bytes in use", large),
        )
        how = "each allocation is counted" if self.exact else "pools are summed up when asked"
        return f"Memory of Python's objects; {how}\n" + "".join(f"{name}: {value}\n" for name, value in lines)


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in _MALLOC_FIELDS)


class EstimateMeter:
    """What can be told from outside of the allocators."""

    exact = False

    def __init__(self) -> None:
        self._mallinfo = _c_function("mallinfo2")
        if self._mallinfo is not None:
            self._mallinfo.restype = _Mallinfo2
        self._arenas = 0
        self._block_bytes = 0.0
        self._value = 0
        self._until = 0.0
        self._program = 0
        self._program = self._measure()

    def used(self) -> int:
        """Bytes allocated since the program was there, by a reading that is not old."""
        now = time.perf_counter()
        if now >= self._until:
            self._value = max(_LEAST_BYTES, self._measure() - self._program)
            end = time.perf_counter()
            self._until = end + _FRESH * (end - now)
        return self._value

    def _measure(self) -> int:
        blocks = sys.getallocatedblocks()
        in_use, held = 0, 0
        if self._mallinfo is not None:
            info = self._mallinfo()
            in_use, held = info.uordblks + info.hblkhd, info.arena + info.hblkhd
        arenas = max(process_stats.memory().used - held, 0)
        if arenas > self._arenas:
            self._arenas = arenas
            self._block_bytes = arenas / blocks
        return in_use + int(blocks * self._block_bytes)

    def adjust(self, nbytes: int) -> None:
        """Until the next reading the last one is taken to have changed so much."""
        self._value = max(_LEAST_BYTES, self._value + nbytes)

    def watch_closely(self, on: bool) -> None:
        """Nothing changes."""

    def active(self) -> int:
        """What is resident."""
        return max(0, process_stats.memory().used - self._program)

    def purge(self) -> None:
        """``malloc`` is asked."""
        _trim()

    def describe(self) -> str:
        """What is known."""
        lines = [("bytes in use, of the program itself, too", self._measure())]
        lines.append(("small blocks in use", sys.getallocatedblocks()))
        if self._mallinfo is not None:
            info = self._mallinfo()
            lines += [(f"malloc: {name}", getattr(info, name)) for name in _MALLOC_FIELDS]
        return "Memory of Python's objects, estimated\n" + "".join(f"{name}: {value}\n" for name, value in lines)


def meter() -> Meter:
    """The best that there is."""
    counted = sys.modules.get("perdure.server.heap_first")  # else nobody counts: it was not begun with
    heap = None if counted is None else counted.HEAP
    return EstimateMeter() if heap is None else HeapMeter(heap)
