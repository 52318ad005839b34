"""The law of waivers: one touches only its rule, its digest, its scope and its time, and only as it was signed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from governance.model.request import Actor, Request
from governance.model.verdict import Effect, Verdict
from governance.policy.compile import compile_bundle
from governance.policy.documents import PolicyBundle, Waiver
from governance.policy.evaluate import evaluate
from governance.policy.waiver import findings_digest
from governance.waivers.settling import Memory, settle
from governance.waivers.steps import Step, StepFile
from tests.unit import policy_kit as kit
from tests.waiver_tools import NOW, asked, facts, step, trust, waiver_text

law = settings(max_examples=150, deadline=None)

SHAS = ("7d" * 32, "ab" * 32)
REFS = (kit.REF, "models-local/team/other.bin")
ENVIRONMENTS = ("production", "staging")
ACTORS = ("alice", "zoe")
HOURS = (-48, -1, 0, 1, 48)

RULES = kit.rule("{fact: publisher, is: evil}") + kit.rule(
    "{fact: publisher, is: evil}", name="s", effect="warn"
)
BASE = (kit.policy(RULES), kit.policy(kit.rule("{fact: publisher, is: evil}", effect="quarantine"), name="q"))
TRUST = trust()

requests = st.builds(
    lambda sha, ref, environment, actor, hours: kit.request(
        sha256=sha, ref=ref, environment=environment, actor=Actor(name=actor), at=NOW + timedelta(hours=hours)
    ),
    st.sampled_from(SHAS),
    st.sampled_from(REFS),
    st.sampled_from(ENVIRONMENTS),
    st.sampled_from(ACTORS),
    st.sampled_from(HOURS),
)


def known(rule: str) -> str:
    found = evaluate(compile_bundle(kit.bundle(*BASE)), kit.request(), facts())
    return f'"{findings_digest(next(row for row in found.rules if row.rule == rule))}"'


@st.composite
def bundles(draw: st.DrawFn) -> PolicyBundle:
    """Policies with a waiver of some rule, digest, scope and time."""
    rule = draw(st.sampled_from(["p/r", "p/s", "q/r"]))
    start = draw(st.sampled_from(HOURS[:-1]))
    hours = draw(st.sampled_from([1, 2, 47, 96]))
    scope: dict[str, Any] = {}
    if draw(st.booleans()):
        scope["environments"] = draw(st.sampled_from([["production"], ["staging"], ["prod*"]]))
    if draw(st.booleans()):
        scope["actors"] = draw(st.sampled_from([["alice"], ["user:zoe"], ["group:none"]]))
    text = waiver_text(
        rule=rule,
        artifact=f'{{ref: {draw(st.sampled_from(REFS))}, digest: "sha256:{draw(st.sampled_from(SHAS))}"}}',
        scope=str(scope) if scope else None,
        starts=f"{NOW + timedelta(hours=start):%Y-%m-%dT%H:%M:%SZ}",
        expires=f"{NOW + timedelta(hours=start + hours):%Y-%m-%dT%H:%M:%SZ}",
        findings=known(rule),
    )
    return kit.bundle(*BASE, text)


def judged(of: PolicyBundle, files: list[StepFile], request: Request) -> Verdict:
    register = settle(of, files, trust=TRUST, now=NOW, memory=Memory())
    return evaluate(compile_bundle(register.bundle), request, facts())


def signed(waiver: Waiver) -> list[StepFile]:
    return [asked(waiver), step(waiver, Step.APPROVE, "bob")]


def is_within(waiver: Waiver, request: Request) -> bool:
    """The law, said once more and by hand."""
    environments = waiver.environments is None or request.environment in _meant(waiver.environments)
    actors = waiver.actors is None or request.actor.name in {
        name.removeprefix("user:") for name in waiver.actors
    }
    return (
        (waiver.ref, waiver.digest) == (request.artifact.ref, request.artifact.digest)
        and environments
        and actors
        and waiver.starts <= request.at < waiver.expires
    )


def _meant(environments: tuple[str, ...]) -> set[str]:
    return {"production" if name == "prod*" else name for name in environments}


@law
@given(bundles(), requests)
def test_a_waiver_touches_only_its_rule_digest_scope_and_time(of: PolicyBundle, request: Request) -> None:
    (waiver,) = of.waivers
    found = judged(of, signed(waiver), request)
    waived = {row.rule for row in found.rules if row.waiver is not None}
    assert waived == ({waiver.rule} if is_within(waiver, request) else set())
    stand = {one.rule for one in found.findings}
    assert stand == {"p/r", "p/s", "q/r"} - waived
    left = {"p/r": Effect.BLOCK, "q/r": Effect.QUARANTINE, "p/s": Effect.WARN}
    assert found.decision is max(left[rule] for rule in stand)


CHANGES: dict[str, Any] = {
    "rule": "q/other",
    "ref": "models-local/x",
    "digest": f"sha256:{'0' * 64}",
    "environments": ("everywhere",),
    "actors": ("mallory",),
    "findings": f"sha256:{'1' * 64}",
    "reason": "another",
    "ticket": "SEC-2",
    "author": "zoe",
    "expires": NOW + timedelta(days=80),
    "starts": NOW - timedelta(days=9),
}


@law
@given(bundles(), requests, st.sampled_from(sorted(CHANGES)))
def test_terms_that_changed_after_the_signatures_count_for_nothing(
    of: PolicyBundle, request: Request, name: str
) -> None:
    (waiver,) = of.waivers
    changed = replace(of, waivers=(replace(waiver, **{name: CHANGES[name]}),))
    found = judged(changed, signed(waiver), request)
    assert not [row for row in found.rules if row.waiver is not None]
    assert found.decision is Effect.BLOCK


@law
@given(bundles(), st.integers(0, 1), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_changed_byte_makes_an_approver_of_anybody(
    of: PolicyBundle, which: int, where: float, flip: int
) -> None:
    (waiver,) = of.waivers
    files = signed(waiver)
    data = bytearray(files[which].data)
    data[int(where * len(data))] ^= flip
    files[which] = replace(files[which], data=bytes(data))
    (settled,) = settle(of, files, trust=TRUST, now=NOW, memory=Memory()).waivers
    assert set(settled.waiver.approved_by) <= {"bob"}
    whole = len(settled.steps) == 2
    assert (settled.waiver.void is None) is whole
    assert bool(settled.problems) is not whole
