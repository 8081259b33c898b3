"""The writer's calls of the disk, as functions that can run in place or as a job, and their failures.

It must not know: batches, policies.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from perdure.wal import format as lines
from perdure.wal.atomic import write_all

if TYPE_CHECKING:
    from perdure.wal.executor import Clock
    from perdure.wal.filesystem import File, Filesystem


TAIL_BYTES = 1 << 20
LARGEST_RATIO = 8
"""Of a batch with its lines to its payload, which is a SELECT and a command, 40 bytes at least."""


class LogRefused(Exception):
    """The log takes no write now.  ``errno`` says why, ``text`` in words."""

    def __init__(self, code: int) -> None:
        self.errno = code
        self.text = os.strerror(code)
        super().__init__(code, self.text)


def as_os_error(error: BaseException | None) -> OSError:
    """What a job ended with, as the disk's fault: a thread that could not be had is one, too."""
    return error if isinstance(error, OSError) else OSError(errno.EIO, str(error))


def raise_refusal(refusal: LogRefused | None) -> None:
    """As an OSError, for a caller who cannot wait until it is over."""
    if refusal is not None:
        raise OSError(refusal.errno, refusal.text)


def put(file: File, data: bytes, size: int, torn: bool) -> tuple[OSError | None, bool]:
    """Append ``data`` to a file of ``size`` whole bytes, which is cut to them first if it is torn.

    Returns what went wrong and whether bytes behind ``size`` may be in the file.
    """
    try:
        if torn:
            file.truncate(size)
    except OSError as error:
        return error, True
    try:
        write_all(file, data)
    except OSError as error:
        try:
            file.truncate(size)
        except OSError:
            return error, True
        return error, False
    return None, False


def timed_sync(file: File, clock: Clock) -> float:
    """fsync; how many microseconds it took."""
    start = clock.monotonic()
    file.sync()
    return (clock.monotonic() - start) * 1e6


def settle_file(fs: Filesystem, path: str, log_id: bytes) -> None:
    """Make durable what was read from a former run's file, and give back the space that it reserved.

    After a kill of the process alone the file's end may be in the page cache only,
    and if an fsync had failed before, no fsync would bring it to the disk any more
    (NO-SECOND-FSYNC): what was not surely durable is written once more.
    """
    size = fs.size(path)
    file = fs.open_append(path)
    try:
        file.truncate(size)
    finally:
        file.close()
    fs.rewrite(path, max(0, size - doubtful_bytes(fs, path, size, log_id)))


def doubtful_bytes(fs: Filesystem, path: str, size: int, log_id: bytes) -> int:
    """How many bytes at a file's end may not be durable, rather too many than too few; none of a file not ours.

    The last header that verifies says what was durable when it was written; a
    batch takes at most ``LARGEST_RATIO`` times its payload.
    """
    seed = lines.seed_of(log_id)
    if not fs.read(path, 0, lines.MAX_LINE_BYTES).startswith(b"#PERDURE "):
        return 0
    window = fs.read(path, max(0, size - TAIL_BYTES), TAIL_BYTES)
    at = len(window)
    while (at := window.rfind(b"#", 0, at)) >= 0:
        line = window[at : window.find(b"\n", at) + 1]
        facts = lines.parse(line)
        if isinstance(facts, lines.End) and lines.crc_is_right(line, facts.crc, seed):
            return TAIL_BYTES
        if isinstance(facts, lines.Batch):
            payload = window[at + len(line) : at + len(line) + facts.length]
            if lines.crc_is_right(line, facts.crc, seed, payload):
                return TAIL_BYTES + LARGEST_RATIO * (facts.lsn + facts.length - facts.durable)
    return size
