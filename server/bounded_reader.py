"""A hiredis reader that refuses arrays of more members than fit a chunk.

hiredis makes a list of the announced length as soon as it sees ``*2147483647``:
16 GiB of address space, and seconds to give it back, for thirteen bytes.  Its C
struct has a bound for that (``maxelements``, 2**32 - 1), which its Python class does
not show.  ``bounded_reader`` sets it in the struct.  A larger array is then a
ProtocolError for hiredis, and the strict parser (``server.request``), which makes no
list before its members are there, takes the chunk.

Nothing is taken on trust: the first reader is looked at, and the struct counts as
known only if the pointer behind the object leads into writable memory of this
process, and there, side by side, stand the ``maxbuf`` that was just set through the
class and the default of ``maxelements``.  If not (another version, another
interpreter), readers are unbounded and ``announces_many`` must look at every chunk
before it is fed.
"""

from __future__ import annotations

import ctypes
import re
import sys

import hiredis

MAX_MEMBERS = 10_000
_DEFAULT_MAX_MEMBERS = (1 << 32) - 1
_POINTER_AT = 2 * ctypes.sizeof(ctypes.c_void_p)  # behind the reference count and the type
_MAXBUF_AT = 160
_MAXELEMENTS_AT = 168
_MARK = 0x5EED_1234

_PROBE = b"+\r\n"
_AT_BOUNDARY = b""
"""What a reader gives for the probe if it stands between requests."""
_LONG_ARRAY = re.compile(rb"\n[*~>|]\d{5}")


def bounded_reader() -> hiredis.Reader:
    """A new reader, bounded if ``READERS_ARE_BOUNDED``."""
    reader = hiredis.Reader()
    if READERS_ARE_BOUNDED:
        ctypes.c_longlong.from_address(_struct_of(reader) + _MAXELEMENTS_AT).value = MAX_MEMBERS
    return reader


def announces_many(data: bytes) -> bool:
    """Is there the header of an array of 10,000 members or more in a chunk, or what looks like one?"""
    return data[1:6].isdigit() or _LONG_ARRAY.search(data) is not None


def stands_between_requests(reader: hiredis.Reader) -> bool:
    """Does a reader that has given all whole requests hold no part of another?  ProtocolError may say no, too."""
    if reader.has_data():
        return False
    reader.feed(_PROBE)  # a ProtocolError if it stands right behind a "*" or "$"
    return bool(reader.gets() == _AT_BOUNDARY)


def _struct_of(reader: hiredis.Reader) -> int:
    return ctypes.c_void_p.from_address(id(reader) + _POINTER_AT).value or 0


def _struct_is_known() -> bool:
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    reader = hiredis.Reader()
    if type(reader).__basicsize__ < _POINTER_AT + 8:
        return False
    reader.setmaxbuf(_MARK)
    struct = _struct_of(reader)
    return (
        _is_writable(struct, _MAXELEMENTS_AT + 8)
        and ctypes.c_size_t.from_address(struct + _MAXBUF_AT).value == _MARK
        and ctypes.c_longlong.from_address(struct + _MAXELEMENTS_AT).value == _DEFAULT_MAX_MEMBERS
    )


def _is_writable(address: int, length: int) -> bool:
    """Does ``/proc/self/maps`` say that this memory may be read and written?"""
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                span, rights = line.split()[:2]
                begin, end = (int(part, 16) for part in span.split("-"))
                if begin <= address and address + length <= end:
                    return rights.startswith("rw")
    except OSError:
        return False
    return False


READERS_ARE_BOUNDED = _struct_is_known()
