"""Mutation testing of policies: which small changes to a policy none of its cases would notice.

Promises: a mutant counts as noticed only where a case that passes today fails under it, judged by the one evaluator there
is; a survivor that is proved to be the same policy in other words is counted apart and not reported; the work is bounded.
Does not: look at the cases' quality in any other way.

The steps:

1. Every case must pass as things are; else nothing can be told from a failure.
2. Each mutant is compiled alone, into the policy as each suite tests it (`variation`).
3. A case whose rule comes out as before, with the same effect, gives the same verdict and is not judged again.
4. For each survivor a case is looked for that would notice it, and where none can exist it is dropped (`killing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from governance.errors import ConfigurationError
from governance.model.facts import Facts
from governance.model.request import Request
from governance.policy.cases import case_facts, case_request, differences, policy_for
from governance.policy.compile import CompiledPolicy
from governance.policy.compiled import CompiledRule
from governance.policy.documents import Case, PolicyBundle, Suite
from governance.policy.evaluate import evaluate
from governance.policy.killing import Rivals, Telling, is_same, telling_case
from governance.policy.layers import policies_in_force
from governance.policy.load import Written
from governance.policy.mutants import Mutant, mutants_of
from governance.policy.patterns import compile_glob
from governance.policy.variation import ground, varied

MOST_MUTANTS = 20_000
"""Mutants of one run. A policy of thirty rules has about six hundred."""

MOST_LOOKED_INTO = 300
"""Survivors for which a case is looked for. Where there are more, the first ones are work enough."""

_SHOWN = 5


class MutationError(ConfigurationError):
    """There is nothing that mutants could be told from: no cases, cases that fail, or too many mutants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One case, ready to be judged again. `judged` remembers how rules came out under the policy as it is."""

    suite: str
    case: Case
    request: Request
    facts: Facts
    binds: frozenset[str]
    judged: dict[str, bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One suite: the policy it tests, and its cases."""

    suite: Suite
    policy: CompiledPolicy
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """A mutant that no case noticed, where it is, and a case that would notice it, if one was found."""

    mutant: Mutant
    source: str
    line: int
    column: int
    telling: Telling | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the mutants of one rule, or of a policy's own lines."""

    noticed: int = 0
    same: int = 0
    survived: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationReport:
    """What became of the mutants, by rule. Those that are `same` were proved to be the policy in other words; `untested`
    are policies that no suite tests."""

    survivors: tuple[Survivor, ...]
    tallies: Mapping[str, Tally]
    untested: tuple[str, ...]

    @property
    def noticed(self) -> int:
        """How many mutants made a case fail."""
        return sum(tally.noticed for tally in self.tallies.values())

    @property
    def same(self) -> int:
        """How many mutants cannot be told from the policy."""
        return sum(tally.same for tally in self.tallies.values())

    @property
    def tried(self) -> int:
        """How many mutants there were."""
        return self.noticed + self.same + len(self.survivors)


def mutate(written: Written, *, rules: str = "*", most: int = MOST_MUTANTS) -> MutationReport:
    """Try every mutant of the rules whose full name, and of the policies whose name, fits the glob `rules`.

    Raises `MutationError`.
    """
    benches = _benches(written.bundle)
    tested = {part.policy.name for bench in benches for part in bench.policy.parts}
    survivors: list[Survivor] = []
    tallies: dict[str, Tally] = {}
    for mutant in _all_mutants(written, tested, compile_glob(rules), most):
        tally = tallies.setdefault(mutant.subject, Tally())
        if any(_notices(bench, mutant) for bench in benches):
            tally.noticed += 1
            continue
        proved, telling = (
            _looked_into(benches, mutant) if len(survivors) < MOST_LOOKED_INTO else (False, None)
        )
        if proved:
            tally.same += 1
            continue
        tally.survived += 1
        survivors.append(_placed(mutant, written, telling))
    if not tallies and rules != "*":
        raise MutationError(
            f"no rule or policy that is tested fits `{rules}`",
            hint="Rules are named `policy/rule`; `*` stands for any text, as in `strict-models/*`.",
        )
    in_force = {policy.name for policy in policies_in_force(written.bundle)}
    return MutationReport(
        survivors=tuple(survivors), tallies=tallies, untested=tuple(sorted(in_force - tested))
    )


