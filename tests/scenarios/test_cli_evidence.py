"""Decisions as evidence, as a user hands them out and as somebody else checks them."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from governance.devserver import DevServer, Fault
from tests.scenarios.cli import Cli
from tests.scenarios.models import MODEL, PICKLE, store


@pytest.fixture
def load(cli: Cli, devserver: DevServer, tmp_path: Path) -> Callable[[str], str]:
    """Load a model through the plugin, refused or not; the id of the recorded decision."""

    def loaded(ref: str) -> str:
        import mlflow.artifacts

        from plugin.errors import BlockedModelError

        cli("keys", "list")  # puts the environment in place
        uri = f"{devserver.artifactory_url.replace('http:', 'artifactory:')}/{ref}"
        with contextlib.suppress(BlockedModelError):
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(tmp_path))
        lines = cli("audit", "tail", "--kind", "decision", "--json", "-n", "1").out.splitlines()
        return str(json.loads(lines[-1])["id"])

    return loaded


def statement(data: bytes) -> dict[str, Any]:
    document = json.loads(data)
    envelope = document.get("dsseEnvelope", document)
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


def test_a_decision_handed_out_and_checked(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init", "--name", "gate")
    cli("sign", ref)
    decision = load(ref)
    done = cli("evidence", "export", decision, "--output", "vsa.json")
    assert (done.code, "allow" in done.out or "warn" in done.out) == (0, True), done.err
    said = statement((tmp_path / "vsa.json").read_bytes())
    predicate = said["predicate"]
    assert (predicate["verificationResult"], predicate["urn:mlgov:vsa:decision"]) == ("PASSED", decision)
    assert predicate["verifiedLevels"] == ["MLGOV_ALLOWED", "MLGOV_SIGNATURE_VERIFIED"]
    entry = json.loads(cli("audit", "tail", "--kind", "decision", "--json", "-n", "1").out)
    assert predicate["policy"]["digest"] == {"sha256": entry["body"]["policy"]["digest"]}
    facts, signature = predicate["inputAttestations"]
    assert facts == {"uri": "urn:mlgov:facts", "digest": {"sha256": entry["body"]["facts"]}}
    assert signature["digest"]["sha256"] == devserver.item(repo, "m/model.sig").content.sha256
    # The same in the record.
    made = json.loads(cli("audit", "tail", "--kind", "signature", "--json", "-n", "1").out)
    assert (made["body"]["event"], made["body"]["decision"]) == ("attested", decision)

    policy = predicate["policy"]["digest"]["sha256"]
    good = ("verify", ref, "--vsa", "vsa.json")
    assert cli(*good).code == 0
    assert cli(*good, "--level", "MLGOV_SIGNATURE_VERIFIED", "--policy", policy).code == 0
    report = json.loads(cli(*good, "--json").out)
    assert (report["valid"], report["result"], report["verifier"]) == (
        True,
        "PASSED",
        "urn:mlgov:verifier:gate",
    )
    for options, reason in (
        (("--level", "SLSA_BUILD_LEVEL_3"), "levels-missing"),
        (("--policy", "0" * 64), "policy-differs"),
        (("--resource", "artifactory://elsewhere/artifactory/x"), "resource-differs"),
    ):
        refused = cli(*good, *options, "--json")
        assert (refused.code, json.loads(refused.out)["reason"]) == (1, reason)
    # A local copy is the same bytes; where it came from must be said.
    assert cli("verify", str(tmp_path / "m"), "--vsa", "vsa.json").code == 2
    assert (
        cli("verify", str(tmp_path / "m"), "--vsa", "vsa.json", "--resource", predicate["resourceUri"]).code
        == 0
    )
    # Other bytes, and another key.
    devserver.put(repo, "m/MLmodel", b"flavors: {python_function: {}}\n")
    refused = cli(*good, "--json")
    assert (refused.code, json.loads(refused.out)["reason"]) == (1, "subject-differs")
    stranger = cli(*good, "--json", MLGOV_HOME=str(tmp_path / "stranger"))
    assert (stranger.code, json.loads(stranger.out)["reason"]) == (1, "no-trusted-key")


def test_a_refusal_is_evidence_too(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    ref = store(devserver, repo, "bad", PICKLE)
    cli("keys", "init")
    decision = load(ref)
    (tmp_path / "vsa.json").write_bytes(b"the one before")
    (tmp_path / "still").hardlink_to(tmp_path / "vsa.json")
    assert cli("evidence", "export", decision, "-o", "vsa.json").code == 0
    assert (tmp_path / "still").read_bytes() == b"the one before", "it is replaced, and not written over"
    refused = cli("verify", ref, "--vsa", "vsa.json", "--json")
    assert (refused.code, json.loads(refused.out)["reason"]) == (1, "verification-failed")
    rules = statement((tmp_path / "vsa.json").read_bytes())["predicate"]["urn:mlgov:vsa:rules"]
    assert {"rule": "baseline-models/malicious", "effect": "block"} in rules
    # To standard output it is the file itself.
    assert (
        statement(cli("evidence", "export", decision).out.encode())["predicate"]["verificationResult"]
        == "FAILED"
    )


def evidence_of(devserver: DevServer, repo: str, **where: str) -> list[dict[str, Any]]:
    response = requests.get(
        f"{devserver.url}/evidence/api/v1/evidence-search",
        params={"repository_key": repo, **where},
        headers={"Authorization": f"Bearer {devserver.token('admin')}"},
        timeout=10,
    )
    rows: list[dict[str, Any]] = response.json()["evidence"]
    return rows


def trust_key(devserver: DevServer, alias: str, pem: str) -> None:
    response = requests.post(
        f"{devserver.artifactory_url}/api/security/keys/trusted",
        json={"alias": alias, "key": pem},
        headers={"Authorization": f"Bearer {devserver.token('admin')}"},
        timeout=10,
    )
    assert response.status_code == 201


def test_evidence_goes_to_the_server_and_is_verified_there(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init")
    decision = load(ref)
    unsigned = cli("evidence", "upload", decision)
    assert unsigned.code == 3  # there is no `model.sig` that could stand for the folder
    cli("sign", ref)
    done = cli("evidence", "upload", decision)
    assert (done.code, "could NOT verify" in done.out) == (0, True), done.err
    alias = f"gate-{repo}"
    trust_key(devserver, alias, cli("keys", "export").out)
    done = cli("evidence", "upload", decision, "--alias", alias)
    assert (done.code, "the server verified it" in done.out) == (0, True), done.err
    first, second = evidence_of(devserver, repo, path="m", name="model.sig")
    assert [first["verified"], second["verified"]] == [False, True]
    assert second["predicate_type"] == "https://slsa.dev/verification_summary/v1"
    # What lies there checks as any other summary: `model.sig` stands for the files that it lists.
    stored = devserver.read(repo, second["uri"].removeprefix(f"{repo}/"))
    assert "mediaType" not in json.loads(stored)
    said = statement(stored)
    assert said["subject"] == [
        {"name": "m/model.sig", "digest": {"sha256": devserver.item(repo, "m/model.sig").content.sha256}}
    ]
    (tmp_path / "vsa.json").write_bytes(stored)
    assert cli("verify", ref, "--vsa", "vsa.json").code == 0
    # A model that was changed and signed anew is another one.
    devserver.put(repo, "m/requirements.txt", b"scikit-learn==1.5.1\n")
    cli("sign", ref)
    assert cli("evidence", "upload", decision, "--alias", alias).code == 1
    assert cli("verify", ref, "--vsa", "vsa.json").code == 1


def test_evidence_about_a_lone_file(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str
) -> None:
    devserver.put(repo, "notes/a.txt", b"a")
    cli("keys", "init")
    decision = load(f"{repo}/notes/a.txt")
    assert cli("evidence", "upload", decision).code == 0
    (row,) = evidence_of(devserver, repo, path="notes", name="a.txt")
    assert row["subject"]["sha256"] == devserver.item(repo, "notes/a.txt").content.sha256
    cli("evidence", "export", decision, "-o", "vsa.json")
    assert cli("verify", f"{repo}/notes/a.txt", "--vsa", "vsa.json").code == 0


def test_what_cannot_be_handed_out(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    ref = store(devserver, repo, "m", MODEL)
    assert cli("evidence", "export", "x").code == 4  # no log
    decision = load(ref)
    without = cli("evidence", "export", decision)
    assert (without.code, "there is no signing key" in without.err) == (2, True)
    cli("keys", "init")
    for name, why in (
        ("0" * 8, "records `start`, not a decision"),
        ("9" * 8, "no entry"),
        ("who", "no entry"),
    ):
        unknown = cli("evidence", "export", name)
        assert (unknown.code, why in unknown.err) == (2, True), unknown.err
    trust = tmp_path / "home/trust.json"
    document = json.loads(trust.read_text())
    document["keys"][0]["roles"] = ["artifact"]
    trust.write_text(json.dumps(document))
    role = cli("evidence", "export", decision)
    assert (role.code, "may not attest" in role.err) == (2, True)
    missing = cli("verify", ref, "--vsa", "none.json")
    assert (missing.code, "no summary" in missing.err) == (3, True)
    alone = cli("verify", ref, "--level", "X")
    assert (alone.code, "--vsa" in alone.err) == (2, True)


def test_a_server_without_the_service_says_so(
    cli: Cli, load: Callable[[str], str], devserver: DevServer, repo: str
) -> None:
    ref = store(devserver, repo, "m", MODEL)
    cli("keys", "init")
    cli("sign", ref)
    decision = load(ref)
    devserver.faults.add(Fault(method="POST", path="/evidence/*", status=404))
    done = cli("evidence", "upload", decision)
    assert (done.code, "Enterprise+" in done.err) == (3, True)
