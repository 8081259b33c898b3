"""Room for the open batch: space on the disk, reserved ahead of the file's end, and a bound in memory.

A full disk is to be met before a write is accepted, not after (REFUSE-WHOLE).
Where the file system cannot reserve, every write is let through, and one that
fails is retained and retried.

Invariant: while ``supported``, ``reserved`` bytes from the file's start belong to
it, whether written or not.

It must not know: records, policies.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from perdure.wal.format import MAX_LINE_BYTES
from perdure.wal.jobs import LogRefused

if TYPE_CHECKING:
    from perdure.wal.executor import Clock
    from perdure.wal.filesystem import File

OVERHEAD_BYTES = 4 * MAX_LINE_BYTES
"""A batch's header and #TS line, an idle header and END."""
SMALL_STEP_BYTES = 64 << 10
"""Where a whole step does not fit any more, the last of the space goes in steps of this size."""
RETRY_S = 0.05
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Space:
    """What one file has reserved, and what of it is granted to the open batch."""

    def __init__(self, file: File, size: int, clock: Clock, step: int, soft: int, hard: int, granted: int = 0) -> None:
        self.file = file
        self.reserved = size
        self.step = step
        self.supported = step > 0
        self.soft, self.hard = soft, hard
        self.granted = granted
        self.full = False
        self.error: LogRefused | None = None
        self.retry_at = 0.0
        self._clock = clock

    def grant(self, nbytes: int, end: int) -> int:
        """Grant ``nbytes`` more, and as much again as is returned, to a batch that will begin at ``end``.

        LogRefused: there is no room, or the batch would be too large.
        """
        granted = self.granted + nbytes
        if granted > self.hard and self.granted:
            raise LogRefused(errno.EAGAIN)
        self.full = granted >= self.soft
        more = max(0, self.soft - granted)
        if self.supported:
            need = end + granted + OVERHEAD_BYTES
            self.reach(end, need)
            if self.supported:
                more = max(0, min(more, self.reserved - need))
        self.granted = granted + more
        return more

    def cut(self, size: int) -> None:
        """The file was truncated to ``size``, which gives back what was reserved behind it."""
        self.reserved = size

    def again(self, end: int) -> bool:
        """Reserve once more what the open batch was granted; is there room?"""
        try:
            self.reach(end, end + self.granted + OVERHEAD_BYTES)
        except LogRefused:
            return False
        return True

    def ahead(self, size: int) -> None:
        """Reserve the next step when half of the last is used; nobody waits for it, so a refusal is not kept."""
        start, target = max(self.reserved, size), size + self.step + self.step // 2
        if self.supported and self.error is None and self.reserved - size < self.step // 2:
            try:
                self.supported = self.file.allocate(start, target - start)
            except OSError:
                return
            if self.supported:
                self.reserved = target

    def reach(self, size: int, need: int) -> None:
        """Reserve ``need`` bytes from the file's start, of which ``size`` are used, and a step more if that fits.

        LogRefused: there is no room, or the disk is ill, or it was just now.
        """
        if not self.supported or need <= self.reserved:
            return
        if self.error is not None and self._clock.monotonic() < self.retry_at:
            raise LogRefused(self.error.errno)
        start = max(self.reserved, size)
        for more in (self.step, min(SMALL_STEP_BYTES, self.step), 0):
            try:
                self.supported = self.file.allocate(start, need + more - start)
            except OSError as error:
                self.error = LogRefused(error.errno or errno.EIO)
                if error.errno not in FULL:
                    break
            else:
                self.error = None
                self.reserved = need + more if self.supported else size
                return
        assert self.error is not None
        self.retry_at = self._clock.monotonic() + RETRY_S
        raise LogRefused(self.error.errno)
