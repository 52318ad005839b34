"""A log with every kind of event that the program records, made by doing those things: people with keys, models in an embedded
repository, a gate that lets some through and others not, an outage, an emergency, and what keeps a log over the years.

Nothing is written to the log by hand, but by the same functions and commands that users and operators run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

import policies as packs
from governance.audit.anchor import FolderAnchor, publish_head
from governance.audit.entry import EntryKind
from governance.audit.retention import erase_expired, set_hold
from governance.audit.store import Draft
from governance.cli.main import main
from governance.cli.reference import locate, parse_reference
from governance.devserver import DevServer
from governance.devserver.faults import unavailable
from governance.errors import AuditUnavailableError, RefusedError
from governance.model.request import Action, Actor, MlflowContext, Request, new_id
from governance.registrations import RegistryEvent, record_registration
from governance.settings import load_settings
from governance.signing.publickey import parse_public_key
from governance.wiring import build_assembly
from tests.scenarios.cli import be

PICKLE = b"cposix\nsystem\n(S'true'\ntR."
MODELS: dict[str, dict[str, bytes]] = {
    "wine": {"MLmodel": b"flavors: {}\n", "requirements.txt": b"numpy==2.1.0\n", "w.safetensors": b"\x02\0\0\0\0\0\0\0{}"},
    "old-yaml": {"MLmodel": b"flavors: {}\n", "requirements.txt": b"PyYAML==5.3\nrequests==2.32.3\n"},
    "evil": {"MLmodel": b"flavors: {}\n", "model.pkl": PICKLE},
    "fresh": {"MLmodel": b"flavors: {a: 1}\n"},
}  # fmt: skip
SET = """apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: acme, revision: %d}
spec:
  waivers: {maxDays: 60, approvals: 1}
  breakGlass: {environments: [production]}
  outage: {production: {action: last-verdict, maxAge: 12h}}
"""
WHY = "production is down, INC-7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Where the log and the rest lie. `variables` are the settings under which it is read."""

    folder: Path
    repository: str
    variables: dict[str, str]

    @property
    def log(self) -> Path:
        """The log's file."""
        return self.folder / "audit.sqlite"


