"""The write-ahead log: its format, its files, writing it and reading it back.

A perdure log is a Redis 7 multi-part append-only file that stock Redis reads and
writes too, in which everything perdure wrote is checksummed, numbered and
chained.  The extra facts ride in annotation lines (``#...``), which stock's
loader skips.

To this package a record is bytes: it knows where a RESP command ends, and
nothing of keys, values or clients.

Directory
---------

::

    <appenddirname>/<appendfilename>.manifest
    <appenddirname>/<appendfilename>.<seq>.base.aof | .base.rdb
    <appenddirname>/<appendfilename>.<seq>.incr.aof

The manifest has one line a file, in stock's words, and more pairs behind them,
which stock ignores::

    #PERDURE 1 <log-id>
    file appendonly.aof.1.base.aof seq 1 type b [bytes <n> crc32c <hex> lsn <n> prev <hex>]
    file appendonly.aof.1.incr.aof seq 1 type i [lsn <n> prev <hex>]
    #CRC32C <hex>

A line of type ``h`` names a file that a new BASE has replaced and that is about to be unlinked.
The last line covers every byte above it.  ``lsn`` and ``prev`` on an INCR line
repeat the file's start line, so files that were swapped are noticed.  A BASE line's
``lsn`` and ``prev`` are where the log goes on behind it; its pairs are filled in at
the first start that reads it.  A line for an INCR file that stock wrote has stock's
pairs only.  A manifest that stock wrote has
neither annotation; one with our pairs and no checksum is damaged.

An INCR file that perdure wrote
-------------------------------

::

    file    = start (batch | time)* [end] [foreign]
    start   = "#PERDURE 1 " log-id " " lsn " " prev " " crc CRLF
    batch   = "#W " lsn " " length " " durable " " unix-ms " " prev " " crc CRLF payload
    time    = "#TS:" unix-seconds CRLF                 for stock's tools, when aof-timestamp-enabled
    end     = "#END " lsn " " prev " " crc CRLF        a clean shutdown or a rotation
    payload = length bytes: whole RESP commands, the first one a SELECT; a MULTI ... EXEC
              is never split between batches; length 0 carries only `durable`
    foreign = plain RESP commands that stock appended behind our last batch or END,
              with stock's "#TS:" lines between them

lsn
    position of the first payload byte, counted in payload bytes since the log's
    birth.  Annotations do not count, a foreign suffix and a foreign INCR file do.
    ``lsn + length`` is the next lsn, and so a replication offset.
durable
    every payload byte below this lsn was fsynced when the header was written.
crc
    CRC-32C, eight hex digits, over the line up to the crc and then the payload,
    started from the CRC-32C of the log-id: blocks of another log, and headers
    that a client hid in a value, do not verify.
prev
    the chain: the crc of the start, batch or end line before.  It runs on across
    files.  What stock wrote has no crc of its own, so the chain takes in those
    bytes (``crc32c(bytes, chain)``) and the next start line pins them down.

A batch is valid if and only if its header parses, its crc is right, its lsn is
the running lsn and its prev is the chain.  The first two can be judged alone:
that is how a valid batch behind damage is found.

perdure never appends to a file that it did not itself start in this run.  A file
whose start lsn lies below the end of the file before it supersedes that file's
tail from there on, all of it if need be (a rotation after a failed fsync,
NO-SECOND-FSYNC): its prev must be the chain at that lsn.

END is written only when all before it was fsynced: nothing above it can be torn
where END is whole.  A start after a kill writes what may not have been durable
once more, in place, before a new file continues from it: an fsync that failed in
the killed process leaves bytes that read well and are on no disk.

What recovery decides at the first thing that does not verify, at position p
----------------------------------------------------------------------------

=============================================================  ===========================================
a later valid header has durable > p, or a later file exists,  damage to data that was safe: refuse, name
or an END line follows                                         file, offset, lsn range, reason; change nothing
the only damage is one flipped bit in a batch of full length   rot, not a tear: refuse
otherwise, in the last file                                    a torn tail: set the cut bytes aside,
                                                               truncate, fsync, report, go on
=============================================================  ===========================================

Nothing is truncated before the whole scan has succeeded (HANDS-OFF).

The modules
-----------

==============  =====================================================================
``format``      annotation lines, written and read
``manifest``    the manifest, written and read
``words``       the words of a line by stock's quoting rules
``filesystem``  the one filesystem interface, and the real disk behind it
``simulated``   a disk that crashes, tears, fills and fails at any call
``writer``      group commit, the three fsync policies, what is done on an ill disk
``rotation``    a new INCR file, after a failed fsync too
``compaction``  a rewrite: the log turns to a new INCR file, a BASE takes the place of the others
``idle``        what an idle log writes
``ending``      the end of a run
``survey``      which files there are, and where each one begins
``scan``        one file, read and verified
``rot``         one flipped bit, found through the CRC
``recovery``    reading it all back, and what to do at the first doubt
==============  =====================================================================
"""
