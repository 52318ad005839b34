"""Trusted time from RFC 3161 time stamps in the signature file (extra `tsa`).

A time stamp covers one signature's bytes, as in Sigstore bundles. The authorities that may give it are those of the
trust file with the role `timestamp`. A stamp that does not verify counts as none, and the signature as made now:
trusted time only ever lets an older signature through. Does not: ask anybody for a stamp over the network; `curl` does
(see `docs/signatures.md`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from governance.errors import KeyFileError
from governance.signing.bundle import Bundle, parse_bundle
from governance.signing.certificate import read_certificate
from governance.signing.reason import Reason, refuse
from governance.signing.trust import Role, TrustedAuthority, TrustStore


def timestamp_request(bundle: bytes) -> bytes:
    """The request (DER, `application/timestamp-query`) for a stamp over a bundle's first signature."""
    client = _library()
    signature = parse_bundle(bundle).envelope.signatures[0].value
    request: bytes = (
        client.TimestampRequestBuilder()
        .data(signature)
        .hash_algorithm(client.HashAlgorithm.SHA256)
        .cert_request(cert_request=True)
        .build()
        .as_bytes()
    )
    return request


def attach_timestamp(bundle: bytes, reply: bytes) -> bytes:
    """The bundle with a time stamp authority's reply (DER) in it. What is signed stays as it is."""
    parse_bundle(bundle)
    client = _library()
    try:
        client.decode_timestamp_response(reply)
    except ValueError as error:
        raise refuse(Reason.MATERIAL, "the reply is not a time stamp in DER") from error
    document = json.loads(bundle)
    data = document["verificationMaterial"].setdefault("timestampVerificationData", {})
    row = {"signedTimestamp": base64.b64encode(reply).decode("ascii")}
    data["rfc3161Timestamps"] = [*data.get("rfc3161Timestamps", []), row]
    written = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    parse_bundle(written)
    return written


def stamped_times(bundle: Bundle, trust: TrustStore, *, at: datetime) -> dict[bytes, datetime]:
    """By signature, when a trusted authority saw it; the earliest where there are several."""
    authorities = [
        each
        for each in trust.authorities
        if each.grant.objection(role=Role.TIMESTAMP, repository=None, at=at, signed_at=None) is None
    ]
    if not bundle.timestamps or not authorities:
        return {}
    try:
        client = _library()
    except KeyFileError:
        return {}
    times: dict[bytes, datetime] = {}
    for stamp in bundle.timestamps:
        for signature in bundle.envelope.signatures:
            time = _read(client, stamp, signature.value, authorities)
            if time is not None and time <= at:
                times[signature.value] = min(time, times.get(signature.value, time))
    return times


def _read(
    client: Any, stamp: bytes, message: bytes, authorities: Sequence[TrustedAuthority]
) -> datetime | None:
    builder = client.VerifierBuilder(roots=[read_certificate(each.certificate) for each in authorities])
    try:
        response = client.decode_timestamp_response(stamp)
        builder.build().verify_message(response, message)
        time: datetime = response.tst_info.gen_time
    except (client.VerificationError, ValueError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise KeyFileError(
            "time stamps need the extra `tsa`", hint="`pip install 'mlflow-governance[tsa]'`."
        ) from error
    return rfc3161_client
