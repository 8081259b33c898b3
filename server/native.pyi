"""What is called of ``native.pyx``."""

import socket

from perdure.server.connection import Connection
from perdure.server.server import Server

class Poller:
    def __init__(self, server: Server) -> None: ...
    def add(self, sock: socket.socket, connection: Connection) -> None: ...
    def close(self) -> None: ...
