"""Trusted time from RFC 3161 time stamps in the signature file (extra `tsa`).

A time stamp covers one signature's bytes, as in Sigstore bundles. The authorities that may give it are those of the
trust file with the role `timestamp`, each for the time during which it is trusted: what it stamped before it was
superseded goes on counting, and nothing of one that is compromised, which may bear any time. A stamp that does not verify
counts as none, and the signature as made now: trusted time only ever lets an older signature through. Does not: ask anybody for a stamp over the network; `curl` does
(see `docs/signatures.md`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from governance.errors import KeyFileError
from governance.signing.bundle import Bundle, parse_bundle
from governance.signing.certificate import read_certificate
from governance.signing.reason import Reason, refuse
from governance.signing.trust import Grant, Revocation, Role, TrustedAuthority, TrustStore


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
    """The bundle with a time stamp authority's reply (DER) in it. What is signed stays as it is. Raises `SignatureError` where the reply is
    no stamp over one of the bundle's signatures, which would show only when the stamp is needed."""
    signatures = parse_bundle(bundle).envelope.signatures
    client = _library()
    try:
        response = client.decode_timestamp_response(reply)
    except ValueError as error:
        what = "the reply is not a time stamp in DER (which has its certificates sorted, unlike `openssl ts -chain`)"
        raise refuse(Reason.MATERIAL, what) from error
    if response.status != _GRANTED:
        raise refuse(Reason.MATERIAL, f"the authority gave no time stamp (PKIStatus {response.status})")
    if not any(_is_over(response, each.value) for each in signatures):
        raise refuse(Reason.MATERIAL, "the time stamp is over something else than this signature")
    document = json.loads(bundle)
    data = document["verificationMaterial"].setdefault("timestampVerificationData", {})
    row = {"signedTimestamp": base64.b64encode(reply).decode("ascii")}
    data["rfc3161Timestamps"] = [*data.get("rfc3161Timestamps", []), row]
    written = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    parse_bundle(written)
    return written


def stamped_times(bundle: Bundle, trust: TrustStore, *, at: datetime) -> dict[bytes, datetime]:
    """By signature, when a trusted authority saw it; the earliest where there are several."""
    authorities = [each for each in trust.authorities if Role.TIMESTAMP in each.grant.roles]
    if not bundle.timestamps or not authorities:
        return {}
    try:
        client = _library()
    except KeyFileError:
        return {}
    times: dict[bytes, datetime] = {}
    for stamp in bundle.timestamps:
        for signature in bundle.envelope.signatures:
            for authority in authorities:
                time = _read(client, stamp, signature.value, authority)
                if time is not None and _is_trusted(authority.grant, time, at=at):
                    times[signature.value] = min(time, times.get(signature.value, time))
    return times


def _is_trusted(grant: Grant, time: datetime, *, at: datetime) -> bool:
    if grant.revocation is Revocation.COMPROMISED:
        return False
    return grant.objection(role=Role.TIMESTAMP, repository=None, at=at, signed_at=time) is None


def _read(client: Any, stamp: bytes, message: bytes, authority: TrustedAuthority) -> datetime | None:
    builder = client.VerifierBuilder(roots=[read_certificate(authority.certificate)])
    try:
        response = client.decode_timestamp_response(stamp)
        if not _is_over(response, message):
            return None
        builder.build().verify_message(response, message)
        time: datetime = response.tst_info.gen_time
    except (client.VerificationError, ValueError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


_GRANTED = 0
_DIGESTS = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def _is_over(response: Any, message: bytes) -> bool:
    """Whether a stamp is over these bytes, whoever gave it. Raises `ValueError` for a reply without one."""
    imprint = response.tst_info.message_imprint
    digest = _DIGESTS.get(imprint.hash_algorithm.dotted_string)
    return digest is not None and bool(imprint.message == hashlib.new(digest, message).digest())


def _library() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise KeyFileError(
            "time stamps need the extra `tsa`", hint="`pip install 'mlflow-governance[tsa]'`."
        ) from error
    return rfc3161_client
