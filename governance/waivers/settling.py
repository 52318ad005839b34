"""Waivers settled: which of them count, by the signatures that lie beside them.

Promises, and each waiver that falls short is kept with the reason why it does not count:

1. It has a ticket, an author of the artifact and the digest of the findings known when it was asked for.
2. Whoever asked for it signed the request.
3. As many people as the set asks for signed an approval: distinct by the names in the trust file, none of them the one
   who asked (unless the set allows it) or the artifact's author, and none before it was asked for.
4. Nobody revoked it. A revocation counts even where its signature cannot be checked: it only closes a door. One that
   the audit log has seen counts when its file is gone.

Names that stand in the document as `approvedBy` count for nothing here. Does not: read files, or judge rule, scope and
time, which the engine does at each request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from governance.model.canonical import canonical_digest
from governance.model.people import is_same_person, person
from governance.model.request import utc_text
from governance.policy.documents import PolicyBundle, Waivable, Waiver, WaiverRules
from governance.signing.trust import Role, TrustStore
from governance.waivers.steps import CLOCK_SKEW, SignedStep, Step, StepError, StepFile, open_step, terms_of

_MAX_REASONS = 3
_MAX_VOID = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A revocation that the audit log holds."""

    at: datetime
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the audit log knows of waivers: when it first held a step (by the SHA-256 of its bytes), and which terms
    (by digest) were revoked.
    """

    seen: Mapping[str, datetime] = field(default_factory=dict)
    revoked: Mapping[str, Revoked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A waiver with what its steps make of it. `problems` are steps that do not count, each with why; the waiver's own
    `void` says why the whole of it does not.
    """

    waiver: Waiver
    steps: tuple[SignedStep, ...] = ()
    problems: tuple[str, ...] = ()
    needed: int = 1

    @property
    def request(self) -> SignedStep | None:
        """The signed request."""
        return next((each for each in self.steps if each.step is Step.REQUEST), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """All waivers of a bundle, settled, and the bundle with them in place of its own. `orphans` are steps of no waiver."""

    bundle: PolicyBundle
    waivers: tuple[Settled, ...] = ()
    orphans: tuple[StepFile, ...] = ()

    def find(self, name: str) -> Settled | None:
        """A waiver by its name."""
        return next((each for each in self.waivers if each.waiver.name == name), None)


def settle(
    bundle: PolicyBundle, files: Iterable[StepFile], *, trust: TrustStore, now: datetime, memory: Memory
) -> Register:
    """The register of a bundle."""
    by_waiver: dict[str, list[StepFile]] = {}
    for file in sorted(files, key=lambda one: one.name):
        by_waiver.setdefault(file.waiver, []).append(file)
    court = _Court(bundle, trust, now, memory)
    settled = tuple(court.settle(waiver, by_waiver.pop(waiver.name, [])) for waiver in bundle.waivers)
    return Register(
        bundle=replace(bundle, waivers=tuple(each.waiver for each in settled)),
        waivers=settled,
        orphans=tuple(file for left in by_waiver.values() for file in left),
    )


def terms_digest(waiver: Waiver) -> str:
    """What tells waivers apart in the log, by all that is signed of them."""
    return str(canonical_digest(terms_of(waiver)))


class _Court:
    """Settles waivers one by one."""

    def __init__(self, bundle: PolicyBundle, trust: TrustStore, now: datetime, memory: Memory) -> None:
        self._rules = bundle.set.waivers if bundle.set is not None else WaiverRules()
        self._owners = {
            f"{policy.name}/{rule.id}": policy.owner
            for policy in bundle.policies
            for rule in policy.rules
            if rule.waivable is Waivable.OWNERS
        }
        self._trust = trust
        self._now = now
        self._memory = memory
        self._needed = max(self._rules.approvals, trust.threshold(Role.WAIVER))

    def settle(self, waiver: Waiver, files: Sequence[StepFile]) -> Settled:
        good: list[SignedStep] = []
        problems: list[str] = []
        for file in files:
            try:
                good.append(self._open(file, waiver))
            except StepError as error:
                problems.append(f"`{file.name}`: {error.message}")
        request = self._request(waiver, good, problems)
        approvals = self._approvals(waiver, request, good, problems) if request is not None else []
        names = tuple(sorted(each.by for each in approvals))
        revoked = self._revoked(waiver, good)
        if revoked is not None:
            waiver = replace(
                waiver, revoked_at=revoked.at, revoked_by=revoked.by, revoked_reason=revoked.reason
            )
        waiver = replace(waiver, approved_by=names)
        void = waiver.void or self._void(waiver, files, request, problems)
        return Settled(
            waiver=replace(waiver, void=void if void is None else void[:_MAX_VOID]),
            steps=tuple(sorted(good, key=lambda each: each.at)),
            problems=tuple(problems),
            needed=self._needed,
        )

    def _open(self, file: StepFile, waiver: Waiver) -> SignedStep:
        seen = self._memory.seen.get(file.sha256)
        return open_step(
            file,
            terms_of(waiver),
            self._trust,
            repository=waiver.ref.partition("/")[0],
            now=self._now,
            seen=None if seen is None else min(seen, self._now),
        )

    def _request(self, waiver: Waiver, steps: Sequence[SignedStep], problems: list[str]) -> SignedStep | None:
        """The first request by whoever the waiver says has asked for it."""
        for each in steps:
            if each.step is not Step.REQUEST:
                continue
            if is_same_person(each.by, waiver.requested_by):
                return each
            problems.append(
                f"`{each.file.name}`: it is by {each.by}, and {waiver.requested_by} is to have asked"
            )
        return None

    def _approvals(
        self, waiver: Waiver, request: SignedStep, steps: Sequence[SignedStep], problems: list[str]
    ) -> list[SignedStep]:
        counted: dict[str, SignedStep] = {}
        for each in steps:
            if each.step is not Step.APPROVE:
                continue
            why = self._objection(waiver, request, each, counted)
            if why is None:
                counted[person(each.by)] = each
            else:
                problems.append(f"`{each.file.name}`: {why}")
        return list(counted.values())

    def _objection(
        self, waiver: Waiver, request: SignedStep, approval: SignedStep, counted: Mapping[str, SignedStep]
    ) -> str | None:
        by = approval.by
        if not self._rules.self_approval and (
            is_same_person(by, waiver.requested_by) or approval.key_id == request.key_id
        ):
            return f"{by} asked for it, and may not approve it as well"
        if waiver.author is not None and is_same_person(by, waiver.author):
            return f"{by} made the artifact, and may not approve it"
        if person(by) in counted or any(approval.key_id == each.key_id for each in counted.values()):
            return f"{by} has approved it already, and counts once"
        if approval.at < request.at - CLOCK_SKEW:
            return f"it is dated {_day(approval.at)}, before the request of {_day(request.at)}"
        return None

    def _revoked(self, waiver: Waiver, steps: Sequence[SignedStep]) -> Revoked | None:
        """The earliest revocation that anybody signed, the document names or the log remembers."""
        found = [
            Revoked(at=each.at, by=each.by, reason=each.reason) for each in steps if each.step is Step.REVOKE
        ]
        if waiver.revoked_at is not None:
            found.append(
                Revoked(at=waiver.revoked_at, by=waiver.revoked_by or "?", reason=waiver.revoked_reason)
            )
        remembered = self._memory.revoked.get(terms_digest(waiver))
        if remembered is not None:
            found.append(remembered)
        return min(found, key=lambda one: one.at, default=None)

    def _void(
        self, waiver: Waiver, files: Sequence[StepFile], request: SignedStep | None, problems: Sequence[str]
    ) -> str | None:
        """Why the waiver as a whole does not count."""
        missing = [
            name
            for name, value in (
                ("ticket", waiver.ticket),
                ("author", waiver.author),
                ("findings", waiver.findings),
            )
            if not value
        ]
        if missing:
            return f"it lacks {', '.join(missing)}; `mlgov waiver request` fills them in"
        refused = [
            line
            for line in problems
            for file in files
            if file.step is Step.REVOKE and f"`{file.name}`" in line
        ]
        if refused:
            return f"somebody may have revoked it: {refused[0]}"
        if request is None:
            return _because(f"no good signature of {waiver.requested_by} under the request", problems)
        have = len(waiver.approved_by)
        if have < self._needed:
            return _because(f"{have} of {self._needed} approvals", problems)
        owner = self._owners.get(waiver.rule, "")
        if owner != "" and not any(is_same_person(name, owner or "") for name in waiver.approved_by):
            return f"the policy's owner ({owner or 'it names none'}) has not approved it"
        return None


def _because(what: str, problems: Sequence[str]) -> str:
    more = f" (and {len(problems) - _MAX_REASONS} more)" if len(problems) > _MAX_REASONS else ""
    return f"{what}: {'; '.join(problems[:_MAX_REASONS])}{more}" if problems else what


def _day(at: datetime) -> str:
    return utc_text(at)[:19] + "Z"
