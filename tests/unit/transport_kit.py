"""What the tests of the transport share: a session that talks to a server which answers as a script says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from governance.transport import Credentials, Transport
from tests.rawserver import RawServer, Script, raw_server

TOKEN = "token-that-must-stay-home"


class Pauses:
    """Stands in for `sleep` and remembers how long it was to be."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def transport(server: RawServer | str, **more: Any) -> Transport:
    """A session with a token for the server, or for an address; `more` are its settings. Its pauses take no time."""
    url = server if isinstance(server, str) else f"{server.url}/artifactory"
    settings: dict[str, Any] = {"credentials": Credentials(token=TOKEN), "sleep": Pauses(), **more}
    return Transport(base_url=url, service="Artifactory", **settings)


@contextmanager
def talking_to(*script: Script, **more: Any) -> Iterator[tuple[Transport, RawServer]]:
    """A session and the server it talks to, which gives the answers of the script one by one, the last of them for ever."""
    with raw_server(*script) as server:
        session = transport(server, **more)
        yield session, server
        session.close()
