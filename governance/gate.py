"""The gate: gather, evaluate, record, permit, and record the outcome.

Promises: nothing acts before its decision is durable in the audit log; every act that began under a permit leaves an
outcome; the bytes moved are the bytes that were judged. Does not: move anything itself, or decide anything itself.

`Gate.admit`, step by step:

1. gather the facts, with the ones that could not be established as `Unknown`;
2. evaluate the policy on request and facts (pure), and the set's rule for outages where a source gave no answer;
3. append the decision to the audit log; if that fails, stop here;
4. refuse with a typed error where the binding's mode is enforce and the verdict is block or quarantine;
5. hand out a `Permit` and let the caller act, unless the log's heads go unkept and the settings refuse acts then;
6. check that everything the permit was for was moved, with the digests that were judged;
7. append the outcome, whether the act ended well, failed or was refused.

What the caller must still do: report each file it moved with `Permit.moved`, and release nothing before that call
returned.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from governance.audit.bodies import (
    OutcomeStatus,
    decision_body,
    moved_documents,
    outcome_body,
    policy_body,
    waiver_body,
)
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.store import MAX_EVIDENCE
from governance.collect.collector import Collector, gather
from governance.collect.request import request_facts
from governance.earlier import last_verdict
from governance.errors import AuditError
from governance.forking import ForkLock, call_after_fork
from governance.model.digest import Sha256
from governance.model.facts import Facts, Origin
from governance.model.request import Action, Request, new_id, utc_text
from governance.model.verdict import Effect, Mode, Verdict
from governance.permit import SEAL, Decision, Permit
from governance.policy.breakglass import Glass, break_glass_objection
from governance.policy.compile import CompiledPolicy
from governance.policy.evaluate import evaluate
from governance.policy.outage import in_outage, outage_behind
from governance.policy.waiver import holds_until

logger = logging.getLogger(__name__)

_REUSABLE = frozenset({Action.DOWNLOAD, Action.LOAD})
_MAX_REMEMBERED = 4096


class Policies(Protocol):
    """Where the gate gets the policy that is in force now."""

    def current(self) -> CompiledPolicy:
        """The compiled policy. Raises `PolicyInvalidError` when there never was a good one."""
        ...


class Meter(Protocol):
    """Takes the gate's figures. What it raises is logged and changes no decision."""

    def took(self, step: str, seconds: float) -> None:
        """How long `gather`, `evaluate` or `record` took."""
        ...

    def decided(self, decision: Decision) -> None:
        """A decision that is on record."""
        ...