class _Director:
    """Runs commands and asks the gate, as one of the people."""

    def __init__(self, folder: Path, server: DevServer, repository: str, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.server, self.repository, self.patch = folder, server, repository, patch
        (folder / ".governance").mkdir(parents=True)
        (folder / ".git").mkdir()
        (folder / "mlgov.toml").write_text(f'audit_path = "{folder / "audit.sqlite"}"\n')
        (folder / ".governance" / "baseline.yaml").write_text(packs.read("baseline"))
        self.revise(1)
        patch.chdir(folder)

    def revise(self, revision: int) -> None:
        (self.folder / ".governance" / "set.yaml").write_text(SET % revision)

    def variables(self, who: str = "server", **more: str) -> dict[str, str]:
        return {
            "MLGOV_HOME": str(self.folder / "homes" / who),
            "MLGOV_KEY_PASSPHRASE": "correct horse",
            "MLGOV_TRUST": str(self.folder / "trust.json"),
            "MLGOV_CONFIG": str(self.folder / "mlgov.toml"),
            "MLGOV_ENVIRONMENT": "production",
            "MLGOV_GATHER_ALL": "true",
            "MLGOV_ARTIFACTORY_URL": self.server.artifactory_url,
            "ARTIFACTORY_AUTH_TOKEN": self.server.token("alice"),
        } | more

    def be(self, who: str, **more: str) -> None:
        be(self.patch, **self.variables(who, **more))

    def run(self, who: str, *words: str) -> None:
        self.be(who)
        code = main(list(words))
        assert code == 0, f"{words}: exit code {code}"

    def ask(
        self, model: str, *, action: Action = Action.LOAD, actor: str = "zoe", moves: bool = True, **more: str
    ) -> str:
        """One request to the gate, acted upon where it may be. The id of the newest decision."""
        self.be("server", **more)
        settings = load_settings()
        assembly = build_assembly(settings)
        place = parse_reference(f"{self.repository}/{model}", settings)
        (part,) = locate(assembly.artifactory(place.host), place)
        at = assembly.now()
        request = Request(
            action=action, artifact=part.artifact, actor=Actor(name=actor, authentication="token"), at=at,
            environment=settings.environment, correlation=new_id(at),
            mlflow=MlflowContext(model_name=model, model_version="1", run_id="run-1"),
        )  # fmt: skip
        try:
            with suppress(RefusedError, ConnectionError), assembly.gate.admit(request) as permit:
                if not moves:
                    raise ConnectionError("the network went away")
                for entry in part.artifact.files:
                    assert entry.sha256 is not None
                    permit.moved(str(entry.path), entry.sha256)
            return [each.entry.id for each in assembly.log.find(kind=EntryKind.DECISION)][-1]
        finally:
            assembly.close()

    def register(self, model: str, event: str, **more: str) -> None:
        """Something done to version 1 of a registered model, as a tracking server records it."""
        self.be("server")
        settings = load_settings()
        assembly = build_assembly(settings)
        place = parse_reference(f"{self.repository}/{model}", settings)
        try:
            (part,) = locate(assembly.artifactory(place.host), place)
            done = RegistryEvent(
                event=event, name=model, version="1", actor=Actor(name="zoe", authentication="token"),
                artifact=part.artifact, more=more,
            )  # fmt: skip
            record_registration(assembly.log, done, correlation=new_id(assembly.now()))
        finally:
            assembly.close()


class _Unsure:
    """A store that wrote, and whose answer was lost once."""

    def __init__(self, store: object) -> None:
        self.store, self.lose = store, True

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    def append(self, drafts: Sequence[Draft]) -> Sequence[int | None]:
        indexes: Sequence[int | None] = self.store.append(drafts)  # type: ignore[attr-defined]
        if self.lose:
            self.lose = False
            raise AuditUnavailableError("no answer")
        return indexes


def make_demo(folder: Path, server: DevServer, repository: str) -> Demo:
    """Make the log. `repository` is an empty repository of `server`."""
    for model, files in MODELS.items():
        for name, data in files.items():
            server.put(repository, f"{model}/{name}", data)
    with pytest.MonkeyPatch.context() as patch:
        director = _Director(folder, server, repository, patch)
        _people(director)
        _uses(director)
        _exceptions(director)
        _emergencies(director)
        _upkeep(director)
        director.be("server")
        return Demo(folder=folder, repository=repository, variables=director.variables())


def _people(to: _Director) -> None:
    for who in ("ann", "bob", "carol", "dan"):
        to.run(who, "keys", "init", "--name", who)
    old = parse_public_key((to.folder / "homes/dan/keys/signing.pub").read_text())
    to.run("dan", "keys", "rotate")
    to.run("ann", "keys", "revoke", old.key_id, "--compromised")
    to.run("ann", "sign", f"{to.repository}/wine")


def _uses(to: _Director) -> None:
    to.ask("wine")
    to.ask("wine", action=Action.DOWNLOAD, actor="ci")
    to.ask("wine", action=Action.UPLOAD, actor="ann")
    to.ask("wine", MLGOV_ENVIRONMENT="staging")
    to.ask("wine", moves=False)
    to.register("wine", "created", source="models:/m-1")
    to.register("wine", "alias-set", alias="champion", decision=to.ask("wine", action=Action.PROMOTE))
    to.ask("evil")
    to.ask("evil", MLGOV_ENVIRONMENT="staging")
    to.server.hold_scans(to.repository, "fresh")
    to.ask("fresh")
    to.server.release_scans(to.repository)
    fault = to.server.faults.add(unavailable("/xray/*", times=None))
    to.ask("wine", action=Action.DOWNLOAD, MLGOV_GATHER_SECONDS="2")
    to.server.faults.remove(fault)


def _exceptions(to: _Director) -> None:
    decision = to.ask("old-yaml")
    to.run(
        "ann", "waiver", "request", "--decision", decision, "--reason", "sandbox only", "--ticket", "SEC-1"
    )
    (path,) = (to.folder / ".governance" / "waivers").glob("*.yaml")
    to.run("bob", "waiver", "approve", "--yes", path.stem)
    to.ask("old-yaml")
    to.revise(2)
    to.ask("wine", actor="ann")
    to.run("carol", "waiver", "revoke", "--yes", path.stem, "--reason", "mended")


def _emergencies(to: _Director) -> None:
    to.ask("old-yaml", actor="bob", MLGOV_BREAK_GLASS=WHY)
    to.run("ann", "waiver", "review", "--all", "--reason", "INC-7 closed")


def _upkeep(to: _Director) -> None:
    to.be("server")
    assembly = build_assembly(load_settings())
    log, heads = assembly.log, to.folder / "heads"
    heads.mkdir()
    try:
        publish_head(log, [FolderAnchor(folder=heads)])
        set_hold(log, f"{to.repository}/evil", held=True, reason="CASE-9", by="dpo")
        later = assembly.now() + timedelta(days=400)
        erase_expired(
            log, {EntryKind.SIGNATURE: timedelta(days=365)}, now=later, reason="a year is over", by="dpo"
        )
        store = log._store
        log._store = _Unsure(store)  # type: ignore[assignment]
        with suppress(AuditUnavailableError):
            set_hold(log, f"{to.repository}/wine", held=True, reason="CASE-10", by="dpo")
        set_hold(log, f"{to.repository}/wine", held=False, reason="CASE-10 closed", by="dpo")
        log._store = store
    finally:
        assembly.close()
    to.run("ann", "audit", "export", "exported")
