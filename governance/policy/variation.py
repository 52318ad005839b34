"""A compiled policy with one of its policies exchanged, for trying many small changes: only changed rules are compiled.

Promises: the verdicts are those that `compile_bundle` of the changed bundle would give; a law in the tests holds them to
it. Does not: make a new document or digest. What comes out of here is for trials, and its verdicts are not for the record.
"""

from __future__ import annotations

from dataclasses import replace

from governance.policy.cel import compile_expression
from governance.policy.compile import CompiledPolicy
from governance.policy.compiled import CompiledRule, compile_rule
from governance.policy.condition import Condition, Scope
from governance.policy.documents import Policy, Rule
from governance.policy.index import plain_index
from governance.policy.options import conjuncts
from governance.policy.parsing import resolve_lists
from governance.policy.plan import compile_part


def ground(policy: CompiledPolicy) -> CompiledPolicy:
    """The same policy without its index, which only saves looking at rules that are false."""
    return replace(policy, index=plain_index(policy.rules), _plans={})


def varied(base: CompiledPolicy, changed: Policy) -> CompiledPolicy:
    """`base`, made by `ground`, with the policy of that name as it is in `changed`. Rules may be changed or left out,
    not added."""
    part = next(one for one in base.parts if one.policy.name == changed.name)
    known = {base.rules[number].rule.id: number for number in part.rules}
    rules = list(base.rules)
    for rule in changed.rules:
        number = known[rule.id]
        if rules[number].rule is not rule:
            rules[number] = _compiled(base, changed, rule, part.number)
    kept = tuple(known[rule.id] for rule in changed.rules)
    gone = set(part.rules) - set(kept)
    parts = [one if one is not part else compile_part(part.number, changed, kept) for one in base.parts]
    in_force = tuple(rule for number, rule in enumerate(rules) if number not in gone)
    return replace(
        base,
        rules=tuple(rules),
        parts=tuple(parts),
        index=plain_index(in_force),
        tempered=frozenset({*base.waivers, *(rule.name for rule in in_force if rule.grace)}),
        _plans={},
    )


def resolved(base: CompiledPolicy, rule: Rule) -> Condition | None:
    """The rule's condition with its lists written out."""
    return None if rule.when is None else resolve_lists(base.bundle, rule.when)


def _compiled(base: CompiledPolicy, policy: Policy, rule: Rule, number: int) -> CompiledRule:
    scope = Scope(base.catalogue)
    when = resolved(base, rule)
    return compile_rule(
        policy,
        rule,
        number=number,
        when=when,
        parts=() if when is None else conjuncts(when),
        scope=scope,
        cel=compile_expression(rule.expression, base.catalogue) if rule.expression is not None else None,
        settled=frozenset(),
    )
