"""The embedded evidence service: what it files, what it verifies, and what it refuses."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from governance.devserver import DevServer
from governance.devserver.config import DevServerConfig

Call = Callable[..., requests.Response]
Sign = Callable[[bytes], bytes]
TYPE = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/verification_summary/v1"


def ecdsa() -> tuple[Any, Sign]:
    key = ec.generate_private_key(ec.SECP384R1())
    return key, lambda message: key.sign(message, ec.ECDSA(hashes.SHA384()))


def edwards() -> tuple[Any, Sign]:
    key = ed25519.Ed25519PrivateKey.generate()
    return key, key.sign


def rivest() -> tuple[Any, Sign]:
    key = rsa.generate_private_key(65537, 2048)
    return key, lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def pem(key: Any) -> str:
    form, kind = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.PEM
    return str(key.public_key().public_bytes(kind, form).decode())


def statement(sha256: str, **more: Any) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": sha256}}],
        "predicateType": PREDICATE,
        "predicate": {"a": 1},
    } | more


def envelope(said: object, sign: Sign | None = None, keyid: str = "") -> dict[str, Any]:
    payload = json.dumps(said).encode()
    message = b"DSSEv1 %d %b %d %b" % (len(TYPE), TYPE.encode(), len(payload), payload)
    signature = sign(message) if sign is not None else b"nobody"
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }


@pytest.fixture
def call(devserver: DevServer) -> Call:
    def send(method: str, path: str, *, by: str = "alice", **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {devserver.token(by)}"} if by else {}
        return requests.request(method, f"{devserver.url}{path}", headers=headers, timeout=10, **options)

    return send


@pytest.fixture
def subject(devserver: DevServer, repo: str) -> tuple[str, str]:
    """Path in the evidence API and digest of a file."""
    item = devserver.put(repo, "a/m.bin", b"model")
    return f"/evidence/api/v1/subject/{repo}/a/m.bin", item.content.sha256


@pytest.mark.parametrize("make", [ecdsa, edwards, rivest])
def test_a_trusted_key_makes_evidence_verified(
    call: Call, subject: tuple[str, str], repo: str, make: Callable[[], tuple[Any, Sign]]
) -> None:
    place, sha256 = subject
    key, sign = make()
    alias = f"{make.__name__}-{repo}"
    trusted = {"alias": alias, "key": pem(key)}
    assert call("POST", "/artifactory/api/security/keys/trusted", by="admin", json=trusted).status_code == 201
    again = call("POST", "/artifactory/api/security/keys/trusted", by="admin", json=trusted)
    assert again.status_code == 409
    filed = call("POST", place, json=envelope(statement(sha256), sign, alias))
    assert filed.status_code == 201
    row = filed.json()
    assert (row["verified"], row["predicate_type"], row["created_by"]) == (True, PREDICATE, "alice")
    forged = call("POST", place, json=envelope(statement(sha256), lambda _: b"x" * 64, alias))
    assert (forged.status_code, forged.json()["verified"]) == (201, False)
    # What was filed is an ordinary file, byte for byte.
    kept = call("GET", f"/artifactory/{row['uri']}")
    assert json.loads(kept.content)["payload"] == envelope(statement(sha256))["payload"]
    found = call("GET", f"/evidence/api/v1/evidence-search?sha256={sha256}").json()["evidence"]
    assert [each["verified"] for each in found if each["repository"] == repo] == [True, False]
    aliases = call("GET", "/artifactory/api/security/keys/trusted").json()["keys"]
    assert alias in {each["alias"] for each in aliases}


def test_a_bundle_is_taken_too_and_without_a_key_it_is_unverified(
    call: Call, subject: tuple[str, str]
) -> None:
    place, sha256 = subject
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "dsseEnvelope": envelope(statement(sha256)),
    }
    filed = call("POST", place, json=bundle)
    assert (filed.status_code, filed.json()["verified"]) == (201, False)


TWO = [{"keyid": "", "sig": "QQ=="}, {"keyid": "", "sig": "QQ=="}]
BAD: dict[str, tuple[Callable[[str], object], str]] = {
    "another digest": (lambda _: envelope(statement("0" * 64)), "digest"),
    "two subjects": (
        lambda sha: envelope(statement(sha, subject=[{"digest": {"sha256": sha}}] * 2)),
        "one subject",
    ),
    "no predicate type": (lambda sha: envelope(statement(sha, predicateType="")), "predicateType"),
    "no statement": (lambda _: envelope([]), "in-toto"),
    "two signatures": (lambda sha: {**envelope(statement(sha)), "signatures": TWO}, "one signature"),
    "another payload type": (
        lambda sha: {**envelope(statement(sha)), "payloadType": "text/plain"},
        "payload type",
    ),
    "payload that is no base64": (lambda sha: {**envelope(statement(sha)), "payload": "%"}, "base64"),
    "unknown alias": (lambda sha: envelope(statement(sha), keyid="nobody"), "not found"),
    "a list": (lambda _: [], "object"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_evidence_is_refused(call: Call, subject: tuple[str, str], name: str) -> None:
    place, sha256 = subject
    body, says = BAD[name]
    refused = call("POST", place, json=body(sha256))
    assert (refused.status_code, says in refused.text) == (400, True)


def test_rights(devserver: DevServer, call: Call, subject: tuple[str, str], repo: str) -> None:
    place, sha256 = subject
    body = envelope(statement(sha256))
    assert call("POST", place, by="", json=body).status_code == 401
    devserver.add_user(f"reader-{repo}", "pw", rights={repo: "r"})
    assert call("POST", place, by=f"reader-{repo}", json=body).status_code == 403
    assert call("POST", place.replace("m.bin", "none"), json=body).status_code == 404
    assert call("POST", place.removesuffix("/m.bin"), json=body).status_code == 400
    assert call("POST", "/artifactory/api/security/keys/trusted", json={"alias": "x"}).status_code == 403
    bad = call("POST", "/artifactory/api/security/keys/trusted", by="admin", json={"alias": "x", "key": "x"})
    assert bad.status_code == 400
    assert call("GET", "/evidence/api/v1/evidence-search").status_code == 400
    assert call("POST", place, json=body).status_code == 201
    where = f"/evidence/api/v1/evidence-search?repository_key={repo}&path=a&name=m.bin"
    assert len(call("GET", where).json()["evidence"]) == 1
    devserver.add_user(f"stranger-{repo}", "pw")
    assert call("GET", where, by=f"stranger-{repo}").json()["evidence"] == []


def test_it_outlives_a_restart(tmp_path: Any) -> None:
    config = DevServerConfig(root=tmp_path)
    with DevServer.start(config) as server:
        item = server.put("models-local", "a", b"model")
        headers = {"Authorization": f"Bearer {server.token('alice')}"}
        place = f"{server.url}/evidence/api/v1/subject/models-local/a"
        body = envelope(statement(item.content.sha256))
        assert requests.post(place, json=body, headers=headers, timeout=10).status_code == 201
    with DevServer.start(replace(config)) as server:
        headers = {"Authorization": f"Bearer {server.token('alice')}"}
        url = f"{server.url}/evidence/api/v1/evidence-search?repository_key=models-local"
        assert len(requests.get(url, headers=headers, timeout=10).json()["evidence"]) == 1
