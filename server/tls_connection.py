"""A connection that speaks TLS: as any other, but for how it ends.

The other half of a TLS connection cannot stay open: the loop closes it behind
``eof_received``, and what is written from then on is lost.  So the answers of the tick
go before that.  (Those that wait for the log's fsync are lost with it, as a client that
has closed its end cannot be told them.)
"""

from __future__ import annotations

from perdure.server.connection import Connection


class TlsConnection(Connection):
    """One client's transport, which encrypts."""

    __slots__ = ()

    def eof_received(self) -> bool:
        """The client has closed its end."""
        self.engine.end_of_tick()
        super().eof_received()
        return False
