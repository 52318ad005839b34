"""The same inputs, the same policy bytes, the same verdict bytes: a recorded decision judged once more.

Promises: `replay` judges by the recorded policy document on the recorded facts, and compares what would be recorded now
with what was, byte for byte. An outage is replayed too: the earlier verdict that stood is read from the log. Does not: ask
any service, or write anything.

A difference means that the entry or the evaluator changed: evidence that changed is an error, not a difference. `mlgov audit
verify` tells whether it was the entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import orjson

from governance.audit.bodies import GRACE_UNTIL, decision_body, policy_body, text, verdict_body
from governance.audit.log import Stored
from governance.errors import AuditBrokenError
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.facts import OUT_OF_REACH
from governance.model.request import Request
from governance.model.verdict import Effect, Mode, Verdict
from governance.policy.breakglass import break_glass_objection
from governance.policy.compile import CompiledPolicy
from governance.policy.evaluate import evaluate
from governance.policy.outage import WITHOUT_FACTS, Earlier, effect_of_recalled, in_outage, outage_behind
from governance.report.recorded import Decision, PolicyCache, Recorded, judged_facts, read_decision

__all__ = ["PolicyCache", "Replayed", "replay", "verdict_again"]

_EARLIER = re.compile(
    r"the verdict of decision (\S{1,64}), (\d{1,12}) s ago, (?:stands|refused|rested|cannot)\b"
)
_COMPARED = ("action", "environment", "facts", "policy", "verdict")


class ReadableLog(Protocol):
    """The part of `AuditLog` that a replay reads."""

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document by its digest."""
        ...

    def get(self, entry_id: str) -> Stored | None:
        """One entry by its id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The recorded verdict and the one made now, each as the canonical bytes of what the entry says of it."""

    recorded: bytes
    got: bytes

    @property
    def is_same(self) -> bool:
        """Whether they are the same bytes."""
        return self.recorded == self.got


def replay(log: ReadableLog, entry: Decision, *, policies: PolicyCache) -> Replayed:
    """Judge a recorded decision once more. Raises `NotReplayableError` where its evidence is gone, `AuditBrokenError` where
    it is not what its digest says."""
    recorded = read_decision(log, entry, policies.facts_for)
    policy = policies.get(recorded.policy_digest)
    verdict = verdict_again(log, recorded, policy)
    mode = policy.mode_for(recorded.request, verdict)
    refused = _refused(recorded, policy, verdict, mode)
    body, request = entry.body, recorded.request
    kept = {name: body.get(name) for name in _COMPARED}
    made: dict[str, Json] = {
        "action": request.action.value,
        "environment": text(request.environment),
        "facts": verdict.facts_digest,
        "policy": policy_body(
            digest=verdict.policy_digest, revision=verdict.policy_revision, names=verdict.policies
        ),
        "verdict": verdict_body(verdict=verdict, mode=mode, refused=refused),
    }
    recorded_bytes, got = orjson.dumps(kept), orjson.dumps(made)
    if got == recorded_bytes:  # both have their keys in order as they are
        return Replayed(recorded=recorded_bytes, got=got)
    recorded_bytes, got = _canonical(kept), _canonical(_as_then(made, recorded))
    if got != recorded_bytes:  # the entry may have been short of room, which `decision_body` knows
        body = decision_body(request=request, verdict=verdict, mode=mode, refused=refused)
        got = _canonical(_as_then({name: body[name] for name in _COMPARED}, recorded))
    return Replayed(recorded=recorded_bytes, got=got)


def _as_then(made: dict[str, Json], recorded: Recorded) -> dict[str, Json]:
    """Older entries do not say when a grace ends."""
    verdict = made["verdict"]
    if GRACE_UNTIL in recorded.verdict or not isinstance(verdict, Mapping):
        return made
    return made | {"verdict": {name: value for name, value in verdict.items() if name != GRACE_UNTIL}}


def _canonical(tree: dict[str, Json]) -> bytes:
    """Canonical bytes of what was read from canonical bytes, or has passed the check on its way into a body."""
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)


def verdict_again(log: ReadableLog, recorded: Recorded, policy: CompiledPolicy) -> Verdict:
    """The verdict of a policy on a recorded decision, the outage of its time included."""
    verdict = evaluate(policy, recorded.request, recorded.facts)
    unreachable = outage_behind(verdict, policy, recorded.request, recorded.facts)
    if not unreachable:
        return verdict
    rule = policy.outage_rule(recorded.request.environment)
    return in_outage(verdict, unreachable, rule, _earlier(log, recorded, policy))


def _earlier(log: ReadableLog, recorded: Recorded, policy: CompiledPolicy) -> Earlier | None:
    """The earlier verdict that the record says was found. Older entries name none that refused, and its facts were not looked at again.
    Raises `NotReplayableError` where these are gone now, and were not then."""
    degraded = recorded.verdict.get("degraded")
    found = _EARLIER.search(degraded) if isinstance(degraded, str) else None
    stored = log.get(found[1]) if found is not None else None
    if found is None or stored is None:
        return None
    verdict: Json = stored.entry.body.get("verdict")
    if not isinstance(verdict, Mapping):
        raise AuditBrokenError(f"decision {found[1]}, on which {recorded.entry.id} rests, has no verdict")
    now, has_facts = None, not str(degraded).endswith(WITHOUT_FACTS)
    if has_facts and OUT_OF_REACH in recorded.facts.record:
        then = read_decision(log, stored.entry, lambda _: judged_facts(policy)).facts
        now = effect_of_recalled(policy, recorded.request, recorded.facts, then)
    decision = Effect[str(verdict["decision"]).upper()]
    return Earlier(decision_id=found[1], decision=decision, age=int(found[2]), now=now, has_facts=has_facts)


def _refused(recorded: Recorded, policy: CompiledPolicy, verdict: Verdict, mode: Mode) -> bool:
    """Whether the door was shut. An open one under an enforced refusal is right only where break-glass was allowed."""
    if verdict.decision < Effect.QUARANTINE or mode is not Mode.ENFORCE:
        return False
    request: Request = recorded.request
    was_open = recorded.verdict.get("refused") is False
    return not (was_open and break_glass_objection(policy, verdict, request.environment) is None)
