"""Registrations and promotions through a real tracking server, as users of MLflow's client see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient

from governance.audit.entry import EntryKind
from governance.devserver import DevServer
from plugin.errors import BlockedModelError, from_json
from tests.mlflow_tools import (
    POLICIES,
    Home,
    TrackingServer,
    bodies,
    fitted_model,
    make_home,
    used_server,
)
from tests.scenarios.cli import run_cli

REPO = "promotion-local"
PLAIN: dict[str, Any] = {"pip_requirements": ["scikit-learn"], "serialization_format": "cloudpickle"}
POLICY = (
    POLICIES
    + """
---
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: promotions-under-test, revision: 1}
spec:
  bindings:
    - {policies: ["*"], environments: [laboratory], mode: observe}
    - {policies: ["*"], environments: [staging, production], mode: enforce}
"""
)
TABLE = "champion=production, trial=laboratory, stage:Production=production, models:/prod.*=production"


@pytest.fixture(scope="module")
def home(devserver: DevServer, tmp_path_factory: pytest.TempPathFactory) -> Home:
    devserver.create_repository(REPO)
    return make_home(tmp_path_factory.mktemp("home"), devserver, policy=POLICY)


@pytest.fixture(scope="module")
def server(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with used_server(
        tmp_path_factory.mktemp("server"), home, REPO, env={"MLGOV_PROMOTIONS": TABLE}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: TrackingServer) -> MlflowClient:
    return MlflowClient(server.url)


def log(name: str) -> Any:
    """A model, logged and registered through the server."""
    mlflow.set_experiment("promotions")
    with mlflow.start_run():
        return mlflow.sklearn.log_model(fitted_model(), name="model", registered_model_name=name, **PLAIN)


@pytest.fixture(scope="module")
def good(server: TrackingServer) -> Any:
    return log("fraud")


@pytest.fixture(scope="module")
def bad(server: TrackingServer, devserver: DevServer) -> Any:
    """A registered version whose bytes were changed after it was signed: `fraud-bad/1`."""
    info = log("fraud-bad")
    devserver.put(REPO, f"{root_of(info)}/model.pkl", b"other bytes")
    return info


@pytest.fixture(scope="module")
def promoted(good: Any, client: MlflowClient) -> Any:
    """The good model, with the alias of what is in production."""
    client.set_registered_model_alias("fraud", "champion", "1")
    return good


@pytest.fixture(scope="module")
def copied(good: Any, client: MlflowClient) -> Any:
    """A copy of the good model in a registered model whose every version is in production."""
    return client.copy_model_version("models:/fraud/1", "prod.fraud")


def root_of(info: Any) -> str:
    experiment = mlflow.get_logged_model(info.model_id).experiment_id
    return f"ml/{experiment}/models/{info.model_id}/artifacts"


def registrations(home: Home, name: str) -> list[Any]:
    return [each for each in bodies(home.entries(EntryKind.REGISTRATION)) if each["name"] == name]


def decisions(home: Home, info: Any) -> list[Any]:
    """What was decided about promotions of a model, oldest first."""
    rows = bodies(home.entries(EntryKind.DECISION, subject=f"{REPO}/{root_of(info)}"))
    return [each for each in rows if each["action"] == "promote"]


def holder(client: MlflowClient, name: str, alias: str) -> str | None:
    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException:
        return None


def test_a_registration_is_on_record_with_what_it_is_made_of(
    good: Any, home: Home, devserver: DevServer
) -> None:
    (made,) = [each for each in registrations(home, "fraud") if each["event"] == "created"]
    (signed,) = bodies(home.entries(EntryKind.SIGNATURE, subject=f"{REPO}/{root_of(good)}"))
    assert made["version"] == "1"
    assert made["artifact"]["digest"] == signed["digest"]
    assert (made["artifact"]["repository"], made["artifact"]["path"]) == (REPO, root_of(good))
    assert made["artifact"]["host"] == devserver.host
    assert (made["source"], made["run_id"], made["model_id"]) == (
        f"models:/{good.model_id}",
        good.run_id,
        good.model_id,
    )
    assert made["actor"]["authentication"] is None, "nobody logged in"
    assert "decision" not in made, "to register is no promotion here"


def test_a_good_model_is_promoted(promoted: Any, home: Home, client: MlflowClient) -> None:
    assert holder(client, "fraud", "champion") == "1"
    decision = next(each for each in decisions(home, promoted) if each["mlflow"]["model_name"] == "fraud")
    assert (decision["environment"], decision["verdict"]["decision"]) == ("production", "allow")
    mlflow_says = {
        "model_name": "fraud",
        "model_version": "1",
        "alias": "champion",
        "model_id": promoted.model_id,
    }
    assert mlflow_says.items() <= decision["mlflow"].items()
    (row,) = [
        row.entry for row in home.entries(EntryKind.REGISTRATION)
        if (row.entry.body["name"], row.entry.body.get("alias")) == ("fraud", "champion")
    ]  # fmt: skip
    assert row.body["event"] == "alias-set"
    sequence = [
        each.entry.kind.value for each in home.assembly().log.find(correlation=row.correlation)
        if each.entry.kind is not EntryKind.POLICY
    ]  # fmt: skip
    assert sequence == ["decision", "registration", "outcome"]
    assert row.body["decision"] == home.entries(EntryKind.DECISION, correlation=row.correlation)[0].entry.id
    (outcome,) = bodies(home.entries(EntryKind.OUTCOME, correlation=row.correlation))
    assert (outcome["action"], outcome["status"]) == ("promote", "done")


def test_a_model_that_must_not_go_is_refused_and_nothing_changed(
    bad: Any, home: Home, client: MlflowClient
) -> None:
    before, aliases = registrations(home, "fraud-bad"), client.get_model_version("fraud-bad", "1").aliases
    with pytest.raises(RestException) as caught:
        client.set_registered_model_alias("fraud-bad", "champion", "1")
    text = str(caught.value)
    for part in (
        "PERMISSION_DENIED",
        "promote",
        "test-models/unsigned",
        "the signature is not good",
        "what to do",
    ):
        assert part in text, text
    typed = from_json(caught.value.json)
    assert isinstance(typed, BlockedModelError)
    assert typed.refusal.environment == "production"
    assert typed.findings[0].rule == "test-models/unsigned"
    assert holder(client, "fraud-bad", "champion") is None
    assert decisions(home, bad)[-1]["verdict"]["refused"] is True
    assert registrations(home, "fraud-bad") == before
    assert client.get_model_version("fraud-bad", "1").aliases == aliases


@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
@pytest.mark.parametrize("tail", ["", "/", "?x=1"])
def test_every_path_to_the_registry_leads_through_the_gate(
    bad: Any, server: TrackingServer, client: MlflowClient, prefix: str, tail: str
) -> None:
    before = client.get_model_version("fraud-bad", "1")
    for form in (
        {"name": "fraud-bad", "alias": "champion", "version": "1"},
        {"name": "fraud-bad", "alias": "Champion", "version": "01"},
    ):
        for body in (json.dumps(form), json.dumps(json.dumps(form))):
            url = f"{server.url}/{prefix}/2.0/mlflow/registered-models/alias{tail}"
            answer = requests.post(url, data=body, headers={"content-type": "application/json"}, timeout=60)
            assert answer.status_code != 200, answer.text
            if tail != "/":
                assert answer.json()["error_class"] == "GOVERNANCE_BLOCKED"
    stage = {"name": "fraud-bad", "version": "1", "stage": "production", "archive_existing_versions": True}
    url = f"{server.url}/{prefix}/2.0/mlflow/model-versions/transition-stage{tail}"
    assert requests.post(url, json=stage, timeout=60).status_code != 200
    found = client.get_model_version("fraud-bad", "1")
    assert (found.aliases, found.current_stage) == (before.aliases, before.current_stage)
    assert "champion" not in found.aliases
    assert found.current_stage != "Production"


def test_what_is_no_promotion_is_only_recorded(bad: Any, home: Home, client: MlflowClient) -> None:
    before, known = len(decisions(home, bad)), len(registrations(home, "fraud-bad"))
    client.set_registered_model_alias("fraud-bad", "challenger", "1")
    client.transition_model_version_stage("fraud-bad", "1", "Archived")
    client.delete_registered_model_alias("fraud-bad", "challenger")
    assert len(decisions(home, bad)) == before
    told = [
        (each["event"], each.get("alias"), each.get("stage"), each["version"])
        for each in registrations(home, "fraud-bad")
    ]
    assert told[known:] == [
        ("alias-set", "challenger", None, "1"),
        ("stage-set", None, "Archived", "1"),
        ("alias-removed", "challenger", None, "1"),
    ]


def test_observed_it_goes_through_and_is_marked(bad: Any, home: Home, client: MlflowClient) -> None:
    client.set_registered_model_alias("fraud-bad", "trial", "1")
    assert holder(client, "fraud-bad", "trial") == "1"
    verdict = decisions(home, bad)[-1]["verdict"]
    assert (verdict["mode"], verdict["would_block"], verdict["refused"]) == ("observe", True, False)


def test_copying_into_a_listed_model_is_a_promotion(
    good: Any, bad: Any, copied: Any, home: Home, client: MlflowClient
) -> None:
    assert copied.version == "1"
    (made,) = registrations(home, "prod.fraud")
    assert (made["event"], made["source"]) == ("created", "models:/fraud/1")
    assert made["decision"] in {row.entry.id for row in home.entries(EntryKind.DECISION)}
    assert made["artifact"]["path"] == root_of(good)
    with pytest.raises(MlflowException, match="the signature is not good"):
        client.copy_model_version("models:/fraud-bad/1", "prod.fraud")
    assert len(client.search_model_versions("name = 'prod.fraud'")) == 1
    with pytest.raises(MlflowException, match="the signature is not good"):
        client.rename_registered_model("fraud-bad", "prod.fraud-bad")
    assert client.get_registered_model("fraud-bad")
    client.copy_model_version("models:/fraud-bad/1", "dev.fraud")  # not in the table


def test_a_claim_about_the_source_does_not_help(good: Any, bad: Any, client: MlflowClient) -> None:
    client.create_registered_model("spoof")
    location = mlflow.get_logged_model(bad.model_id).artifact_location
    made = client.create_model_version(
        "spoof", source=location, model_id=bad.model_id, run_id=good.run_id, tags={"mlflow.prompt.text": "x"}
    )
    with pytest.raises(MlflowException, match="the signature is not good"):
        client.set_registered_model_alias("spoof", "champion", made.version)


def test_prompts_have_no_files_to_judge(server: TrackingServer, client: MlflowClient) -> None:
    client.register_prompt("greeting", template="Hello {{name}}")
    client.set_prompt_alias("greeting", "champion", 1)
    assert client.get_prompt_version_by_alias("greeting", "champion").version == 1


def test_what_is_not_there_is_mlflows_own_answer(good: Any, client: MlflowClient) -> None:
    for name, version in (("nobody", "1"), ("fraud", "99"), ("fraud", "x")):
        with pytest.raises(MlflowException, match=r"not found|must be an integer|not a valid|Invalid"):
            client.set_registered_model_alias(name, "champion", version)
    with pytest.raises(MlflowException):
        client.set_registered_model_alias("fraud", "not an alias!", "1")


def test_names_with_odd_characters_are_judged_and_recorded(
    good: Any, home: Home, client: MlflowClient
) -> None:
    name = "fr\u00e4ud 'x' \u202e<b>%2f"
    client.copy_model_version("models:/fraud/1", name)
    client.set_registered_model_alias(name, "champion", "1")
    assert [each["event"] for each in registrations(home, name)] == ["created", "alias-set"]
    client.delete_model_version(name, "1")
    client.delete_registered_model(name)
    assert [each["event"] for each in registrations(home, name)][2:] == ["deleted", "removed"]


@pytest.mark.usefixtures("promoted", "copied")
def test_who_loaded_tells_registered_versions_and_promotions(
    home: Home, server: TrackingServer, tmp_path: Path
) -> None:
    mlflow.artifacts.download_artifacts("models:/fraud/1", dst_path=str(tmp_path))
    done = run_cli("audit", "who-loaded", "fraud/1", "--json", variables=home.env)
    told = json.loads(done.out)
    assert "fraud/1" in told["registered"]
    assert "prod.fraud/1" in told["registered"]
    assert {act["registered"] for act in told["promotions"]} >= {"fraud/1"}
    assert any(act["action"] == "load" and act["registered"] is None for act in told["acts"]), (
        "who loads names no version"
    )
    shown = run_cli("audit", "who-loaded", "fraud/1", variables={**home.env, "COLUMNS": "250"}).out
    assert "champion" in shown
    found = run_cli(
        "audit", "search", "--model", "fraud@champion", variables={**home.env, "COLUMNS": "250"}
    ).out
    assert "alias `champion` set on fraud/1" in found
