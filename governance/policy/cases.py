"""Policy tests: cases judged by the one evaluator there is, and which outcomes of each rule they cover.

A case's request is built from its facts (`artifact.ref`, `actor.name`, ...), so that a test is about facts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from governance.model.artifact import Artifact, Kind, parse_repository_key
from governance.model.digest import Digest, parse_digest
from governance.model.facts import Facts, FactValue
from governance.model.request import Action, Actor, ActorKind, Request
from governance.model.verdict import Effect, RuleResult, Truth, Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.documents import Case, PolicyBundle, Suite
from governance.policy.environments import normal_environment
from governance.policy.evaluate import evaluate
from governance.policy.patterns import compile_glob

_DEFAULT_REF = "models-local/model"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseArtifact(Artifact):
    """An artifact without files, whose digest is what the fixture says."""

    stated: Digest | None = None

    @property
    def digest(self) -> Digest | None:
        """The fixture's `artifact.digest`."""
        return self.stated


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How one case came out. `differences` are empty where it is as expected. `stated` is the case, the one of this
    `number` in its suite."""

    suite: str
    case: str
    stated: Case
    number: int
    source: str
    verdict: Verdict
    differences: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        """True where the verdict is the expected one."""
        return not self.differences


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCoverage:
    """Which outcomes of a rule some case reaches."""

    rule: str
    matched: bool
    not_matched: bool
    unknown: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """The outcomes that no case reaches."""
        named = (("matched", self.matched), ("not matched", self.not_matched), ("unknown", self.unknown))
        return tuple(name for name, reached in named if not reached)


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesReport:
    """All cases of a bundle, and the coverage of all its rules."""

    results: tuple[CaseResult, ...]
    coverage: tuple[RuleCoverage, ...]

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that came out differently."""
        return tuple(result for result in self.results if not result.is_passed)


def run_cases(bundle: PolicyBundle) -> CasesReport:
    """Run every case of the bundle's suites."""
    results: list[CaseResult] = []
    reached: dict[str, set[Truth]] = {}
    for suite in bundle.suites:
        policy = policy_for(bundle, suite)
        for number, case in enumerate(suite.cases):
            verdict = evaluate(policy, case_request(case), case_facts(case))
            for row in verdict.rules:
                reached.setdefault(row.rule, set()).add(row.truth)
            results.append(
                CaseResult(
                    suite=suite.name,
                    case=case.name,
                    stated=case,
                    number=number,
                    source=suite.source,
                    verdict=verdict,
                    differences=tuple(differences(case, verdict)),
                )
            )
    return CasesReport(results=tuple(results), coverage=tuple(_coverage(bundle, reached)))


def differences(case: Case, verdict: Verdict) -> Iterable[str]:
    """In what the verdict is not the expected one."""
    expect = case.expect
    if verdict.decision is not expect.verdict:
        yield f"expected {expect.verdict.word}, got {verdict.decision.word}"
    fired = deciding_rules(verdict)
    if expect.rules is not None and not _same_rules(expect.rules, fired):
        yield f"expected the rules {_listed(expect.rules)}, got {_listed(row.rule for row in fired)}"
    matched = {text for row in fired for text in row.matched}
    if expect.matched is not None and expect.matched != matched:
        yield f"expected to match {_listed(expect.matched)}, got {_listed(matched)}"
    waived = {row.rule for row in verdict.rules if row.waiver is not None}
    if expect.waived is not None and not _same_names(expect.waived, waived):
        yield f"expected to waive {_listed(expect.waived)}, got {_listed(waived)}"
    retryable = verdict.decision is Effect.QUARANTINE
    if expect.retryable is not None and expect.retryable is not retryable:
        yield f"expected {'a' if expect.retryable else 'no'} retryable verdict"
    if expect.message is not None and not any(expect.message in one.message for one in verdict.findings):
        yield f"expected a message with `{expect.message}`, got {[one.message for one in verdict.findings]}"


def deciding_rules(verdict: Verdict) -> tuple[RuleResult, ...]:
    """The rules that fired with the verdict's own effect, neither waived nor in grace (in grace they only warn)."""
    return tuple(
        row
        for row in verdict.rules
        if row.fired
        and row.waiver is None
        and (Effect.WARN if row.grace is not None else row.effect) is verdict.decision
    )


def case_facts(case: Case) -> Facts:
    """The facts of a case, with what its request states."""
    stated: dict[str, FactValue] = {"artifact.kind": case.kind, "environment": case.environment}
    if case.actor is not None:
        stated["actor.name"] = case.actor
    if case.groups:
        stated["actor.groups"] = case.groups
    found = {**stated, **case.facts}
    if isinstance(environment := found["environment"], str):
        found["environment"] = normal_environment(environment)
    return Facts(found)


def case_request(case: Case) -> Request:
    """The request that a case describes."""
    ref = _text(case.facts, "artifact.ref") or _DEFAULT_REF
    key, _, path = ref.partition("/")
    key = _text(case.facts, "artifact.repository") or key
    name = _text(case.facts, "artifact.name") or path.rpartition("/")[2] or key
    artifact = _CaseArtifact(
        kind=Kind(case.kind),
        host="artifactory.example.org",
        repository=parse_repository_key(key),
        path=path,
        name=name,
        stated=_digest_of(case.facts),
    )
    actor = case.actor or _text(case.facts, "actor.name") or "tester"
    groups = case.facts.get("actor.groups")
    return Request(
        action=Action(case.action),
        artifact=artifact,
        actor=Actor(
            name=actor,
            kind=ActorKind.HUMAN,
            groups=case.groups or (groups if isinstance(groups, tuple) else ()),
            authentication="test",
        ),
        environment=case.environment,
        at=case.at,
        correlation="policy-test",
    )


def policy_for(bundle: PolicyBundle, suite: Suite) -> CompiledPolicy:
    """The policies that the suite names, without bindings; the whole set where it names none."""
    if suite.policies is None:
        return compile_bundle(bundle)
    globs = [compile_glob(glob) for glob in suite.policies]
    named = tuple(one for one in bundle.policies if any(fits(one.name) for fits in globs))
    unbound = replace(bundle.set, layers=None, bindings=None) if bundle.set else None
    return compile_bundle(replace(bundle, policies=named, set=unbound))


def _coverage(bundle: PolicyBundle, reached: Mapping[str, set[Truth]]) -> Iterable[RuleCoverage]:
    for policy in bundle.policies:
        for rule in policy.rules:
            name = f"{policy.name}/{rule.id}"
            truths = reached.get(name, set())
            yield RuleCoverage(
                rule=name,
                matched=Truth.TRUE in truths,
                not_matched=Truth.FALSE in truths,
                unknown=Truth.UNKNOWN in truths,
            )


def _same_rules(expected: frozenset[str], fired: Iterable[RuleResult]) -> bool:
    return _same_names(expected, {row.rule for row in fired})


def _same_names(expected: frozenset[str], found: set[str]) -> bool:
    """Rules may be named by id alone where one policy is tested."""
    full = {one for one in expected if "/" in one}
    short = expected - full
    left = found - full
    return full <= found and {name.partition("/")[2] for name in left} == short


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _text(facts: Mapping[str, object], name: str) -> str | None:
    value = facts.get(name)
    return value if isinstance(value, str) and value else None


def _digest_of(facts: Mapping[str, object]) -> Digest | None:
    text = _text(facts, "artifact.digest")
    try:
        return parse_digest(text) if text is not None else None
    except ValueError:
        return None