class Gate:
    """One gate per process. Safe to use from many threads at once."""

    def __init__(
        self,
        *,
        policies: Policies,
        collectors: Sequence[Collector],
        log: AuditLog,
        now: Callable[[], datetime],
        gather_seconds: float = 30.0,
        gather_all: bool = False,
        reuse_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        break_glass: str | None = None,
        on_policy: Callable[[], None] = lambda: None,
        on_decision: Callable[[Request, Facts], None] = lambda _request, _facts: None,
        may_act: Callable[[], None] = lambda: None,
        meter: Meter | None = None,
        policy_source: str | None = None,
    ) -> None:
        """`gather_seconds` bounds the wait for all facts together; `gather_all` has also those gathered that no rule
        reads, for a log over which later policies can be tried. For `reuse_seconds` a decision about the same bytes
        for the same actor under the same policy stands for the next request too, as when the files of one model are
        fetched one by one; a new finding takes effect at the latest after that time, and the end of a waiver
        or a grace at once. `break_glass` is a justification
        for overriding refusals where the policy set allows it; every decision made under it is recorded as such.
        `on_policy` is called before the first decision under a policy is recorded, to record what belongs to it, and
        `on_decision` before each, to record what its facts brought to light. `may_act` is called before a permit is handed
        out, and raises where no act is permitted, whatever the policy says.
        `meter` takes figures; without one none are made. `policy_source` tells on record where the policy comes from, so that what
        changes there is not mistaken for what another process of this writer goes by.
        """
        self._policies = policies
        self._collectors = tuple(collectors)
        self._log = log
        self._now = now
        self._gather_seconds = gather_seconds
        self._gather_all = gather_all
        self._reuse_seconds = reuse_seconds
        self._clock = clock
        self._break_glass = break_glass
        self._on_policy = on_policy
        self._on_decision = on_decision
        self._may_act = may_act
        self._meter = meter
        self._policy_source = policy_source
        self._noted: set[Sha256] = set()
        self._flights: dict[tuple[object, ...], Future[Decision | None]] = {}
        self._recent: dict[tuple[object, ...], tuple[float, datetime, Decision]] = {}
        self._lock = ForkLock()
        call_after_fork(self._land)

    def _land(self) -> None:
        """In a forked child: what another thread was deciding is decided by nobody here."""
        self._flights = {}

    def decide(self, request: Request) -> Decision:
        """What the gate would say, without recording it and without leave to act."""
        return self._decide(request, self._policies.current())

    @contextmanager
    def admit(self, request: Request) -> Iterator[Permit]:
        """Hold the door for one act.

        Raises `BlockedError` or `QuarantinedError` when refused, `AuditUnavailableError` when the decision cannot be
        recorded, `AuditQuorumError` when the log's heads go unkept; in each case the body never runs. Raises
        `VerificationError` when the body ends without having reported every file the permit was for.
        """
        policy = self._policies.current()
        decision = self._decided(request, policy)
        if decision.is_refused:  # step 4
            self._conclude(decision, OutcomeStatus.REFUSED, None, None)
            raise decision.error()
        if decision.glass is not None and decision.glass.opens:
            logger.warning("BREAK-GLASS, to be reviewed: %s", decision.refusal().text())
        elif decision.is_objection:
            logger.warning("would have been blocked (%s mode): %s", decision.mode, decision.refusal().text())
        elif decision.verdict.degraded is not None:
            logger.warning(
                "let through in an outage: %s: %s", request.artifact.ref, decision.verdict.degraded
            )
        permit = Permit(SEAL, decision)
        try:
            self._may_act()
            yield permit  # step 5
            permit.require_complete()  # step 6
        except BaseException as error:
            self._conclude(decision, OutcomeStatus.FAILED, permit, error)  # step 7
            raise
        self._conclude(decision, OutcomeStatus.DONE, permit, None)  # step 7

    def _decide(self, request: Request, policy: CompiledPolicy) -> Decision:
        began = self._lap(None, 0.0)
        gathered = gather(
            self._collectors,
            request,
            deadline=self._gather_seconds,
            now=self._now,
            read=None if self._gather_all else policy.plan_for(request).reads(),
        )
        began = self._lap("gather", began)
        stated = request_facts(request)
        said = Origin(source="request", observed_at=utc_text(request.at))
        facts = Facts(
            {**gathered.values, **stated},
            {**gathered.origins, **dict.fromkeys(stated, said)},
        )
        verdict = evaluate(policy, request, facts)
        self._lap("evaluate", began)
        verdict, until = self._weathered(request, policy, facts, verdict)
        mode = policy.mode_for(request, verdict)
        return Decision(
            id=new_id(request.at),
            request=request,
            facts=facts,
            policy=policy,
            verdict=verdict,
            mode=mode,
            glass=self._glass(policy, request, verdict, mode),
            until=until,
        )

    def _glass(self, policy: CompiledPolicy, request: Request, verdict: Verdict, mode: Mode) -> Glass | None:
        if self._break_glass is None:
            return None
        needed = verdict.decision >= Effect.QUARANTINE and mode is Mode.ENFORCE
        why = break_glass_objection(policy, verdict, request.environment) if needed else None
        return Glass(justification=self._break_glass, needed=needed, objection=why)

    def _weathered(
        self, request: Request, policy: CompiledPolicy, facts: Facts, verdict: Verdict
    ) -> tuple[Verdict, datetime | None]:
        """The verdict with the set's rule for outages applied, where a source of facts gave no answer, and until when it may count."""
        unreachable = outage_behind(verdict, policy, request, facts)
        if not unreachable:
            return verdict, None
        rule = policy.outage_rule(request.environment)
        earlier = (
            None if rule.max_age is None else last_verdict(self._log, request, policy, facts, rule.max_age)
        )
        return in_outage(verdict, unreachable, rule, earlier), None if earlier is None else earlier.until

    def _record(self, decision: Decision) -> None:
        size = len(decision.facts.document())
        if size > MAX_EVIDENCE:  # what was decided on is kept whole, or nothing is done
            raise AuditError(
                f"the facts about `{decision.request.artifact.ref}` are {size >> 20} MiB, and the log keeps at most "
                f"{MAX_EVIDENCE >> 20} MiB of one decision",
                hint="Trying again does not help. They list each advisory (400 bytes) and each file: declare fewer packages, or log the "
                "model with fewer files.",
            )
        self._note(decision.policy, decision.request.correlation)
        self._on_decision(decision.request, decision.facts)
        self._log.append(
            EntryKind.DECISION,
            decision_body(
                request=decision.request,
                verdict=decision.verdict,
                mode=decision.mode,
                refused=decision.is_refused,
            ),
            subject=decision.request.artifact.ref,
            correlation=decision.request.correlation,
            id=decision.id,
            evidence=(decision.facts.document(),),
        )
        if decision.glass is not None:
            self._record_glass(decision, decision.glass)

    def _record_glass(self, decision: Decision, glass: Glass) -> None:
        """Under a justification every decision is on record for review, also one that needed none."""
        request = decision.request
        more: dict[str, str | bool | None] = {
            "by": request.actor.name,
            "justification": glass.justification,
            "needed": glass.needed,
            "opened": glass.opens,
            "reason": glass.objection or glass.justification,
        }
        body = waiver_body(event="break-glass", waiver=decision.id, more=more)
        self._log.append(
            EntryKind.WAIVER, body, subject=request.artifact.ref, correlation=request.correlation
        )

    def _note(self, policy: CompiledPolicy, correlation: str) -> None:
        """Put a policy on record, with its whole document, before the first decision of this process under it."""
        if policy.digest in self._noted:
            return
        self._on_policy()
        names = [each.name for each in policy.bundle.policies]
        body = policy_body(digest=policy.digest, revision=policy.revision, names=names)
        if self._policy_source is not None:
            body["source"] = self._policy_source
        self._log.append(
            EntryKind.POLICY, body, subject="policy", correlation=correlation, evidence=(policy.document,)
        )
        self._noted.add(policy.digest)

    def _conclude(
        self, decision: Decision, status: OutcomeStatus, permit: Permit | None, error: BaseException | None
    ) -> None:
        moved = permit.account() if permit is not None else ()
        body = outcome_body(
            decision=decision.id,
            action=decision.request.action.value,
            status=status,
            moved=moved,
            error=error,
            signature=permit.signature if permit is not None else None,
        )
        try:
            self._log.append(
                EntryKind.OUTCOME,
                body,
                subject=decision.request.artifact.ref,
                correlation=decision.request.correlation,
                evidence=moved_documents(moved),
            )
        except AuditError:
            # A refusal stands whether or not its outcome could be written; the decision already is. An act that was
            # done and not recorded must be loud.
            if status is not OutcomeStatus.REFUSED:
                raise
            logger.exception("the outcome of refused decision %s could not be recorded", decision.id)

    def _key(self, request: Request, policy: CompiledPolicy) -> tuple[object, ...] | None:
        artifact = request.artifact
        if artifact.digest is None or request.action not in _REUSABLE:
            return None
        # The digest alone would let a signature be swapped under a decision that rests on it.
        signature = artifact.signature.sha256 if artifact.signature else None
        where = (artifact.host, artifact.ref, artifact.digest, signature)
        # Rules may read what MLflow says, and a process may go on to another run while a decision is still fresh.
        return (request.action, *where, request.actor, request.environment, request.mlflow, policy.digest)

    def _decided(self, request: Request, policy: CompiledPolicy) -> Decision:
        """A recorded decision: a recent one, the one that is being made for the same question just now, or a new one.

        The files of one model are often asked for at the same moment. They wait for one decision instead of making
        one each; where that one fails, each makes its own.
        """
        key = self._key(request, policy)
        if key is None:
            return self._decide_on_record(request, policy)
        with self._lock:
            expiry, until, known = self._recent.get(key, (0.0, request.at, None))
            if known is not None and expiry >= self._clock() and request.at < until:
                return _again(known, request)
            flight = self._flights.get(key)
            if flight is None:
                mine = self._flights[key] = Future[Decision | None]()
        if flight is not None:
            shared = flight.result()
            return _again(shared, request) if shared is not None else self._decide_on_record(request, policy)
        decision = None
        try:
            decision = self._decide_on_record(request, policy)
            self._remember(key, decision)
        finally:
            with self._lock:
                del self._flights[key]
            mine.set_result(decision)
        return decision

    def _decide_on_record(self, request: Request, policy: CompiledPolicy) -> Decision:
        decision = self._decide(request, policy)  # steps 1 and 2
        began = self._lap(None, 0.0)
        self._record(decision)  # step 3
        self._lap("record", began)
        if self._meter is not None:
            _shielded(self._meter.decided, decision)
        return decision

    def _lap(self, step: str | None, began: float) -> float:
        """Tell the meter what a step took, and begin the next. Nothing where there is no meter."""
        if self._meter is None:
            return 0.0
        now = time.perf_counter()
        if step is not None:
            _shielded(self._meter.took, step, now - began)
        return now

    def _remember(self, key: tuple[object, ...], decision: Decision) -> None:
        # A quarantine may end at any moment, so it is never remembered.
        if self._reuse_seconds <= 0 or decision.verdict.decision is Effect.QUARANTINE:
            return
        # The one clock stands still while a machine sleeps, the other one can be set back: what either says is over is over.
        awake = self._now() + timedelta(seconds=self._reuse_seconds)
        rests_on = holds_until(decision.verdict, decision.policy.bundle.waivers)
        until = min(rests_on or awake, decision.until or awake, awake)
        with self._lock:
            now = self._clock()
            if len(self._recent) >= _MAX_REMEMBERED:
                self._recent = {kept: row for kept, row in self._recent.items() if row[0] >= now}
            if len(self._recent) < _MAX_REMEMBERED:
                self._recent[key] = (now + self._reuse_seconds, until, decision)


def _shielded(tell: Callable[..., None], *figures: object) -> None:
    """A meter that fails has no say in who gets in."""
    try:
        tell(*figures)
    except Exception:
        logger.exception("figures of the gate are lost")


def _again(decision: Decision, request: Request) -> Decision:
    """The same decision for another request about the same, which may select other files."""
    known = decision.request
    return replace(decision, request=replace(request, correlation=known.correlation, at=known.at))
