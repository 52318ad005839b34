"""DSSE envelopes: what exactly is signed, and the signatures over it (DSSE v1.0.2, `protocol.md`, `envelope.md`).

Promises: the payload stays the opaque bytes that were signed. Does not: check a signature, or believe `keyid`, which
is a hint that nobody signed.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.signing.reason import Reason, refuse, shown
from governance.signing.strict import member, only

MAX_SIGNATURES = 16

_STANDARD = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*={0,2}")
_MEMBERS = frozenset({"payload", "payloadType", "signatures"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeSignature:
    """One signature. `keyid` is unauthenticated."""

    value: bytes
    keyid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload, its type and the signatures over both."""

    payload: bytes
    payload_type: str
    signatures: tuple[EnvelopeSignature, ...]

    @property
    def message(self) -> bytes:
        """The bytes that were signed."""
        return pae(self.payload_type, self.payload)

    def to_json(self) -> dict[str, Any]:
        """The JSON form, in the standard base64 alphabet."""
        return {
            "payload": base64.b64encode(self.payload).decode("ascii"),
            "payloadType": self.payload_type,
            "signatures": [
                {"sig": base64.b64encode(signature.value).decode("ascii"), "keyid": signature.keyid}
                for signature in self.signatures
            ],
        }


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: `DSSEv1 SP len(type) SP type SP len(body) SP body`, lengths in bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def parse_envelope(document: Mapping[str, Any], *, payload_type: str) -> Envelope:
    """Read an envelope that must carry `payload_type`. Raises `SignatureError`."""
    what, reason = "the envelope", Reason.ENVELOPE
    only(document, _MEMBERS, reason=reason, what=what)
    kind = member(document, "payloadType", str, reason=reason, what=what)
    if kind != payload_type:
        raise refuse(Reason.PAYLOAD_TYPE, f"the envelope carries `{shown(kind)}`, not `{payload_type}`")
    payload = decode_base64(member(document, "payload", str, reason=reason, what=what), what="the payload")
    listed = member(document, "signatures", list, reason=reason, what=what)
    if not payload or not listed:
        raise refuse(reason, "the envelope has no payload or no signature")
    return Envelope(payload=payload, payload_type=kind, signatures=_parse_signatures(listed))


def _parse_signatures(listed: Sequence[Any]) -> tuple[EnvelopeSignature, ...]:
    if len(listed) > MAX_SIGNATURES:
        raise refuse(Reason.TOO_MANY_SIGNATURES, f"{len(listed)} signatures ({MAX_SIGNATURES} are allowed)")
    found = []
    for row in listed:
        if not isinstance(row, dict):
            raise refuse(Reason.ENVELOPE, "a signature that is not an object")
        only(row, frozenset({"sig", "keyid"}), reason=Reason.ENVELOPE, what="a signature")
        value = decode_base64(
            member(row, "sig", str, reason=Reason.ENVELOPE, what="a signature"), what="a signature"
        )
        # Absent, `""` and null mean the same: no hint.
        keyid = row.get("keyid") or ""
        if not value or not isinstance(keyid, str):
            raise refuse(Reason.ENVELOPE, "a signature that is empty, or whose `keyid` is not text")
        found.append(EnvelopeSignature(value=value, keyid=keyid))
    return tuple(found)


def decode_base64(text: str, *, what: str) -> bytes:
    """Decode padded base64 of either alphabet, which DSSE says must both be accepted. Raises `SignatureError`.

    Only what an encoder writes is read: no stray characters, no mixture, no bits after the end.
    """
    if _STANDARD.fullmatch(text):
        altchars, standard = b"+/", text
    elif _URL_SAFE.fullmatch(text):
        altchars, standard = b"-_", text.replace("-", "+").replace("_", "/")
    else:
        raise refuse(Reason.BASE64, f"{what} is not base64")
    try:
        data = binascii.a2b_base64(standard, strict_mode=True)
    except binascii.Error as error:
        raise refuse(Reason.BASE64, f"{what} is not base64: {error}") from error
    if base64.b64encode(data, altchars).decode("ascii") != text:
        raise refuse(Reason.BASE64, f"{what} is base64 that no encoder writes")
    return data
