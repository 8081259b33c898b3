"""Blocks of a list: items one behind another in one bytes object, and their sizes (``store.list_value``).

It must not know: in which order blocks stand, keys, the log.
"""

from __future__ import annotations

from collections.abc import Iterable

BLOCK_BYTES = 2048
SHORT = 256
"""Sizes below it are a byte; an item that is longer stands alone."""
LONE = b"\0"
"""The sizes of a block that is one long item."""
ONE_SIZE = [bytes((size,)) for size in range(SHORT)]

Block = tuple[bytes, bytes]
_join = b"".join


def content(item: bytes) -> bytes:
    """An item's element."""
    return item[item.index(b"\n") + 1 : -2]


def block_of(items: list[bytes]) -> Block:
    """Short items as a block."""
    return _join(items), bytes(map(len, items))


def packed(items: Iterable[bytes]) -> list[Block]:
    """Items in as few blocks as they go into in order."""
    blocks: list[Block] = []
    part: list[bytes] = []
    total = 0
    for item in items:
        size = len(item)
        if part and (size >= SHORT or total + size > BLOCK_BYTES):
            blocks.append(block_of(part))
            part = []
            total = 0
        if size >= SHORT:
            blocks.append((item, LONE))
        else:
            part.append(item)
            total += size
    if part:
        blocks.append(block_of(part))
    return blocks


def items_of(block: Block) -> list[bytes]:
    blob, sizes = block
    if sizes == LONE:
        return [blob]
    out = []
    at = 0
    for size in sizes:
        out.append(blob[at : at + size])
        at += size
    return out


def offset_of(block: Block, index: int) -> int:
    """Where item ``index`` begins, or where the block ends."""
    blob, sizes = block
    if 2 * index <= len(sizes):
        return sum(sizes[:index])
    return len(blob) - sum(sizes[index:])


def cut(block: Block, start: int, stop: int) -> Block:
    """Items ``start`` to ``stop`` of a block."""
    blob, sizes = block
    if start == 0 and stop >= len(sizes):
        return block
    return blob[offset_of(block, start) : offset_of(block, stop)], sizes[start:stop]


def hits_in(block: Block, item: bytes) -> list[int]:
    """The indexes at which a block has ``item``."""
    blob, sizes = block
    if len(sizes) == 1:
        return [0] if blob == item else []
    if item not in blob:
        return []
    size = len(item)
    out = []
    at = 0
    for index, its_size in enumerate(sizes):
        if its_size == size and blob.startswith(item, at):
            out.append(index)
        at += its_size
    return out
