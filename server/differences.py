"""What a user of stock redis-server 7.0 must know that is different here, by command.

One text a command, in ``COMMANDS``; what concerns all of them in ``GENERAL``; commands of
stock that there are not, in ``ABSENT``, by why.  The page of commands is made of it
(``server.command_page``); that nothing else differs is what the tests beside stock show.
"""

from __future__ import annotations

from perdure.store.command import TABLE

GENERAL: tuple[str, ...] = (
    "Where stock promises no order (KEYS, SCAN, HGETALL, SMEMBERS, a random member) the order is another one.",
    "A write that the log cannot take is answered with `MISCONF`, and has changed nothing; reads go on.",
    "The log is on by default (`appendonly yes`).",
    "`no-appendfsync-on-rewrite` has no effect: what `appendfsync` promises holds while the log is rewritten, too.",
    "There are no save points by default, as the log has everything. A `dump.rdb` without a log becomes the BASE of a "
    "new one, where stock 7.0 starts empty.",
    "Arguments that are not bulk strings but verbatim strings or big numbers of RESP3 are taken for what they hold; "
    "stock breaks the connection off.",
    "Texts for people (HELP, summaries, LATENCY DOCTOR, LOLWUT) are our own.",
)

ABSENT: dict[str, str] = {}
"""Commands of stock 7.0 that are not in the table, and why."""

_QUICK = (
    "At thresholds of 1 ms and more, a command of constant time in the midst of a pipeline is only seen if it is one "
    "of the one in 16 that are timed."
)
_REPLICATION = "There is no replication."

COMMANDS: dict[str, str] = {
    "BGREWRITEAOF": "The new BASE is read back and compared with memory before it counts. It has deadlines of hash "
    "fields as commands of 7.4, or as a field of our own in an RDB, which stock passes over.",
    "CLIENT|LIST": "Fields about memory tell what this server can know; `rbs`, `rbp` and `obl` are 0.",
    "CLIENT|NO-TOUCH": "Of 7.2.",
    "CLIENT|SETINFO": "Of 7.2.",
    "CONFIG|SET": "`dir` cannot be changed while the server runs.",
    "DEBUG": "POPULATE is logged, as all that is in memory is. RELOAD NOFLUSH of a key that is there is an error and "
    "ends nothing. What would end the process or harm the data is refused. OBJECT's `serializedlength` is what the "
    "value takes in the log. What is about parts that are not here (jemalloc, the cluster's bus ...) is not known.",
    "DUMP": "A hash whose fields expire is of version 12, that of 7.4, as no version before can hold that.",
    "GEORADIUS": "Of several places that are equally far away, COUNT may take others.",
    "GEORADIUSBYMEMBER": "As GEORADIUS.",
    "GEOSEARCH": "As GEORADIUS.",
    "GEOSEARCHSTORE": "As GEORADIUS.",
    "INFO": "Statistics of an allocator, and of parts that are not here, are left out. Fields that begin with "
    "`perdure_` are our own. `rdb_changes_since_last_save` counts BITFIELD, GEOSEARCHSTORE, PFADD and XREADGROUP as "
    "one change each.",
    "LATENCY|HISTOGRAM": "Of commands of constant time one in 16 is timed and stands for all, behind the first 100.",
    "LATENCY|LATEST": "`aof-fsync-everysec` is our own: an fsync for which nobody waits.",
    "LOLWUT": "VERSION is followed by columns and rows, whatever the version.",
    "MIGRATE": "Others are served meanwhile; who may change a key that is under way waits. Inside MULTI and scripts "
    "everybody waits, as in stock. A hash whose fields expire is taken by Redis 7.4 and later only.",
    "MODULE|LOAD": "No module can be loaded.",
    "MODULE|LOADEX": "No module can be loaded.",
    "OBJECT|ENCODING": "A whole number that INCRBYFLOAT left is an `int` at once, in stock only after a restart.",
    "OBJECT|IDLETIME": "Uses are kept from the first OBJECT IDLETIME in a database on; what nobody used since is idle "
    "since then.",
    "OBJECT|REFCOUNT": "As OBJECT ENCODING.",
    "PSYNC": _REPLICATION,
    "REPLCONF": f"{_REPLICATION} ACK and GETACK are refused, where stock is silent.",
    "REPLICAOF": _REPLICATION,
    "RESTORE": "Versions up to 12, and Valkey's 80, are taken. Damage is always looked for: a field that stands in a "
    "small hash twice, or a value that goes on in the payload's footer, is refused.",
    "RESTORE-ASKING": "As RESTORE.",
    "SHUTDOWN": "Refused while the log takes no writes, unless FORCE is said: what was answered may not be on the disk "
    "yet.",
    "SLAVEOF": _REPLICATION,
    "SLOWLOG|GET": _QUICK,
    "SYNC": _REPLICATION,
    "ZRANK": "WITHSCORE is of 7.2.",
    "ZREVRANK": "WITHSCORE is of 7.2.",
    **dict.fromkeys(
        ("HEXPIRE", "HEXPIREAT", "HPEXPIRE", "HPEXPIREAT", "HPERSIST"),
        "Of 7.4. A log with deadlines of fields in it is one that stock 7.0 refuses, and 7.4 opens.",
    ),
    **dict.fromkeys(("HEXPIRETIME", "HPEXPIRETIME", "HPTTL", "HTTL"), "Of 7.4."),
    "WAITAOF": "Of 7.2.",
}


def absent() -> dict[str, str]:
    """``ABSENT`` without what is in the table by now."""
    return {name: why for name, why in ABSENT.items() if name.encode() not in TABLE}


def _check() -> None:
    """Assert that every difference is one of a command that there is."""
    names = {sub.name.decode() for entry in TABLE.values() for sub in (entry, *entry.subcommands.values())}
    assert set(COMMANDS) <= names, set(COMMANDS) - names
    assert all(text.endswith(".") for text in (*COMMANDS.values(), *GENERAL))
