"""Point-in-time files: what a keyspace was at one moment, as a file, and back.

================  ==========================================================
``rdb``           the RDB codec: files as events, events as files
``store_values``  values of the store as the codec has them, and back
``keyspace``      a keyspace out of a file, and a keyspace as one
================  ==========================================================

Background saves, log compaction and the checkpoint do not exist yet: a BASE or ``dump.rdb`` in
RDB form is refused by name at start (see ``server.startup``), never skipped.
"""
