"""What the signing tests share: keys, manifests, and signature files with mistakes in them, properly signed."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from governance.model.artifact import parse_relative_path
from governance.model.digest import parse_sha256
from governance.signing.keys import LocalSigner
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.publickey import CURVES, Algorithm
from governance.signing.sign import sign_payload
from governance.signing.statement import build_statement
from governance.signing.trust import Grant, Role, TrustedKey, TrustStore

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
FILES = {"MLmodel": b"flavors: {}\n", "sub-x": b"1", "sub/b.bin": b"22", "empty": b""}


def signer(name: str = "alice", algorithm: Algorithm = Algorithm.P256) -> LocalSigner:
    """A key of that name; the same one for the whole run."""
    return _signer(name, algorithm)


@functools.cache
def _signer(name: str, algorithm: Algorithm) -> LocalSigner:
    del name
    if algorithm is Algorithm.ED25519:
        return LocalSigner(ed25519.Ed25519PrivateKey.generate())
    return LocalSigner(ec.generate_private_key(CURVES[algorithm]))


def trusted(name: str = "alice", algorithm: Algorithm = Algorithm.P256, **grant: Any) -> TrustedKey:
    grant.setdefault("roles", frozenset(Role))
    return TrustedKey(name=name, public=signer(name, algorithm).public, grant=Grant(**grant))


def trust(*keys: TrustedKey, **more: Any) -> TrustStore:
    return TrustStore(version=1, keys=keys or (trusted(),), **more)


def manifest_of(files: Mapping[str, bytes] = FILES) -> Manifest:
    return Manifest(
        tuple(
            ManifestEntry(
                name=parse_relative_path(name),
                sha256=parse_sha256(hashlib.sha256(data).hexdigest()),
                size=len(data),
            )
            for name, data in files.items()
        )
    )


def statement_of(files: Mapping[str, bytes] = FILES) -> dict[str, Any]:
    """The statement as a document that a test may spoil."""
    document: dict[str, Any] = json.loads(build_statement(manifest_of(files), name="model"))
    return document


def seal(document: Any) -> dict[str, Any]:
    """Make the subject's digests fit the resources again, so that a test reaches the check that it is about."""
    resources = document["predicate"]["resources"]
    raw = b"".join(bytes.fromhex(row["digest"]) for row in resources)
    document["subject"][0]["digest"] = {"sha256": hashlib.sha256(raw).hexdigest()}
    return dict(document)


def signed(document: Any, *signers: LocalSigner) -> bytes:
    """A good signature over whatever it is."""
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return sign_payload(payload, signers=signers or (signer(),))


def opened(bundle: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bundle)
    return document


def closed(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def payload_of(bundle: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.b64decode(opened(bundle)["dsseEnvelope"]["payload"]))
    return document


def resource(name: str, data: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"name": name, "algorithm": "sha256", "digest": hashlib.sha256(data).hexdigest(), **more}


def resources(*names: str) -> Sequence[dict[str, Any]]:
    return [resource(name) for name in names]
