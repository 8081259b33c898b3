"""What the operating system says about this process: memory and CPU time.

Everything is a read of /proc or one system call, cheap enough for every INFO.
Where /proc is missing, memory is 0.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MAX_PROC_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: resident, resident without what comes from files, and the highest resident so far."""

    rss: int
    used: int
    peak_rss: int


def read(path: str) -> bytes:
    """A small file of the kernel's; b"" if there is no such."""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_PROC_BYTES)
    except OSError:
        return b""


def _field_kib(text: bytes, name: bytes) -> int:
    """A line ``Name:   123 kB`` of /proc, in bytes."""
    for line in text.splitlines():
        if line.startswith(name + b":"):
            words = line.split()
            return int(words[1]) * 1024 if len(words) > 1 and words[1].isdigit() else 0
    return 0


def private_dirty() -> int:
    """Bytes of pages that this process has for itself and that were written to: those copied since it was forked."""
    return _field_kib(read("/proc/self/smaps_rollup"), b"Private_Dirty")


def memory() -> Memory:
    """This process' memory now."""
    words = read("/proc/self/statm").split()
    if len(words) < 3:
        return Memory(0, 0, 0)
    rss, from_files = int(words[1]) * _PAGE_BYTES, int(words[2]) * _PAGE_BYTES
    return Memory(rss, max(rss - from_files, 0), max(_field_kib(read("/proc/self/status"), b"VmHWM"), rss))


def total_memory() -> int:
    """The machine's memory in bytes."""
    return _field_kib(read("/proc/meminfo"), b"MemTotal")


def cpu_seconds() -> dict[str, tuple[float, float]]:
    """(system, user) CPU seconds of the process, its ended children, and the calling thread."""
    found = {}
    for name, who in (
        ("", resource.RUSAGE_SELF),
        ("_children", resource.RUSAGE_CHILDREN),
        ("_main_thread", resource.RUSAGE_THREAD),
    ):
        usage = resource.getrusage(who)
        found[name] = (usage.ru_stime, usage.ru_utime)
    return found


def can_open_files(count: int) -> int:
    """Make room for ``count`` open files if the system lets us; how many may be open then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= count:
        return max(count, soft)
    wanted = count if hard == unlimited else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted
