"""The scenes of `mlgov demo`, in order. Each acts as a user would, shows what came of it, and insists that it is what
the story says: a scene that turns out otherwise ends the demo with an error, so the demo is a test as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from governance.cli.stage.processes import ChildFailedError
from governance.cli.stage.stage import REPOSITORY, Stage
from governance.cli.stage.telling import Narrator

_BLOCKED = "plugin.errors.BlockedModelError"
_QUARANTINED = "plugin.errors.QuarantinedModelError"
_SHOWN_PROPERTIES = 14
_OTHER_WEIGHTS = b"\x80\x04K*."
"""A harmless pickle of the number 42: a scanner finds nothing in it, the signature does."""


def keys(tell: Narrator, stage: Stage) -> None:
    """A signing key and the policies."""
    tell.heading("A key and a policy")
    tell.say(
        """Uploads are signed with a key of our own, and loads are judged by policies: YAML files that belong into the
        team's repository. Here they are the shipped `baseline`, enforced in production and only observed elsewhere."""
    )
    made = stage.mlgov("keys", "init", "--name", "demo tracking server")
    tell.command("mlgov keys init --name 'demo tracking server'", made.text)
    checked = stage.mlgov("policy", "check", str(stage.folder / "policies"))
    tell.command(f"mlgov policy check {stage.folder.name}/policies", checked.text)


def train(tell: Narrator, stage: Stage) -> Mapping[str, Any]:
    """Train, log, register, load, predict: through the server, and once directly."""
    tell.heading("A data scientist at work")
    tell.say(
        """Train on 569 real patients, log the model through the tracking server, register it, load it back and predict;
        then once more straight to Artifactory. The script is plain MLflow and knows nothing of governance
        (`python -m plugin.demo.train_and_log`)."""
    )
    with tell.working("train, log, register, load, predict"):
        result: Mapping[str, Any] = stage.script("train_and_log", "--direct", stage.location("direct"))
    tell.pairs({
        "accuracy": str(result["accuracy"]),
        "registered": result["registered"],
        "predictions": str(result["predictions"]),
        "logged directly": str(result["direct_uri"]),
    })  # fmt: skip
    return result


def stored(tell: Narrator, stage: Stage, trained: Mapping[str, Any]) -> None:
    """What Artifactory has now: signature and properties, asked again from the server."""
    tell.heading("What Artifactory got")
    path = _path_of(trained)
    tell.say(
        "The model is signed (OpenSSF Model Signing, `model.sig`), and its folder carries properties that link it to its "
        "decision in the audit log. Both are asked from the server again:"
    )
    tell.pairs(dict(sorted(_properties(stage, path).items())[:_SHOWN_PROPERTIES]))
    ref = f"{REPOSITORY}/{path}"
    tell.command(f"mlgov verify {ref}", stage.mlgov("verify", ref).text)


def suspects(tell: Narrator, stage: Stage) -> Mapping[str, Any]:
    """Models that should not be loaded find their way into the store."""
    tell.heading("Four models that should not be loaded")
    payload = stage.folder / "PAYLOAD-RAN"
    tell.say(
        """Somebody with the right to upload logs a model whose pickle holds a shell command. It does not get in; so they
        put the pickle straight into Artifactory, in place of an honest one. Another model's `requirements.txt` pins
        PyYAML 5.3 (CVE-2020-14343, CVSS 9.8). A third is good, is signed, and then its bytes are changed on the server,
        behind everybody's back. A fourth was uploaded a moment ago and is not scanned yet."""
    )
    trap = stage.folder / "trap.pkl"
    with tell.working("log five models"):
        done = stage.script("log_suspects", "--payload", str(payload), "--trap", str(trap))
    refused: Mapping[str, str] = done["refused"]
    logged: Mapping[str, Any] = done["logged"]
    if refused["error"] != _BLOCKED:
        raise ChildFailedError(f"logging the malicious model gave {refused['error']}: {refused['message']}")
    tell.say("\nmlflow.sklearn.log_model(trap, ...)")
    tell.refusal(refused["error"], refused["message"])
    for name, weights in (("iris-malicious", trap.read_bytes()), ("iris-tampered", _OTHER_WEIGHTS)):
        place = f"{_path_of(logged[name])}/model.pkl"
        stage.artifactory.put_bytes_behind_the_scenes(REPOSITORY, place, weights)
    stage.artifactory.hold_scans(REPOSITORY, _path_of(logged["iris-unscanned"]))
    return logged


