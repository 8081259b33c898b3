"""Errors of snapshots, as stock has them."""

from __future__ import annotations

BARE = b"ERR"
"""Stock says no more of a snapshot that could not be written; its log does."""
SAVE_IN_PROGRESS = b"ERR Background save already in progress"
OTHER_CHILD = (
    b"ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a "
    b"BGSAVE whenever possible."
)
RELOAD_FAILED = b"ERR Error trying to load the RDB dump, check server logs."
SAVE_FAILED = (
    b"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that "
    b"may modify the data set are disabled, because this instance is configured to report errors during writes if "
    b"RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the "
    b"RDB error."
)
