"""A file that is written whole or not at all, and may be large: what a snapshot goes into (ATOMIC-FILE).

Written under a temporary name, fsynced on the way (so that the last fsync is short, and the
kernel never has much to write at once), renamed, and its directory fsynced.  Until the
rename the file of that name from before is untouched; what a failure leaves is removed.

It must not know: what is in the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from perdure.wal.atomic import remove_quietly, write_all
from perdure.wal.filesystem import File, Filesystem

SYNC_BYTES = 4 << 20
"""Stock's ``REDIS_AUTOSYNC_BYTES``."""

Sink = Callable[[bytes], None]


class SnapshotFile:
    """The file as it is written.  ``sync_bytes``: an fsync each time so much is unsynced; 0 for at the end only."""

    def __init__(self, file: File, sync_bytes: int) -> None:
        self._file = file
        self._sync_bytes = sync_bytes
        self._unsynced = 0

    def write(self, data: bytes) -> None:
        """Append all of ``data``."""
        write_all(self._file, data)
        self._unsynced += len(data)
        if 0 < self._sync_bytes <= self._unsynced:
            self._file.sync()
            self._unsynced = 0

    def finish(self) -> None:
        """All of it is on the disk when this returns."""
        self._file.sync()


def write_file(
    fs: Filesystem, directory: str, temp: str, name: str, fill: Callable[[Sink], object], sync_bytes: int = SYNC_BYTES
) -> None:
    """Have ``fill(sink)`` write the file ``name`` of ``directory``, by way of the name ``temp``.

    What it raises goes through, and so does OSError: the file from before stands.  (If it was the last
    step that failed, the directory's fsync, it may be either.)
    """
    aside = os.path.join(directory, temp)
    with contextlib.suppress(FileNotFoundError):
        fs.remove(aside)
    file = fs.create(aside)
    try:
        try:
            out = SnapshotFile(file, sync_bytes)
            fill(out.write)
            out.finish()
        finally:
            file.close()
        fs.rename(aside, os.path.join(directory, name))
    except Exception:
        remove_quietly(fs, aside)
        raise
    fs.sync_directory(directory)