def refusals(tell: Narrator, stage: Stage, logged: Mapping[str, Any]) -> None:
    """Each is refused, with its typed error."""
    tell.heading("Each is refused, and says why")
    uris = [logged[name]["registered"] for name in logged]
    tell.say(
        "`mlflow.pyfunc.load_model` on each of them. Nothing of a refused model reaches the user's disk."
    )
    with tell.working("try to load all four"):
        results = stage.script("load_models", *uris, expected=1)
    wanted = dict.fromkeys(uris, _BLOCKED) | {logged["iris-unscanned"]["registered"]: _QUARANTINED}
    for result in results:
        tell.say(f'\nmlflow.pyfunc.load_model("{result["uri"]}")')
        if result["error"] != wanted[result["uri"]]:
            raise ChildFailedError(
                f"loading `{result['uri']}` gave {result['error']} instead of {wanted[result['uri']]}: "
                f"{result['message']}"
            )
        tell.refusal(result["error"], result["message"])
    _require_no_payload(tell, stage.folder / "PAYLOAD-RAN")


def later(tell: Narrator, stage: Stage, logged: Mapping[str, Any]) -> None:
    """Quarantine is a no for now."""
    tell.heading("Quarantine ends when the scan does")
    stage.artifactory.release_scans(REPOSITORY)
    with tell.working("the scan ends; load again"):
        (result,) = stage.script("load_models", logged["iris-unscanned"]["registered"])
    tell.done(f"{result['uri']} predicts {result['predictions']}")


def observe(tell: Narrator, stage: Stage, logged: Mapping[str, Any]) -> None:
    """The same violation in observe mode goes through and is on record."""
    tell.heading("Observe mode: nothing breaks, everything is on record")
    location = stage.location(_path_of(logged["iris-vulnerable"]))
    tell.say(
        """Before a policy is enforced, it is observed. On a laptop (`MLGOV_ENVIRONMENT=development`) the model with the
        vulnerable dependency loads, straight from Artifactory, with a warning. The record says what would have been."""
    )
    with tell.working("load the vulnerable model in development"):
        (result,) = stage.script("load_models", location, MLGOV_ENVIRONMENT="development")
    tell.done(f"it predicts {result['predictions']}")
    last = stage.mlgov("audit", "tail", "--kind", "decision", "-n", "1", "--json")
    verdict = json.loads(last.text)["body"]["verdict"]
    if not verdict["would_block"] or verdict["refused"]:
        raise ChildFailedError(f"the log does not say that this would have been blocked:\n{last.text}")
    tell.done(f"on record: {verdict['decision']}, {verdict['mode']} mode, would have been blocked")


def promotion(tell: Narrator, stage: Stage, trained: Mapping[str, Any], logged: Mapping[str, Any]) -> None:
    """The good model becomes the champion; the one that was only observed does not."""
    tell.heading("Promotion")
    good, vulnerable = trained["registered"], logged["iris-vulnerable"]["registered"]
    tell.say(
        """Production loads whatever bears the alias `champion`, so setting it is a promotion, and the tracking server asks
        the policy first: for the good model, and for the one with the vulnerable dependency that a laptop may load."""
    )
    with tell.working("set the alias on both"):
        passed, refused = stage.script("promote_models", "champion", good, vulnerable, expected=1)
    if passed["error"] is not None or passed["aliases"] != {"champion": "1"}:
        raise ChildFailedError(f"promoting `{good}` gave {passed['error']}: {passed['message']}")
    tell.done(f"{good} is now `champion`")
    if refused["error"] is None or refused["aliases"] or "CVE-2020-14343" not in refused["message"]:
        raise ChildFailedError(f"promoting `{vulnerable}` was not refused: {refused}")
    name, version = vulnerable.removeprefix("models:/").split("/")
    tell.say(f'\nMlflowClient().set_registered_model_alias("{name}", "champion", "{version}")')
    tell.refusal(refused["error"], refused["message"])


def evidence(tell: Narrator, stage: Stage) -> None:
    """The audit log proves itself; the report is written."""
    tell.heading("The record")
    tell.say("Each decision was on record before anything was moved, and each outcome after it.")
    for line in (
        "audit tail --kind decision -n 6",
        "audit who-loaded breast-cancer/1 -n 3",
        "audit verify",
        "audit export audit-export",
        "report --folder report",
    ):
        tell.command(f"mlgov {line}", stage.mlgov(*line.split()).text)


def _properties(stage: Stage, path: str) -> dict[str, str]:
    """Properties as the REST interface tells them, asked with a user's token."""
    import requests

    url = f"{stage.artifactory.artifactory_url}/api/storage/{REPOSITORY}/{path}"
    token = stage.settings["ARTIFACTORY_AUTH_TOKEN"]
    session = requests.Session()
    session.trust_env = False
    with session:
        answer = session.get(
            url, params={"properties": ""}, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        answer.raise_for_status()
        found: dict[str, list[str]] = answer.json()["properties"]
    return {name: ", ".join(values) for name, values in found.items()}


def _path_of(logged: Mapping[str, str]) -> str:
    """Where a proxied model lies in the repository."""
    return logged["location"].partition("mlflow-artifacts:/")[2].strip("/")


def _require_no_payload(tell: Narrator, payload: Path) -> None:
    if payload.exists():
        raise ChildFailedError(f"the malicious model ran: `{payload}` exists")
    tell.done(f"the trap would have written `{payload.name}` when unpickled; there is no such file")
