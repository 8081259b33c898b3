"""The one filesystem interface: everything that log and snapshot do to a disk.

Two implementations: ``RealFilesystem`` here, ``SimulatedFilesystem`` in
``wal.simulated``, which can crash, tear, delay, fill and fail at every call.
Paths are str.  Every method may raise OSError.

What may be relied upon after a crash, and nothing more:

- bytes of a file that were written before its ``sync`` returned;
- names (created, renamed, removed) in a directory before ``sync_directory``
  of that directory returned.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Protocol


class File(Protocol):
    """An open file that is only ever appended to."""

    def write(self, data: bytes) -> int:
        """Append; returns how many bytes were taken, which may be fewer than given."""

    def sync(self) -> None:
        """fdatasync: data and length are on the disk when it returns."""

    def allocate(self, offset: int, length: int) -> bool:
        """Reserve disk space for ``length`` bytes from ``offset`` without changing the file's size.

        False where the filesystem cannot reserve; OSError (ENOSPC, EDQUOT) where there is no room.
        """

    def truncate(self, size: int) -> None:
        """Cut to ``size`` bytes; what is written next follows there.  Gives reserved space back."""

    def close(self) -> None:
        """Close; syncs nothing."""


class Filesystem(Protocol):
    """A disk."""

    def create(self, path: str) -> File:
        """A new, empty file open for appending; FileExistsError if the name is taken."""

    def open_append(self, path: str) -> File:
        """An existing file open for appending at its end."""

    def size(self, path: str) -> int:
        """Length in bytes."""

    def read(self, path: str, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the file."""

    def rewrite(self, path: str, offset: int) -> None:
        """Write the bytes that a file has from ``offset`` on once more, in place, and sync them.

        After a failed sync, perhaps of another process, they may read well and
        yet be on no disk; when this returns they are.
        """

    def names(self, directory: str) -> list[str]:
        """The names in a directory, sorted."""

    def exists(self, path: str) -> bool:
        """Is there a file or directory of that name?"""

    def make_directory(self, path: str) -> None:
        """Create a directory; its parent must exist, and it is no error if it exists itself."""

    def rename(self, source: str, target: str) -> None:
        """Atomically give ``source`` the name ``target``, which is replaced."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def sync_directory(self, path: str) -> None:
        """fsync of a directory: its names are on the disk when it returns."""


_FALLOC_FL_KEEP_SIZE = 1
_REWRITE_BYTES = 1 << 20
_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EPERM})

# os.posix_fallocate changes the file's size, so libc's own call is needed.
_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", None) or getattr(_libc, "fallocate", None)
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    _fallocate.restype = ctypes.c_int


class RealFile:
    """A file of the operating system's, opened with O_APPEND.

    ``write`` is one system call, so it may be short; os.write and the others
    repeat a call that a signal interrupted.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def write(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def allocate(self, offset: int, length: int) -> bool:
        if _fallocate is None:
            return False
        while _fallocate(self._fd, _FALLOC_FL_KEEP_SIZE, offset, length) != 0:
            code = ctypes.get_errno()
            if code in _CANNOT_RESERVE:
                return False
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code), self._path)
        return True

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealFilesystem:
    """The disk of this machine."""

    def create(self, path: str) -> RealFile:
        return RealFile(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), path)

    def open_append(self, path: str) -> RealFile:
        return RealFile(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), path)

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def read(self, path: str, offset: int, length: int) -> bytes:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, length, offset)
            if not data or len(data) == length:
                return data
            parts = [data]
            missing = length - len(data)
            while missing and (data := os.pread(fd, missing, offset + length - missing)):
                parts.append(data)
                missing -= len(data)
            return b"".join(parts)
        finally:
            os.close(fd)

    def rewrite(self, path: str, offset: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            while data := os.pread(fd, _REWRITE_BYTES, offset):
                offset += os.pwrite(fd, data, offset)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def names(self, directory: str) -> list[str]:
        return sorted(os.listdir(directory))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def make_directory(self, path: str) -> None:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            if not os.path.isdir(path):
                raise

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
