"""What a rule that is unknown could come to, were only those facts known that are out of reach. Pure.

Promises: a fact that is unknown for any other reason stays so, as do a value that a rule cannot compare and an item's field. Where a
fact out of reach is read, each comparison is taken to come out as the caller would have it, whatever others of the same fact say.
Does not: look into an expression of CEL. That is taken to rest on facts out of reach where it names some, and none that are
unknown or incomplete otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from governance.model.facts import Collection, Unknown
from governance.policy.cel import facts_named
from governance.policy.closures import compile_condition, value_of
from governance.policy.compiled import CompiledRule
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, Not, Quantified, Record, Scope
from governance.policy.logic import all_of

_SETTLED: dict[bool, Condition] = {True: AllOf(()), False: AnyOf(())}


def could_be(wanted: bool, rule: CompiledRule, facts: Record, out_of_reach: frozenset[str]) -> bool:
    """Whether the rule, unknown on these facts, could come out as `wanted` were those named `out_of_reach` known."""
    supposed = _Supposed(facts, out_of_reach)
    tests = [] if rule.when is None else [supposed.compiled(rule.when, rule.scope, wanted)]
    if rule.cel is not None and rule.rule.expression is not None:
        names = facts_named(rule.rule.expression, rule.scope.catalogue)
        settled = compile_condition(_SETTLED[wanted], rule.scope)
        tests.append(settled if supposed.rests_on_silence(names) else rule.cel)
    known = supposed.record
    return all_of(tests)(known, known) is wanted


@dataclass(frozen=True, slots=True)
class _Supposed:
    """Facts, of which some are out of reach."""

    facts: Record
    out_of_reach: frozenset[str]

    @property
    def record(self) -> Record:
        """The facts, where a collection or set has no more items than are known of it, as long as what is missing is out of reach."""
        whole: dict[str, Any] = {}
        for name in self.out_of_reach:
            part = self.facts.get(name)
            if isinstance(part, Collection):
                whole[name] = Collection(part.items)
            elif isinstance(part, Unknown) and isinstance(part.at_least, tuple):
                whole[name] = part.at_least
        return {**self.facts, **whole}

    def compiled(self, condition: Condition, scope: Scope, wanted: bool) -> Any:
        """The test of a condition in which what is out of reach comes out as is `wanted` of the whole."""
        return compile_condition(self._supposing(condition, scope, wanted), scope)

    def rests_on_silence(self, names: frozenset[str]) -> bool:
        """Whether some of these facts are out of reach, and all others known to the last field."""
        return any(map(self._is_out, names)) and all(
            self._is_out(name) or self._is_known(name) for name in names
        )

    def _supposing(self, condition: Condition, scope: Scope, wanted: bool) -> Condition:
        if isinstance(condition, AllOf | AnyOf):
            return type(condition)(tuple(self._supposing(part, scope, wanted) for part in condition.parts))
        if isinstance(condition, Not):
            return Not(self._supposing(condition.part, scope, not wanted))
        name = condition.fact if isinstance(condition, Compare) else condition.collection
        found = scope.find(name)
        if found is None:
            return condition
        spec, in_item = found
        value = None if in_item or not self._is_out(name) else value_of(self.facts, name)
        known = value.at_least if isinstance(value, Unknown) else getattr(value, "items", None)
        if isinstance(known, tuple):
            is_open = self._more_could_do(condition, known, wanted)
        else:
            is_open = isinstance(value, Unknown) and not self._is_settled(condition, scope)
        if is_open:
            return _SETTLED[wanted]
        if isinstance(condition, Compare):
            return condition
        where = self._supposing(condition.where, scope.below(spec), wanted)
        return Quantified(condition.quantifier, name, where)

    def _is_settled(self, condition: Compare | Quantified, scope: Scope) -> bool:
        """Whether it comes out as it does by what the fact is at least."""
        return compile_condition(condition, scope)(self.facts, self.facts) is not None

    def _more_could_do(self, condition: Compare | Quantified, items: tuple[Any, ...], wanted: bool) -> bool:
        """Whether a further item could make it come out as wanted. Of nothing `every` says nothing, nor is it known to exist."""
        if isinstance(condition, Quantified) and wanted is (condition.quantifier == "some"):
            return True
        return not items and not (isinstance(condition, Quantified) and condition.quantifier == "some")

    def _is_out(self, name: str) -> bool:
        return name in self.out_of_reach or (
            name.startswith("property.") and "property.*" in self.out_of_reach and name not in self.facts
        )

    def _is_known(self, name: str) -> bool:
        value = value_of(self.facts, name)
        if isinstance(value, Collection):
            fields = (field for item in value.items for field in item.values())
            return value.is_complete and not any(isinstance(field, Unknown) for field in fields)
        return not isinstance(value, Unknown)
