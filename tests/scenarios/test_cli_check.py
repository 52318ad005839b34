"""`mlgov check` and `mlgov policy explain` of what lies in Artifactory: verdicts, exit codes, and what keeps from deciding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.devserver import DevServer
from tests.scenarios.cli import Cli
from tests.scenarios.models import MODEL, PICKLE, VULNERABLE, store


@pytest.mark.parametrize(
    ("files", "environment", "code", "says"),
    [
        (MODEL, "production", 0, "load of"),
        (VULNERABLE, "production", 1, "CVE-2020-14343"),
        (PICKLE, "production", 1, "posix.system"),
        (VULNERABLE, "development", 0, "would be refused; the binding is in observe mode"),
    ],
    ids=["good", "vulnerable", "malicious", "observed"],
)
def test_check(
    cli: Cli, devserver: DevServer, repo: str, files: dict[str, bytes], environment: str, code: int, says: str
) -> None:
    done = cli("check", store(devserver, repo, "m", files), MLGOV_ENVIRONMENT=environment)
    assert done.code == code
    assert says in done.out


def test_check_takes_whole_addresses_and_parts_of_a_model(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", VULNERABLE)
    done = cli("check", f"artifactory://{devserver.host}/artifactory/{ref}/weights.safetensors", "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert document["artifact"]["ref"] == ref  # the part is judged as its whole
    assert document["decision"] == "block"
    assert document["refused"] is True
    assert [finding["rule"] for finding in document["findings"]] == ["baseline-models/critical-vulnerability"]


def test_check_names_the_lists_of_which_more_may_be_missing(
    cli: Cli, devserver: DevServer, repo: str
) -> None:
    loose = store(devserver, repo, "m", MODEL | {"requirements.txt": b"numpy\n"})
    document = json.loads(cli("check", loose, "--json").out)
    assert document["incomplete"]["vulnerabilities"] == "`numpy` declared without a version"
    assert "vulnerabilities" not in document["unknown"]
    assert "xray.max_cvss" in document["unknown"]


def test_check_of_a_folder_with_several_models(cli: Cli, devserver: DevServer, repo: str) -> None:
    store(devserver, repo, "all/good", MODEL)
    store(devserver, repo, "all/bad", VULNERABLE)
    documents = json.loads(cli("check", f"{repo}/all", "--json").out)
    assert {row["artifact"]["ref"]: row["refused"] for row in documents} == {
        f"{repo}/all/good": False,
        f"{repo}/all/bad": True,
    }


def test_check_leaves_no_record(cli: Cli, devserver: DevServer, repo: str) -> None:
    cli("check", store(devserver, repo, "m", MODEL))
    assert cli("audit", "tail", "--json").out == ""


def test_explain_of_what_is_stored_now(cli: Cli, devserver: DevServer, repo: str) -> None:
    ref = store(devserver, repo, "m", VULNERABLE)
    done = cli("policy", "explain", ref)
    assert done.code == 0
    assert "baseline-models/critical-vulnerability (block): matches" in done.out
    assert "if vulnerabilities were complete and empty" in done.out
    assert "mlgov waiver request --decision ID" in done.out
    assert cli("audit", "tail", "--json").out == ""
    document = json.loads(cli("policy", "explain", ref, "--json").out)
    assert (document["id"], document["recorded"], document["decision"]) == (None, None, "block")


@pytest.mark.parametrize(
    ("reference", "variables", "code", "says"),
    [
        ("nowhere-local/m", {}, 3, "not found"),
        ("x/y", {"MLGOV_ARTIFACTORY_URL": ""}, 2, "MLGOV_ARTIFACTORY_URL"),
        ("models:/m/1", {}, 2, "only its tracking server can resolve"),
        ("artifactory://other.example/artifactory/r/p", {}, 2, "not one of the Artifactory hosts"),
        ("s3://bucket/x", {}, 2, "artifactory://"),
        ("r/../x", {}, 2, "`..` part"),
        ("/etc/passwd/x", {}, 3, "not found"),
        ("x/y", {"ARTIFACTORY_AUTH_TOKEN": "wrong"}, 3, "HTTP 401"),
        ("x/y", {"MLGOV_ARTIFACTORY_URL": "http://127.0.0.1:9/artifactory"}, 3, "no connection"),
        ("x/y", {"MLGOV_POLICY_PATH": "/nowhere"}, 3, "not found"),
    ],
)
def test_check_cannot_decide(
    cli: Cli, reference: str, variables: dict[str, str], code: int, says: str
) -> None:
    done = cli("check", reference, **variables)
    assert done.code == code, done.err
    assert says in done.err + done.out
    assert "what to do: " in done.err


def test_a_broken_policy_is_named_with_its_place(
    cli: Cli, devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    policy = tmp_path / "broken.yaml"
    policy.write_text("apiVersion: mlgov/v1\nkind: Policy\nmetadata: {name: x}\nspec: {default: perhaps}\n")
    done = cli("check", store(devserver, repo, "m", MODEL), MLGOV_POLICY_PATH=str(policy))
    assert done.code == 2
    assert f"{policy}:4:" in done.err
