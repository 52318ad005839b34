"""What an entry says, word by word: the one reading of entries on which selections match and the index of terms is built.

Promises: a reader never raises, whatever the shape of a body; what is not there says nothing. So a selection and the index
cannot disagree on what an entry says. Does not: look at evidence, which an entry only names.

| word | of which entries | says |
| --- | --- | --- |
| `kind` | all | the kind |
| `subject`, `correlation` | all | as they stand |
| `digest` | decision, outcome, signature, waiver | the artifact, what was moved, signed or waived; in hex, without its algorithm |
| `model` | decision | registered name and artifact's name, each alone and with `/version` |
| `actor` | decision; waiver and others with `by` | who asked, or who did it |
| `rule` | decision, waiver | rules that object, fired or were waived, as `policy/rule`; findings the entry had no room for are missing |
| `policy` | decision, policy | digest and names of the policies |
| `revision` | decision, policy | revision of the policy set |
| `decision`, `mode` | decision | `allow`, `warn`, `quarantine`, `block`; how it was applied |
| `refused`, `would-block`, `degraded`, `waived` | decision | `yes` or `no` |
| `break-glass` | decision, waiver | `yes` for what went through by break-glass and for the entry that says why, else `no` |
| `action` | decision, outcome | as it stands |
| `environment` | decision | in its normal form: `prod` says `production` |
| `outcome` | outcome | how the act ended |
| `event` | signature, key, waiver, hold | what happened: `made`, `approved`, `held`, `lifted` |
| `waiver` | waiver, decision | the waiver's name (or the decision under break-glass) |
| `key` | key, signature, outcome | key id |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from governance.audit.entry import Entry, EntryKind
from governance.model.canonical import Json
from governance.policy.environments import normal_environment
from governance.report.fields import Fields

YES, NO = "yes", "no"
_NOTHING: Mapping[str, Json] = MappingProxyType({})

Reader = Callable[[Entry], Iterator[str]]


def _kind(entry: Entry) -> Iterator[str]:
    yield entry.kind.value


def _subject(entry: Entry) -> Iterator[str]:
    if isinstance(entry.subject, str):
        yield entry.subject


def _correlation(entry: Entry) -> Iterator[str]:
    if isinstance(entry.correlation, str):
        yield entry.correlation


def _digest(entry: Entry) -> Iterator[str]:
    body = _body(entry)
    match entry.kind:
        case EntryKind.DECISION:
            yield from _hex(_object(body, "artifact").get("digest"))
        case EntryKind.OUTCOME:
            moved = _object(body, "moved")
            yield from _hex(moved.get("digest"))
            for file in Fields(moved).subs("files"):
                yield from _hex(file.body.get("sha256"))
            yield from _hex(_object(body, "signature").get("digest"))
        case EntryKind.SIGNATURE | EntryKind.WAIVER:
            yield from _hex(body.get("digest"))
        case _:
            pass


def _model(entry: Entry) -> Iterator[str]:
    if entry.kind is not EntryKind.DECISION:
        return
    mlflow, artifact = _object(_body(entry), "mlflow"), _object(_body(entry), "artifact")
    for name, version in (
        (mlflow.get("model_name"), mlflow.get("model_version")),
        (artifact.get("name"), artifact.get("version")),
    ):
        if isinstance(name, str):
            yield name
            if isinstance(version, str):
                yield f"{name}/{version}"


def _actor(entry: Entry) -> Iterator[str]:
    name = (
        _object(_body(entry), "actor").get("name")
        if entry.kind is EntryKind.DECISION
        else _body(entry).get("by")
    )
    if isinstance(name, str):
        yield name


def _rule(entry: Entry) -> Iterator[str]:
    if entry.kind is EntryKind.WAIVER:
        rule = _body(entry).get("rule")
        if isinstance(rule, str):
            yield rule
    elif entry.kind is EntryKind.DECISION:
        verdict = Fields(_object(_body(entry), "verdict"))
        yield from verdict.texts("fired")
        for part in ("findings", "waived"):
            for row in verdict.subs(part):
                rule = row.body.get("rule")
                if isinstance(rule, str):
                    yield rule


def _policy_part(entry: Entry) -> Fields:
    if entry.kind is EntryKind.POLICY:
        return Fields(_body(entry))
    return Fields(_object(_body(entry), "policy") if entry.kind is EntryKind.DECISION else _NOTHING)


def _policy(entry: Entry) -> Iterator[str]:
    part = _policy_part(entry)
    digest = part.text("digest")
    if digest is not None:
        yield digest
    yield from part.texts("names")


def _revision(entry: Entry) -> Iterator[str]:
    revision = _policy_part(entry).number("revision")
    if revision is not None:
        yield str(revision)


def _of_verdict(name: str) -> Reader:
    def read(entry: Entry) -> Iterator[str]:
        if entry.kind is EntryKind.DECISION:
            value = _object(_body(entry), "verdict").get(name)
            if isinstance(value, str):
                yield value

    return read


def _flag(is_set: Callable[[Mapping[str, Json]], bool]) -> Reader:
    def read(entry: Entry) -> Iterator[str]:
        if entry.kind is EntryKind.DECISION:
            yield YES if is_set(_object(_body(entry), "verdict")) else NO

    return read


def _went_through(verdict: Mapping[str, Json]) -> bool:
    """Under an enforced refusal the door opens for break-glass alone."""
    return verdict.get("would_block") is True and verdict.get("mode") == "enforce"


def _break_glass(entry: Entry) -> Iterator[str]:
    if entry.kind is EntryKind.DECISION:
        yield YES if _went_through(_object(_body(entry), "verdict")) else NO
    elif entry.kind is EntryKind.WAIVER:
        yield YES if _body(entry).get("event") == "break-glass" else NO


def _action(entry: Entry) -> Iterator[str]:
    action = _body(entry).get("action")
    if isinstance(action, str):
        yield action


def _environment(entry: Entry) -> Iterator[str]:
    environment = _body(entry).get("environment")
    if isinstance(environment, str) and entry.kind is EntryKind.DECISION:
        yield normal_environment(environment)


def _outcome(entry: Entry) -> Iterator[str]:
    status = _body(entry).get("status")
    if isinstance(status, str) and entry.kind is EntryKind.OUTCOME:
        yield status


def _event(entry: Entry) -> Iterator[str]:
    if entry.kind is EntryKind.HOLD:
        yield "held" if _body(entry).get("held") is True else "lifted"
        return
    event = _body(entry).get("event")
    if isinstance(event, str):
        yield event


def _waiver(entry: Entry) -> Iterator[str]:
    if entry.kind is EntryKind.WAIVER:
        name = _body(entry).get("waiver")
        if isinstance(name, str):
            yield name
    elif entry.kind is EntryKind.DECISION:
        for row in Fields(_object(_body(entry), "verdict")).subs("waived"):
            name = row.body.get("waiver")
            if isinstance(name, str):
                yield name


def _key(entry: Entry) -> Iterator[str]:
    for key in (_body(entry).get("key_id"), _object(_body(entry), "signature").get("key_id")):
        if isinstance(key, str):
            yield key


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


def hex_part(digest: str) -> str:
    """A digest without the name of its algorithm."""
    return digest.rpartition(":")[2]


def _hex(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield hex_part(value)


def _body(entry: Entry) -> Mapping[str, Json]:
    """The body, which another version of the program may have written as something else than an object."""
    body: object = entry.body
    return body if isinstance(body, Mapping) else _NOTHING


def _object(body: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else _NOTHING
