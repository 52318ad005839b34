"""Signature files: Sigstore bundles that carry one DSSE envelope (OMS v1.0, section 4).

Promises: bounded input, exactly one kind of verification material, the same bytes for the same signature. Does not:
check anything that needs a key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from governance.signing.envelope import Envelope, decode_base64, parse_envelope
from governance.signing.reason import Reason, refuse, shown
from governance.signing.statement import PAYLOAD_TYPE
from governance.signing.strict import member, only, parse_object

MAX_BUNDLE = 16 << 20
"""Bytes. The limit of JFrog Evidence; 100,000 files need about 12 MiB."""

MAX_CERTIFICATES = 16
MAX_TIMESTAMPS = 4

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MEDIA_TYPES = frozenset(
    {
        MEDIA_TYPE,
        "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/vnd.dev.sigstore.bundle+json;version=0.3",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """Signed with a bare key. `hint` is unauthenticated; older bundles hold the key itself instead, which says
    nothing about whether it is trusted, so it is not kept.
    """

    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateMaterial:
    """Signed with a certificate's key. DER, leaf first."""

    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigstoreMaterial:
    """Signed with a short-lived certificate and entered into a transparency log; `document` is for `keyless`."""

    document: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A signature file taken apart. `timestamps` are RFC 3161 replies (DER) that came with it."""

    material: KeyMaterial | CertificateMaterial | SigstoreMaterial
    envelope: Envelope
    timestamps: tuple[bytes, ...] = ()


def write_bundle(envelope: Envelope, material: KeyMaterial | CertificateMaterial) -> bytes:
    """The signature file: compact JSON in the order of the specification's examples, no final newline."""
    listed: dict[str, Any]
    if isinstance(material, KeyMaterial):
        listed = {"publicKey": {"hint": material.hint}}
    else:
        rows = [{"rawBytes": base64.b64encode(der).decode("ascii")} for der in material.certificates]
        listed = {"x509CertificateChain": {"certificates": rows}}
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {**listed, "tlogEntries": []},
        "dsseEnvelope": envelope.to_json(),
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def parse_bundle(data: bytes, *, payload_type: str = PAYLOAD_TYPE) -> Bundle:
    """Read a signature file. Raises `SignatureError`, each refusal with its own reason."""
    if len(data) > MAX_BUNDLE:
        raise refuse(Reason.TOO_LARGE, f"the signature file has {len(data)} bytes ({MAX_BUNDLE} are allowed)")
    what, reason = "the signature file", Reason.BUNDLE
    document = parse_object(data, what=what)
    media_type = member(document, "mediaType", str, reason=reason, what=what)
    if media_type not in _MEDIA_TYPES:
        raise refuse(Reason.MEDIA_TYPE, f"media type `{shown(media_type)}` is not a Sigstore bundle we know")
    only(document, frozenset({"mediaType", "verificationMaterial", "dsseEnvelope"}), reason=reason, what=what)
    material = member(document, "verificationMaterial", dict, reason=Reason.MATERIAL, what=what)
    envelope = member(document, "dsseEnvelope", dict, reason=Reason.ENVELOPE, what=what)
    return Bundle(
        material=_parse_material(material, data),
        envelope=parse_envelope(envelope, payload_type=payload_type),
        timestamps=_parse_timestamps(material.get("timestampVerificationData")),
    )


def _parse_material(
    document: Mapping[str, Any], data: bytes
) -> KeyMaterial | CertificateMaterial | SigstoreMaterial:
    what, reason = "the verification material", Reason.MATERIAL
    kinds = [kind for kind in ("publicKey", "x509CertificateChain", "certificate") if kind in document]
    if len(kinds) != 1:
        raise refuse(
            reason, "the verification material is not exactly one of key, certificate chain and Sigstore"
        )
    content = member(document, kinds[0], dict, reason=reason, what=what)
    if kinds[0] == "publicKey":
        if not {"hint", "rawBytes"} & set(content):
            raise refuse(reason, "the public key has neither a hint nor bytes")
        hint = content.get("hint", "")
        return KeyMaterial(hint=hint if isinstance(hint, str) else "")
    if kinds[0] == "x509CertificateChain":
        rows = member(content, "certificates", list, reason=reason, what=what)
        return CertificateMaterial(certificates=_parse_certificates(rows))
    entries = document.get("tlogEntries")
    if not isinstance(entries, list) or not entries:
        raise refuse(reason, "a Sigstore bundle without an entry in a transparency log")
    return SigstoreMaterial(document=data)


def _parse_timestamps(document: Any) -> tuple[bytes, ...]:
    # Releases before 1.1 write an empty list where the schema has an object.
    if not document:
        return ()
    rows = document.get("rfc3161Timestamps", []) if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) > MAX_TIMESTAMPS:
        raise refuse(Reason.MATERIAL, f"time stamps that are not a list of at most {MAX_TIMESTAMPS}")
    found = []
    for row in rows:
        if not isinstance(row, dict):
            raise refuse(Reason.MATERIAL, "a time stamp that is not an object")
        text = member(row, "signedTimestamp", str, reason=Reason.MATERIAL, what="a time stamp")
        found.append(decode_base64(text, what="a time stamp"))
    return tuple(found)


def _parse_certificates(rows: Sequence[Any]) -> tuple[bytes, ...]:
    if not 0 < len(rows) <= MAX_CERTIFICATES:
        raise refuse(Reason.MATERIAL, f"{len(rows)} certificates (1 to {MAX_CERTIFICATES} are allowed)")
    found = []
    for row in rows:
        if not isinstance(row, dict):
            raise refuse(Reason.MATERIAL, "a certificate that is not an object")
        text = member(row, "rawBytes", str, reason=Reason.MATERIAL, what="a certificate")
        found.append(decode_base64(text, what="a certificate"))
    return tuple(found)
