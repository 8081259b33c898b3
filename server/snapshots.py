"""What of a server goes into a snapshot, and how one comes back: keys, libraries, facts.

``Snapshot`` is a picture that is taken by being made: where the process forks behind it, in the
child, it writes what memory was then.

It must not know: when snapshots are made, and what for.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from perdure.server.scripting.libraries import libraries_of
from perdure.server.version import REDIS_VERSION
from perdure.snapshot.files import SYNC_BYTES, Sink, write_file
from perdure.snapshot.keyspace import Form, Idle, Loader, write_rdb
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import open_source
from perdure.snapshot.rdb.writer import standard_aux
from perdure.store.database import Database, Keyspace
from perdure.store.uses import Frequency, Recency
from perdure.wal.atomic import remove_quietly
from perdure.wal.filesystem import Filesystem

if TYPE_CHECKING:
    from perdure.server.children import Report
    from perdure.server.server import Server

_TEMP = re.compile(r"temp-\d+\.rdb")
_STEP = 4096
"""Events between two looks at how far a load is."""


def temp_name(pid: int) -> str:
    """The name under which a process writes a snapshot, as stock has it."""
    return f"temp-{pid}.rdb"


def remove_leftovers(fs: Filesystem, directory: str) -> int:
    """Remove what processes that are gone did not finish; how many files.  OSError: the directory cannot be read."""
    names = [name for name in fs.names(directory) if _TEMP.fullmatch(name)]
    for name in names:
        remove_quietly(fs, os.path.join(directory, name))
    return len(names)


class Snapshot:
    """All data of a server, to be written."""

    def __init__(self, server: Server, *, aof_base: bool = False) -> None:
        self._server = server
        self.keys = server.keyspace.key_count()
        self._aof_base = aof_base
        self.sync_bytes = SYNC_BYTES if server.config["rdb-save-incremental-fsync"] else 0

    def write(self, sink: Sink, report: Report) -> None:
        """Write the RDB file into ``sink``."""
        keyspace = self._server.keyspace
        form = Form(**rdb_options(self._server, aof_base=self._aof_base))
        write_rdb(keyspace, libraries_of(keyspace).codes(), form, sink, report)

    def save(self, fs: Filesystem, directory: str, temp: str, name: str, report: Report) -> None:
        """Write it as the file ``name`` of ``directory``, as ``snapshot.files.write_file`` does."""
        write_file(fs, directory, temp, name, lambda sink: self.write(sink, report), self.sync_bytes)


def rdb_options(server: Server, *, aof_base: bool) -> dict[str, Any]:
    """How an RDB of the server is written by its configuration: the fields of a ``Form``.

    To sum up what is used takes a while, so it is for the child to ask.
    """
    config = server.config
    return {
        "facts": standard_aux(REDIS_VERSION, server.now_ms() // 1000, server.engine.max_memory.used(), aof_base),
        "compress": config["rdbcompression"],
        "checksum": config["rdbchecksum"],
        "limits": server.type_limits,
        "idle": _idle_of(config["maxmemory-policy"]),
        "before_each": _delay_of(config["rdb-key-save-delay"]),
    }


def _idle_of(policy: str) -> Idle | None:
    """How keys were used stands in the file where a policy goes by it, as in stock."""
    if "lru" not in policy and "lfu" not in policy:
        return None

    def idle(db: Database, key: bytes) -> tuple[int | None, int | None]:
        uses = db.uses
        if isinstance(uses, Frequency):
            return None, uses.count(key)
        if isinstance(uses, Recency):
            return uses.idle_ms(key) // 1000, None
        return None, None

    return idle


def _delay_of(microseconds: int) -> Callable[[], None] | None:
    """``rdb-key-save-delay``: to wait before each key, for tests; below 0: 1 us before one in so many."""
    if microseconds >= 0:
        return (lambda: time.sleep(microseconds / 1e6)) if microseconds else None
    countdown = [0]

    def sometimes() -> None:
        countdown[0] -= 1
        if countdown[0] <= microseconds:
            countdown[0] = 0
            time.sleep(1e-6)

    return sometimes


# ---- back again ---------------------------------------------------------------------------------


def load_file(
    server: Server,
    fs: Filesystem,
    path: str,
    keyspace: Keyspace,
    tell: Callable[[Loader, int], None],
    *,
    now_ms: int | None = None,
    libraries: bool = True,
) -> Loader:
    """Load ``path`` into ``keyspace``, which is empty; ``tell(loader, offset)`` now and then.

    Keys that have expired by ``now_ms`` are left out.  Without ``libraries`` those are only in ``Loader.functions``.

    RdbError (with file, offset, opcode, key), OSError, CommandError (a library that does not load): what
    was loaded until then must not be served.
    """
    reader = Reader(open_source(fs, path), modules=False)
    keep_uses = server.keyspace.databases[0].uses is not None
    before_each = _delay_of(server.config["key-load-delay"])
    loader = Loader(reader, keyspace, server.type_limits, now_ms=now_ms, keep_uses=keep_uses)
    tell(loader, 0)
    while loader.step(1 if before_each is not None else _STEP):
        tell(loader, reader.offset)
        if before_each is not None:
            before_each()
    if libraries:
        load_libraries(keyspace, loader.functions)
    return loader


def load_libraries(keyspace: Keyspace, codes: Iterable[bytes]) -> None:
    """Put the libraries of a file into ``keyspace``; CommandError: one does not load."""
    libraries = libraries_of(keyspace)
    for code in codes:
        libraries.put(libraries.prepare(code, replace=False, timed=False))


def memory_used(facts: Mapping[bytes, bytes]) -> int:
    """Bytes that the writer of a file used, as its facts say; 0 if they do not."""
    used = facts.get(b"used-mem", b"")
    return int(used) if used.isdigit() else 0
