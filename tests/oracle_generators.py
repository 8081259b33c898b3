"""Every source of command lines there is: importing this plugs in all ``oracle_*_lines`` modules."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

for _path in sorted(Path(__file__).parent.glob("oracle_*_lines.py")):
    import_module(_path.stem)

# What makes a value of each group of commands, for tests that need one of the right type to be there.
FILLING: dict[str, list[bytes]] = {
    "string": [b"SET", b"SETEX"],
    "hash": [b"HSET", b"HSET", b"HPEXPIREAT"],
    "list": [b"RPUSH", b"LPUSH"],
    "set": [b"SADD"],
    "sorted-set": [b"ZADD"],
    "geo": [b"GEOADD"],
    "stream": [b"XADD", b"XGROUP|CREATE", b"XREADGROUP"],
    "bitmap": [b"SETBIT", b"SET"],
    "hyperloglog": [b"PFADD"],
    "scripting": [b"FUNCTION|LOAD", b"SET"],
}

IN_A_DUMP = sorted({
    name for names in FILLING.values() for name in names if name not in (b"HPEXPIREAT", b"FUNCTION|LOAD")
})  # fmt: skip
"""Those that make a value which DUMP and RDB files of stock 7.0 hold."""
