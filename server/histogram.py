"""Distributions of durations, with the precision and the shapes that stock has.

A distribution is a dict from cell to count.  The cell of a duration, in whole us
expressed in ns and cut at one second, holds its first eight bits: cells below 256 are
one ns wide, each further 128 of them twice as wide as those before, so two digits are
exact (HdrHistogram's layout).  About 3,000 cells can exist, of which a command uses a few.

``cumulative`` is how LATENCY HISTOGRAM tells it: bounds in us that double, and how many
were at most so long.  ``percentile`` is what INFO latencystats says.

It must not know: commands, clocks.
"""

from __future__ import annotations

Cells = dict[int, int]

MOST_NS = 1_000_000_000
_EXACT_BITS = 8
_HALF_BITS = _EXACT_BITS - 1
_LEAST_LEVEL_NS = 1024
_LAST_NS = (1 << 30) - 1
"""The last cell's upper end: what stock calls the end of the last doubling."""


def cell_of(nanoseconds: int) -> int:
    """The cell of a duration; parts of a microsecond are dropped, as stock's clock does not tell them."""
    value = min(nanoseconds // 1000 * 1000, MOST_NS) or 1
    shift = value.bit_length() - _EXACT_BITS
    return value if shift <= 0 else (shift << _HALF_BITS) + (value >> shift)


def bounds_of(cell: int) -> tuple[int, int]:
    """The least and the greatest ns of a cell."""
    if cell < 1 << _EXACT_BITS:
        return cell, cell
    shift = (cell >> _HALF_BITS) - 1
    least = (cell - (shift << _HALF_BITS)) << shift
    return least, least + (1 << shift) - 1


def record(cells: Cells, nanoseconds: int, count: int = 1) -> None:
    """Add ``count`` durations."""
    cell = cell_of(nanoseconds)
    cells[cell] = cells.get(cell, 0) + count


def cumulative(cells: Cells) -> list[tuple[int, int]]:
    """(us, how many durations were not longer), in order, for each bound at which that grows."""
    found: list[tuple[int, int]] = []
    level = _LEAST_LEVEL_NS
    so_far = 0
    for cell in sorted(cells):
        least, _ = bounds_of(cell)
        while least > level:
            level *= 2
        so_far += cells[cell]
        bound_us = min(bounds_of(_cell_at(level))[1], _LAST_NS) // 1000
        if found and found[-1][0] == bound_us:
            found[-1] = (bound_us, so_far)
        else:
            found.append((bound_us, so_far))
    return found


def _cell_at(value: int) -> int:
    shift = max(value.bit_length() - _EXACT_BITS, 0)
    return (shift << _HALF_BITS) + (value >> shift)


def percentile(cells: Cells, percent: float) -> int:
    """The ns that so many percent of the durations do not exceed; for 0 the least. 0 of nothing."""
    wanted = max(int(min(percent, 100.0) / 100 * sum(cells.values()) + 0.5), 1)
    so_far = 0
    for cell in sorted(cells):
        so_far += cells[cell]
        if so_far >= wanted:
            return bounds_of(cell)[percent != 0]
    return 0
