"""Reading one file of the log, up to the first thing that does not verify.

``scan_own`` reads what perdure wrote (behind the start line) and a foreign suffix
behind it; ``scan_foreign`` reads plain commands of stock's.  Both move a
``Position`` on over what is right, hand commands to ``deliver``, and return None
when the file is read or a ``Damage`` where it goes wrong; what damage means is
decided in ``recovery``.  ``find_proof`` looks behind damage for a line that proves
that safe bytes are gone.

How foreign bytes count.  From a foreign suffix's first command on (or from the
first byte of a file that stock wrote) up to the end of the last whole unit or
annotation, *every* byte goes into the chain, ``chain = crc32c(bytes, chain)``;
only the bytes of *commands* go into the lsn.  Annotations in front of the
first foreign command of a file of ours go into neither.  The next start line
pins both.

After an invalid annotation nothing is read as foreign: a payload whose header
was lost is not served.

Invariants: one pass, a chunk of some MiB in memory; a batch is read whole, but
only after its length was compared with what is left of the file; what a client
hid in a value does not verify (crc of our lines starts from the log-id).

It must not know: the manifest, other files, what a command means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from crc32c import crc32c

from perdure.wal import format as lines
from perdure.wal.filesystem import Filesystem
from perdure.wal.resp import Stop, Units, frame, whole_units, without_notes

CHUNK_BYTES = 4 << 20
MAX_PROOF_BYTES = 16 << 30
"""How much is checksummed at most in search of a proof: more of it means lines that were made to look like ours."""

_OURS = re.compile(rb"#PERDURE 1 |#W |#END ")
_PROOFS = re.compile(rb"#W |#END ")
_COMMAND = re.compile(rb"\*[1-9]\d{0,18}\r\n\$")
_COMMAND_HEAD_BYTES = 64

Deliver = Callable[[bytes], None]


@dataclass(slots=True)
class Position:
    """Where reading is: everything below is right and was delivered.

    ``lsn`` and ``chain`` are what the next line has to carry.
    """

    offset: int
    lsn: int
    chain: int
    batches: int = 0
    payload_bytes: int = 0
    foreign: bool = False
    foreign_commands: int = 0
    foreign_bytes: int = 0


class Damage(NamedTuple):
    """``offset``: where the first thing begins that is not right (a unit is taken whole).

    ``final``: not a tear whatever follows, since a tear does not look like this;
    ``incomplete``: the file ends where bytes are still due.
    """

    offset: int
    reason: str
    final: bool = False
    incomplete: bool = False


class Pin(NamedTuple):
    """What the next file's start line says about the end of this one."""

    lsn: int
    prev: int


class Proof(NamedTuple):
    """A line behind damage that shows it to be no tear."""

    offset: int
    lsn: int
    reason: str


