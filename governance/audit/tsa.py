"""Time stamps over heads (RFC 3161, extra `tsa`): an authority's word that the log had this head at that time.

Promises: a stamp counts only if it is over this head's very bytes and was given by the authority whose certificate the
caller brings; head and stamp are then kept side by side, where `openssl ts -verify` checks them too. Does not: show that
there is no second log; a witness does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates

from governance.audit.anchor import head_name
from governance.audit.checkpoint import Checkpoint
from governance.audit.log import AuditLog
from governance.errors import AuditUnavailableError, SettingsError
from governance.places import make_private, write_whole
from governance.transport import Transport

_MAX_REPLY = 64 << 10


class TimestampAnchor:
    """An `Anchor` that has heads stamped at `path` of `transport`, by the authority whose certificates are `authority`
    (PEM). Keeps `NAME.checkpoint` and `NAME.checkpoint.tsr` in `folder`."""

    def __init__(self, transport: Transport, path: str, *, authority: bytes, folder: Path) -> None:
        self._transport = transport
        self._path = path
        self._folder = folder
        self._client = _library()
        try:
            self._roots = load_pem_x509_certificates(authority)
        except ValueError as error:
            raise SettingsError(
                "the time stamp authority's certificate is not one in PEM", hint="Fix `audit_tsa_ca`."
            ) from error

    @property
    def name(self) -> str:
        """The authority's host."""
        return f"time stamp {urlsplit(self._transport.base_url).netloc}"

    def publish(self, log: AuditLog, checkpoint: Checkpoint) -> Checkpoint:  # noqa: ARG002 - the contract's
        """See `Anchor.publish`."""
        data = checkpoint.to_bytes()
        reply = self._stamp(data)
        try:
            make_private(self._folder)
            path = self._folder / head_name(checkpoint)
            write_whole(path.with_name(f"{path.name}.tsr"), reply)
            write_whole(path, data)  # last: whoever finds a head finds its stamp
        except OSError as error:
            raise AuditUnavailableError(
                f"the time stamp cannot be kept in `{self._folder}`: {error}"
            ) from error
        return checkpoint

    def _stamp(self, data: bytes) -> bytes:
        client = self._client
        request = (
            client.TimestampRequestBuilder()
            .data(data)
            .hash_algorithm(client.HashAlgorithm.SHA256)
            .nonce(nonce=True)
            .cert_request(cert_request=True)
            .build()
        )
        reply: bytes = self._transport.call(
            "POST",
            self._path,
            body=request.as_bytes(),
            headers={"Content-Type": "application/timestamp-query"},
            idempotent=True,
            limit=_MAX_REPLY,
        ).body
        try:
            response = client.decode_timestamp_response(reply)
            verifier = client.VerifierBuilder(roots=self._roots, nonce=request.nonce).build()
            verifier.verify_message(response, data)
        except (client.VerificationError, ValueError) as error:
            raise AuditUnavailableError(
                f"{self.name} gave no good time stamp: {error}",
                hint="Compare `audit_tsa_ca` with the certificate that the authority publishes.",
            ) from error
        return reply


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise SettingsError(
            "time stamps need the extra `tsa`", hint="pip install 'mlflow-governance[tsa]'"
        ) from error
    return rfc3161_client
