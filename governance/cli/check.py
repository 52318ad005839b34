"""`mlgov check`: what the gate would say, without acting and without a record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, plain, print_json, sign, styled
from governance.model.request import Action
from governance.model.verdict import Effect

if TYPE_CHECKING:
    from governance.model.canonical import Json
    from governance.permit import Decision
    from governance.wiring import Assembly
    from plugin.location import Part


def check(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF", help="`artifactory://HOST/artifactory/REPOSITORY/PATH`, or `REPOSITORY/PATH`."
        ),
    ],
    action: Annotated[Action, typer.Option(help="What is to be done with it.")] = Action.LOAD,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as JSON.")] = False,
) -> None:
    """Say what the policy would decide about an artifact. Nothing is moved or recorded.

    Exits with 0 where it is allowed, 1 where it would be refused, 3 where nobody can tell.
    """
    from governance.cli.reference import locate, parse_reference
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    place = parse_reference(reference, settings)
    assembly = build_assembly(settings)
    try:
        parts = locate(assembly.artifactory(place.host), place)
        decisions = [decide(assembly, part, action) for part in parts]
    finally:
        assembly.close()
    if as_json:
        documents = [_document(decision) for decision in decisions]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        for decision in decisions:
            _show(decision)
    raise typer.Exit(1 if any(decision.is_refused for decision in decisions) else 0)


def decide(assembly: Assembly, part: Part, action: Action) -> Decision:
    """The dry decision about a part of what is stored."""
    from governance.model.request import Request, new_id
    from plugin.context import local_user

    at = assembly.now()
    return assembly.gate.decide(
        Request(
            action=action,
            artifact=part.artifact,
            actor=local_user(),
            environment=assembly.settings.environment,
            at=at,
            correlation=new_id(at),
            selection=part.selection,
        )
    )


def _document(decision: Decision) -> dict[str, Json]:
    """The dry decision for machines: what a refused caller would get, and the mode."""
    from governance.model.problem import problem_of

    problem = problem_of(decision.refusal())
    kept = {
        name: problem[name]
        for name in (
            "action",
            "artifact",
            "environment",
            "policies",
            "policy_digest",
            "policy_revision",
            "findings",
        )
    }
    verdict = decision.verdict
    facts = decision.facts.to_json()
    doubts = {
        word: {name: row[member] for name, row in facts.items() if isinstance(row, dict) and member in row}
        for word, member in (("unknown", "unknown"), ("incomplete", "missing"))
    }
    return kept | {
        "decision": verdict.decision.word,
        "mode": decision.mode.value,
        "refused": decision.is_refused,
        "would_block": decision.is_objection and not decision.is_refused,
        "retry_after": verdict.retry_after,
        "degraded": verdict.degraded,
        **doubts,
    }


def _show(decision: Decision) -> None:
    console, artifact = out(), decision.request.artifact
    effect = decision.verdict.decision
    mark = Mark.FAIL if decision.is_refused else Mark.OK if effect is Effect.ALLOW else Mark.WARN
    word = effect.word
    console.print(sign(mark), styled(f"{decision.request.action.value} of `{artifact.ref}`: {word}", "bold"))
    if decision.glass is not None and decision.glass.opens:
        console.print(styled(f"  refused, and opened by break-glass: {decision.glass.justification}"))
    elif decision.is_objection and not decision.is_refused:
        console.print(
            f"  would be refused; the binding is in {decision.mode.value} mode, so the door is open"
        )
    if decision.verdict.degraded is not None:
        console.print(sign(Mark.WARN), styled(f"in an outage: {decision.verdict.degraded}"))
    for finding in decision.verdict.findings:
        console.print(styled(f"  [{finding.severity.word}] {finding.rule}: {finding.message}"))
        for each in finding.evidence[:3]:
            console.print(styled(f"      {each.fact} = {each.value[:120]}", "dim"))
        for each in finding.evidence:
            if each.fact == "waiver":
                console.print(styled(f"      waiver {each.value}"))
        if finding.remediation:
            console.print(styled(f"      what to do: {finding.remediation}"))
    named = ", ".join(decision.verdict.policies) or "no policy applies"
    console.print(
        styled(
            plain(
                f"  policy {named} ({decision.verdict.policy_digest[:12]}), environment "
                f"{decision.request.environment}; {len(artifact.files)} file(s), {artifact.digest or 'digest unknown'}"
            ),
            "dim",
        )
    )
