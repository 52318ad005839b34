"""`mlgov policy explain`: one decision, rule by rule and fact by fact, and what would have changed it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, print_json, print_rows, sign, styled
from governance.model.request import Action
from governance.model.verdict import Effect, Truth

if TYPE_CHECKING:
    from governance.model.canonical import Json
    from governance.model.facts import Facts
    from governance.model.request import Request
    from governance.model.verdict import Mode, RuleResult, Verdict
    from governance.policy.compile import CompiledPolicy
    from governance.policy.counterfactual import Counterfactual


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is explained. `id` and `recorded` (the decision as it was written down) are of the log's decisions alone."""

    request: Request
    facts: Facts
    policy: CompiledPolicy
    verdict: Verdict
    mode: Mode
    refused: bool
    id: str | None = None
    recorded: str | None = None

    @property
    def waiver_command(self) -> str | None:
        """What asks for a waiver, where one may be asked for."""
        objections = [one for one in self.verdict.findings if one.effect >= Effect.QUARANTINE]
        if not objections or not all(one.waivable for one in objections) or not self.request.artifact.digest:
            return None
        return f"mlgov waiver request --decision {self.id or 'ID'}"


def explain(
    decision: Annotated[
        str,
        typer.Argument(
            metavar="ID|REF", help="A recorded decision's id or number, or an artifact to judge now."
        ),
    ],
    action: Annotated[
        Action, typer.Option(help="What is to be done with an artifact that is judged now.")
    ] = Action.LOAD,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Explain one decision: each rule, each fact with its source and age, and which change of which fact would change it.

    A recorded decision is judged once more, by the policy and on the facts of its time. Nothing is recorded.
    """
    from governance.cli.audit import is_entry
    from governance.policy.counterfactual import counterfactuals

    cases = [_recorded(decision)] if is_entry(decision) else _live(decision, action)
    found = [
        # In an outage an earlier verdict may stand: what leads to that very decision is no change.
        (
            case,
            tuple(
                one
                for one in counterfactuals(case.policy, case.request, case.facts)
                if one.decision is not case.verdict.decision
            ),
        )
        for case in cases
    ]
    if as_json:
        documents: list[Json] = [_document(case, changes) for case, changes in found]
        print_json(documents[0] if len(documents) == 1 else documents)
        return
    for case, changes in found:
        _show(case, changes)


def _recorded(identity: str) -> Case:
    from governance.cli.audit import decision_entry, open_log
    from governance.model.verdict import Mode
    from governance.report.recorded import PolicyCache, read_decision
    from governance.report.replay import verdict_again

    with open_log() as log:
        recorded = read_decision(log, decision_entry(log, identity))
        policy = PolicyCache(log).get(recorded.policy_digest)
        return Case(
            request=recorded.request,
            facts=recorded.facts,
            policy=policy,
            verdict=verdict_again(log, recorded, policy),
            mode=Mode(str(recorded.verdict["mode"])),
            refused=recorded.verdict["refused"] is True,
            id=recorded.entry.id,
            recorded=recorded.decision,
        )


def _live(reference: str, action: Action) -> list[Case]:
    from governance.cli.check import decide
    from governance.cli.reference import locate, parse_reference
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    place = parse_reference(reference, settings)
    with closing(build_assembly(settings)) as assembly:
        decisions = [
            decide(assembly, part, action) for part in locate(assembly.artifactory(place.host), place)
        ]
    return [
        Case(
            request=one.request,
            facts=one.facts,
            policy=one.policy,
            verdict=one.verdict,
            mode=one.mode,
            refused=one.is_refused,
        )
        for one in decisions
    ]


def _document(case: Case, changes: tuple[Counterfactual, ...]) -> dict[str, Json]:
    from governance.policy.explain import verdict_tree

    tree = verdict_tree(case.verdict)
    return {
        "id": case.id,
        "at": _text(case),
        "action": case.request.action.value,
        "artifact": {"ref": case.request.artifact.ref, "digest": case.request.artifact.digest},
        "actor": case.request.actor.name,
        "environment": case.request.environment,
        "decision": case.verdict.decision.word,
        "recorded": case.recorded,
        "mode": case.mode.value,
        "refused": case.refused,
        "verdict": tree,
        "facts": [
            {"fact": name, "value": value, "source": source, "age_seconds": age}
            for name, value, source, age in _facts(case)
        ],
        "would_change": [
            {"fact": one.fact, "now": one.now, "then": one.then, "decision": one.decision.word}
            for one in changes
        ],
        "waiver_command": case.waiver_command,
    }


def _show(case: Case, changes: tuple[Counterfactual, ...]) -> None:
    console, request, verdict = out(), case.request, case.verdict
    mark = Mark.FAIL if case.refused else Mark.OK if verdict.decision is Effect.ALLOW else Mark.WARN
    console.print(
        sign(mark),
        styled(f"{request.action.value} of `{request.artifact.ref}`: {verdict.decision.word}", "bold"),
    )
    about = f"by {request.actor.name} in {request.environment} at {_text(case)[:19]}Z"
    console.print(styled(f"  {about}; mode {case.mode.value}, door {'shut' if case.refused else 'open'}"))
    revision = "" if verdict.policy_revision is None else f" revision {verdict.policy_revision}"
    console.print(
        styled(f"  policy {', '.join(verdict.policies) or 'none'}{revision} ({verdict.policy_digest[:16]})")
    )
    for name, decision in verdict.by_policy:
        console.print(styled(f"    {name} by itself: {decision.word}", "dim"))
    if verdict.degraded:
        console.print(sign(Mark.WARN), styled(f"degraded: {verdict.degraded}"))
    if case.recorded not in {None, verdict.decision.word}:
        console.print(
            sign(Mark.FAIL),
            styled(
                f"the record says {case.recorded}: entry, evidence or evaluator changed since", "bold red"
            ),
        )
    _show_rules(case.verdict)
    console.print(styled("\nfacts the rules read", "bold"))
    rows = ((name, value[:120], source, _age(age)) for name, value, source, age in _facts(case))
    print_rows(("fact", "value", "source", "age"), rows)
    console.print(styled("\nwhat would change the verdict", "bold"))
    for one in changes:
        console.print(styled(f"  {one.decision.word} if {one.fact} were {one.then} (it is {one.now[:80]})"))
    if not changes:
        console.print("  no change of one fact alone")
    if case.waiver_command:
        console.print(styled(f"\nask for a waiver: {case.waiver_command}"))
        if case.id is None:
            console.print(styled("  ID is that of a recorded refusal; nothing was recorded here", "dim"))


def _show_rules(verdict: Verdict) -> None:
    console = out()
    console.print(styled("\nrules", "bold"))
    messages = {one.rule: one for one in verdict.findings}
    for result in verdict.rules:
        console.print(
            sign(_mark(result)), styled(f"{result.rule} ({result.effect.word}): {_outcome(result)}")
        )
        finding = messages.get(result.rule)
        if finding is not None:
            console.print(styled(f"      {finding.message}"))
            if finding.remediation:
                console.print(styled(f"      what to do: {finding.remediation}", "dim"))


def _mark(result: RuleResult) -> Mark:
    if result.fired and result.waiver is None:
        if result.effect is Effect.ALLOW:
            return Mark.OK
        return Mark.WARN if result.effect is Effect.WARN or result.grace is not None else Mark.FAIL
    return Mark.SKIP


def _outcome(result: RuleResult) -> str:
    """How a rule came out, in words."""
    if result.truth is Truth.FALSE:
        return "does not match"
    words = "matches" if result.truth is Truth.TRUE else "unknown"
    if result.truth is Truth.UNKNOWN:
        words += ", which counts as a match" if result.fired else ", which is skipped"
    if result.matched:
        words += f" ({', '.join(result.matched[:3])}{' ...' if len(result.matched) > 3 else ''})"
    if result.waiver is not None:
        words += f"; waived by {result.waiver}"
    return words + (
        f"; in grace until {result.grace}" if result.grace is not None and result.waiver is None else ""
    )


def _facts(case: Case) -> list[tuple[str, str, str, int | None]]:
    """The facts that the rules bound rest on, each once: name, value, source, age in seconds."""
    found: dict[str, tuple[str, str, str, int | None]] = {}
    for result in case.verdict.rules:
        for row in result.evidence:
            if row.fact != "waiver":
                found[row.fact] = (
                    row.fact,
                    row.value,
                    row.source or "nobody",
                    _seconds(case, row.observed_at),
                )
    return [found[name] for name in sorted(found)]


def _seconds(case: Case, observed_at: str | None) -> int | None:
    from governance.model.request import parse_utc

    if observed_at is None:
        return None
    try:
        return int((case.request.at - parse_utc(observed_at)).total_seconds())
    except ValueError:
        return None


def _age(seconds: int | None) -> str:
    from governance.policy.wording import age_text

    return "" if seconds is None else age_text(max(0, seconds))


def _text(case: Case) -> str:
    from governance.model.request import utc_text

    return utc_text(case.request.at)
