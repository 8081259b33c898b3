"""Which states a power loss may leave a simulated disk in.

For each file by itself: the platter's content with a prefix of what was done to
the file since its last sync (a write cut at any byte), and then, of the pages or
sectors in which that differs from the platter, any set as new as written and the
others as old as they were (zeros where the length grew).  Pages that a failed
sync lost may be there or not.

For each directory: the platter's names with any set of the later changes, in
order, that leaves out no change on which one that it holds depends (two changes
of one name).  A rename is done or not.  A directory whose own name is not durable
may be missing.

It must not know: what is in the files.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

from perdure.wal.simulated import (
    PAGE_BYTES,
    Directory,
    Link,
    Node,
    Rename,
    SimulatedFilesystem,
    Truncate,
    Unlink,
    Write,
)

SECTOR_BYTES = 512
MOST_OPS = 24
"""Of a file or directory with more changes since its last sync the last ones are varied singly."""
MOST_PAGES = 8

NameOp = Link | Unlink | Rename


# ---- one file ---------------------------------------------------------------


def replay(disk: bytes, ops: Sequence[Write | Truncate]) -> bytes:
    """``disk`` after ``ops``."""
    data = bytearray(disk)
    for op in ops:
        if isinstance(op, Truncate):
            del data[op.size :]
            data.extend(bytes(op.size - len(data)))
        else:
            data.extend(bytes(max(0, op.offset - len(data))))
            data[op.offset : op.offset + len(op.data)] = op.data
    return bytes(data)


def cut_op(op: Write | Truncate, taken: int) -> Write | Truncate:
    """A write of which only the first ``taken`` bytes were done."""
    return op if isinstance(op, Truncate) else Write(op.offset, op.data[:taken])


def mixed(old: bytes, new: bytes, size: int, fresh: set[int]) -> bytes:
    """``new``, but in blocks of ``size`` that are not in ``fresh`` the bytes of ``old`` (zeros behind its end)."""
    base = old[: len(new)] + bytes(max(0, len(new) - len(old)))
    parts = (new if at // size in fresh else base for at in range(0, len(new), size))
    return b"".join(part[at : at + size] for part, at in zip(parts, range(0, len(new), size), strict=True))


def changed(old: bytes, new: bytes, size: int) -> list[int]:
    """The blocks of ``size`` in which ``new`` differs from ``old`` with zeros behind its end."""
    base = old[: len(new)] + bytes(max(0, len(new) - len(old)))
    return [at // size for at in range(0, len(new), size) if base[at : at + size] != new[at : at + size]]


def with_lost(node: Node, content: bytes, present: set[int]) -> bytes:
    """``content`` with those of the lost pages that reached the platter after all."""
    data = bytearray(content)
    for page in present:
        part = slice(page * PAGE_BYTES, min((page + 1) * PAGE_BYTES, len(data), len(node.data)))
        data[part] = node.data[part]
    return bytes(data)


def random_content(node: Node, rng: random.Random) -> bytes:
    """One legal content of a file after a power loss."""
    style = rng.randrange(8)
    ops = node.ops
    if style == 0 or not node.uncertain():
        return node.disk
    if style == 1:
        return bytes(node.data)
    upto = len(ops) if style >= 5 or not ops else rng.randrange(len(ops))
    done = list(ops[:upto])
    if style in (2, 3) and upto < len(ops):
        op = ops[upto]
        length = len(op.data) if isinstance(op, Write) else 0
        taken = rng.randint(0, length)
        if style == 3 and isinstance(op, Write):
            end = (op.offset + taken) // SECTOR_BYTES * SECTOR_BYTES
            taken = max(0, end - op.offset)
        done.append(cut_op(op, taken))
    content = replay(node.disk, done)
    if style in (4, 5, 6):
        size = SECTOR_BYTES if style == 6 else PAGE_BYTES
        blocks = changed(node.disk, content, size)
        content = mixed(node.disk, content, size, {block for block in blocks if rng.random() < 0.5})
    elif style == 7:
        content = mixed(node.disk, content, PAGE_BYTES, set())
    if node.lost:
        content = with_lost(node, content, {page for page in node.lost if rng.random() < 0.5})
    return content


def contents(node: Node) -> list[bytes]:
    """The distinct interesting contents of a file after a power loss, the plainest first."""
    found = dict.fromkeys((node.disk, bytes(node.data)))
    final = replay(node.disk, node.ops)
    found[final] = None
    first = max(0, len(node.ops) - MOST_OPS)
    at = replay(node.disk, node.ops[:first])
    for op in node.ops[first:]:
        if isinstance(op, Write):
            length = len(op.data)
            sector = -op.offset % SECTOR_BYTES
            for taken in (1, sector, length // 2, length - 1, length - 2):
                if 0 < taken < length:
                    found[replay(at, [cut_op(op, taken)])] = None
        at = replay(at, [op])
        found[at] = None
    for size in (PAGE_BYTES, SECTOR_BYTES):
        blocks = changed(node.disk, final, size)
        found[mixed(node.disk, final, size, set())] = None
        for block in blocks[:MOST_PAGES] + blocks[-MOST_PAGES:]:
            found[mixed(node.disk, final, size, set(blocks) - {block})] = None
            found[mixed(node.disk, final, size, {block})] = None
    if node.lost:
        for content in list(found):
            found[with_lost(node, content, node.lost)] = None
        for page in sorted(node.lost)[:MOST_PAGES]:
            found[with_lost(node, final, {page})] = None
            found[with_lost(node, final, node.lost - {page})] = None
    return list(found)


# ---- one directory ------------------------------------------------------------


def touched(op: NameOp) -> tuple[str, ...]:
    return (op.source, op.target) if isinstance(op, Rename) else (op.name,)


def depends(ops: Sequence[NameOp]) -> list[set[int]]:
    """For each change the earlier ones of the same names: it cannot be there without them."""
    return [
        {j for j in range(i) if set(touched(ops[j])) & set(touched(op))}
        for i, op in enumerate(ops)
    ]


def rename_all(names: dict[str, Node], ops: Sequence[NameOp]) -> dict[str, Node]:
    """``names`` after ``ops``."""
    after = dict(names)
    for op in ops:
        if isinstance(op, Link):
            after[op.name] = op.node
        elif isinstance(op, Unlink):
            after.pop(op.name, None)
        else:
            after.pop(op.source, None)
            after[op.target] = op.node
    return after


def closed(ops: Sequence[NameOp], wanted: set[int]) -> list[NameOp]:
    """Those of the ``wanted`` changes whose forerunners are wanted, too."""
    needs = depends(ops)
    kept: set[int] = set()
    for i in range(len(ops)):
        if i in wanted and needs[i] <= kept:
            kept.add(i)
    return [ops[i] for i in sorted(kept)]


def random_names(directory: Directory, rng: random.Random) -> dict[str, Node]:
    """One legal set of names after a power loss."""
    ops = directory.ops
    style = rng.randrange(4)
    if style == 0:
        chosen: Sequence[NameOp] = ()
    elif style == 1:
        chosen = ops
    elif style == 2:
        chosen = ops[: rng.randint(0, len(ops))]
    else:
        chosen = closed(ops, {i for i in range(len(ops)) if rng.random() < 0.5})
    return rename_all(directory.disk, chosen)


def name_sets(directory: Directory) -> list[dict[str, Node]]:
    """The distinct interesting sets of names after a power loss."""
    ops = directory.ops
    count = len(ops)
    wanted: list[set[int]] = [set(), set(range(count))]
    if count <= 5:
        wanted += [{i for i in range(count) if mask >> i & 1} for mask in range(1 << count)]
    else:
        wanted += [set(range(i)) for i in range(count)]
        wanted += [set(range(count)) - {i} for i in range(count)]
        wanted += [{i} for i in range(count)]
    found: dict[tuple[tuple[str, int], ...], dict[str, Node]] = {}
    for some in wanted:
        names = rename_all(directory.disk, closed(ops, some))
        found[tuple(sorted((name, id(node)) for name, node in names.items()))] = names
    return list(found.values())


# ---- the disk -------------------------------------------------------------------


def build(
    fs: SimulatedFilesystem, names: dict[str, dict[str, Node]], content: dict[int, bytes]
) -> SimulatedFilesystem:
    """A disk with those names in each directory and that content in each file, all of it on the platter."""
    after = SimulatedFilesystem((), fs.capacity)
    after.can_reserve = fs.can_reserve
    after.directories = {}
    for path, inside in names.items():
        nodes = {}
        for name, node in inside.items():
            data = content.get(id(node), node.disk)
            nodes[name] = Node(bytearray(data), data)
        after.directories[path] = Directory(nodes, dict(nodes), durable=True)
    return after


def nodes_of(fs: SimulatedFilesystem) -> list[Node]:
    """Every file that some legal set of names may show, in a fixed order."""
    found: dict[int, Node] = {}
    for directory in fs.directories.values():
        named = [*directory.disk.values(), *directory.names.values()]
        named += [op.node for op in directory.ops if not isinstance(op, Unlink)]
        for node in named:
            found[id(node)] = node
    return list(found.values())


def surviving(fs: SimulatedFilesystem, missing: set[str]) -> list[str]:
    """The directories that are there if those in ``missing``, and so all below them, are not."""
    kept = []
    for path in sorted(fs.directories):
        above = os.path.dirname(path)
        if path not in missing and (path == above or above not in fs.directories or above in kept):
            kept.append(path)
    return kept


def random_state(fs: SimulatedFilesystem, rng: random.Random) -> SimulatedFilesystem:
    """One legal state after a power loss."""
    missing = {path for path, directory in fs.directories.items() if not directory.durable and rng.random() < 0.5}
    names = {path: random_names(fs.directories[path], rng) for path in surviving(fs, missing)}
    return build(fs, names, {id(node): random_content(node, rng) for node in nodes_of(fs)})


def distinct_states(fs: SimulatedFilesystem, limit: int) -> Iterator[SimulatedFilesystem]:
    """At most ``limit`` distinct interesting states, the same ones each time.

    Every way to combine what the files and directories can be, if there are few
    enough; else the plainest ones and a sample.
    """
    uncertain = [node for node in nodes_of(fs) if node.uncertain()]
    file_choices = [contents(node) for node in uncertain]
    doubtful = [path for path, directory in fs.directories.items() if not directory.durable]
    presence: list[set[str]] = [set(), set(doubtful)] if doubtful else [set()]
    paths = sorted(fs.directories)
    name_choices = [name_sets(fs.directories[path]) for path in paths]
    sizes = [*map(len, file_choices), *map(len, name_choices), len(presence)]
    seen: set[tuple[tuple[str, bytes], ...]] = set()
    for pick in picks(sizes, limit):
        content = {id(node): file_choices[i][pick[i]] for i, node in enumerate(uncertain)}
        kept = surviving(fs, presence[pick[-1]])
        names = {path: name_choices[i][pick[len(uncertain) + i]] for i, path in enumerate(paths) if path in kept}
        state = build(fs, names, content)
        key = tuple(state.files().items())
        if key not in seen:
            seen.add(key)
            yield state


def picks(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, ...]]:
    """Choices of one index below each of ``sizes``: all of them if at most ``limit``, else a fixed sample."""
    total = 1
    for size in sizes:
        total *= size
    if total <= limit:
        for number in range(total):
            yield unrank(number, sizes)
        return
    rng = random.Random(total)
    yield tuple(0 for _ in sizes)
    yield tuple(min(1, size - 1) for size in sizes)
    for _ in range(limit - 2):
        yield tuple(rng.randrange(size) for size in sizes)


def unrank(number: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """The ``number``-th choice in the order in which the first index runs fastest."""
    pick = []
    for size in sizes:
        number, index = divmod(number, size)
        pick.append(index)
    return tuple(pick)
