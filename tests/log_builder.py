"""Builds logs byte by byte for tests of reading: what a writer would leave, without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from crc32c import crc32c

from perdure.wal import format as lines
from perdure.wal.manifest import Entry, incr_name, manifest_name, render, render_stock
from perdure.wal.recovery import Recovery, read_log
from perdure.wal.simulated import SimulatedFilesystem

LOG_ID = b"0123456789abcdef" * 2
DIRECTORY = "/data/appendonlydir"
BASENAME = "appendonly.aof"
UNIX_MS = 1_700_000_000_000


def command(*args: bytes | str) -> bytes:
    words = [arg.encode() if isinstance(arg, str) else arg for arg in args]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def payload(*commands: tuple[bytes | str, ...]) -> bytes:
    return command("SELECT", "0") + b"".join(command(*words) for words in commands)


@dataclass
class OwnFile:
    """An INCR file of ours that grows; ``ends`` are (offset, lsn, chain) behind start line and each batch."""

    lsn: int = 0
    prev: int = lines.NO_CHAIN
    log_id: bytes = LOG_ID
    data: bytes = b""
    chain: int = 0
    start_lsn: int = 0
    start_prev: int = 0
    ends: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start_lsn, self.start_prev = self.lsn, self.prev
        self.data, self.chain = lines.start_line(self.log_id, self.lsn, self.prev)
        self._note()

    def _note(self) -> None:
        self.ends.append((len(self.data), self.lsn, self.chain))

    def batch(self, body: bytes, durable: int = 0) -> OwnFile:
        seed = lines.seed_of(self.log_id)
        header, self.chain = lines.batch_header(seed, self.lsn, body, durable, UNIX_MS, self.chain)
        self.data += header + body
        self.lsn += len(body)
        self._note()
        return self

    def time(self) -> OwnFile:
        self.data += lines.time_line(UNIX_MS // 1000)
        return self

    def end(self) -> OwnFile:
        line, self.chain = lines.end_line(lines.seed_of(self.log_id), self.lsn, self.chain)
        self.data += line
        return self

    def foreign(self, body: bytes, of_commands: int | None = None) -> OwnFile:
        self.data += body
        self.chain = crc32c(body, self.chain)
        self.lsn += len(body) if of_commands is None else of_commands
        return self


@dataclass
class Log:
    """The files of a directory and what they were built from; a None file is stock's own."""

    files: dict[str, bytes] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def add(self, file: OwnFile) -> Log:
        seq = len(self.entries) + 1
        name = incr_name(BASENAME, seq)
        self.entries.append(Entry(name, seq, "i", lsn=file.start_lsn, prev=file.start_prev))
        self.files[name] = file.data
        return self

    def add_foreign(self, data: bytes, kind: str = "i", name: str | None = None) -> Log:
        seq = len(self.entries) + 1
        name = name or incr_name(BASENAME, seq)
        self.entries.append(Entry(name, seq, kind))
        self.files[name] = data
        return self

    def with_manifest(self, stock: bool = False) -> Log:
        text = render_stock(self.entries) if stock else render(LOG_ID, self.entries)
        self.files[manifest_name(BASENAME)] = text
        return self

    def disk(self, **changed: bytes | None) -> SimulatedFilesystem:
        fs = SimulatedFilesystem(("/data", DIRECTORY))
        for name, data in {**self.files, **changed}.items():
            if data is not None:
                fs.put(f"{DIRECTORY}/{name}", data)
        return fs


@dataclass
class Applied:
    """What ``read_log`` delivered."""

    recovery: Recovery
    data: bytes


def read(fs: SimulatedFilesystem, **options: object) -> Applied:
    """``read_log`` on the usual directory; asserts that it changed nothing."""
    parts: list[bytes] = []

    def apply(body: bytes) -> int:
        parts.append(body)
        return body.count(b"\r\n*") + 1

    before = fs.files()
    try:
        recovery = read_log(fs, DIRECTORY, BASENAME, apply, **options)  # type: ignore[arg-type]
    finally:
        assert fs.files() == before
    return Applied(recovery, b"".join(parts))


# ---- a log of two files ------------------------------------------------------

LAST = incr_name(BASENAME, 2)
FIRST = incr_name(BASENAME, 1)
SELECT = command("SELECT", "0")


def set_batch(key: str) -> bytes:
    return payload(("SET", key, f"value of {key} \r\n*1\r\n$4\r\nPING\r\n"))


def first_file() -> OwnFile:
    return OwnFile().batch(set_batch("a")).batch(payload(("MULTI",), ("INCR", "n"), ("INCR", "n"), ("EXEC",))).end()


def two_files(fsynced: bool = True) -> tuple[Log, OwnFile, OwnFile]:
    """``fsynced``: as `always` writes, each header says that all before it is safe."""
    one = first_file()
    two = OwnFile(one.lsn, one.chain)
    for key in ("b", "c", "d"):
        two.batch(set_batch(key), durable=two.lsn if fsynced else two.start_lsn)
    return Log().add(one).add(two).with_manifest(), one, two


def bodies(*files: OwnFile) -> bytes:
    out = []
    for file in files:
        for (start, lsn, _), (end, after, _) in zip(file.ends, file.ends[1:], strict=False):
            out.append(file.data[start:end][-(after - lsn) :] if after > lsn else b"")
    return b"".join(out)
