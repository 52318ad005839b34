"""Templates made ready to be filled in: each name becomes a function of request, facts and matched items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from governance.model.facts import Facts, FactSpec, Unknown, find_spec
from governance.model.request import Request
from governance.policy.closures import Grounds, value_of
from governance.policy.documents import Policy, Rule
from governance.policy.templates import Template
from governance.policy.wording import item_text, safe_text, value_text

Items: TypeAlias = "Sequence[Mapping[str, Any]]"
Fill: TypeAlias = "Callable[[Request, Facts, Items], str]"

_MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Wording:
    """A message: text and fillings in turn. `fixed` is all of it where there is nothing to fill in."""

    parts: tuple[str | Fill, ...]
    fixed: str | None

    def say(self, request: Request, facts: Facts, items: Items) -> str:
        """The message. What is filled in is made harmless by each filling."""
        if self.fixed is not None:
            return self.fixed
        said = "".join([
            part if isinstance(part, str) else part(request, facts, items) for part in self.parts
        ])  # fmt: skip
        return said if len(said) <= _MAX_MESSAGE else f"{said[: _MAX_MESSAGE - 3]}..."


def compile_wording(
    template: Template, policy: Policy, rule: Rule, catalogue: Mapping[str, FactSpec], grounds: Grounds
) -> Wording:
    """The wording of a checked template. `grounds` are those of the rule."""
    parts = tuple(
        part if isinstance(part, str) else _filling(part.name, policy, rule, catalogue, grounds)
        for part in template.parts
    )
    fixed = "".join(part for part in parts if isinstance(part, str))
    return Wording(parts, fixed if all(isinstance(part, str) for part in parts) else None)


def _filling(
    name: str, policy: Policy, rule: Rule, catalogue: Mapping[str, FactSpec], grounds: Grounds
) -> str | Fill:
    fixed = {"rule.id": rule.id, "rule.severity": rule.severity.word, "policy.name": policy.name}
    if name in fixed:
        return fixed[name]
    known: dict[str, Fill] = {
        "request.action": lambda request, _facts, _items: request.action.value,
        "matched.count": lambda _request, _facts, items: str(len(items)),
        "matched.label": lambda _request, _facts, items: item_text(items[0]) if items else "unknown",
        "evidence.sources": lambda _request, found, _items: _sources(found, grounds(found.values)),
    }
    if name in known:
        return known[name]
    if name.startswith("matched."):
        return _matched(name[8:])
    return _fact(name, catalogue)


def _fact(name: str, catalogue: Mapping[str, FactSpec]) -> Fill:
    spec = find_spec(name, catalogue)
    kind = spec.type if spec is not None else None

    def fill(_request: Request, facts: Facts, _items: Items) -> str:
        value = value_of(facts.values, name)
        return "unknown" if _is_unknown(value) else value_text(value, kind)

    return fill


def _matched(field: str) -> Fill:
    def fill(_request: Request, _facts: Facts, items: Items) -> str:
        value = items[0].get(field) if items else None
        return "unknown" if value is None or isinstance(value, Unknown) else value_text(value)

    return fill


def _sources(facts: Facts, names: Iterable[str]) -> str:
    """Who supplied these facts; whoever could not tell supplied nothing."""
    named = {
        origin.source
        for name in names
        if (origin := facts.origins.get(name)) is not None and not _is_unknown(facts.get(name))
    }
    return safe_text(", ".join(sorted(named))) or "nobody"


def _is_unknown(value: object) -> bool:
    """Whether nothing at all is known of it."""
    return isinstance(value, Unknown) and value.at_least is None
