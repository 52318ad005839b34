"""A bare server for tests: accepts connections on loopback, and hands each to a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def listening(talk: Callable[[socket.socket], None], *, port: int = 0) -> Iterator[int]:
    """Serve until the block ends; gives the port. `talk` has the connection to itself, and owns it."""
    listener = socket.create_server(("127.0.0.1", port))
    open_: set[socket.socket] = set()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_.add(connection)
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in open_:
            connection.close()
        thread.join(5)
