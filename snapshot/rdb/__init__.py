"""The RDB codec: files of keys and values as stock Redis and Valkey write and read them.

===================  =======================================================
``format``           versions, opcodes, types: the numbers
``errors``           the one error
``events``           what a file holds, as ``reader`` yields it
``reader``           a file as events
``source``           bytes to read from, a chunk at a time; lengths, strings, checksum
``values``           values by their type
``stream_values``    values of streams
``packs``            ziplist, listpack, zipmap, intset, taken apart
``writer``           events as a file
``encoder``          values as a version has them
``stream_encoder``   values of streams
``packing``          strings, listpacks, intsets, put together
``payload``          a value by itself: DUMP and RESTORE
===================  =======================================================

Read are versions 2 to 12 and Valkey's 80, with every type and opcode; written are 9 to 12.
Both ways it is a stream: memory is bounded by the largest value and not by the file.
Every length is checked against what is left before anything is allocated for it.

It must not know: databases, value classes of the store, commands; ``snapshot.keyspace``
brings the two together.  Of the store it takes numbers and the layout of stream nodes.
"""
