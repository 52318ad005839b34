"""All shipped packs bound together in one set, at a real gate, in front of the embedded server: what a good model goes
through, what each pack refuses, and that no pack asks for what nobody can tell.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import policies
from governance.audit.entry import EntryKind
from governance.cli.reference import locate, parse_reference
from governance.devserver import DevServer
from governance.model.facts import Collection, Unknown, find_spec
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Action, Actor, Request, new_id
from governance.model.verdict import Effect
from governance.permit import Decision
from governance.wiring import Assembly
from plugin.errors import BlockedModelError
from plugin.transfer import send
from tests.mlflow_tools import Home, environment, make_home
from tests.scenarios.cli import run_cli

TOGETHER = ("baseline", "licences", "promotion", "provenance", "python-dependencies", "upload")
SET = """
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: acme, revision: 1}
spec:
  bindings:
    - {policies: ["*"], environments: [production], mode: enforce}
    - {policies: ["*"], environments: [development], mode: observe}
"""
GOOD = {
    "MLmodel": b"flavors:\n  python_function:\n    env: {virtualenv: python_env.yaml}\n",
    "python_env.yaml": b"python: 3.11.4\nbuild_dependencies: [pip==24.0]\ndependencies: [-r requirements.txt]\n",
    "requirements.txt": b"scikit-learn==1.5.0\nurllib3==2.6.3\n",
    "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}
SHELL = b"cposix\nsystem\n(S'true'\ntR."


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    text = "\n---\n".join([*map(policies.read, TOGETHER), SET])
    made = make_home(tmp_path_factory.mktemp("home"), devserver, policy=text)
    with environment(made.env):
        yield made


def needing(*requirements: str) -> dict[str, bytes]:
    return GOOD | {"requirements.txt": "\n".join(requirements).encode()}


class Shop:
    """Uploads and downloads as MLflow does them, and questions to the same gate."""

    def __init__(self, home: Home, server: DevServer, repo: str, folder: Path) -> None:
        self.home, self.server, self.repo, self.folder = home, server, repo, folder
        self.mlflow: Any = get_artifact_repository(f"artifactory://{server.host}/artifactory/{repo}")

    def upload(self, files: Mapping[str, bytes], name: str = "model") -> None:
        for path, data in files.items():
            place = self.folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        self.mlflow.log_artifacts(str(self.folder / name), name)

    def put(self, files: Mapping[str, bytes], name: str = "model", repo: str | None = None) -> None:
        """Straight into the store, past everything."""
        for path, data in files.items():
            self.server.put(repo or self.repo, f"{name}/{path}", data)

    def sign(self, name: str = "model") -> None:
        from governance.cli.main import main

        assert main(["sign", f"{self.repo}/{name}"]) == 0

    def ask(
        self, action: Action, name: str = "model", repo: str | None = None, later: timedelta = timedelta()
    ) -> Decision:
        """Through the gate, so that the question is on record. Nothing is moved by it."""
        parts = self.home.assembly()
        try:
            asked = self.request(parts, action, name, repo, later)
            decision = parts.gate.decide(asked)
            if not decision.is_refused and action is Action.PROMOTE:
                with parts.gate.admit(asked) as permit:
                    decision = permit.decision
            return decision
        finally:
            parts.close()

    def request(
        self, parts: Assembly, action: Action, name: str, repo: str | None, later: timedelta
    ) -> Request:
        place = parse_reference(f"{repo or self.repo}/{name}", parts.settings)
        (part,) = locate(parts.artifactory(place.host), place)
        at = parts.now() + later
        return Request(
            action=action,
            artifact=part.artifact,
            actor=Actor(name="ann", authentication="basic-auth"),
            environment="production",
            at=at,
            correlation=new_id(at),
        )


@pytest.fixture
def shop(home: Home, devserver: DevServer, repo: str, tmp_path: Path) -> Shop:
    return Shop(home, devserver, repo, tmp_path)


def objections(decision: Decision) -> dict[str, str]:
    return {one.rule: one.message for one in decision.verdict.findings}


def test_a_good_model_goes_all_the_way(shop: Shop, tmp_path: Path) -> None:
    shop.upload(GOOD)
    shop.mlflow.download_artifacts("model", str(tmp_path))
    for action in (Action.DOWNLOAD, Action.LOAD, Action.PROMOTE):
        decision = shop.ask(action)
        expected = {"promotion/no-lineage"} if action is Action.PROMOTE else set()
        assert set(objections(decision)) == expected, action
    stored: list[Any] = [
        row.entry.body for row in shop.home.entries(EntryKind.DECISION, subject=f"{shop.repo}/model")
    ]
    verdicts = [(body["action"], body["verdict"]["decision"]) for body in stored]
    assert verdicts == [("upload", "warn"), ("load", "allow"), ("promote", "warn")]
    (finding,) = stored[0]["verdict"]["findings"]
    assert finding["rule"] == "upload/unauthenticated"


@pytest.mark.parametrize(
    ("files", "rule", "says"),
    [
        (GOOD | {"model.pkl": SHELL}, "upload/malicious", "posix.system"),
        (GOOD | {"code/.env": b"PASSWORD=1"}, "upload/secret-file", "code/.env looks like a key"),
        (needing("PyYAML==5.3"), "upload/critical-package", "CVE-2020-14343 in pyyaml 5.3"),
    ],
)
def test_what_an_upload_may_not_hold_is_never_sent(
    shop: Shop, files: dict[str, bytes], rule: str, says: str
) -> None:
    with pytest.raises(BlockedModelError) as caught:
        shop.upload(files)
    found = {finding.rule: finding.message for finding in caught.value.findings}
    assert says in found[rule]
    assert shop.server.paths(shop.repo) == ()


@pytest.mark.parametrize(
    ("files", "rule", "says"),
    [
        (GOOD | {"model.pkl": pickle.dumps([1])}, "upload/code-in-weights", "model.pkl is a pickle file"),
        (GOOD | {"m.pkl": b"cacme\nNet\n."}, "upload/unsafe-imports", "acme.Net"),
    ],
)
def test_what_an_upload_had_better_not_hold_is_on_record(
    shop: Shop, files: dict[str, bytes], rule: str, says: str
) -> None:
    shop.upload(files)
    (entry,) = shop.home.entries(EntryKind.DECISION, subject=f"{shop.repo}/model")
    findings: Any = entry.entry.body["verdict"]["findings"]  # type: ignore[index, call-overload]
    assert says in next(one["message"] for one in findings if one["rule"] == rule)


def test_bytes_that_change_between_the_look_and_the_sending_do_not_pass(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap(*arguments: Any, **more: Any) -> Any:
        (shop.folder / "model/requirements.txt").write_bytes(b"scikit-learn==1.5.0\nurllib3==2.6.9\n")
        return send(*arguments, **more)

    monkeypatch.setattr("plugin.uploads.send", swap)
    with pytest.raises(Exception, match=r"requirements\.txt"):
        shop.upload(GOOD)
    (outcome,) = shop.home.entries(EntryKind.OUTCOME, subject=f"{shop.repo}/model")
    assert outcome.entry.body["status"] == "failed"
    assert f"{shop.repo}/model/model.sig" not in shop.server.paths(shop.repo)


@pytest.mark.parametrize(
    ("requirement", "rule", "effect", "says"),
    [
        ("ultralytics==8.3.49", "licences/denied-licence", Effect.BLOCK, "is under AGPL-3.0-only"),
        ("unidecode==1.3.8", "licences/licence-not-approved", Effect.WARN, "is under GPL-2.0-or-later"),
        ("urllib3", "licences/licence-unknown", Effect.WARN, "`urllib3` declared without a version"),
        ("psycopg==3.2.1", "licences/licence-unknown", Effect.WARN, "psycopg:3.2.1: Xray found no licence"),
        ("ctx==0.2.2", "python-dependencies/denied-package", Effect.BLOCK, "needs pkg:pypi/ctx@0.2.2"),
        ("torch==2.5.1", "python-dependencies/loader-too-old", Effect.BLOCK, "needs pkg:pypi/torch@2.5.1"),
        ("urllib3>=2", "python-dependencies/not-pinned", Effect.WARN, "not pinned: `>=2`"),
        ("--index-url https://pypi.example.org/", "python-dependencies/not-pinned", Effect.WARN, "another index"),
    ],
)  # fmt: skip
def test_what_a_model_may_not_need(
    shop: Shop, requirement: str, rule: str, effect: Effect, says: str
) -> None:
    shop.put(needing(requirement))
    shop.sign()
    decision = shop.ask(Action.LOAD)
    (finding,) = (one for one in decision.verdict.findings if one.rule == rule)
    assert finding.effect is effect
    assert says in finding.message
    assert decision.is_refused is (effect is Effect.BLOCK)


def test_a_fix_that_is_overdue_stops_what_only_warned_before(shop: Shop) -> None:
    shop.put(needing("werkzeug==3.0.1"))
    shop.sign()
    rule = "python-dependencies/fix-overdue"
    with_log = shop.home.assembly()
    try:
        asked = shop.request(with_log, Action.LOAD, "model", None, timedelta())
        with pytest.raises(Exception, match="not moved"), with_log.gate.admit(asked) as permit:
            first = permit.decision
    finally:
        with_log.close()
    assert "in grace until" in objections(first)[rule]
    soon, late = (shop.ask(Action.LOAD, later=timedelta(days=days)) for days in (6.9, 7.1))
    assert not soon.is_refused
    assert "in grace until" in objections(soon)[rule]
    assert late.is_refused
    assert "in grace" not in objections(late)[rule]


def test_where_a_model_comes_from_must_be_proved(shop: Shop) -> None:
    shop.put(GOOD, "unsigned")
    assert "is not signed" in objections(shop.ask(Action.LOAD, "unsigned"))["provenance/unsigned"]
    shop.upload(GOOD, "changed")
    shop.server.put_bytes_behind_the_scenes(shop.repo, "changed/requirements.txt", b"scikit-learn==1.5.1\n")
    decision = shop.ask(Action.LOAD, "changed")
    assert decision.is_refused
    assert "changed: requirements.txt" in objections(decision)["provenance/changed-after-signing"]
    assert "provenance/untrusted-signature" not in objections(decision)
    shop.upload(GOOD, "more")
    shop.put({"helper.py": b"import os\n"}, "more")
    assert "helper.py" in objections(shop.ask(Action.LOAD, "more"))["provenance/incomplete-manifest"]


def test_a_key_that_nobody_trusts_yet_is_put_right_by_what_the_refusal_says(
    shop: Shop, devserver: DevServer, tmp_path: Path
) -> None:
    theirs = make_home(tmp_path / "theirs", devserver)
    shop.put(GOOD, "theirs")
    with environment(theirs.env):
        shop.sign("theirs")
    (finding,) = (
        one
        for one in shop.ask(Action.LOAD, "theirs").verdict.findings
        if one.rule == "baseline-models/tampered"
    )
    assert f"`mlgov verify {shop.repo}/theirs` says why" in (finding.remediation or "")
    assert "`mlgov trust add`" in (finding.remediation or "")
    said = run_cli("verify", f"{shop.repo}/theirs", variables=shop.home.env)
    assert (said.code, "no trusted key made this signature" in said.out) == (1, True)
    key = str(theirs.path / "keys/signing.pub")
    added = run_cli(
        "trust", "add", key, "--name", "their team", "--role", "artifact", variables=shop.home.env
    )
    assert added.code == 0, added.err
    assert not shop.ask(Action.LOAD, "theirs").is_refused


def test_who_is_to_look_at_imports_by_hand_is_told_which(shop: Shop) -> None:
    shop.put(GOOD | {"m.pkl": b"cacme\nNet\n."})
    assert "acme.Net" in objections(shop.ask(Action.LOAD))["baseline-models/not-looked-into"]


def test_who_pinned_nothing_is_told_to_pin_and_not_to_look_for_a_fix(
    devserver: DevServer, repo: str, tmp_path: Path
) -> None:
    home = make_home(tmp_path / "strict", devserver, policy=policies.read("strict"))
    strict = Shop(home, devserver, repo, tmp_path)
    strict.put(needing("urllib3"))
    found = {one.rule: one for one in strict.ask(Action.LOAD).verdict.findings}
    loose = found["strict-models/known-vulnerability"]
    assert "`urllib3` declared without a version" in loose.message
    assert "pin what is not pinned" in (loose.remediation or "")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("revision", "expected"), [("main", {"provenance/moving-revision"}), (COMMIT, set())]
)
def test_a_hub_s_model_is_of_one_commit(shop: Shop, revision: str, expected: set[str]) -> None:
    root = f"models/acme/{shop.repo}/{revision}_2026-01-01T00:00:00.000Z/files"
    shop.put({"config.json": b"{}", "model.safetensors": GOOD["weights.safetensors"]}, root, "hf-remote")
    decision = shop.ask(Action.DOWNLOAD, root, "hf-remote")
    assert {rule for rule in objections(decision) if rule.startswith("provenance/")} == expected
    assert decision.is_refused is bool(expected)


def test_a_promotion_needs_evidence_that_is_complete(shop: Shop) -> None:
    shop.put(GOOD, "unsigned")
    unsigned = shop.ask(Action.PROMOTE, "unsigned")
    assert unsigned.is_refused
    assert "no signature that counts" in objections(unsigned)["promotion/not-signed"]
    shop.upload(needing("urllib3"), "loose")
    loose = objections(shop.ask(Action.PROMOTE, "loose"))
    assert "`urllib3` declared without a version" in loose["promotion/known-vulnerability"]
    shop.upload(GOOD, "fresh")
    shop.server.hold_scans(shop.repo, "fresh")
    fresh = shop.ask(Action.PROMOTE, "fresh")
    assert "promotion/scan-not-fresh" in objections(fresh)
    assert fresh.is_refused


def test_nobody_is_asked_what_nobody_can_tell(shop: Shop) -> None:
    """Each fact that a rule reads is known of a good model, for each action."""
    shop.upload(GOOD)
    for action in (Action.DOWNLOAD, Action.LOAD, Action.PROMOTE):
        decision = shop.ask(action)
        named = decision.policy.plan_for(decision.request).reads()
        read = {name for name in named if find_spec(name) is not None}
        facts = {name: decision.facts.get(name) for name in read}
        assert [name for name, value in facts.items() if isinstance(value, Unknown)] == [], action
        partial = [name for name, value in facts.items() if getattr(value, "missing", None) is not None]
        assert partial == [], action
    (uploaded,) = (
        row
        for row in shop.home.entries(EntryKind.DECISION, subject=f"{shop.repo}/model")
        if row.entry.body["action"] == "upload"
    )
    parts = shop.home.assembly()
    try:
        document = parts.log.evidence(uploaded.entry.body["facts"])  # type: ignore[arg-type]
    finally:
        parts.close()
    known = facts_from_json(json.loads(document or b""))
    assert (known.get("content.verdict"), known.get("actor.authenticated")) == ("clean", False)
    files, advisories = known.get("files"), known.get("vulnerabilities")
    assert isinstance(files, Collection)
    assert {(row["path"], row["format"]) for row in files.items} >= {("weights.safetensors", "safetensors")}
    assert advisories == Collection((), "not stored yet"), (
        "the packages were asked about, the files cannot be yet"
    )
