"""INFO on both: the same sections in the same order, and every field of stock's unless it is listed here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle_differences import NEWER_COMMANDS
from oracle_harness import Oracle, tree
from server_in_process import InProcess, info_of

from perdure.store.command import READONLY, TABLE

pytestmark = pytest.mark.oracle

NOT_HERE = "there is no such thing here"
LEFT_OUT = {
    "atomicvar_api": NOT_HERE,
    "gcc_version": "python_version says what runs",
    "lazyfreed_objects": "what is freed in the background is not counted",
    "expired_stale_perc": "expiry goes by deadline and does not sample",
    "total_reads_processed": "the loop reads the sockets and does not tell how often",
    "total_writes_processed": "the loop writes the sockets and does not tell how often",
    "reply_buffer_shrinks": "a client has no buffer of fixed size",
    "reply_buffer_expands": "a client has no buffer of fixed size",
}
ASKED = [
    b"",
    b"all",
    b"everything",
    b"default",
    b"server",
    b"SERVER clients",
    b"keyspace server",
    b"default commandstats",
    b"server nosuch",
    b"latencystats errorstats",
    b"modules cluster cpu replication",
]


LOOKUPS = """
GET s|GET no|GET h|MGET s no h|STRLEN s|STRLEN no|STRLEN h|GETRANGE s 0 x|GETRANGE s 0 1|GETRANGE no 0 1|GETRANGE h 0 1
SUBSTR s 0 1|GETSET s v|GETSET h v|GETSET new v|SET s v GET|SET no v XX GET|SET s v NX GET|SET h v GET|SET s v XX
SETNX s v|GETEX s|GETEX no|GETEX h|GETEX s EX 0|GETEX s EX x|GETEX no EX 0|GETEX s EX|GETEX s PXAT 1|GETDEL new
GETDEL no|GETDEL h|SET s v|APPEND s x|APPEND no2 x|SETRANGE s 0 x|INCR n|INCR h|GET|GET s s
LCS s s2|LCS s no|LCS no no|LCS h s|LCS s h|LCS no h|LCS s s2 LEN IDX|LCS s s2 BAD
EXISTS s|EXISTS no|EXISTS s no h s|TOUCH s|TOUCH no s|TYPE s|TYPE no|TTL s|TTL no|PTTL no|EXPIRETIME s|PEXPIRETIME no
PERSIST no|EXPIRE s 100|EXPIRE no 1|EXISTS s no h s|MGET s no h|TOUCH no s|OBJECT ENCODING s|OBJECT ENCODING no
OBJECT FREQ s|OBJECT FREQ no|OBJECT IDLETIME s|OBJECT IDLETIME no|OBJECT REFCOUNT s|OBJECT REFCOUNT no|OBJECT HELP
OBJECT|KEYS *|SCAN 0|SCAN 0 TYPE string|SCAN 0 TYPE string MATCH s*|SCAN 0 TYPE hash|RANDOMKEY|DBSIZE
COPY s s3|COPY no s3|COPY s s2|COPY s s|COPY s s2 BAD|RENAME s3 s4|RENAME no s4|RENAMENX s4 s|MOVE s4 1|MOVE no 1
DEL s4|UNLINK no|WATCH s no|UNWATCH|MSET s v|MSETNX s v|MSETNX new v|DEL new
HGET h f|HGET h no|HGET no f|HGET s f|HMGET h f no|HMGET no f|HMGET s f|HGETALL h|HGETALL no|HGETALL s|HKEYS h|HKEYS no
HKEYS s|HVALS h|HVALS no|HVALS s|HEXISTS h f|HEXISTS h no|HEXISTS no f|HEXISTS s f|HLEN h|HLEN no|HLEN s|HSTRLEN h f
HSTRLEN h no|HSTRLEN no f|HSTRLEN s f|HRANDFIELD h|HRANDFIELD no|HRANDFIELD s|HRANDFIELD h 2|HRANDFIELD h 0
HRANDFIELD no 2|HRANDFIELD s 2|HRANDFIELD h x|HRANDFIELD h 1 BAD|HSCAN h 0|HSCAN no 0|HSCAN s 0|HSCAN h x
HSCAN h 0 COUNT 0|HSCAN h 0 BAD|HSCAN no 0 BAD|HSCAN s 0 BAD|HSET h f v|HSETNX h f v|HDEL no f|HDEL h no|HINCRBY h i 1
RPUSH l a b a|LPUSH l z|LPUSHX no a|RPUSHX l c
LLEN l|LLEN no|LLEN s|LRANGE l 0 -1|LRANGE no 0 1|LRANGE s 0 1|LRANGE l x 1
LINDEX l 0|LINDEX l 99|LINDEX l x|LINDEX no x|LINDEX s x|LPOS l a|LPOS l no|LPOS no a|LPOS s a|LPOS l a RANK 0
LSET l 0 y|LSET no 0 y|LINSERT l BEFORE b q|LREM l 0 no|LTRIM l 0 -1|LPOP no|LPOP l|RPOP l 1|RPOP s|LMOVE l l LEFT RIGHT
LMOVE no l LEFT LEFT|RPOPLPUSH l l|LMPOP 2 no l LEFT
BLPOP no l 0|BLPOP s 0|BLMOVE l l LEFT LEFT 0|BLMPOP 0 1 l LEFT
GETBIT s 1|GETBIT no 1|GETBIT h 1|GETBIT s x|BITCOUNT s|BITCOUNT no|BITCOUNT h|BITCOUNT s 1|BITCOUNT s x 1|BITPOS s 1
BITPOS no 1|BITPOS h 1|BITPOS s 1 x|BITPOS s 2|BITFIELD_RO s GET u8 0|BITFIELD_RO no|BITFIELD_RO h GET u8 0
BITFIELD s GET u8 0|BITFIELD no GET u8 0|BITFIELD h GET u8 0|BITFIELD s SET u8 0 1|BITFIELD h SET u8 0 1|BITOP OR d s no
BITOP OR d h|BITOP OR d s h|BITOP NOT d no|SETBIT s 1 1|SETBIT h 1 1|PFADD p a|PFADD s a|PFADD h a|PFCOUNT p|PFCOUNT p
PFCOUNT no|PFCOUNT s|PFCOUNT h|PFCOUNT p no|PFCOUNT p s|PFMERGE p2 p no|PFMERGE p2 h|PFDEBUG ENCODING p
PFDEBUG ENCODING no|PFDEBUG ENCODING s|SET hll HYLL10000000000000|PFCOUNT hll|DEL p p2
SADD a x y z|SADD b y z w|SADD h x|SCARD a|SCARD no|SCARD s|SISMEMBER a x|SISMEMBER a q|SISMEMBER no x|SISMEMBER s x
SMISMEMBER a x q|SMISMEMBER no x|SMISMEMBER s x|SMEMBERS a|SMEMBERS no|SMEMBERS s|SRANDMEMBER a|SRANDMEMBER no
SRANDMEMBER s|SRANDMEMBER a 2|SRANDMEMBER a 0|SRANDMEMBER no 2|SRANDMEMBER s 2|SRANDMEMBER a x|SRANDMEMBER a -2
SSCAN a 0|SSCAN no 0|SSCAN s 0|SSCAN a x|SSCAN no x|SSCAN a 0 COUNT 0|SSCAN no 0 BAD|SSCAN s 0 BAD
SINTER a b|SINTER a no|SINTER no a|SINTER s a|SINTER a s|SINTER a|SINTER no|SINTER s|SINTER no s|SUNION a b|SUNION a no
SUNION s a|SUNION a s|SUNION no|SDIFF a b|SDIFF no b|SDIFF a no|SDIFF s a|SDIFF a s|SDIFF no s|SINTERCARD 2 a b
SINTERCARD 2 a no|SINTERCARD 2 no a|SINTERCARD 1 s|SINTERCARD 2 a s|SINTERCARD 0 a|SINTERCARD 1 a LIMIT 1
SINTERSTORE d a b|SINTERSTORE d a no|SINTERSTORE d no a|SINTERSTORE d s a|SUNIONSTORE d a b no|SUNIONSTORE d a s
SDIFFSTORE d a b|SDIFFSTORE d no a|SDIFFSTORE d a s|SMOVE a b q|SMOVE no b x|SMOVE a d x|SPOP no|SPOP d|SPOP d 1
SREM a q
SORT_RO l|SORT_RO no|SORT_RO s|SORT_RO a ALPHA|SORT_RO l x|SORT_RO a|SORT l ALPHA|SORT no|SORT s|SORT no STORE d
SORT l BY nosort STORE d|SORT a BY s* GET s* GET # ALPHA|SORT_RO l BY no* GET h->f ALPHA|SORT a BY h->* ALPHA
XADD x 1-1 a 1|XADD x 2-1 b 2|XLEN x|XLEN no|XLEN s|XRANGE x - +|XRANGE no - +|XRANGE s - +|XRANGE x a b|XRANGE no a b
XRANGE x - + COUNT 0|XRANGE no - + COUNT 0|XREVRANGE x + -|XREVRANGE no + -|XREVRANGE s + -|XREVRANGE x + - COUNT 1
XREAD STREAMS x 0|XREAD STREAMS no 0|XREAD STREAMS s 0|XREAD STREAMS x no 0 0|XREAD STREAMS x $|XREAD STREAMS no $
XREAD COUNT 1 STREAMS x x 0 9|XREAD STREAMS s x 0 0|XREAD STREAMS x bad|XREAD STREAMS x no a|XGROUP CREATE x g 0
XGROUP CREATE no g 0|XGROUP CREATE s g 0|XREADGROUP GROUP g c STREAMS x >|XREADGROUP GROUP g c STREAMS x >
XREADGROUP GROUP g c STREAMS x 0|XREADGROUP GROUP nog c STREAMS x >|XREADGROUP GROUP g c STREAMS no >
XREADGROUP GROUP g c STREAMS s >|XPENDING x g|XPENDING x nog|XPENDING no g|XPENDING s g|XPENDING x g - + 10
XPENDING x g a b 1|XPENDING x g - + 10 c|XACK x g 1-1|XACK no g 1-1|XACK x nog 1-1
XCLAIM x g c 0 2-1|XCLAIM no g c 0 2-1
XCLAIM s g c 0 2-1|XAUTOCLAIM x g c 0 0|XAUTOCLAIM no g c 0 0|XDEL x 9-9|XDEL no 1-1|XTRIM x MAXLEN 9|XTRIM no MAXLEN 1
XSETID x 9-9|XSETID no 9-9|XINFO STREAM x|XINFO STREAM no|XINFO STREAM s|XINFO STREAM x FULL|XINFO GROUPS x
XINFO GROUPS no|XINFO CONSUMERS x g|XINFO CONSUMERS x nog|XINFO CONSUMERS no g|XINFO HELP|XGROUP SETID x g 0
XGROUP CREATECONSUMER x g c2|XGROUP DELCONSUMER x g c2|XGROUP DESTROY x nog|XGROUP DESTROY no g
SET due v PXAT 1|GET due|SET due v PX 1|DEBUG SLEEP 0.005|GET due|SET due v PX 1|DEBUG SLEEP 0.005|EXISTS due s
ZADD z 1 a 2 b|ZADD z 1 a|ZADD new 1 a|ZADD s 1 a|ZINCRBY z 1 a|ZREM no a|ZPOPMIN no|BZPOPMIN no z 0|ZMPOP 1 no MIN
ZCARD z|ZCARD no|ZCARD s|ZSCORE z a|ZSCORE z q|ZSCORE no a|ZSCORE s a|ZMSCORE z a q|ZMSCORE no a|ZMSCORE s a|ZRANK z a
ZRANK no a|ZRANK s a|ZREVRANK z a|ZREVRANK no a|ZREVRANK s a|ZCOUNT z 0 9|ZCOUNT no 0 9|ZCOUNT s 0 9|ZCOUNT s x 9
ZLEXCOUNT z - +|ZLEXCOUNT no - +|ZLEXCOUNT s - +|ZRANGE z 0 1|ZRANGE no 0 1|ZRANGE s 0 1|ZRANGE z x 1|ZREVRANGE z 0 1
ZREVRANGE no 0 1|ZREVRANGE s 0 1|ZRANGEBYSCORE z 0 1|ZRANGEBYSCORE no 0 1|ZRANGEBYSCORE s 0 1|ZREVRANGEBYSCORE z 1 0
ZREVRANGEBYSCORE no 1 0|ZREVRANGEBYSCORE s 1 0|ZRANGEBYLEX z - +|ZRANGEBYLEX no - +|ZRANGEBYLEX s - +
ZREVRANGEBYLEX z + -|ZREVRANGEBYLEX no + -|ZREVRANGEBYLEX s + -|ZRANDMEMBER z|ZRANDMEMBER no|ZRANDMEMBER s
ZRANDMEMBER z 2|ZRANDMEMBER no 2|ZRANDMEMBER s 2|ZSCAN z 0|ZSCAN no 0|ZSCAN s 0|ZSCAN z 0 BAD|ZSCAN no 0 BAD
ZRANGESTORE d z 0 1|ZRANGESTORE d no 0 1|ZRANGESTORE d s 0 1|ZUNION 3 z no z|ZUNION 3 z no s|ZUNION 1 z BAD|ZINTER 1 z
ZDIFF 2 no z|ZINTERCARD 2 z no|ZUNIONSTORE d 2 z no|ZUNIONSTORE d 2 s no|ZINTERSTORE d 2 z no|ZDIFFSTORE d 2 z z
GEOADD g 13 38 p 15 37 c|GEOADD s 13 38 p|GEOPOS g p q|GEOPOS no p|GEOPOS s p|GEOHASH g p|GEOHASH no p|GEOHASH s p
GEODIST g p c|GEODIST no p c|GEODIST s p c|GEODIST g p c bad|GEOSEARCH g FROMMEMBER p BYRADIUS 1 km
GEOSEARCH no FROMMEMBER p BYRADIUS 1 km|GEOSEARCH s FROMMEMBER p BYRADIUS 1 km|GEOSEARCH g FROMMEMBER q BYRADIUS 1 km
GEOSEARCH no FROMMEMBER q BYRADIUS 1 bad|GEOSEARCHSTORE d g FROMMEMBER p BYRADIUS 1 km
GEOSEARCHSTORE d no FROMMEMBER p BYRADIUS 1 km|GEOSEARCHSTORE d s FROMMEMBER p BYRADIUS 1 km
GEORADIUS g 13 38 1 km|GEORADIUS no 13 38 1 km|GEORADIUS s 13 38 1 km|GEORADIUS g 13 38 1 bad|GEORADIUS_RO g 13 38 1 km
GEORADIUS_RO no 13 38 1 km|GEORADIUS_RO s 13 38 1 km|GEORADIUS_RO g 13 38 1 bad|GEORADIUS_RO no 13 38 1 bad
GEORADIUSBYMEMBER g p 1 km|GEORADIUSBYMEMBER no p 1 km|GEORADIUSBYMEMBER s p 1 km|GEORADIUSBYMEMBER_RO g p 1 km
GEORADIUSBYMEMBER_RO no p 1 km|GEORADIUSBYMEMBER_RO s p 1 km|GEORADIUSBYMEMBER g p 1 km STORE d|SORT z ALPHA
DUMP s|DUMP no|DUMP h
MULTI|GET s|GET no|MGET s no|HGET s f|EXEC|MULTI|GET s|DISCARD|CONFIG RESETSTAT|GET s|GET no
"""


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    server = InProcess(tmp_path_factory.mktemp("info"))
    yield server
    server.close()


@pytest.mark.parametrize("resp3", [False, True])
@pytest.mark.parametrize("asked", ASKED)
def test_the_same_sections_are_answered_in_the_same_order(
    stock: Oracle, ours: InProcess, asked: bytes, resp3: bool
) -> None:
    stock.speak(resp3)
    ours.speak(resp3)
    argv = [b"INFO", *asked.split()]
    theirs, mine = stock(*argv), ours(*argv)
    assert tree(theirs)[0] == tree(mine)[0]
    assert list(info_of(mine)) == list(info_of(theirs))


def test_every_field_of_stock_is_there_or_listed_with_a_reason(ours: InProcess) -> None:
    oracle = Oracle(aof=b"")
    try:
        for line in ([b"SET", b"k", b"v", b"EX", b"100"], [b"GET"], [b"GET", b"k"]):
            oracle(*line)
            ours(*line)
        theirs, mine = info_of(oracle(b"INFO", b"everything")), info_of(ours(b"INFO", b"everything"))
    finally:
        oracle.close()
    for section, fields in theirs.items():
        if section in ("Commandstats", "Latencystats"):
            continue  # what was run; Latencystats keeps no histograms here
        missing = set(fields) - set(mine[section]) - set(LEFT_OUT)
        assert not missing, section
        listed_and_there = set(mine[section]) & set(LEFT_OUT)
        assert not listed_and_there, section
        in_both = [field for field in fields if field in mine[section]]
        assert [field for field in mine[section] if field in fields] == in_both, section
    assert set(LEFT_OUT) <= {field for fields in theirs.values() for field in fields}


def test_every_look_up_is_a_hit_or_a_miss_as_in_stock(stock: Oracle, tmp_path: Path) -> None:
    ours = InProcess(tmp_path, enable_debug_command="yes")
    counted = []
    for server in (stock, ours):
        server.speak(False)
        for setup in ("FLUSHALL", "SET s v", "HSET h f v g w", "SET n 1", "SET s2 x", "CONFIG RESETSTAT"):
            server(*setup.encode().split())
        seen = []
        for line in LOOKUPS.strip().replace("\n", "|").split("|"):
            server(*line.encode().split())
            reply = server(b"INFO", b"stats")
            if reply == b"+QUEUED\r\n":
                continue
            stats = info_of(reply)["Stats"]
            seen.append((line, int(stats["keyspace_hits"]), int(stats["keyspace_misses"])))
        counted.append(seen)
    ours.close()
    for theirs, mine in zip(*counted, strict=True):
        assert mine == theirs
    assert counted[1][-1][1:] == (1, 1)


def test_every_read_command_with_keys_is_compared() -> None:
    names = {line.split()[0].encode() for line in LOOKUPS.strip().replace("\n", "|").split("|")}
    assert {e.name for e in TABLE.values() if e.flags & READONLY and e.keys_at[0]} <= names | NEWER_COMMANDS


def test_commandstats_and_keyspace_lines_have_stocks_fields(stock: Oracle, ours: InProcess) -> None:
    for server in (stock, ours):
        server.speak(False)
        server(b"FLUSHALL")
        server(b"CONFIG", b"RESETSTAT")
        server(b"SET", b"k", b"v", b"EX", b"100")
        server(b"GET")
        server(b"NOSUCH")
        server(b"HGET", b"k", b"f")
    theirs, mine = info_of(stock(b"INFO", b"everything")), info_of(ours(b"INFO", b"everything"))

    def names(text: str) -> list[str]:
        return [part.split("=")[0] for part in text.split(",")]

    assert names(mine["Commandstats"]["cmdstat_set"]) == names(theirs["Commandstats"]["cmdstat_set"])
    assert names(mine["Keyspace"]["db0"]) == names(theirs["Keyspace"]["db0"])
    assert mine["Keyspace"]["db0"].startswith("keys=1,expires=1,")
    assert "rejected_calls=1,failed_calls=0" in mine["Commandstats"]["cmdstat_get"]
    assert "failed_calls=1" in mine["Commandstats"]["cmdstat_hget"]
    assert {"errorstat_ERR", "errorstat_WRONGTYPE"} <= set(mine["Errorstats"])
