"""Replies of commands as values of Lua, as ``redis.call`` gives them to a script.

===================  ========================================================
RESP2, RESP3         Lua
===================  ========================================================
bulk string          string
integer              number
status               table with ``ok``
error                raised, or a table with ``err``; inside of an array the table
array                table
null                 false; nil where the script asked for RESP3
map, set, double,    a table with ``map``, ``set`` (members are keys), ``double``,
big number,          ``big_number``, ``verbatim_string`` (``format``, ``string``)
verbatim string
boolean              boolean
===================  ========================================================

Flat arrays of strings and numbers, most of what commands answer, are read by hiredis.
"""

from __future__ import annotations

from typing import Any

import hiredis

from perdure.server.scripting.machine import LuaTable, Machine

_BULK, _INTEGER, _STATUS, _ARRAY = b"$:+*"


def lua_value(machine: Machine, reply: bytes, resp3: bool) -> Any:
    """A reply that is no error as what is pushed to Lua."""
    kind = reply[0]
    if kind == _BULK:
        start = reply.index(b"\n") + 1
        return reply[start:-2] if start < len(reply) else False
    if kind == _INTEGER:
        return int(reply[1:-2])
    if kind == _STATUS:
        return machine.status(reply[1:-2])
    if kind == _ARRAY and not resp3 and b"\n+" not in reply and b"\n-" not in reply:
        reader = hiredis.Reader()
        reader.feed(reply)
        return _table_of(machine, reader.gets())
    value, _ = _value_at(machine, reply, 0, resp3)
    return value


def _table_of(machine: Machine, members: Any) -> Any:
    """What hiredis read of an array."""
    if members is None:
        return False
    for i, member in enumerate(members):
        if member.__class__ is not bytes and member.__class__ is not int:
            members[i] = _table_of(machine, member)
    return machine.table_from(members)


def _value_at(machine: Machine, reply: bytes, at: int, resp3: bool) -> tuple[Any, int]:
    """Any value: the one that begins at ``at``, and where the next one does."""
    end = reply.index(b"\r\n", at)
    kind, head, at = reply[at : at + 1], reply[at + 1 : end], end + 2
    if kind in b"$=":
        size = int(head)
        if size < 0:
            return False, at
        text = reply[at : at + size]
        if kind == b"=":
            inner = machine.table_from({b"format": text[:3], b"string": text[4:]})
            return machine.table_from({b"verbatim_string": inner}), at + size + 2
        return text, at + size + 2
    if kind in b"*~%>":
        return _aggregate(machine, reply, at, kind, int(head), resp3)
    return _scalar(machine, kind, head), at


def _scalar(machine: Machine, kind: bytes, head: bytes) -> Any:
    if kind == b":":
        return int(head)
    if kind == b"+":
        return machine.status(head)
    if kind == b"-":
        return machine.failure(head, True)
    if kind == b"#":
        return head == b"t"
    if kind == b",":
        return machine.table_from({b"double": float(head)})
    if kind == b"(":
        return machine.table_from({b"big_number": head})
    return None


def _aggregate(
    machine: Machine, reply: bytes, at: int, kind: bytes, count: int, resp3: bool
) -> tuple[LuaTable | bool, int]:
    if count < 0:
        return False, at
    members: list[Any] = []
    for _ in range(2 * count if kind == b"%" else count):
        member, at = _value_at(machine, reply, at, resp3)
        members.append(member)
    if kind == b"%":
        pairs = machine.table_from(dict(zip(members[::2], members[1::2], strict=True)))
        return machine.table_from({b"map": pairs}), at
    if kind == b"~":
        return machine.table_from({b"set": machine.table_from(dict.fromkeys(members, True))}), at
    return machine.table_from(members), at
