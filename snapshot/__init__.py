"""Point-in-time files: the RDB codec, background saves, log compaction, the checkpoint.

None of them exists yet.  Until the codec does, a BASE or ``dump.rdb`` in RDB form is
refused by name at start (see ``server.startup``), never skipped.
"""
