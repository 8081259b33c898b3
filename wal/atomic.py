"""ATOMIC-FILE: a file is replaced whole or not at all.

Written aside, fsynced, renamed, and its directory fsynced.  After a crash at any
point the name stands for the old content or for the new one.  A temporary file
that a crash left behind is replaced by the next attempt.

It must not know: what the file means.
"""

from __future__ import annotations

import contextlib
import errno
import os

from perdure.wal.filesystem import File, Filesystem

TEMP_PREFIX = "temp-"
"""Stock's own prefix for a manifest that is being written: it cleans up such names, and so do we."""


def write_all(file: File, data: bytes) -> None:
    """Append ``data`` whole, going on after short writes.  OSError: some of it may be there."""
    taken = file.write(data)
    while taken < len(data):
        data = data[taken:]
        taken = file.write(data)
        if taken <= 0:
            raise OSError(errno.EIO, "write took nothing")


def temp_name(name: str) -> str:
    """The name under which a file that is to be called ``name`` is written first."""
    return TEMP_PREFIX + name


def write_aside(fs: Filesystem, directory: str, name: str, data: bytes) -> None:
    """Write what is to be the content of ``name`` under its temporary name, durably.  OSError: nothing has changed."""
    temp = os.path.join(directory, temp_name(name))
    with contextlib.suppress(FileNotFoundError):
        fs.remove(temp)
    file = fs.create(temp)
    try:
        write_all(file, data)
        file.sync()
    finally:
        file.close()


def put_in_place(fs: Filesystem, directory: str, name: str) -> None:
    """Put what was written aside in the place of ``name``.

    OSError: the old content or the new one stands, and after a crash either may.
    """
    fs.rename(os.path.join(directory, temp_name(name)), os.path.join(directory, name))
    fs.sync_directory(directory)


def replace_file(fs: Filesystem, directory: str, name: str, data: bytes) -> None:
    """Make ``data`` the content of ``name`` in ``directory``, durably; OSError as the two above."""
    write_aside(fs, directory, name, data)
    put_in_place(fs, directory, name)


def remove_quietly(fs: Filesystem, path: str) -> None:
    """Remove a file that nobody needs; what cannot be removed only takes space, and goes another time."""
    with contextlib.suppress(OSError):
        fs.remove(path)