def _benches(bundle: PolicyBundle) -> list[Bench]:
    if not any(suite.cases for suite in bundle.suites):
        raise MutationError(
            "there is no PolicyTest in these files, so no mutant could be noticed",
            hint="Write a case for each rule; `mlgov policy init` writes a first suite.",
        )
    benches = [_bench(bundle, suite) for suite in bundle.suites]
    failing = [
        f"{trial.suite}: {trial.case.name}"
        for bench in benches
        for trial in bench.trials
        if any(differences(trial.case, evaluate(bench.policy, trial.request, trial.facts)))
    ]  # 1
    if failing:
        raise MutationError(
            f"{len(failing)} case(s) fail before anything was changed: {_some(failing)}",
            hint="Fix the policy or the cases first; `mlgov policy test` shows what they expected and what they got.",
        )
    return benches


def _bench(bundle: PolicyBundle, suite: Suite) -> Bench:
    policy = ground(policy_for(bundle, suite))
    trials = tuple(_trial(policy, suite, case) for case in suite.cases)
    return Bench(suite=suite, policy=policy, trials=trials)


def _trial(policy: CompiledPolicy, suite: Suite, case: Case) -> Trial:
    request = case_request(case)
    return Trial(
        suite=suite.name,
        case=case,
        request=request,
        facts=case_facts(case),
        binds=frozenset(policy.plan_for(request).names),
    )


def _all_mutants(
    written: Written, tested: Iterable[str], fits: Callable[[str], bool], most: int
) -> Iterator[Mutant]:
    """The mutants of the policies that are tested, counted before the first is tried."""
    chosen: list[Mutant] = []
    for policy in written.bundle.policies:
        if policy.name not in tested:
            continue
        tree = written.documents["Policy", policy.name].data
        for mutant in mutants_of(policy, tree, written.bundle.catalogue):
            if fits(mutant.subject):
                chosen.append(mutant)
                if len(chosen) > most:
                    raise MutationError(
                        f"these policies have more than {most:,} mutants, which is all that is tried at once",
                        hint="Name some of the rules with `--rules GLOB`, such as `--rules 'strict-models/*'`.",
                    )
    yield from chosen


def _notices(bench: Bench, mutant: Mutant) -> bool:
    """Whether a case of the suite fails under the mutant."""
    part = next((one for one in bench.policy.parts if one.policy.name == mutant.policy), None)
    if part is None:
        return False
    variant = varied(bench.policy, mutant.changed)  # 2
    old = _rule_of(bench.policy, mutant)
    new = _rule_of(variant, mutant)
    for trial in bench.trials:
        if mutant.policy not in trial.binds and mutant.sort != "match":
            continue
        if old is not None and not _may_differ(old, new, trial):
            continue
        if any(differences(trial.case, evaluate(variant, trial.request, trial.facts))):
            return True
    return False


def _looked_into(benches: Sequence[Bench], mutant: Mutant) -> tuple[bool, Telling | None]:  # 4
    """Whether a survivor is the same policy in other words; else a case that would notice it, if one is found."""
    rivals = _rivals(benches, mutant)
    telling = telling_case(mutant, rivals)
    return (False, telling) if telling is not None else is_same(mutant, rivals)


def _rivals(benches: Sequence[Bench], mutant: Mutant) -> list[Rivals]:
    """The suites that test the mutant's policy, with the cases that reach it first."""
    found = []
    for bench in benches:
        if any(part.policy.name == mutant.policy for part in bench.policy.parts):
            reaching = [trial.case for trial in bench.trials if mutant.policy in trial.binds]
            found.append(
                Rivals(
                    suite=bench.suite.name,
                    policy=bench.policy,
                    variant=varied(bench.policy, mutant.changed),
                    cases=tuple(reaching),
                )
            )
    return found


def _rule_of(policy: CompiledPolicy, mutant: Mutant) -> CompiledRule | None:
    if mutant.rule is None:
        return None
    return policy.rule_named(mutant.subject)


def _may_differ(old: CompiledRule, new: CompiledRule | None, trial: Trial) -> bool:  # 3
    record = trial.facts.record
    if old.name not in trial.judged:
        trial.judged[old.name] = old.test(record, record)
    before = trial.judged[old.name]
    if new is None:
        return old.fires(before)
    after = new.test(record, record)
    if before is not after or old.grace != new.grace:
        return True
    if old.fires(before) is not new.fires(after):
        return True
    if not new.fires(after):
        return False
    tells_items = trial.case.expect.matched is not None or trial.case.expect.message is not None
    return old.effect is not new.effect or bool(new.grace) or tells_items


def _placed(mutant: Mutant, written: Written, telling: Telling | None) -> Survivor:
    document = written.documents["Policy", mutant.policy]
    line, column = document.place(mutant.path)
    return Survivor(mutant=mutant, source=document.source, line=line, column=column, telling=telling)


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
