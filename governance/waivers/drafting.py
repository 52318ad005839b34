"""Asking for a waiver: from a refusal on record to the documents that people approve.

Promises: a draft is tied to the rule, the artifact's bytes, the environment and all that was known when it was refused,
worked out anew from the policy and the facts on record. Does not: sign or write anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.errors import ConfigurationError
from governance.model.canonical import CanonicalError, Json, parse_canonical
from governance.model.digest import Digest, parse_sha256
from governance.model.facts import Facts
from governance.model.recorded_facts import facts_from_json
from governance.policy.compile import CompiledPolicy, from_document
from governance.policy.compiled import CompiledRule
from governance.policy.condition import Record
from governance.policy.documents import Waiver, WaiverRules
from governance.policy.environments import normal_environment
from governance.policy.explain import rule_result
from governance.policy.waiver import known_digest

_REFUSING = frozenset({"block", "quarantine"})
AUTHOR = "artifact.created_by"


class NotWaivableError(ConfigurationError):
    """There is nothing to ask for: the decision is unknown, was no refusal, or a rule cannot be waived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A recorded decision with the policy and the facts it was made on."""

    id: str
    ref: str
    body: Mapping[str, Json]
    policy: CompiledPolicy
    facts: Facts

    @property
    def rules(self) -> WaiverRules:
        """What the set in force then asks of a waiver."""
        return self.policy.bundle.set.waivers if self.policy.bundle.set is not None else WaiverRules()

    @property
    def author(self) -> str | None:
        """Who made the artifact, where a source of facts knew."""
        found = self.facts.values.get(AUTHOR)
        return found if isinstance(found, str) else None

    def objections(self) -> list[Mapping[str, Json]]:
        """The findings that stand against it. Raises `NotWaivableError` where one can never be waived, or there is none."""
        verdict = _object(self.body["verdict"])
        found = [row for row in _list(verdict["findings"]) if row["effect"] in _REFUSING]
        if verdict["decision"] not in _REFUSING or not found:
            raise NotWaivableError(
                f"decision `{self.id}` was `{verdict['decision']}` with no rule that objected",
                hint="A policy's default cannot be waived; the policy has to allow it.",
            )
        fixed = [str(row["rule"]) for row in found if row["waivable"] is not True]
        if fixed:
            raise NotWaivableError(
                f"{', '.join(f'`{rule}`' for rule in fixed)} cannot be waived",
                hint=next((str(each["remediation"]) for each in found if each["remediation"]), None),
            )
        return found

    def rule(self, name: str) -> CompiledRule:
        """A rule of the policy then in force."""
        return next(rule for rule in self.policy.rules if rule.name == name)

    def findings(self, name: str) -> Digest:
        """What was known about the rule's match."""
        rule = self.rule(name)
        truth = rule.test(self.facts.record, self.facts.record)
        return known_digest(rule, rule_result(rule, self.facts, truth), self.facts, self.policy.catalogue)

    def has_matched(self, name: str) -> bool:
        """Whether the policy then in force had the rule, and it matched."""
        rule = next((rule for rule in self.policy.rules if rule.name == name), None)
        if rule is None:
            return False
        truth = rule.test(self.facts.record, self.facts.record)
        return truth is True or (truth is None and rule.match_unknown)

    def matched(self, name: str) -> Sequence[Record]:
        """The items that made the rule match."""
        rule = self.rule(name)
        truth = rule.test(self.facts.record, self.facts.record)
        return rule.account.matched(self.facts.values, known=truth is True)


def read_refused(log: AuditLog, decision: str, compiled: dict[str, CompiledPolicy] | None = None) -> Refused:
    """A decision of the log with its evidence. `compiled` are policies known already, by digest, and is added to. Raises
    `NotWaivableError`.
    """
    stored = log.get(decision)
    if stored is None or stored.entry.kind is not EntryKind.DECISION:
        raise NotWaivableError(
            f"this audit log holds no decision `{decision}`",
            hint="The log of the side that decided has it: run this where the tracking server runs, or name it in the "
            "settings file.",
        )
    body = stored.entry.body
    named = parse_sha256(str(_object(body["policy"])["digest"]))
    policy = log.evidence(named)
    facts = log.evidence(parse_sha256(str(body["facts"])))
    if policy is None or facts is None:
        raise NotWaivableError(
            f"the policy or the facts of decision `{decision}` were erased from the log, so it is not known what was "
            "found then",
            hint="Ask for the artifact again, and for a waiver of the new decision.",
        )
    try:
        known = facts_from_json(_object(parse_canonical(facts)))
    except (CanonicalError, ValueError) as error:
        raise NotWaivableError(f"the facts of decision `{decision}` cannot be read: {error}") from error
    policies = {} if compiled is None else compiled
    if named not in policies:
        policies[named] = from_document(policy)
    return Refused(id=decision, ref=stored.entry.subject, body=body, policy=policies[named], facts=known)


def draft(
    refused: Refused,
    *,
    reason: str,
    ticket: str,
    requester: str,
    author: str,
    starts: datetime,
    days: int,
    only: Sequence[str] | None = None,
) -> list[Waiver]:
    """One waiver for each rule that objected (or those of them in `only`). Raises `NotWaivableError`, naming what
    stands against it.
    """
    objections = refused.objections()
    artifact = _object(refused.body["artifact"])
    if artifact["digest"] is None:
        raise NotWaivableError("the digest of the artifact was not known, and a waiver is tied to one")
    if days > refused.rules.max_days:
        raise NotWaivableError(
            f"{days} days are asked for, and the policy set allows {refused.rules.max_days}",
            hint=f"`--days {refused.rules.max_days}`; a waiver can be asked for again before it ends.",
        )
    starts = starts.replace(microsecond=0)  # the form that people read and write in such files
    return [
        Waiver(
            name=_name(refused.id, number, len(objections)),
            rule=str(row["rule"]),
            ref=refused.ref,
            digest=str(artifact["digest"]),
            environments=(normal_environment(str(refused.body["environment"])),),
            findings=refused.findings(str(row["rule"])),
            reason=reason,
            ticket=ticket,
            requested_by=requester,
            author=author,
            approved_by=(),
            starts=starts,
            expires=starts + timedelta(days=days),
        )
        for number, row in enumerate(objections)
        if only is None or row["rule"] in only
    ]


def _name(decision: str, index: int, count: int) -> str:
    tail = decision.replace("-", "")[-10:]
    return f"WVR-{tail}" if count == 1 else f"WVR-{tail}-{index + 1}"


def _object(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json) -> list[Mapping[str, Json]]:
    rows = value if isinstance(value, list | tuple) else []
    return [_object(row) for row in rows]
