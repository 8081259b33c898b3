"""Keys of every type and encoding, for tests that carry data between stock and us."""

from __future__ import annotations

from typing import Any

FAR_MS = 4_000_000_000_000
LIBRARY = "#!lua name={name}\nredis.register_function('{name}_get', function(keys, args) return {{1, args[1]}} end)"


def lines_of_everything(tag: str) -> list[list[Any]]:
    """Command lines that stock 7.0 knows; keys begin with ``tag``."""
    many = [f"m{i}" for i in range(700)]
    return [
        ["SET", f"{tag}:plain", "text"],
        ["SET", f"{tag}:int", -123456],
        ["SET", f"{tag}:long", "x" * 20_000],
        ["SET", f"{tag}:mortal", "v", "PXAT", FAR_MS],
        ["SETRANGE", f"{tag}:sparse", 5000, b"\x00\xff"],
        ["SETBIT", f"{tag}:bits", 1000, 1],
        ["PFADD", f"{tag}:hll", *many],
        ["RPUSH", f"{tag}:list", 1, "two", "3" * 100],
        ["RPUSH", f"{tag}:quick", *many, "x" * 9000],
        ["SADD", f"{tag}:ints", *range(-50, 50), 2**40],
        ["SADD", f"{tag}:set", "a", "b", b"\x00"],
        ["SADD", f"{tag}:big", *many],
        ["ZADD", f"{tag}:zset", 1, "a", "-inf", "b", "inf", "c", 0.1, "d"],
        ["ZADD", f"{tag}:skip", *[word for i, m in enumerate(many) for word in (i / 7, m)]],
        ["GEOADD", f"{tag}:geo", 13.361389, 38.115556, "Palermo"],
        ["HSET", f"{tag}:hash", "a", 1, "b", "two", b"\xff", b"\x00\r\n"],
        ["HSET", f"{tag}:table", *[word for m in many for word in (m, m * 3)]],
        ["PEXPIREAT", f"{tag}:table", FAR_MS + 1],
        *[["XADD", f"{tag}:stream", f"{i}-1", "field", i, "other", "v"] for i in range(1, 250)],
        ["XDEL", f"{tag}:stream", "3-1", "249-1"],
        ["XGROUP", "CREATE", f"{tag}:stream", "g", "5-0"],
        ["XREADGROUP", "GROUP", "g", "alice", "COUNT", 7, "STREAMS", f"{tag}:stream", ">"],
        ["XGROUP", "CREATECONSUMER", f"{tag}:stream", "g", "idle"],
        ["XACK", f"{tag}:stream", "g", "6-1"],
        ["XGROUP", "CREATE", f"{tag}:nothing", "g", "$", "MKSTREAM"],
        ["FUNCTION", "LOAD", LIBRARY.format(name=f"lib{tag}")],
    ]


def fill_everything(server: Any, tag: str) -> None:
    """In three databases of a server."""
    for index in (0, 3, 15):
        with server.client(db=index) as client:
            pipe = client.pipeline(transaction=False)
            for line in lines_of_everything(f"{tag}{index}" if index else tag):
                pipe.execute_command(*line)
            pipe.execute()


def digest(server: Any) -> bytes:
    """Stock's sum over everything, and the functions."""
    with server.client() as client:
        found: bytes = client.execute_command("DEBUG", "DIGEST")
        return found + repr(sorted(map(repr, client.function_list(withcode=True)))).encode()
