"""How the log says that it will not be read.

Two refusals, both raised before anything on the disk has been changed
(HANDS-OFF): the log is damaged, or it is whole but holds a form that this
version cannot read.  ``str()`` of each is one line that names the file and says
what was found.

It must not know: how the log is read.
"""

from __future__ import annotations


class LogDamaged(Exception):
    """Bytes that were safe, or that nobody wrote, stand where the log should go on.

    ``file``: path or name of the file; ``offset``: where in it, in bytes;
    ``lsn_from`` .. ``lsn_to``: the payload bytes concerned as far as they are known
    (None where they are not); ``reason``: what was seen there.
    """

    def __init__(
        self, file: str, offset: int, reason: str, lsn_from: int | None = None, lsn_to: int | None = None
    ) -> None:
        super().__init__(file, offset, reason, lsn_from, lsn_to)
        self.file = file
        self.offset = offset
        self.lsn_from = lsn_from
        self.lsn_to = lsn_to
        self.reason = reason

    def __str__(self) -> str:
        if self.lsn_from is None:
            where = "lsn unknown"
        elif self.lsn_to is None:
            where = f"lsn {self.lsn_from} and above"
        else:
            where = f"lsn {self.lsn_from} to {self.lsn_to}"
        return f"the log is damaged: {self.file}, offset {self.offset} ({where}): {self.reason}"


class RdbBaseUnsupported(Exception):
    """The log's BASE is in RDB form and nobody here reads RDB."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file

    def __str__(self) -> str:
        return (
            f"{self.file} is in RDB form, which this version of perdure cannot read. Start redis-server on this"
            " directory, run `redis-cli CONFIG SET aof-use-rdb-preamble no` and `redis-cli BGREWRITEAOF`, wait until"
            " the rewrite is done, stop it, and start perdure again; no file has been changed"
        )
