"""OpenSSF Model Signing: the specification's vectors and schemas, and real signatures of released versions.

What is refused is listed with its reason. Nothing here was made by this project.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from governance.errors import SignatureError
from governance.model.request import Actor, MlflowContext
from governance.signing.bundle import parse_bundle
from governance.signing.certificate import read_certificate
from governance.signing.hashing import hash_folder
from governance.signing.predicate import parse_statement
from governance.signing.publickey import Algorithm, PublicKey, parse_public_key, wrap_public_key
from governance.signing.reason import Reason
from governance.signing.sign import attribution, sign_manifest
from governance.signing.statement import IGNORED_NAMES
from governance.signing.trust import Grant, Role, TrustedAuthority, TrustedIdentity, TrustStore
from governance.signing.verify import verify_folder
from tests.unit.signing_kit import manifest_of, payload_of, signer

VECTORS = Path(__file__).resolve().parents[2] / "../shared/vectors"
SPEC, RELEASES = VECTORS / "oms", VECTORS / "oms-bundles"
pytestmark = pytest.mark.skipif(not RELEASES.is_dir(), reason=f"{VECTORS} is not there")

NOW = datetime(2026, 6, 1, tzinfo=UTC)
# The vectors lie beside files that their signers left out.
MAY_IGNORE = IGNORED_NAMES | {"ignore-me"}
EVERYTHING = Grant(roles=frozenset(Role))


def release_key() -> TrustStore:
    return TrustStore.of_key(parse_public_key((RELEASES / "keys/signing-key-pub.pem").read_bytes()))


def release_authority() -> TrustStore:
    pem = (RELEASES / "keys/ca-cert.pem").read_text()
    return TrustStore(authorities=(TrustedAuthority(name="ca", certificate=pem, grant=EVERYTHING),))


@dataclass(frozen=True)
class Vector:
    """A folder, or one file where the release signed one file; `reason` where we refuse it, and why."""

    path: str
    reason: Reason | None = None
    why: str = ""


KEY_VECTORS = [
    Vector("v0.3.1-elliptic-key/signme-1"),  # one file, under the name `.`
    Vector("v1.0.0-elliptic-key/signme-1"),
    Vector("v1.0.1-elliptic-key"),
    Vector("v1.1.0-elliptic-key"),
]


@pytest.mark.parametrize("vector", KEY_VECTORS, ids=lambda vector: vector.path)
def test_signatures_by_key_of_every_release_verify(vector: Vector) -> None:
    path = RELEASES / vector.path
    bundle = ((path if path.is_dir() else path.parent) / "model.sig").read_bytes()
    report = verify_folder(bundle, path, release_key(), at=NOW, may_ignore=MAY_IGNORE)
    assert report.valid, report.detail


@pytest.mark.parametrize("release", ["v1.0.1", "v1.1.0"])
def test_the_same_signatures_are_refused_over_other_files(release: str) -> None:
    bundle = (RELEASES / f"{release}-elliptic-key/model.sig").read_bytes()
    report = verify_folder(
        bundle, RELEASES / f"{release}-certificate", release_key(), at=NOW, may_ignore=MAY_IGNORE
    )
    assert report.reason is Reason.FILES
    assert report.changed == ("signme-1",)


def test_a_release_that_leaves_out_a_file_of_the_model_is_refused_unless_that_is_allowed() -> None:
    folder = RELEASES / "v1.1.0-elliptic-key"
    report = verify_folder((folder / "model.sig").read_bytes(), folder, release_key(), at=NOW)
    assert report.reason is Reason.IGNORE_LIST


CERTIFICATE_VECTORS = ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"]


@pytest.mark.parametrize("release", CERTIFICATE_VECTORS)
def test_certificate_signatures_hold_and_their_chain_is_refused_for_its_leaf(release: str) -> None:
    folder = RELEASES / f"{release}-certificate"
    bundle = (folder / "model.sig").read_bytes()
    # The leaf in these vectors carries CA:TRUE, so it is an authority and no signer of code.
    report = verify_folder(bundle, folder, release_authority(), at=NOW, may_ignore=MAY_IGNORE)
    assert report.reason is Reason.CERTIFICATE_USAGE
    # Everything but the chain is good: the signature, the statement, the files.
    parsed = parse_bundle(bundle)
    key = leaf_key(folder)
    assert key.has_signed(parsed.envelope.message, parsed.envelope.signatures[0].value)
    manifest = parse_statement(parsed.envelope.payload).manifest
    assert manifest is not None
    assert manifest.digests() == hash_folder(folder, left_out=MAY_IGNORE).digests()


def leaf_key(folder: Path) -> PublicKey:
    document = json.loads((folder / "model.sig").read_bytes())
    rows = document["verificationMaterial"]["x509CertificateChain"]["certificates"]
    return wrap_public_key(x509.load_der_x509_certificate(base64.b64decode(rows[0]["rawBytes"])).public_key())


def test_version_0_2_is_refused() -> None:
    # Its pre-authentication encoding is broken (`DSSEV1` and Python's `b'...'`), so nothing standard verifies it.
    folder = RELEASES / "v0.2.0-certificate"
    report = verify_folder((folder / "model.sig").read_bytes(), folder, release_authority(), at=NOW)
    assert report.reason is Reason.BAD_SIGNATURE


IDENTITY = ("stefanb@us.ibm.com", "https://sigstore.verify.ibm.com/oauth2")


def identities(identity: str, issuer: str) -> TrustStore:
    row = TrustedIdentity(name="stefan", identity=identity, issuer=issuer, grant=EVERYTHING)
    return TrustStore(identities=(row,))


@pytest.mark.parametrize("release", ["v0.3.1", "v1.0.0", "v1.0.1", "v1.1.0"])
def test_sigstore_signatures_verify_offline(release: str) -> None:
    pytest.importorskip("sigstore")
    folder = RELEASES / f"{release}-sigstore"
    bundle = (folder / "model.sig").read_bytes()
    good = verify_folder(bundle, folder, identities(*IDENTITY), at=NOW, may_ignore=MAY_IGNORE)
    assert good.valid, good.detail
    assert good.signer == "stefan"
    for wrong in (("someone@else.org", IDENTITY[1]), (IDENTITY[0], "https://accounts.google.com")):
        report = verify_folder(bundle, folder, identities(*wrong), at=NOW, may_ignore=MAY_IGNORE)
        assert report.reason is Reason.IDENTITY
    document = json.loads(bundle)
    payload = bytearray(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload[50] ^= 1
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    spoiled = verify_folder(
        json.dumps(document).encode(), folder, identities(*IDENTITY), at=NOW, may_ignore=MAY_IGNORE
    )
    assert spoiled.reason is Reason.SIGSTORE


@pytest.mark.parametrize("cache", ["of another Sigstore", "half written", "that cannot be made"])
def test_whom_sigstore_trusts_is_not_read_from_the_users_cache(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library looks there first, checks nothing of it while offline, and makes it where it is not."""
    store = pytest.importorskip("sigstore._store").__path__[0]
    named = quote("https://tuf-repo-cdn.sigstore.dev", safe="")
    kept = tmp_path / "sigstore-python/tuf" / named / "trusted_root.json"
    if cache == "that cannot be made":
        (tmp_path / "sigstore-python").write_bytes(b"")
    else:
        kept.parent.mkdir(parents=True)
        other = Path(store) / named.replace("sigstore.dev", "sigstage.dev") / "trusted_root.json"
        kept.write_bytes(other.read_bytes()[: 100 if cache == "half written" else None])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = RELEASES / "v1.1.0-sigstore"
    bundle = (folder / "model.sig").read_bytes()
    report = verify_folder(bundle, folder, identities(*IDENTITY), at=NOW, may_ignore=MAY_IGNORE)
    assert report.valid, report.detail


