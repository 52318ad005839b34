"""Attacks on promotions: every way that MLflow's own handlers understand a request, claims about what a version is, and a log
that fails at the worst moment.

MLflow's real handlers and database stores, in a Flask app of the test's own; the requests are made by hand, since no client of
MLflow's would send them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from flask import Flask
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.protos.model_registry_pb2 import SetRegisteredModelAlias
from mlflow.server import ARTIFACTS_ONLY_ENV_VAR, handlers
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

from governance.audit.entry import EntryKind
from governance.audit.store import Draft
from governance.devserver import DevServer
from governance.errors import AuditUnavailableError, SettingsError
from governance.settings import DEFAULT_PROMOTIONS
from governance.wiring import Assembly
from plugin import registry
from plugin.context import DESTINATION_VARIABLE
from plugin.registry import guard_registry, require_separate_workspaces
from plugin.versions import ELSEWHERE, PROMPT_SOURCES
from tests.mlflow_tools import make_home

POLICY = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: promotions, title: Promotions under attack}
spec:
  match: {actions: [promote]}
  default: allow
  rules:
    - id: bad
      effect: block
      severity: high
      when: {fact: artifact.name, matches: {glob: "bad*"}}
      message: "{artifact.name} must not go"
    - id: unknown-bytes
      effect: block
      severity: high
      when: {fact: artifact.digest, exists: false}
      message: the bytes are not known
---
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: attacked, revision: 1}
spec:
  bindings: [{policies: ["*"], environments: ["*"], mode: enforce}]
"""
ALIAS = "/mlflow/registered-models/alias"
STAGE = "/mlflow/model-versions/transition-stage"
CREATE = "/mlflow/model-versions/create"


class Flaky:
    """A store that fails to append entries of some kinds, and does something when a decision was written."""

    def __init__(self, store: object) -> None:
        self.store = store
        self.fails: set[EntryKind] = set()
        self.error: Exception = AuditUnavailableError("no room left")
        self.decided: Callable[[], None] = lambda: None

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        if self.fails & {draft.kind for draft in drafts}:
            raise self.error
        indexes: Sequence[int | None] = self.store.append(drafts)  # type: ignore[attr-defined]
        if EntryKind.DECISION in {draft.kind for draft in drafts}:
            self.decided()
        return indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The registry behind the gate, and where the models lie."""

    app: Flask
    store: Any
    assembly: Assembly
    flaky: Flaky
    base: str

    def post(self, path: str, document: object = None, *, method: str = "POST", **more: Any) -> Any:
        if document is not None:
            more["json"] = document
        return self.app.test_client().open(
            f"/api/2.0{path}" if path.startswith("/mlflow") else path, method=method, **more
        )

    def kinds(self) -> list[str]:
        return [
            f"{row.entry.kind}:{row.entry.body.get('event') or row.entry.body.get('status') or row.entry.body.get('action')}"
            for row in self.assembly.log.find()
            if row.entry.kind in {EntryKind.DECISION, EntryKind.OUTCOME, EntryKind.REGISTRATION}
        ]

    def untouched(self) -> bool:
        """Whether the bad version is what it was: no alias, no stage, no copy."""
        found = self.store.get_model_version("bad", "1")
        listed = [each.name for each in self.store.search_registered_models()]
        return (found.aliases, found.current_stage) == ([], "None") and "prod.bad" not in listed


@pytest.fixture(scope="module")
def shop(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Models `good` and `bad` in a repository, and the two databases, which take a while to make."""
    key = devserver.create_repository("attack-promotion-local")
    for model in ("good", "bad"):
        devserver.put(key, f"ml/{model}/MLmodel", b"flavors: {}\n")
    folder = tmp_path_factory.mktemp("stores")
    uri = f"sqlite:///{folder}/mlflow.db"
    app = Flask("registry")
    for path, handler, methods in handlers.get_endpoints():
        app.add_url_rule(path, handler.__name__, handler, methods=methods)
    guard_registry(app)
    yield key, app, TrackingStore(uri, str(folder / "artifacts")), RegistryStore(uri)
    devserver.remove_repository(key)


