"""The one error of the codec."""

from __future__ import annotations

from perdure.snapshot.rdb.format import OPCODE_NAMES, TYPE_NAMES

_SHOWN_BYTES = 64


class RdbError(Exception):
    """A file that cannot be read, or a value that cannot be written as asked.

    ``reason``  what is wrong
    ``file``    the name of the file, "" where there is none (a DUMP payload)
    ``offset``  where reading stood when it was found, in bytes from the file's beginning; None when writing
    ``opcode``  the opcode or type that was being read, None before the first
    ``key``     the key whose value it was, None outside of one
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.file = ""
        self.offset: int | None = None
        self.opcode: int | None = None
        self.key: bytes | None = None

    def at(self, file: str, offset: int, opcode: int | None, key: bytes | None) -> RdbError:
        """The error with the place where it was found."""
        self.file = file
        self.offset = offset
        self.opcode = opcode
        self.key = key
        return self

    def __str__(self) -> str:
        parts = [self.file] if self.file else []
        if self.offset is not None:
            parts.append(f"offset {self.offset}")
        if self.opcode is not None:
            name = OPCODE_NAMES.get(self.opcode) or TYPE_NAMES.get(self.opcode)
            parts.append(f"opcode {self.opcode}" + (f" ({name})" if name else ""))
        if self.key is not None:
            shown = repr(self.key[:_SHOWN_BYTES])[1:]
            parts.append(f"key {shown}" + ("..." if len(self.key) > _SHOWN_BYTES else ""))
        return ", ".join(parts) + ": " + self.reason if parts else self.reason