class Window:
    """A file, read in chunks."""

    __slots__ = ("_chunk", "_chunk_bytes", "_fs", "_start", "path", "size")

    def __init__(self, fs: Filesystem, path: str, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._fs = fs
        self._chunk = b""
        self._start = 0
        self._chunk_bytes = chunk_bytes
        self.path = path
        self.size = fs.size(path)

    def get(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``; fewer only at the end of the file."""
        length = max(0, min(length, self.size - offset))
        at = offset - self._start
        if at < 0 or at + length > len(self._chunk):
            if length > self._chunk_bytes:
                return self._fs.read(self.path, offset, length)
            self._chunk = self._fs.read(self.path, offset, min(self._chunk_bytes, self.size - offset))
            self._start, at = offset, 0
        if at == 0 and length == len(self._chunk):
            return self._chunk
        return self._chunk[at : at + length]

    def line(self, offset: int) -> bytes:
        """The line at ``offset`` with its newline if that comes soon enough for a line of ours, else empty."""
        head = self.get(offset, lines.MAX_LINE_BYTES)
        return head[: head.find(b"\n") + 1]

    def crc32c(self, offset: int, length: int, crc: int) -> int:
        """CRC-32C of ``length`` bytes from ``offset``, started from ``crc``; bounded memory."""
        end = min(offset + length, self.size)
        while offset < end:
            piece = self.get(offset, min(self._chunk_bytes, end - offset))
            crc = crc32c(piece, crc)
            offset += len(piece)
        return crc


def is_ours(line: bytes) -> bool:
    """Does ``line`` begin as an annotation that only perdure writes?"""
    return _OURS.match(line) is not None


def may_stand_in_foreign_file(_offset: int, line: bytes) -> bool:
    """Annotations that stock skips in a file of its own; one of ours there belongs to a file whose start is lost."""
    return not is_ours(line)


def _may_stand_in_suffix(_offset: int, line: bytes) -> bool:
    return isinstance(lines.parse(line), lines.Time)


def scan_own(window: Window, at: Position, seed: int, pin: Pin | None, deliver: Deliver) -> Damage | None:
    """Read a file of ours from ``at``, which stands behind its start line.

    ``pin``: of the next file, if it is ours.  Reading ends at the first place that
    fits it: what follows there in this file is superseded.
    """
    ended = False
    while True:
        if pin is not None and at.lsn == pin.lsn and at.chain == pin.prev:
            return None
        if at.offset >= window.size:
            return None
        line = window.line(at.offset)
        if not line:
            first = window.get(at.offset, 1)
            if first == b"*":
                return scan_foreign(window, at, _may_stand_in_suffix, deliver)
            return Damage(at.offset, _what_is(window, at.offset, first))
        facts = lines.parse(line)
        if isinstance(facts, lines.Batch) and not ended:
            damage = _take_batch(window, at, line, facts, seed, pin, deliver)
            if damage is not None:
                return damage
        elif isinstance(facts, lines.Time):
            at.offset += len(line)
        elif isinstance(facts, lines.End) and not ended:
            if not lines.crc_is_right(line, facts.crc, seed):
                return Damage(at.offset, "the checksum of an END line is wrong")
            if (facts.lsn, facts.prev) != (at.lsn, at.chain):
                return Damage(at.offset, "an END line that is whole does not belong here", final=True)
            at.offset += len(line)
            at.chain = facts.crc
            ended = True
        elif line[0] == 0x2A:
            return scan_foreign(window, at, _may_stand_in_suffix, deliver)
        elif facts is not None:
            right = lines.crc_is_right(line, facts.crc, seed) if not isinstance(facts, lines.Batch) else True
            return Damage(at.offset, "a line of ours stands where none may", final=right)
        else:
            return Damage(at.offset, _what_is(window, at.offset, line[:1]))


def _take_batch(
    window: Window, at: Position, line: bytes, facts: lines.Batch, seed: int, pin: Pin | None, deliver: Deliver
) -> Damage | None:
    start = at.offset + len(line)
    if facts.length > window.size - start:
        return Damage(at.offset, "the file ends inside a batch", incomplete=True)
    payload = window.get(start, facts.length)
    if not lines.crc_is_right(line, facts.crc, seed, payload):
        return Damage(at.offset, "the checksum of a batch is wrong")
    if (facts.lsn, facts.prev) != (at.lsn, at.chain) or facts.durable > facts.lsn:
        reason = f"a batch that is whole does not belong here: it says lsn {facts.lsn}, lsn {at.lsn} is due"
        return Damage(at.offset, reason, final=True)
    if pin is not None and at.lsn < pin.lsn < at.lsn + facts.length:
        return Damage(at.offset, f"the next file begins at lsn {pin.lsn}, inside this batch", final=True)
    if payload:
        deliver(payload)
    at.offset = start + facts.length
    at.lsn += facts.length
    at.chain = facts.crc
    at.batches += 1
    at.payload_bytes += facts.length
    return None


def _what_is(window: Window, offset: int, first: bytes) -> str:
    if first == b"\0":
        return "zeros"
    if first == b"#":
        short = window.size - offset < lines.MAX_LINE_BYTES and b"\n" not in window.get(offset, lines.MAX_LINE_BYTES)
        return "the file ends inside an annotation line" if short else "an annotation line is not one of ours"
    return "neither a batch nor a command begins here"


def scan_foreign(
    window: Window, at: Position, accepts: Callable[[int, bytes], bool], deliver: Deliver
) -> Damage | None:
    """Read plain commands from ``at`` to the end of the file, unit by unit."""
    at.foreign = True
    want = CHUNK_BYTES
    while at.offset < window.size:
        left = window.size - at.offset
        buf = window.get(at.offset, min(want, left))
        units = whole_units(buf, accepts)
        if units.end:
            _take_units(at, buf, units, deliver)
            want = CHUNK_BYTES
        if units.stop is Stop.INVALID:
            return _end_of_foreign(window, at.offset, at.offset - units.end + units.at)
        if units.stop is Stop.INCOMPLETE and not units.end:
            if units.need > left:
                return Damage(at.offset, "the file ends inside a command or a MULTI ... EXEC group", incomplete=True)
            want = max(units.need, 2 * len(buf))
    return None


def _end_of_foreign(window: Window, offset: int, wrong: int) -> Damage:
    """What stands at ``wrong`` is no command; ``offset`` is the end of the last whole unit."""
    if is_ours(window.get(wrong, lines.MAX_LINE_BYTES)):
        return Damage(offset, "a line of ours stands among what another server wrote", final=True)
    if window.get(offset, 1) == b"\0":
        return Damage(offset, "zeros")
    return Damage(offset, "what another server wrote ends in bytes that are no command")


def _take_units(at: Position, buf: bytes, units: Units, deliver: Deliver) -> None:
    body = buf[: units.end]
    payload = without_notes(body, units.end, units.notes)
    if payload:
        deliver(payload)
    at.offset += len(body)
    at.chain = crc32c(body, at.chain)
    at.lsn += len(payload)
    at.payload_bytes += len(payload)
    at.foreign_commands += units.commands
    at.foreign_bytes += len(payload)


def _matches(
    window: Window, pattern: re.Pattern[bytes], offset: int, overlap: int
) -> Iterator[tuple[int, bytes, int]]:
    """Each match behind ``offset``: where it is in the file, a chunk, and where it is in that.

    ``overlap`` bytes from the match on are in the chunk, unless the file ends before.
    """
    at = offset + 1
    while at < window.size:
        buf = window.get(at, CHUNK_BYTES)
        last = at + len(buf) >= window.size
        for m in pattern.finditer(buf):
            if m.start() > len(buf) - overlap and not last:
                break
            yield at + m.start(), buf, m.start()
        at += len(buf) if last else max(1, len(buf) - overlap)


def find_proof(window: Window, offset: int, lsn: int, seed: int) -> Proof | None:
    """A line of ours behind ``offset`` that verifies alone and proves that bytes from ``lsn`` on were safe.

    That is a batch whose ``durable`` is above ``lsn``, or an END.  Takes time in
    proportion to the rest of the file.
    """
    budget = MAX_PROOF_BYTES
    for at, buf, begin in _matches(window, _PROOFS, offset, lines.MAX_LINE_BYTES):
        line = buf[begin : buf.find(b"\n", begin, begin + lines.MAX_LINE_BYTES) + 1]
        facts = lines.parse(line)
        if isinstance(facts, lines.End) and facts.lsn >= lsn and lines.crc_is_right(line, facts.crc, seed):
            return Proof(at, facts.lsn, "an END line follows it")
        if not isinstance(facts, lines.Batch) or not lsn < facts.durable <= facts.lsn:
            continue
        start = at + len(line)
        if facts.length > window.size - start:
            continue
        budget -= facts.length
        if budget < 0:
            return Proof(at, facts.lsn, "more lines like batch headers follow than can be tried")
        if window.crc32c(start, facts.length, crc32c(line[: -lines.CRC_BYTES], seed)) == facts.crc:
            reason = f"a later batch says that everything below lsn {facts.durable} was safe"
            return Proof(at, facts.lsn, reason)
    return None


def find_command(window: Window, offset: int) -> int | None:
    """Offset of a whole command behind ``offset``, or None: did commands follow bytes that are none?"""
    for at, _, _ in _matches(window, _COMMAND, offset, _COMMAND_HEAD_BYTES):
        if frame(window.get(at, CHUNK_BYTES // 4), 0) > 0:
            return at
    return None


def stock_went_on(window: Window, offset: int) -> bool:
    """Did stock append commands behind a torn batch of ours at ``offset``?

    Stock reads a batch that is not whole as commands, cuts the incomplete one, and
    appends.  So it is when everything from the torn header on reads as commands
    and they run on behind the place where the last header's payload ends: in a file
    that only we wrote, nothing but another line of ours stands there.
    """
    own_end = 0

    def accepts(within: int, line: bytes) -> bool:
        nonlocal own_end
        facts = lines.parse(line)
        if facts is None:
            return False
        if not isinstance(facts, lines.Time):
            length = facts.length if isinstance(facts, lines.Batch) else 0
            own_end = max(own_end, at + within + len(line) + length)
        return True

    at, want = offset, CHUNK_BYTES
    while at < window.size:
        left = window.size - at
        buf = window.get(at, min(want, left))
        units = whole_units(buf, accepts)
        last_note = max((stop for _, stop in units.notes), default=0)
        if own_end and units.end > last_note and at + units.end > own_end:
            return True
        if units.end:
            at, want = at + units.end, CHUNK_BYTES
            if units.stop is Stop.INVALID:
                return False
        elif units.stop is Stop.INVALID or units.need > left:
            return False
        else:
            want = max(units.need, 2 * len(buf))
    return False