SPEC_VALID = {
    "key.bundle.json": ("v1.1.0-elliptic-key", release_key, None),
    "certificate.bundle.json": ("v1.1.0-elliptic-key", release_authority, Reason.CERTIFICATE_USAGE),
}


@pytest.mark.parametrize("name", SPEC_VALID)
def test_the_specifications_valid_bundles(name: str) -> None:
    folder, store, reason = SPEC_VALID[name]
    bundle = (SPEC / "test-vectors/v1.0/valid" / name).read_bytes()
    report = verify_folder(bundle, RELEASES / folder, store(), at=NOW, may_ignore=MAY_IGNORE)
    assert report.reason is reason, report.detail


def test_the_specifications_sigstore_bundle() -> None:
    pytest.importorskip("sigstore")
    bundle = (SPEC / "test-vectors/v1.0/valid/sigstore.bundle.json").read_bytes()
    folder = RELEASES / "v1.1.0-sigstore"
    assert verify_folder(bundle, folder, identities(*IDENTITY), at=NOW, may_ignore=MAY_IGNORE).valid


SPEC_INVALID = {
    "invalid/empty.bundle.json": Reason.NOT_JSON,
    "invalid/missing-envelope.bundle.json": Reason.ENVELOPE,
    "invalid/missing-tlog-entries.bundle.json": Reason.MATERIAL,
    "invalid/missing-verification-material.bundle.json": Reason.MATERIAL,
    # The vector spoils the statement without signing it again, so a verifier that checks signatures first sees that.
    "invalid-payload/wrong-predicate.bundle.json": Reason.BAD_SIGNATURE,
}


