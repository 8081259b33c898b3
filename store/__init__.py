"""The data, and what commands do to it.  No I/O, no clock, no sockets.

A command is a free function ``def incrby(tx, argv) -> bytes`` in
``store/commands/``, a module or two a data type, registered with ``@command`` in the
one table of ``store.command``.  Its shape is always: read and validate, then
``tx.log(...)``, then change memory, then return a RESP reply that is ready to
send.  Errors are raised before the log line, so a command that failed changed
nothing (LOG-FIRST, REFUSE-WHOLE).

=================  =========================================================
``errors``         every error text a client can see
``resp``           RESP: records for the log, replies for clients
``command``        the command table
``syntax``         a command's syntax as a tree of arguments
``tx``             what a command works with: database, time, protocol, log
``database``       databases, the keyspace of all of them, expiry
``deadlines``      which keys may be due when
``key_order``      random members and cursors over a table that changes
``events``         classes of keyspace events
``shortcuts``      compiled shortcuts of the commands that are called most, if they are built
``blocking``       what blocking commands share
``value_types``    what a data type tells the rest of the house about itself
``replay``         commands of the log, run again at recovery
``string_value``   the value of a string
``hash_value``     the value of a hash
``list_value``     the value of a list
``list_blocks``    the blocks of elements that a list is made of
``set_value``      the value of a set
``stream_value``   the value of a stream: its entries, and the log's rewrite of it
``stream_nodes``   runs of entries, cut where stock cuts its own
``stream_groups``  groups of consumers and what they have pending
``stream_ids``     ids of entries
``zset_value``     the value of a sorted set
``score_order``    pairs of score and member in order
``warm``           which small values are unpacked
``geohash``        places on the globe as numbers, and which of them are near
``expiry``         the step of active expiry
``field_deadlines``  when the fields of one hash expire
``field_expiry``   hash fields that have expired go
``bits``           bits of strings
``hyperloglog``    HyperLogLogs in stock's representation
``numbers``        numbers as Redis reads and prints them
``patterns``       glob patterns
=================  =========================================================

This package knows nothing of files, sockets and configuration files: what it
needs of them (the log, the time, randomness, limits) comes in through ``Tx``.
"""
