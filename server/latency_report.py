"""What LATENCY says in words and pictures: the graph of one kind of event, and a report on all.

A graph has a column for each sample, the oldest first and at most 80 in a line, three
steps high in each of four rows between the least and the greatest sample; below each
column stands, from top to bottom, how long ago it was.

It must not know: clocks, clients.
"""

from __future__ import annotations

from perdure.server import latency
from perdure.server.latency import LatencyMonitor, Series

_COLUMNS = 80
_ROWS = 4
_STEPS = b"_o#"
_FULL = b"|"
_UNITS = ((86_400, b"d"), (3600, b"h"), (60, b"m"), (1, b"s"))


def age(seconds: int) -> bytes:
    """``45s``, ``3m``, ``2h``, ``1d``."""
    for unit_s, letter in _UNITS:
        if seconds >= unit_s:
            return b"%d%b" % (seconds // unit_s, letter)
    return b"0s"


def graph(event: bytes, series: Series, now_s: int) -> bytes:
    """The samples of one kind of event, drawn."""
    values = [ms for _, ms in series.samples]
    low, high = min(values), max(values)
    head = b"%b - high %d ms, low %d ms (all time high %d ms)\n" % (event, high, low, series.worst_ms)
    columns = [_column(ms - low, high - low, age(max(now_s - unix_s, 0))) for unix_s, ms in series.samples]
    parts = [columns[at : at + _COLUMNS] for at in range(0, len(columns), _COLUMNS)]
    return head + b"-" * _COLUMNS + b"\n" + b"\n".join(map(_lines, parts))


def _column(above: int, reach: int, label: bytes) -> bytes:
    """The characters of one sample from top to bottom."""
    most = _ROWS * len(_STEPS) - 1
    step = min(above * (most + 1) // (reach or 1), most)
    full, rest = divmod(step, len(_STEPS))
    bar = b" " * (_ROWS - full - 1) + _STEPS[rest : rest + 1] + _FULL * full
    return bar + b" " + label


def _lines(columns: list[bytes]) -> bytes:
    height = max(map(len, columns))
    padded = [column.ljust(height) for column in columns]
    return b"".join([bytes(column[row] for column in padded) + b"\n" for row in range(height)])


_DISABLED = (
    "Latency is not being monitored: latency-monitor-threshold is 0. Set it to the milliseconds from which on an event "
    "is worth to be remembered, for example by CONFIG SET latency-monitor-threshold 100.\n"
)
_NOTHING = "No event took as long as latency-monitor-threshold ({} ms) since monitoring began, or LATENCY RESET.\n"
_ADVICE: tuple[tuple[frozenset[bytes], str], ...] = (
    (
        frozenset({latency.COMMAND, latency.COMMAND_UNBLOCKING}),
        "Some commands take long: SLOWLOG GET shows which. What is O(N) on large values (KEYS, SMEMBERS, LRANGE 0 -1, "
        "SORT ...) can often be had in pages (SCAN, HSCAN, LRANGE).",
    ),
    (
        frozenset({latency.FAST_COMMAND}),
        "Commands that take constant time took long, so the process did not get the processor, or memory was paged "
        "out: look for other processes on this machine, at its swap, and at its host if it is a virtual one.",
    ),
    (
        frozenset({latency.EXPIRE_CYCLE}),
        "Expiry holds the loop: very large values expire. Smaller ones, or deadlines that are spread, would help.",
    ),
    (
        frozenset({latency.EVICTION_CYCLE}),
        "Making room below maxmemory holds the loop: very large values are evicted, or memory is short all the time.",
    ),
    (
        frozenset({latency.LOG_WRITE, latency.LOG_WRITE_ALONE, latency.LOG_WRITE_DURING_FSYNC}),
        "Writing the log takes long: the disk, or its file system, is slow or shared with others.",
    ),
    (
        frozenset({latency.LOG_FSYNC_ALWAYS, latency.LOG_FSYNC}),
        "fsync takes long. Under appendfsync always every write waits for it; reads of what was not written meanwhile "
        "do not. A disk with a protected cache, or everysec, makes writes faster.",
    ),
    (
        frozenset({latency.FORK}),
        "Forks take long, as the tables of this much memory are copied: save less often, or split the data.",
    ),
)
_SLOWLOG_IS_COARSER = (
    "The slow log only takes what is slower than the events here are; CONFIG SET slowlog-log-slower-than {} would show "
    "the commands that belong to them."
)


def report(monitor: LatencyMonitor, slower_than_us: int, now_s: int) -> bytes:
    """LATENCY DOCTOR: what was seen, and what may help."""
    if not monitor.threshold_ms:
        return _DISABLED.encode()
    if not monitor.series:
        return _NOTHING.format(monitor.threshold_ms).encode()
    lines = ["Events that took long since monitoring began, or since LATENCY RESET:", ""]
    for number, (event, series) in enumerate(sorted(monitor.series.items()), 1):
        lines.append(f"{number}. {event.decode()}: {_figures(series, now_s)}")
    advice = [text for events, text in _ADVICE if events & monitor.series.keys()]
    commands = {latency.COMMAND, latency.FAST_COMMAND} & monitor.series.keys()
    if commands and not 0 <= slower_than_us <= monitor.threshold_ms * 1000:
        advice.append(_SLOWLOG_IS_COARSER.format(monitor.threshold_ms * 1000))
    lines += ["", "What may help:", "", *(f"- {text}" for text in advice)]
    return "".join(line + "\n" for line in lines).encode()


def _figures(series: Series, now_s: int) -> str:
    values = [ms for _, ms in series.samples]
    mean = sum(values) / len(values)
    deviation = sum(abs(ms - mean) for ms in values) / len(values)
    period_s = max(now_s - series.samples[0][0], 1) / len(values)
    return (
        f"{len(values)} latency spikes (average {mean:.0f}ms, mean deviation {deviation:.0f}ms, "
        f"period {period_s:.2f} sec). Worst all time event {series.worst_ms}ms."
    )