@pytest.mark.parametrize("name", SPEC_INVALID)
def test_the_specifications_invalid_bundles_are_refused(name: str) -> None:
    bundle = (SPEC / "test-vectors/v1.0" / name).read_bytes()
    report = verify_folder(
        bundle, RELEASES / "v1.1.0-elliptic-key", release_key(), at=NOW, may_ignore=MAY_IGNORE
    )
    assert report.reason is SPEC_INVALID[name]


def test_the_wrong_predicate_is_refused_as_such_where_the_signature_is_not_the_matter() -> None:
    bundle = (SPEC / "test-vectors/v1.0/invalid-payload/wrong-predicate.bundle.json").read_bytes()
    with pytest.raises(SignatureError) as caught:
        parse_statement(parse_bundle(bundle).envelope.payload)
    assert caught.value.reason == Reason.PREDICATE_TYPE


def test_every_vector_is_used() -> None:
    used = {vector.path.partition("/")[0] for vector in KEY_VECTORS}
    used |= {f"{release}-certificate" for release in CERTIFICATE_VECTORS} | {"v0.2.0-certificate"}
    used |= {f"{release}-sigstore" for release in CERTIFICATE_VECTORS}
    assert {path.parent.name for path in RELEASES.glob("*/model.sig")} == used
    spec = {f"{path.parent.name}/{path.name}" for path in (SPEC / "test-vectors/v1.0").glob("*/*.json")}
    assert spec == set(SPEC_INVALID) | {f"valid/{name}" for name in SPEC_VALID} | {
        "valid/sigstore.bundle.json"
    }


@cache
def validator(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    documents = {path.name: json.loads(path.read_text()) for path in (SPEC / "schemas/v1.0").glob("*.json")}
    registry = referencing.Registry().with_resources(
        (document["$id"], referencing.Resource.from_contents(document)) for document in documents.values()
    )
    return jsonschema.Draft202012Validator(documents[f"{name}.schema.json"], registry=registry)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_our_bundles_fit_the_specifications_schemas(algorithm: Algorithm) -> None:
    annotations = attribution(Actor(name="ann"), MlflowContext(run_id="r"))
    bundle = sign_manifest(
        manifest_of(), name="model", signer=signer("schema", algorithm), annotations=annotations
    )
    validator("bundle").validate(json.loads(bundle))
    validator("statement").validate(payload_of(bundle))


def test_a_certificate_bundle_of_ours_fits_too() -> None:
    pem = (RELEASES / "keys/signing-key-cert.pem").read_text()
    der = read_certificate(pem).public_bytes(Encoding.DER)
    bundle = sign_manifest(manifest_of(), name="m", signer=signer(), certificates=(der,))
    validator("bundle").validate(json.loads(bundle))
