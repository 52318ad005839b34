"""The client of Xray's REST interface. Signatures first; the bodies follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from governance.transport import Transport


class XrayClient:
    """One Xray. `transport` has the base URL `{scheme}://host/xray`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def version(self) -> str:
        """The server's version."""
        raise NotImplementedError
