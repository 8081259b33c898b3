"""How long commands and the server's own work take, and who is told: counters, SLOWLOG, LATENCY.

A command's duration is that of its handler.  The careful way (``Engine.run``) times every
command.  The hot paths (``server.connection``, ``server.native``) read the clock for

- a command that can be slow by itself: one that is not ``quick_arguments``, that is all
  that stock does not call fast, and what is called with more arguments than it needs
  (LPUSH of many, LPOP of many, XADD with a trim);
- the first 100 calls of each other command, then one in 16, which stands for all;
- a command that comes alone in its chunk, on the compiled path: the chunk, for once.

So what is exact?

==================  =====================================================================
SLOWLOG, events     every command is seen that took longer than the threshold; except, at
of LATENCY          thresholds of 1 ms or more, a quick command in the midst of a pipeline
                    (or at all, without the compiled path) of which 15 in 16 are not timed:
                    it can only be slow because the machine is.  Below 1 ms every command
                    goes the careful way (``TIMED``), and nothing is missed.
durations           exact; of a command that came alone with what it took to read it
INFO commandstats,  ``calls`` exact, ``usec`` and distributions (LATENCY HISTOGRAM, INFO
latencystats        latencystats) by the calls timed, so their sums are of so many calls
==================  =====================================================================

What the log does is measured while ``latency-monitor-threshold`` is not 0, and never else.

It must not know: how commands run, sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any

from perdure.server import latency
from perdure.server.client import TIMED, Client
from perdure.server.histogram import record
from perdure.server.latency import LatencyMonitor
from perdure.server.secrets import redacted
from perdure.server.slowlog import SlowLog
from perdure.store.command import FAST, SKIP_SLOWLOG, Command, every_command

if TYPE_CHECKING:
    from perdure.server.engine import Engine

NEVER_NS = 1 << 62
_ALL_BELOW_US = 1000
"""Below this threshold every command is timed."""
_OFF = -1
_NOBODY = b"?:0"
"""The address of a script, as stock has it."""


def quick_arguments(entry: Command) -> int:
    """With up to how many arguments, its name counted, a command takes the same short time on any data; 0 for none."""
    if entry.flags & FAST or entry.name == b"SET":  # which stock does not call fast for the old value's sake
        return abs(entry.arity)
    return 0


class Timings:
    """Where durations go.

    watch_ns
        a command that took so long is to be told to ``slow``; ``NEVER_NS`` if nobody asks
    tracking
        are distributions kept (``latency-tracking``)?
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.slowlog = SlowLog()
        self.monitor = LatencyMonitor()
        self.tracking = True
        self.watch_ns = NEVER_NS
        self.changed: Callable[[], None] = lambda: None
        """Called when a number above has changed, or calls are counted from zero again."""
        self._slower_than_us = _OFF
        self._fsyncs = 0

    # ---- configuration -----------------------------------------------------------------

    def log_slower_than(self, us: int) -> None:
        """``slowlog-log-slower-than``"""
        self._slower_than_us = us
        self._watch()

    def keep_slow(self, most: int) -> None:
        """``slowlog-max-len``"""
        self.slowlog.set_most(most)
        self._watch()

    def monitor_from(self, threshold_ms: int) -> None:
        """``latency-monitor-threshold``"""
        self.monitor.threshold_ms = threshold_ms
        self._fsyncs = getattr(self.engine.log, "fsyncs", 0)
        self._watch()

    def track(self, on: bool) -> None:
        """``latency-tracking``"""
        self.tracking = on
        self.changed()

    def _watch(self) -> None:
        slow_us = self._slower_than_us if self.slowlog.most else _OFF
        thresholds = [slow_us * 1000] if slow_us >= 0 else []
        if self.monitor.threshold_ms:
            thresholds.append(self.monitor.threshold_ms * 1_000_000)
        self.watch_ns = min(thresholds, default=NEVER_NS)
        engine = self.engine
        engine.state = engine.state | TIMED if 0 <= slow_us < _ALL_BELOW_US else engine.state & ~TIMED
        self.changed()

    def reset(self) -> None:
        """Forget what commands took until now (CONFIG RESETSTAT); their calls begin at zero with that."""
        for entry in every_command():
            entry.calls = entry.nanoseconds = entry.rejected_calls = entry.failed_calls = 0
            entry.durations.clear()
        self.changed()

    # ---- commands ------------------------------------------------------------------------

    def took(self, entry: Command, argv: list[bytes], nanoseconds: int, weight: int = 1) -> None:
        """A command of the engine's client took so long; it stands for ``weight`` calls."""
        entry.nanoseconds += nanoseconds * weight
        if self.tracking:
            record(entry.durations, nanoseconds, weight)
        if nanoseconds >= self.watch_ns:
            self.slow(entry, argv, nanoseconds)

    def took_together(self, entry: Command, calls: int, nanoseconds: int) -> None:
        """So many calls of a quick command took so long, all together."""
        entry.nanoseconds += nanoseconds
        if self.tracking and calls:
            record(entry.durations, nanoseconds // calls, calls)

    def slow(self, entry: Command, argv: list[bytes], nanoseconds: int) -> None:
        """A command of the engine's client took at least ``watch_ns``."""
        self.monitor.sample(latency.FAST_COMMAND if entry.flags & FAST else latency.COMMAND,
                            nanoseconds // 1_000_000, int(time()))  # fmt: skip
        self._log(self.engine.tx.client, entry, argv, nanoseconds // 1000)

    def unblocked(self, client: Client, entry: Command, argv: list[bytes], first_ns: int, last_ns: int) -> None:
        """A command that had waited was answered; its first and last try took so long."""
        entry.nanoseconds += last_ns
        if self.tracking:
            record(entry.durations, first_ns + last_ns)
        if first_ns + last_ns >= self.watch_ns:
            self.monitor.sample(latency.COMMAND_UNBLOCKING, last_ns // 1_000_000, int(time()))
            self._log(client, entry, argv, (first_ns + last_ns) // 1000)

    def _log(self, client: Client | None, entry: Command, argv: list[bytes], us: int) -> None:
        if entry.flags & SKIP_SLOWLOG or not 0 <= self._slower_than_us <= us:
            return
        address, name = (b"", b"") if client is None else (client.address, client.name)
        self.slowlog.add(redacted(entry, argv), us, int(time()), address or _NOBODY, name)

    # ---- the server's own work ---------------------------------------------------------------

    def sample(self, event: bytes, began_ns: int) -> None:
        """What began at ``began_ns`` of ``perf_counter_ns`` has ended."""
        self.monitor.sample(event, (perf_counter_ns() - began_ns) // 1_000_000, int(time()))

    def commit(self, log: Any, payload: bytes) -> int:
        """``log.commit(payload)``, watched; its number."""
        if not self.monitor.threshold_ms:
            number: int = log.commit(payload)
            return number
        self.look_at_log(log)
        during_fsync = getattr(log, "fsync_in_flight", False)
        began_ns = perf_counter_ns()
        number = log.commit(payload)
        event = latency.LOG_WRITE_DURING_FSYNC if during_fsync else latency.LOG_WRITE_ALONE
        fsync_us = int(log.last_fsync_us) if getattr(log, "fsyncs", 0) != self._fsyncs else 0
        ms = max((perf_counter_ns() - began_ns) // 1000 - fsync_us, 0) // 1000
        for name in (event, latency.LOG_WRITE):
            self.monitor.sample(name, ms, int(time()))
        self.look_at_log(log)
        return number

    def look_at_log(self, log: Any) -> None:
        """If an fsync has ended since the last look, it is a sample."""
        fsyncs = getattr(log, "fsyncs", 0)
        if fsyncs != self._fsyncs:
            self._fsyncs = fsyncs
            event = latency.LOG_FSYNC_ALWAYS if log.policy == "always" else latency.LOG_FSYNC
            self.monitor.sample(event, int(log.last_fsync_us) // 1000, int(time()))
