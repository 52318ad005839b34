"""People, keys, policies and waivers for the tests of the waiver room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from governance.model.facts import Facts
from governance.policy.documents import PolicyBundle, Waiver
from governance.signing.trust import TrustStore
from governance.waivers.settling import Memory, Register, Settled, settle
from governance.waivers.steps import Step, StepFile, sign_step, step_name, terms_of
from tests.unit import policy_kit as kit
from tests.unit.signing_kit import signer, trusted

PEOPLE = ("alice", "bob", "carol", "dave", "erin")
NOW = kit.NOON
RULE = kit.rule("{fact: publisher, is: evil}")
POLICY = kit.policy(RULE)
EVIL: dict[str, Any] = {"publisher": "evil"}
KNOWN = '"sha256:' + "5" * 64 + '"'


def trust(*people: str, **grant: Any) -> TrustStore:
    """A trust file with the keys of these people (default: of all)."""
    return TrustStore(version=1, keys=tuple(trusted(name, **grant) for name in people or PEOPLE))


def waiver_text(**changes: Any) -> str:
    """A waiver of `p/r` as `mlgov waiver request` writes it: asked for by alice, of an artifact that dave made."""
    whole: dict[str, Any] = {
        "ticket": "SEC-1", "author": "dave", "findings": known_findings(), "approvedBy": None, **changes
    }  # fmt: skip
    return kit.waiver(**whole)


def known_findings() -> str:
    """What is known of the rule's match on the facts `EVIL`, quoted for YAML."""
    from governance.policy.evaluate import evaluate
    from governance.policy.waiver import findings_digest

    (row,) = evaluate(kit.compiled(POLICY), kit.request(), facts()).rules
    return f'"{findings_digest(row)}"'


def facts(**more: Any) -> Facts:
    """Facts on which the rule objects."""
    return kit.facts({**EVIL, **more})


def bundle(*texts: str, waivers: str = "{approvals: 1}") -> PolicyBundle:
    """The policy, a set with these rules for waivers, and waivers."""
    return kit.bundle(POLICY, kit.policy_set(f"  waivers: {waivers}\n"), *(texts or (waiver_text(),)))


def step(
    waiver: Waiver,
    what: Step,
    by: str,
    *,
    key: str | None = None,
    at: datetime = NOW - timedelta(hours=1),
    reason: str | None = None,
    name: str | None = None,
    terms: dict[str, Any] | None = None,
) -> StepFile:
    """A step signed with the key of `key` (default: of the one it speaks for)."""
    hand = signer(key or by)
    data = sign_step(terms or terms_of(waiver), what, signer=hand, by=by, at=at, reason=reason)
    return StepFile(
        name=name or step_name(waiver.name, what, hand.key_id), waiver=waiver.name, step=what, data=data
    )


def asked(waiver: Waiver, **more: Any) -> StepFile:
    """Alice's request, a day old."""
    return step(waiver, Step.REQUEST, "alice", **{"at": NOW - timedelta(days=1), **more})


def settled(
    files: Sequence[StepFile],
    *,
    of: PolicyBundle | None = None,
    trusts: TrustStore | None = None,
    now: datetime = NOW,
    memory: Memory | None = None,
) -> Settled:
    """The one waiver of a bundle, settled."""
    return register(files, of=of, trusts=trusts, now=now, memory=memory).waivers[0]


def register(
    files: Sequence[StepFile],
    *,
    of: PolicyBundle | None = None,
    trusts: TrustStore | None = None,
    now: datetime = NOW,
    memory: Memory | None = None,
) -> Register:
    """The register of a bundle."""
    return settle(of or bundle(), files, trust=trusts or trust(), now=now, memory=memory or Memory())


def the_waiver(of: PolicyBundle | None = None) -> Waiver:
    """The waiver as it stands in the file."""
    return (of or bundle()).waivers[0]


def changed(waiver: Waiver, **changes: Any) -> Waiver:
    """The waiver with other terms."""
    return replace(waiver, **changes)
