"""A disk that can crash, tear, fill and fail at every call, all of it repeatable.

It holds for every file what was written and what is on the platter, and for every
directory which names are on the platter.  Every call has a number, so a run can
be repeated with a fault at call n.

What it models:

- ``sync`` puts the dirty pages and the length on the platter.  A ``sync`` that
  fails calls the dirty pages clean: they still read well, no later ``sync``
  writes them, and at a power loss each may be there or not (NO-SECOND-FSYNC).
- ``sync_directory`` puts the names on the platter, and with a name nothing of
  what is in the file.
- Space: a write behind what is reserved takes some, ``allocate`` takes it whole
  or fails, the last write that fits in part is short.
- ``kill`` ends the process: what was written stays, synced or not.
- ``crash`` and ``legal_states`` are a power loss: see ``wal.simulated_crash``.

It must not know: what is in the files.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

PAGE_BYTES = 4096
MUTATING = frozenset(
    {"create", "write", "rewrite", "sync", "allocate", "truncate", "rename", "remove"}
    | {"make_directory", "sync_directory"}
)
"""The calls that can change what a crash leaves."""


class SimulatedCrash(BaseException):
    """The machine stopped.  Nothing catches it by accident, and every later call raises it again."""


class When(Enum):
    """Of a crash: before the call has had its effect, in the middle of it (a write), or behind it."""

    BEFORE = "before"
    PART = "part"
    AFTER = "after"


class Fault(NamedTuple):
    """What happens at a call: a crash, or an errno, or a short write (of so many bytes)."""

    crash: When | None = None
    error: int = 0
    short: int = -1


class Call(NamedTuple):
    """One call; ``amount`` is in bytes where that means something."""

    number: int
    name: str
    path: str
    amount: int


class Write(NamedTuple):
    offset: int
    data: bytes


class Truncate(NamedTuple):
    size: int


@dataclass(slots=True, eq=False)
class Node:
    """A file.  ``data`` is what reads give, ``disk`` what is on the platter.

    ``ops`` lead from ``disk`` to ``data``, except where pages are ``lost``.
    """

    data: bytearray = field(default_factory=bytearray)
    disk: bytes = b""
    ops: list[Write | Truncate] = field(default_factory=list)
    dirty: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    reserved: int = 0

    def write(self, data: bytes) -> None:
        offset = len(self.data)
        self.data += data
        self.ops.append(Write(offset, data))
        self.dirty.update(pages(offset, len(self.data)))

    def rewrite(self, offset: int) -> None:
        self.ops.append(Write(offset, bytes(self.data[offset:])))
        self.dirty.update(pages(offset, len(self.data)))

    def truncate(self, size: int) -> None:
        if size < len(self.data):
            del self.data[size:]
            self.dirty.update(pages(max(0, size - 1), size))
        else:
            self.data.extend(bytes(size - len(self.data)))
        self.ops.append(Truncate(size))
        self.dirty = {page for page in self.dirty if page * PAGE_BYTES < size}
        self.lost = {page for page in self.lost if page * PAGE_BYTES < size}
        self.reserved = size

    def sync(self) -> None:
        if not self.lost:
            self.disk = bytes(self.data)
        else:
            disk = bytearray(self.disk[: len(self.data)])
            disk.extend(bytes(len(self.data) - len(disk)))
            for page in self.dirty:
                part = slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
                disk[part] = self.data[part]
            self.disk = bytes(disk)
            self.lost -= self.dirty
        self.dirty.clear()
        self.ops.clear()

    def lose(self) -> None:
        """A sync failed."""
        self.lost |= self.dirty
        self.dirty.clear()

    def copy(self) -> Node:
        return Node(bytearray(self.data), self.disk, list(self.ops), set(self.dirty), set(self.lost), self.reserved)

    def uncertain(self) -> bool:
        """Can a crash leave more than one content?"""
        return bool(self.ops or self.lost)


class Link(NamedTuple):
    """A name was given to a file."""

    name: str
    node: Node


class Unlink(NamedTuple):
    name: str


class Rename(NamedTuple):
    source: str
    target: str
    node: Node


@dataclass(slots=True, eq=False)
class Directory:
    """Names: those that are seen, those on the platter, and the changes that lead from these to those."""

    names: dict[str, Node] = field(default_factory=dict)
    disk: dict[str, Node] = field(default_factory=dict)
    ops: list[Link | Unlink | Rename] = field(default_factory=list)
    durable: bool = False
    """Is the directory itself on the platter?"""

    def sync(self) -> None:
        self.disk = dict(self.names)
        self.ops.clear()


class SimulatedFile:
    """An open file."""

    def __init__(self, fs: SimulatedFilesystem, node: Node, path: str) -> None:
        self._fs, self._node, self._path = fs, node, path
        self._closed = False

    def write(self, data: bytes) -> int:
        fault = self._begin("write", len(data))
        fits = self._fs._fits(self._node, len(data))
        if not fits and data:
            raise os_error(errno.ENOSPC, self._path)
        if fault is not None and fault.short >= 0:
            fits = min(fits, fault.short)
        if fault is not None and fault.crash is When.PART:
            fits = fits // 2
        self._node.write(bytes(data[:fits]))
        self._node.reserved = max(self._node.reserved, len(self._node.data))
        self._fs._end(fault)
        return fits

    def sync(self) -> None:
        try:
            fault = self._begin("sync", 0)
        except OSError:
            self._node.lose()
            raise
        self._node.sync()
        self._fs._end(fault)

    def allocate(self, offset: int, length: int) -> bool:
        fault = self._begin("allocate", length)
        if not self._fs.can_reserve:
            return False
        grows = offset + length - self._node.reserved
        if grows > 0:
            if grows > self._fs._left():
                raise os_error(errno.ENOSPC, self._path)
            self._node.reserved = offset + length
        self._fs._end(fault)
        return True

    def truncate(self, size: int) -> None:
        fault = self._begin("truncate", size)
        self._node.truncate(size)
        self._fs._end(fault)

    def close(self) -> None:
        self._begin("close", 0)
        self._closed = True

    def _begin(self, name: str, amount: int) -> Fault | None:
        if self._closed:
            raise os_error(errno.EBADF, self._path)
        return self._fs._begin(name, self._path, amount)


class SimulatedFilesystem:
    """The disk.  Set ``faults``, ``sick`` and ``on_call`` from outside to make it ill.

    faults    a fault for the call of that number
    sick      an errno for every call of that name, as long as it stands there
    on_call   asked at each call; may return a fault, move a clock, run other things
    capacity  bytes of space, None for no limit
    trace     the calls so far, if it is a list
    """

    def __init__(self, directories: Iterable[str] = ("/data",), capacity: int | None = None) -> None:
        self.directories: dict[str, Directory] = {path: Directory(durable=True) for path in ("/", *directories)}
        self.capacity = capacity
        self.can_reserve = True
        self.calls = 0
        self.faults: dict[int, Fault] = {}
        self.sick: dict[str, int] = {}
        self.on_call: Callable[[Call], Fault | None] | None = None
        self.trace: list[Call] | None = None
        self.stopped = False

    # ---- the interface ------------------------------------------------------

    def create(self, path: str) -> SimulatedFile:
        fault = self._begin("create", path)
        directory, name = self._locate(path)
        if name in directory.names or path in self.directories:
            raise os_error(errno.EEXIST, path)
        if self._left() <= 0:
            raise os_error(errno.ENOSPC, path)
        node = Node()
        directory.names[name] = node
        directory.ops.append(Link(name, node))
        self._end(fault)
        return SimulatedFile(self, node, path)

    def open_append(self, path: str) -> SimulatedFile:
        self._begin("open_append", path)
        return SimulatedFile(self, self._node(path), path)

    def size(self, path: str) -> int:
        self._begin("size", path)
        return len(self._node(path).data)

    def read(self, path: str, offset: int, length: int) -> bytes:
        self._begin("read", path, length)
        return bytes(self._node(path).data[offset : offset + length])

    def rewrite(self, path: str, offset: int) -> None:
        fault = self._begin("rewrite", path)
        node = self._node(path)
        node.rewrite(offset)
        node.sync()
        self._end(fault)

    def names(self, directory: str) -> list[str]:
        self._begin("names", directory)
        found = self._directory(directory)
        inside = (os.path.basename(path) for path in self.directories if os.path.dirname(path) == directory != path)
        return sorted([*found.names, *inside])

    def exists(self, path: str) -> bool:
        self._begin("exists", path)
        above = self.directories.get(os.path.dirname(path))
        return path in self.directories or (above is not None and os.path.basename(path) in above.names)

    def make_directory(self, path: str) -> None:
        fault = self._begin("make_directory", path)
        above, name = self._locate(path)
        if name in above.names:
            raise os_error(errno.EEXIST, path)
        if path not in self.directories:
            self.directories[path] = Directory()
        self._end(fault)

    def rename(self, source: str, target: str) -> None:
        fault = self._begin("rename", source)
        directory, name = self._locate(source)
        above, new_name = self._locate(target)
        if above is not directory:
            raise os_error(errno.EXDEV, source)
        node = self._node(source)
        del directory.names[name]
        directory.names[new_name] = node
        directory.ops.append(Rename(name, new_name, node))
        self._end(fault)

    def remove(self, path: str) -> None:
        fault = self._begin("remove", path)
        self._node(path)
        directory, name = self._locate(path)
        del directory.names[name]
        directory.ops.append(Unlink(name))
        self._end(fault)

    def sync_directory(self, path: str) -> None:
        fault = self._begin("sync_directory", path)
        self._directory(path).sync()
        for inside, directory in self.directories.items():
            if os.path.dirname(inside) == path:
                directory.durable = True
        self._end(fault)

    # ---- what a test does with it ---------------------------------------------

    def content(self, path: str) -> bytes:
        """What is in a file, outside of the count of calls."""
        return bytes(self._node(path).data)

    def put(self, path: str, data: bytes) -> None:
        """Make a file with that content, all of it on the platter, outside of the count of calls."""
        directory, name = self._locate(path)
        directory.names[name] = directory.disk[name] = Node(bytearray(data), bytes(data))

    def files(self) -> dict[str, bytes]:
        """Every file's content by path."""
        return {
            os.path.join(path, name): bytes(node.data)
            for path, directory in sorted(self.directories.items())
            for name, node in sorted(directory.names.items())
        }

    def kill(self) -> SimulatedFilesystem:
        """The disk after the process was killed: all that was written is there, and as much of it as before is synced.

        Faults and counts begin anew.
        """
        copies: dict[int, Node] = {}

        def copy(node: Node) -> Node:
            if id(node) not in copies:
                copies[id(node)] = node.copy()
            return copies[id(node)]

        def copy_op(op: Link | Unlink | Rename) -> Link | Unlink | Rename:
            return op if isinstance(op, Unlink) else op._replace(node=copy(op.node))

        after = SimulatedFilesystem((), self.capacity)
        after.can_reserve = self.can_reserve
        after.directories = {
            path: Directory(
                {name: copy(node) for name, node in directory.names.items()},
                {name: copy(node) for name, node in directory.disk.items()},
                [copy_op(op) for op in directory.ops],
                directory.durable,
            )
            for path, directory in self.directories.items()
        }
        return after

    def crash(self, rng: random.Random) -> SimulatedFilesystem:
        """The disk after a power loss, in one of its legal states."""
        from perdure.wal.simulated_crash import random_state

        return random_state(self, rng)

    def legal_states(self, limit: int) -> Iterator[SimulatedFilesystem]:
        """The distinct interesting states that a power loss may leave, at most ``limit``, always the same ones."""
        from perdure.wal.simulated_crash import distinct_states

        return distinct_states(self, limit)

    # ---- inside -----------------------------------------------------------------

    def _begin(self, name: str, path: str, amount: int = 0) -> Fault | None:
        if self.stopped:
            raise SimulatedCrash
        self.calls += 1
        call = Call(self.calls, name, path, amount)
        if self.trace is not None:
            self.trace.append(call)
        fault = self.faults.get(call.number)
        if self.on_call is not None:
            asked = self.on_call(call)
            fault = fault or asked
        if fault is not None and fault.crash is not None:
            # Behind a call that fails, or that changes nothing, the machine stops at the next one at the latest.
            self.stopped = True
            if fault.crash is When.BEFORE or name not in MUTATING:
                raise SimulatedCrash
        code = fault.error if fault is not None and fault.error else self.sick.get(name, 0)
        if code:
            raise os_error(code, path)
        return fault

    def _end(self, fault: Fault | None) -> None:
        if fault is not None and fault.crash is not None:
            self.stopped = True
            raise SimulatedCrash

    def _directory(self, path: str) -> Directory:
        found = self.directories.get(path)
        if found is None:
            raise os_error(errno.ENOENT, path)
        return found

    def _locate(self, path: str) -> tuple[Directory, str]:
        return self._directory(os.path.dirname(path)), os.path.basename(path)

    def _node(self, path: str) -> Node:
        directory, name = self._locate(path)
        node = directory.names.get(name)
        if node is None:
            raise os_error(errno.ENOENT, path)
        return node

    def _left(self) -> int:
        """Bytes of space left."""
        if self.capacity is None:
            return 1 << 62
        nodes = {id(node): node for directory in self.directories.values() for node in directory.names.values()}
        return max(0, self.capacity - sum(max(node.reserved, len(node.data)) for node in nodes.values()))

    def _fits(self, node: Node, nbytes: int) -> int:
        """How many of ``nbytes`` behind a file's end there is space for."""
        if self.capacity is None:
            return nbytes
        return min(nbytes, max(node.reserved - len(node.data), 0) + self._left())


def pages(start: int, end: int) -> range:
    """The pages that the bytes from ``start`` to ``end`` lie in."""
    return range(start // PAGE_BYTES, -(-end // PAGE_BYTES))


def os_error(code: int, path: str) -> OSError:
    return OSError(code, os.strerror(code), path)
