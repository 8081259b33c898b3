"""The end of a run's log: everything written and fsynced, then END.

It must not know: policies.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from perdure.wal import format as lines
from perdure.wal.jobs import put, raise_refusal

if TYPE_CHECKING:
    from perdure.wal.writer import LogWriter


def finish(log: LogWriter) -> None:
    """Bring the file of ``log``, for which no job runs, to its end.  OSError: the writer is as it was."""
    if log._sync_error is not None:
        log._rotation_done(log._rotation_job()(), None)
        raise_refusal(log._sync_error)
    if log._pending:
        log._write_done(put(log.file, log._pending, log.file_bytes, log.torn), None)
        log.executor.drain()
        raise_refusal(log._write_error or log._sync_error)
    if log.file_bytes > log._durable_size:
        # END says that all before it is whole, so it must not reach the disk before that does.
        log._sync_now()
    line, chain = lines.end_line(log._seed, log.lsn, log._written_chain)
    error = log.put_line(line, chain)
    if error is not None:
        raise error
    with contextlib.suppress(OSError):
        # Gives back what was reserved behind the end.
        log.file.truncate(log.file_bytes)
    log._space.cut(log.file_bytes)
    log._sync_now()
    with contextlib.suppress(OSError):
        log.file.close()