@pytest.fixture
def bench(
    shop: Any, devserver: DevServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    key, app, tracking, store = shop
    base = f"artifactory://{devserver.host}/artifactory/{key}/ml"
    table = (*DEFAULT_PROMOTIONS, ("models:/prod.*", "production"), ("latest", "production"))
    assembly = make_home(tmp_path, devserver, policy=POLICY, key=False).assembly(promotions=table)
    flaky = Flaky(assembly.log._store)
    assembly.log._store = flaky  # type: ignore[assignment]
    monkeypatch.setenv(DESTINATION_VARIABLE, base)
    monkeypatch.setattr(handlers, "_tracking_store", tracking)
    monkeypatch.setattr(handlers, "_model_registry_store", store)
    monkeypatch.setattr(registry, "assembly_for", lambda: assembly)
    for name in ("good", "bad"):
        store.create_registered_model(name)
        store.create_model_version(name, f"{base}/{name}")
    yield Bench(app=app, store=store, assembly=assembly, flaky=flaky, base=base)
    for found in store.search_registered_models():
        store.delete_registered_model(found.name)
    assembly.close()


def test_the_good_goes_and_the_bad_does_not(bench: Bench) -> None:
    assert bench.post(ALIAS, {"name": "good", "alias": "champion", "version": "1"}).status_code == 200
    assert bench.store.get_model_version_by_alias("good", "champion").version == 1
    answer = bench.post(ALIAS, {"name": "bad", "alias": "champion", "version": "1"})
    assert (answer.status_code, answer.get_json()["error_class"]) == (403, "GOVERNANCE_BLOCKED")
    assert bench.untouched()
    assert bench.kinds() == [
        "decision:promote", "registration:alias-set", "outcome:done", "decision:promote", "outcome:refused",
    ]  # fmt: skip


BAD = {"name": "bad", "alias": "champion", "version": "1"}


@pytest.mark.parametrize("path", [
    "/api/2.0/mlflow/registered-models/alias", "/ajax-api/2.0/mlflow/registered-models/alias",
    "//api/2.0/mlflow/registered-models/alias", "/api/2.0/mlflow//registered-models/alias",
    "/api/2.0/mlflow/registered-models/alias/", "/api/2.0/mlflow/registered-models/alias?alias=harmless",
    "/api/2.0/mlflow/registered%2Dmodels/alias", "/api/2.0/mlflow/./registered-models/alias",
    "/api/2.0/mlflow/x/../registered-models/alias", "/API/2.0/mlflow/registered-models/alias",
    "/api/3.0/mlflow/registered-models/alias", "/api/2.0/mlflow/registered-models/alias;x=1",
    "/api/2.0/preview/mlflow/registered-models/alias",
])  # fmt: skip
def test_no_spelling_of_the_path_goes_around(bench: Bench, path: str) -> None:
    for method in ("POST", "PUT", "PATCH", "GET", "DELETE", "post"):
        bench.post(path, BAD, method=method)
        bench.post(path, method=method, data=json.dumps(BAD), headers={"X-HTTP-Method-Override": "POST"})
        assert bench.untouched()


@pytest.mark.parametrize("more", [
    {"json": json.dumps(BAD)},
    {"data": json.dumps(BAD), "content_type": "application/json; charset=utf-16"},
    {"data": json.dumps(BAD).encode("utf-16"), "content_type": "application/json"},
    {"data": json.dumps(BAD), "content_type": "text/plain"},
    {"data": json.dumps(BAD), "content_type": "application/x-protobuf"},
    {"data": SetRegisteredModelAlias(**BAD).SerializeToString(), "content_type": "application/x-protobuf"},
    {"data": BAD},
    {"query_string": BAD},
    {"data": '{"name": "good", "name": "bad", "alias": "champion", "version": "1"}', "content_type": "application/json"},
    {"data": '{"name": "bad", "alias": "x", "alias": "champion", "version": "1"}', "content_type": "application/json"},
    {"json": BAD | {"more": {"name": "good"}}},
    {"json": BAD | {"version": "01"}}, {"json": BAD | {"version": 1}}, {"json": BAD | {"version": " 1 "}},
    {"json": BAD | {"version": "\u0661"}}, {"json": BAD | {"version": "1.0"}}, {"json": BAD | {"version": "+1"}},
    {"json": BAD | {"alias": "Champion"}}, {"json": BAD | {"alias": "ch\u00e1mpion"}}, {"json": BAD | {"alias": "champion\n"}},
    {"json": BAD | {"alias": "\uff43hampion"}}, {"json": BAD | {"name": ["bad"]}}, {"json": [BAD]}, {"data": b"\xff", "content_type": "application/json"},
])  # fmt: skip
def test_no_form_of_the_body_goes_around(bench: Bench, more: dict[str, Any]) -> None:
    for prefix in ("/api/2.0", "/ajax-api/2.0"):
        assert bench.post(prefix + ALIAS, **more).status_code != 200
        assert bench.untouched()


@pytest.mark.parametrize("stage", ["Production", "production", "PRODUCTION", "Staging", "sTAGING"])
def test_no_spelling_of_a_stage_goes_around(bench: Bench, stage: str) -> None:
    assert bench.post(STAGE, {"name": "bad", "version": "1", "stage": stage}).status_code == 403
    assert bench.untouched()


@pytest.mark.parametrize(
    "source", ["{base}/bad", "models:/bad/1", "models:/bad@best", "mlflow-artifacts:/bad", "{base}//bad/"]
)
def test_no_copy_goes_around(bench: Bench, source: str) -> None:
    bench.store.set_registered_model_alias("bad", "best", "1")
    bench.store.create_registered_model("prod.x")
    answer = bench.post(
        CREATE,
        {
            "name": "prod.x",
            "source": source.format(base=bench.base),
            "tags": [{"key": "mlflow.source", "value": "good"}],
        },
    )
    assert answer.status_code == 403, answer.text
    assert bench.store.search_model_versions("name = 'prod.x'") == []
    assert bench.post(CREATE, {"name": "prod.x", "source": "models:/good/1"}).status_code == 200


def test_an_alias_that_moves_between_judgement_and_copy_is_noticed(bench: Bench) -> None:
    bench.store.set_registered_model_alias("good", "best", "1")
    bench.store.create_model_version("good", f"{bench.base}/bad")
    bench.store.create_registered_model("prod.x")
    bench.flaky.decided = lambda: bench.store.set_registered_model_alias("good", "best", "2")
    answer = bench.post(CREATE, {"name": "prod.x", "source": "models:/good@best"})
    assert (answer.status_code, answer.get_json()["error_class"]) == (403, "GOVERNANCE_VERIFICATION_FAILED")
    assert bench.store.search_model_versions("name = 'prod.x'") == []
    assert bench.kinds() == ["decision:promote", "outcome:failed"]


def test_renaming_into_a_listed_name_is_judged_version_by_version(bench: Bench) -> None:
    bench.store.create_model_version("good", f"{bench.base}/bad")
    path = "/mlflow/registered-models/rename"
    assert bench.post(path, {"name": "good", "new_name": "Prod.good"}).status_code == 403
    assert bench.store.get_registered_model("good")
    bench.store.delete_model_version("good", "2")
    assert bench.post(path, {"name": "good", "new_name": "prod.good"}).status_code == 200
    assert bench.post(path, {"name": "bad", "new_name": "bad2"}).status_code == 200, "not listed"
    renamed = [row.entry.body for row in bench.assembly.log.find(kind=EntryKind.REGISTRATION)]
    assert [(body["name"], body["before"], body["version"]) for body in renamed] == [
        ("prod.good", "good", "1"), ("bad2", "bad", None),
    ]  # fmt: skip
    for _ in range(51):
        bench.store.create_model_version("bad2", f"{bench.base}/good")
    answer = bench.post(path, {"name": "bad2", "new_name": "prod.bad"})
    assert answer.status_code == 403
    assert "at most 50" in answer.get_json()["message"]


@pytest.mark.parametrize("source", [
    "mlflow-artifacts://evil.example/good", "mlflow-artifacts:/%67ood", "mlflow-artifacts:/good#x", "mlflow-artifacts:/good?x",
    "mlflow-artifacts:/x/../good", "mlflow-artifacts:/", "s3://bucket/good", "runs:/0123/good", "file:///tmp/good", "/tmp/good",
    "artifactory://u:p@evil.example/artifactory/models/good", "artifactory://evil.example/wrong/models/good", "dbfs:/good",
])  # fmt: skip
def test_what_is_not_one_place_of_ours_is_of_unknown_bytes(bench: Bench, source: str) -> None:
    bench.store.create_registered_model("odd")
    bench.store.create_model_version("odd", source)
    answer = bench.post(ALIAS, {"name": "odd", "alias": "champion", "version": "1"})
    assert answer.status_code == 403, answer.text
    assert "the bytes are not known" in answer.get_json()["message"]
    assert answer.get_json()["artifact"]["ref"].startswith(str(ELSEWHERE))
    assert bench.store.get_model_version("odd", "1").aliases == []
    assert bench.post(ALIAS, {"name": "odd", "alias": "other", "version": "1"}).status_code == 200


@pytest.mark.parametrize("source", [
    "https://user:hunter2@host/x", "artifactory://user:hunter2@host/artifactory/models/x", "wasbs://c@host/x?sig=hunter2",
    "s3://user:hunter2@/x#hunter2", "http:/user:hunter2@host/x", "dbfs:user:hunter2@x",
])  # fmt: skip
def test_no_login_in_a_source_reaches_record_or_answer(bench: Bench, source: str) -> None:
    bench.store.create_registered_model("odd")
    bench.store.create_model_version("odd", source)
    for alias in ("champion", "other"):
        assert "hunter2" not in bench.post(ALIAS, {"name": "odd", "alias": alias, "version": "1"}).text
    rows = list(bench.assembly.log.find())
    assert len([row for row in rows if row.entry.kind in {EntryKind.DECISION, EntryKind.REGISTRATION}]) == 2
    assert not any(b"hunter2" in row.data for row in rows)


def test_a_host_that_is_not_ours_is_never_asked(bench: Bench) -> None:
    bench.store.create_registered_model("odd")
    bench.store.create_model_version("odd", "artifactory://evil.example/artifactory/models/good")
    answer = bench.post(ALIAS, {"name": "odd", "alias": "champion", "version": "1"})
    assert "not one of the Artifactory hosts" in answer.get_json()["message"]
    assert answer.status_code == 409
    assert bench.store.get_model_version("odd", "1").aliases == []


@pytest.mark.parametrize(
    "name", ["a'b", 'a"b', "\u202eevil", "<script>", "a\nb", "x" * 200, "%2e%2e", "\x1b[31m", "\x00zero"]
)
def test_odd_names_are_judged_and_recorded(bench: Bench, name: str) -> None:
    for model in ("good", "bad"):
        called = f"{name}{model}"
        bench.store.create_registered_model(called)
        assert bench.post(CREATE, {"name": called, "source": f"{bench.base}/{model}"}).status_code == 200
        answer = bench.post(ALIAS, {"name": called, "alias": "champion", "version": "1"})
        assert answer.status_code == (200 if model == "good" else 403), answer.text
        renamed = bench.post(
            "/mlflow/registered-models/rename", {"name": called, "new_name": f"prod.{name}{model}"}
        )
        assert renamed.status_code == 200 if model == "good" else renamed.status_code != 200
    said = [str(row.entry.body["event"]) for row in bench.assembly.log.find(kind=EntryKind.REGISTRATION)]
    assert sorted(said) == ["alias-set", "created", "created", "renamed"]


def test_without_a_decision_on_record_nothing_is_promoted(bench: Bench) -> None:
    bench.flaky.fails = {EntryKind.DECISION}
    answer = bench.post(ALIAS, {"name": "good", "alias": "champion", "version": "1"})
    assert (answer.status_code, answer.get_json()["error_class"]) == (503, "GOVERNANCE_UNAVAILABLE")
    assert "no room left" in answer.get_json()["message"]
    assert bench.store.get_model_version("good", "1").aliases == []


@pytest.mark.parametrize(("path", "body"), [
    (ALIAS, {"name": "good", "alias": "champion", "version": "1"}), (ALIAS, {"name": "good", "alias": "other", "version": "1"}),
    (CREATE, {"name": "good", "source": "models:/good/1"}),
])  # fmt: skip
def test_what_was_done_and_is_not_on_record_is_loud_and_not_repeated(
    bench: Bench, path: str, body: dict[str, str]
) -> None:
    bench.flaky.fails = {EntryKind.REGISTRATION}
    answer = bench.post(path, body)
    assert answer.status_code == 409, (
        "MLflow's client repeats 503 for minutes, and each would register once more"
    )
    assert "could not be put on record" in answer.get_json()["message"]


def test_an_error_of_ours_after_the_act_does_not_say_that_nothing_was_done(bench: Bench) -> None:
    bench.flaky.fails = {EntryKind.REGISTRATION}
    bench.flaky.error = ZeroDivisionError("secret")
    answer = bench.post(CREATE, {"name": "good", "source": "models:/good/1"})
    assert answer.status_code == 409
    message = answer.get_json()["message"]
    assert "did what was asked" in message
    assert "secret" not in message


def test_an_error_of_ours_is_no_leave(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Assembly:
        raise ZeroDivisionError

    monkeypatch.setattr(registry, "assembly_for", broken)
    answer = bench.post(ALIAS, {"name": "good", "alias": "champion", "version": "1"})
    assert answer.status_code == 409
    assert "could not be judged" in answer.get_json()["message"]
    assert bench.store.get_model_version("good", "1").aliases == []


def test_mlflows_own_refusal_is_handed_on_and_the_outcome_says_so(bench: Bench) -> None:
    answer = bench.post(ALIAS, {"name": "good", "alias": "production", "version": "9"})
    assert (answer.status_code, answer.get_json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert bench.kinds() == []
    answer = bench.post(ALIAS, {"name": "good", "alias": "latest", "version": "1"})
    assert (answer.status_code, answer.get_json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert bench.kinds() == ["decision:promote", "outcome:failed"]


def test_a_server_for_artifacts_alone_says_that_it_has_no_registry(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ARTIFACTS_ONLY_ENV_VAR, "true")
    answer = bench.post(ALIAS, BAD)
    assert (answer.status_code, "--artifacts-only" in answer.text) == (503, True)
    assert bench.kinds() == []


def test_a_registry_that_is_not_known_here_keeps_the_server_from_starting() -> None:
    with pytest.raises(SettingsError, match="no handler of its own for `CreateModelVersion`"):
        guard_registry(Flask("empty"))


@pytest.mark.parametrize(
    ("version", "is_kept_apart"), [("3.14.0", False), ("3.16.1", False), ("3.17.0", True), ("4.0", True)]
)
def test_workspaces_that_mlflow_does_not_keep_apart_keep_the_server_from_starting(
    monkeypatch: pytest.MonkeyPatch, version: str, is_kept_apart: bool
) -> None:
    require_separate_workspaces({}, version=version)
    require_separate_workspaces({"MLFLOW_ENABLE_WORKSPACES": "false"}, version=version)
    monkeypatch.setattr(mlflow, "__version__", version)
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    says = "no handler of its own" if is_kept_apart else "workspaces need MLflow 3.17 or later"
    with pytest.raises(SettingsError, match=says):
        guard_registry(Flask("empty"))


def test_the_sources_of_prompts_are_mlflows() -> None:
    assert PROMPT_SOURCES == _PROMPT_SOURCE_PLACEHOLDERS
