"""What the tests of the policy room share: small policies, requests and facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from governance.errors import PolicyInvalidError
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.digest import Digest, Sha256
from governance.model.facts import Facts, FactValue, Origin
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.documents import PolicyBundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHA = Sha256("7d" * 32)
DIGEST = Digest(f"sha256:{SHA}")
REF = "models-local/team/model.bin"
MALICIOUS = "{fact: xray.malicious, is: true}"


def bundle(*texts: str) -> PolicyBundle:
    """The bundle of some files."""
    return load_files({f"file{number}.yaml": text.encode() for number, text in enumerate(texts)})


def compiled(*texts: str) -> CompiledPolicy:
    """The compiled policy of some files."""
    return compile_bundle(bundle(*texts))


def problems(*texts: str | bytes) -> list[str]:
    """What the loader says is wrong; an empty list where nothing is."""
    files = {
        f"file{n}.yaml": text if isinstance(text, bytes) else text.encode() for n, text in enumerate(texts)
    }
    try:
        load_files(files)
    except PolicyInvalidError as error:
        return list(error.problems)
    return []


def policy(rules: str = "", *, name: str = "p", default: str = "allow", head: str = "") -> str:
    """A policy document with the given rules (YAML, not indented)."""
    indented = "".join(f"    {line}\n" for line in rules.strip("\n").splitlines())
    listed = f"  rules:\n{indented}" if indented else ""
    return (
        f"apiVersion: mlgov/v1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n"
        f"  default: {default}\n{head}{listed}"
    )


def rule(when: str, *, name: str = "r", effect: str = "block", more: str = "") -> str:
    """One rule (YAML, not indented) with a condition in flow style."""
    return f"- id: {name}\n  effect: {effect}\n  when: {when}\n  message: it matched\n{more}"


def policy_set(body: str, *, name: str = "s", revision: int = 1) -> str:
    """A set document with the given spec (YAML, indented by two)."""
    return f"apiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {{name: {name}, revision: {revision}}}\nspec:\n{body}"


def waiver(**changes: Any) -> str:
    """A waiver document for rule `p/r` that covers `request()`; `changes` replace lines of its spec (None: leave out)."""
    spec: dict[str, Any] = {
        "rule": "p/r",
        "artifact": f'{{ref: {REF}, digest: "{DIGEST}"}}',
        "reason": "reviewed by hand",
        "requestedBy": "alice",
        "approvedBy": "[bob]",
        "starts": "2026-11-20T00:00:00Z",
        "expires": "2026-12-20T00:00:00Z",
    }
    name = changes.pop("name", "W-1")
    spec |= changes
    lines = "".join(f"  {key}: {value}\n" for key, value in spec.items() if value is not None)
    return f"apiVersion: mlgov/v1\nkind: Waiver\nmetadata: {{name: {name}}}\nspec:\n{lines}"


def request(**changes: Any) -> Request:
    """A request to load one file in production at noon."""
    repository, _, path = str(changes.pop("ref", REF)).partition("/")
    folder, _, name = path.rpartition("/")
    artifact = Artifact(
        kind=changes.pop("kind", Kind.FILE),
        host="artifactory.example.org",
        repository=parse_repository_key(repository),
        path=folder,
        name=name,
        files=(FileEntry(path=parse_relative_path(name), size=3, sha256=changes.pop("sha256", SHA)),),
    )
    return Request(
        action=changes.pop("action", Action.LOAD),
        artifact=artifact,
        actor=changes.pop("actor", Actor(name="alice", groups=("speech",), authentication="token")),
        environment=changes.pop("environment", "production"),
        at=changes.pop("at", NOON),
        correlation="c",
        **changes,
    )


def facts(values: dict[str, FactValue] | None = None, **more: FactValue) -> Facts:
    """Facts, each observed at noon by `test`. In keywords `__` stands for a dot."""
    named = {**(values or {}), **{name.replace("__", "."): value for name, value in more.items()}}
    origin = Origin(source="test", observed_at="2026-11-22T11:59:00.000000Z")
    return Facts(named, dict.fromkeys(named, origin))


def verdict(text: str, values: dict[str, FactValue] | None = None, **changes: Any) -> Verdict:
    """The verdict of one policy file on some facts."""
    return evaluate(compiled(text), request(**changes), facts(values))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
