"""The last verdict on record about the same question, for an outage in which the set lets it stand.

Promises: the bytes, action, actor, environment and policy are the same, the verdict was not given in an outage itself, one whose facts
are not on record any more says so, and what it rested on for a time, a waiver or a grace, has not ended; nothing rests on what a client sent to the log.
Does not: say whether it stands (see `governance.policy.outage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import orjson

from governance.audit.bodies import GRACE_UNTIL
from governance.audit.entry import Entry, EntryKind
from governance.audit.log import AuditLog
from governance.errors import AuditUnavailableError
from governance.model.digest import Sha256
from governance.model.facts import Facts
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Actor, Request, parse_utc
from governance.model.verdict import Effect
from governance.policy.compile import CompiledPolicy
from governance.policy.outage import Earlier, effect_of_recalled
from governance.policy.waiver import are_live, ends_of


def last_verdict(
    log: AuditLog, request: Request, policy: CompiledPolicy, facts: Facts, max_age: int
) -> Earlier | None:
    """The last one of `max_age` seconds, or None; without facts where its own are not at hand. `facts` are those of now."""
    if request.artifact.digest is None:
        return None
    actor = log.on_record(request.actor)
    found, recorded = None, None
    since = request.at - timedelta(seconds=max_age)
    for stored in log.witnessed(kind=EntryKind.DECISION, subject=request.artifact.ref, since=since):
        same = _on_same_question(stored.entry, request, actor, policy.digest)
        if same is not None:
            found, recorded = same, stored.entry.body.get("facts")
    if (
        found is None
        or not are_live(found.waivers, policy.bundle.waivers, request.at)
        or (found.grace_until is not None and request.at >= found.grace_until)
    ):
        return None  # nor does an older one stand: the last one says what is known
    then = _facts(log, recorded)
    if then is None:
        return replace(found, has_facts=False)
    ends = [
        request.at + timedelta(seconds=max_age - found.age),
        *ends_of(found.waivers, policy.bundle.waivers),
    ]
    return replace(
        found,
        until=min(ends if found.grace_until is None else [*ends, found.grace_until]),
        now=effect_of_recalled(policy, request, facts, then),
    )


def _facts(log: AuditLog, digest: object) -> Facts | None:
    """Recorded facts. None where they are not kept any more, are kept by a tracking server, which hands out none, or cannot be read.
    Raises `AuditBrokenError` for changed ones."""
    try:
        document = log.evidence(Sha256(digest)) if isinstance(digest, str) else None
    except AuditUnavailableError:
        return None
    try:
        return None if document is None else facts_from_json(orjson.loads(document))
    except ValueError:
        return None


def _on_same_question(entry: Entry, request: Request, actor: Actor, policy_digest: Sha256) -> Earlier | None:
    """What a recorded decision says about the very question of `request`, or None where it was another question. `actor` is who asks, as
    entries name them."""
    body = entry.body
    artifact, asker, policy, verdict = (body.get(name) for name in ("artifact", "actor", "policy", "verdict"))
    if not (
        isinstance(artifact, Mapping)
        and isinstance(asker, Mapping)
        and isinstance(policy, Mapping)
        and isinstance(verdict, Mapping)
    ):
        return None
    asked = (
        request.action.value,
        request.environment,
        request.artifact.host,
        request.artifact.digest,
        actor.name,
        policy_digest,
    )
    known = (
        body.get("action"),
        body.get("environment"),
        artifact["host"],
        artifact["digest"],
        asker["name"],
        policy["digest"],
    )
    if asked != known or asker["authentication"] != actor.authentication or verdict["degraded"] is not None:
        return None
    age = int((request.at - entry.at).total_seconds())
    waived = verdict["waived"]
    rows = waived if isinstance(waived, list | tuple) else ()
    return Earlier(
        decision_id=entry.id,
        decision=Effect[str(verdict["decision"]).upper()],
        age=age,
        waivers=tuple(str(row["waiver"]) for row in rows if isinstance(row, Mapping)),
        grace_until=parse_utc(str(grace)) if (grace := verdict.get(GRACE_UNTIL)) is not None else None,
    )
