"""The client of JFrog's Evidence service: signed statements about files, filed beside them.

Promises: one envelope goes out as it is, and what the server says of it comes back. Does not: sign, or look at what the
envelope says.
"""

from __future__ import annotations

from dataclasses import dataclass

from governance.artifactory import wire
from governance.artifactory.address import quoted
from governance.errors import TransferError
from governance.transport import Transport

MAX_EVIDENCE = 16 << 20
"""Largest envelope that the service takes, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """Where an evidence lies now. `verified` says whether the server itself checked the signature with a trusted key;
    None where it does not say."""

    uri: str
    verified: bool | None


class EvidenceClient:
    """One evidence service. Every call may raise `RemoteError`; `NotFoundError` and `ForbiddenError` are also what a
    server without the service answers, which needs an Enterprise+ licence."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def attach(self, repository: str, path: str, envelope: bytes) -> Filed:
        """File an envelope about a file. A repeat files it once more. Raises `TransferError` where it is too large, `RemoteError`."""
        if len(envelope) > MAX_EVIDENCE:
            raise TransferError(f"an evidence of {len(envelope)} bytes ({MAX_EVIDENCE} are allowed)")
        answer = self._transport.call(
            "POST",
            f"api/v1/subject/{quoted(repository, path)}",
            body=envelope,
            headers={"Content-Type": "application/json"},
            ok=(200, 201),
            idempotent=False,
        )
        found = answer.read(wire.FiledEvidence)
        return Filed(uri=found.uri, verified=found.verified)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
