"""What is answered when the log cannot be rewritten, byte for byte as stock Redis 7.0 says it."""

from __future__ import annotations

from typing import Final

REWRITE_UNDER_WAY: Final = b"ERR Background append only file rewriting already in progress"
REWRITE_IMPOSSIBLE: Final = (
    b"ERR Can't execute an AOF background rewriting. Please check the server logs for more information."
)
