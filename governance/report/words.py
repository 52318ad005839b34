"""What an entry says, word by word: the one reading of entries on which selections match and the index of terms is built.

Promises: a reader never raises, whatever the shape of a body; what is not there says nothing. So a selection and the index
cannot disagree on what an entry says. Does not: look at evidence, which an entry only names.

| word | of which entries | says |
| --- | --- | --- |
| `kind` | all | the kind |
| `subject`, `correlation` | all | as they stand |
| `digest` | decision, outcome, signature, waiver, registration | the artifact, what was moved, signed or waived; in hex, without its algorithm |
| `model` | decision, registration | registered name and artifact's name, each alone and with `/version`; the logged model's id; of a registration also `name@alias` |
| `actor` | decision, registration; waiver and others with `by` | who asked, or who did it |
| `rule` | decision, waiver | rules that object, fired or were waived, as `policy/rule`; findings the entry had no room for are missing |
| `policy` | decision, policy | digest and names of the policies |
| `revision` | decision, policy | revision of the policy set |
| `decision`, `mode` | decision | `allow`, `warn`, `quarantine`, `block`; how it was applied |
| `refused`, `would-block`, `degraded`, `waived` | decision | `yes` or `no` |
| `break-glass` | decision, waiver | `yes` for what went through by break-glass and for the entry that says why, else `no` |
| `action` | decision, outcome | as it stands |
| `environment` | decision | in its normal form: `prod` says `production` |
| `outcome` | outcome | how the act ended |
| `event` | signature, key, waiver, registration, hold | what happened: `made`, `approved`, `held`, `lifted` |
| `waiver` | waiver, decision | the waiver's name (or the decision under break-glass) |
| `key` | key, signature, waiver, outcome | key id |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeAlias

from governance.audit.entry import EntryKind
from governance.model.canonical import Json
from governance.policy.environments import normal_environment
from governance.report.fields import Fields

YES, NO = "yes", "no"
_MLFLOW_URI = re.compile(r"\A(?:models:/+)+(?=[^/])")
_EVENTS = frozenset({EntryKind.SIGNATURE, EntryKind.KEY, EntryKind.WAIVER, EntryKind.REGISTRATION})
_NOTHING: Mapping[str, Json] = MappingProxyType({})


class Said(Protocol):
    """The part of an `Entry` that its words are read from."""

    @property
    def kind(self) -> EntryKind:
        """What it records."""
        ...

    @property
    def subject(self) -> str:
        """What it is about."""
        ...

    @property
    def correlation(self) -> str:
        """Its sequence."""
        ...

    @property
    def body(self) -> Mapping[str, Json]:
        """What it says."""
        ...


Reader: TypeAlias = "Callable[[Said], Iterable[str]]"


def _kind(entry: Said) -> Iterable[str]:
    return (entry.kind.value,)


def _subject(entry: Said) -> Iterable[str]:
    return _texts(entry.subject)


def _correlation(entry: Said) -> Iterable[str]:
    return _texts(entry.correlation)


def _digest(entry: Said) -> Iterable[str]:
    body = body_of(entry)
    match entry.kind:
        case EntryKind.DECISION | EntryKind.REGISTRATION:
            digest = object_in(body, "artifact").get("digest")
            return (hex_part(digest),) if isinstance(digest, str) else ()
        case EntryKind.OUTCOME:
            moved = object_in(body, "moved")
            files = [file.body.get("sha256") for file in Fields(moved).subs("files")]
            return _hexes(moved.get("digest"), *files, object_in(body, "signature").get("digest"))
        case EntryKind.SIGNATURE | EntryKind.WAIVER:
            return _hexes(body.get("digest"))
        case _:
            return ()


def _model(entry: Said) -> Iterable[str]:
    if entry.kind is EntryKind.REGISTRATION:
        return _registered(body_of(entry))
    if entry.kind is not EntryKind.DECISION:
        return ()
    mlflow, artifact = object_in(body_of(entry), "mlflow"), object_in(body_of(entry), "artifact")
    said = [*_texts(mlflow.get("model_id"))]
    for name, version in (
        (mlflow.get("model_name"), mlflow.get("model_version")),
        (artifact.get("name"), artifact.get("version")),
    ):
        if isinstance(name, str):
            said.append(name)
            if isinstance(version, str):
                said.append(f"{name}/{version}")
    return said


def _registered(body: Mapping[str, Json]) -> Iterable[str]:
    name, version, alias = (body.get(word) for word in ("name", "version", "alias"))
    said = [*_texts(name, body.get("model_id"))]
    if isinstance(name, str):
        said += [f"{name}/{each}" for each in _texts(version)]
        said += [f"{name}@{each}" for each in _texts(alias)]
    return said


def _actor(entry: Said) -> Iterable[str]:
    body = body_of(entry)
    named = entry.kind in {EntryKind.DECISION, EntryKind.REGISTRATION}
    return _texts(object_in(body, "actor").get("name") if named else body.get("by"))


def _rule(entry: Said) -> Iterable[str]:
    if entry.kind is EntryKind.WAIVER:
        return _texts(body_of(entry).get("rule"))
    if entry.kind is not EntryKind.DECISION:
        return ()
    verdict = Fields(object_in(body_of(entry), "verdict"))
    rows = (*verdict.subs("findings"), *verdict.subs("waived"))
    return (*verdict.texts("fired"), *_texts(*(row.body.get("rule") for row in rows)))


def _policy_part(entry: Said) -> Fields:
    if entry.kind is EntryKind.POLICY:
        return Fields(body_of(entry))
    return Fields(object_in(body_of(entry), "policy") if entry.kind is EntryKind.DECISION else _NOTHING)


def _policy(entry: Said) -> Iterable[str]:
    part = _policy_part(entry)
    return (*_texts(part.body.get("digest")), *part.texts("names"))


def _revision(entry: Said) -> Iterable[str]:
    revision = _policy_part(entry).number("revision")
    return () if revision is None else (str(revision),)


def _verdict(entry: Said) -> Mapping[str, Json] | None:
    return object_in(body_of(entry), "verdict") if entry.kind is EntryKind.DECISION else None


def _of_verdict(name: str) -> Reader:
    def read(entry: Said) -> Iterable[str]:
        verdict = _verdict(entry)
        return () if verdict is None else _texts(verdict.get(name))

    return read


def _flag(is_set: Callable[[Mapping[str, Json]], bool]) -> Reader:
    def read(entry: Said) -> Iterable[str]:
        verdict = _verdict(entry)
        return () if verdict is None else (YES,) if is_set(verdict) else (NO,)

    return read


def _went_through(verdict: Mapping[str, Json]) -> bool:
    """Under an enforced refusal the door opens for break-glass alone."""
    return verdict.get("would_block") is True and verdict.get("mode") == "enforce"


def _break_glass(entry: Said) -> Iterable[str]:
    if entry.kind is EntryKind.WAIVER:
        return (YES,) if body_of(entry).get("event") == "break-glass" else (NO,)
    verdict = _verdict(entry)
    return () if verdict is None else (YES,) if _went_through(verdict) else (NO,)


def _action(entry: Said) -> Iterable[str]:
    return _texts(body_of(entry).get("action"))


def _environment(entry: Said) -> Iterable[str]:
    environment = body_of(entry).get("environment")
    if isinstance(environment, str) and entry.kind is EntryKind.DECISION:
        return (normal_environment(environment),)
    return ()


def _outcome(entry: Said) -> Iterable[str]:
    return _texts(body_of(entry).get("status")) if entry.kind is EntryKind.OUTCOME else ()


def _event(entry: Said) -> Iterable[str]:
    if entry.kind is EntryKind.HOLD:
        return ("held",) if body_of(entry).get("held") is True else ("lifted",)
    return _texts(body_of(entry).get("event")) if entry.kind in _EVENTS else ()


def _waiver(entry: Said) -> Iterable[str]:
    if entry.kind is EntryKind.WAIVER:
        return _texts(body_of(entry).get("waiver"))
    verdict = _verdict(entry)
    if verdict is None:
        return ()
    return _texts(*(row.body.get("waiver") for row in Fields(verdict).subs("waived")))


def _key(entry: Said) -> Iterable[str]:
    if entry.kind not in _EVENTS and entry.kind is not EntryKind.OUTCOME:
        return ()
    body = body_of(entry)
    return _texts(body.get("key_id"), object_in(body, "signature").get("key_id"))


READERS: Mapping[str, Reader] = MappingProxyType({
    "kind": _kind,
    "digest": _digest,
    "model": _model,
    "subject": _subject,
    "actor": _actor,
    "rule": _rule,
    "policy": _policy,
    "revision": _revision,
    "decision": _of_verdict("decision"),
    "mode": _of_verdict("mode"),
    "refused": _flag(lambda verdict: verdict.get("refused") is True),
    "would-block": _flag(lambda verdict: verdict.get("would_block") is True),
    "degraded": _flag(lambda verdict: isinstance(verdict.get("degraded"), str)),
    "waived": _flag(lambda verdict: bool(Fields(verdict).subs("waived"))),
    "break-glass": _break_glass,
    "action": _action,
    "environment": _environment,
    "outcome": _outcome,
    "event": _event,
    "waiver": _waiver,
    "key": _key,
    "correlation": _correlation,
})  # fmt: skip
"""Every word with its reader, in the order in which words are printed."""


def registered_name(text: str) -> str:
    """A model's name as it is on record, of one as MLflow writes it in addresses: `models:/wine/3`, `models:/wine@champion`."""
    return _MLFLOW_URI.sub("", text, count=1)


def hex_part(digest: str) -> str:
    """A digest without the name of its algorithm."""
    return digest.rpartition(":")[2]


def body_of(entry: Said) -> Mapping[str, Json]:
    """The body, which another version of the program may have written as something else than an object."""
    body: object = entry.body
    return body if body.__class__ is dict or isinstance(body, Mapping) else _NOTHING


def object_in(body: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    """An object in a body, empty where there is none."""
    value = body.get(name)
    return value if value.__class__ is dict or isinstance(value, Mapping) else _NOTHING


def _texts(*values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def _hexes(*values: object) -> tuple[str, ...]:
    return tuple(hex_part(value) for value in values if isinstance(value, str))
