"""The BASE of a log in RDB form, loaded: a file by itself, or the preamble of commands.

Nothing that the file holds is left out because its time has come: the log goes on behind
it and says itself what expired.  Nothing is skipped either: what cannot be held (a value of
a module) refuses the start, since the next rewrite would leave it out for good.

What is wrong with the file is told as everything that is wrong with a log: ``LogDamaged``
with file and offset, and opcode and key in the reason.

It must not know: how the log goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perdure.snapshot.keyspace import Loader
from perdure.snapshot.rdb.errors import RdbError
from perdure.snapshot.rdb.events import Entry
from perdure.snapshot.rdb.reader import Reader
from perdure.snapshot.rdb.source import open_source
from perdure.store.database import Keyspace
from perdure.store.value_types import Limits
from perdure.wal.damage import LogDamaged
from perdure.wal.filesystem import Filesystem

_STEP = 4096
"""Events between two looks at how far it is."""


@dataclass(slots=True)
class Base:
    """What was loaded: ``end``, where commands may follow, and what is the server's affair."""

    end: int
    keys: int
    functions: list[bytes] = field(default_factory=list)
    facts: dict[bytes, bytes] = field(default_factory=dict)


def load_base(
    fs: Filesystem,
    path: str,
    keyspace: Keyspace,
    limits: Limits,
    tell: Callable[[int], None],
    *,
    keep_uses: bool = False,
) -> Base:
    """Load the RDB file ``path``, or the RDB that it begins with; ``tell`` hears how many bytes are loaded.

    LogDamaged: it cannot be; what was loaded until then must not be served.
    """
    try:
        reader = Reader(open_source(fs, path), modules=False)
        loader = Loader(reader, keyspace, limits, keep_uses=keep_uses)
        while loader.step(_STEP):
            tell(reader.offset)
    except RdbError as error:
        raise as_damage(path, error) from None
    assert loader.end is not None
    return Base(loader.end.offset, loader.keys, loader.functions, loader.facts)


def skim_base(fs: Filesystem, path: str, tell: Callable[[int], None]) -> Base:
    """Decode all that ``load_base`` would load, and keep nothing of it.  LogDamaged as there."""
    try:
        reader = Reader(open_source(fs, path), modules=False)
        keys = 0
        for event in reader:
            if event.__class__ is Entry:
                keys += 1
                if keys % _STEP == 0:
                    tell(reader.offset)
    except RdbError as error:
        raise as_damage(path, error) from None
    return Base(reader.offset, keys)


def as_damage(path: str, error: RdbError) -> LogDamaged:
    """An RDB that cannot be read, as damage of the log."""
    place = RdbError(error.reason).at("", 0, error.opcode, error.key)
    place.offset = None
    return LogDamaged(path, error.offset or 0, str(place))
