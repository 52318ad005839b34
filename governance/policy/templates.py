"""Messages: text with `{names}` of facts in it, checked when the policy is loaded, filled in when a rule fires.

`{matched.x}` is the field `x` of the item that satisfied a quantifier; `{matched.count}` says how many did,
`{matched.label}` what that item is called. `{{` and
`}}` stand for braces. There are no expressions, indices or formats: what is filled in comes from outside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from governance.model.facts import FactSpec, find_spec
from governance.policy.mistakes import Mistakes, Path

_SLOT = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

RULE_NAMES = (
    "rule.id",
    "rule.severity",
    "policy.name",
    "request.action",
    "evidence.sources",
    "matched.count",
    "matched.label",
)


@dataclass(frozen=True, slots=True)
class Slot:
    """A name to be filled in."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """Text and slots in turn."""

    parts: tuple[str | Slot, ...]

    def slots(self) -> list[str]:
        """The names that occur."""
        return [part.name for part in self.parts if isinstance(part, Slot)]


def parse_template(text: str, path: Path, mistakes: Mistakes) -> Template:
    """The template of `text`; a brace that opens nothing is a mistake."""
    parts: list[str | Slot] = []
    end = 0
    for found in _SLOT.finditer(text):
        if found.start() > end:
            parts.append(text[end : found.start()])
        end = found.end()
        if found[0] in {"{{", "}}"}:
            parts.append(found[0][0])
        elif found[1] is None:
            mistakes.add(path, "`{name}` in the message, or `{{` for a brace", got=text)
        else:
            parts.append(Slot(found[1].strip()))
    if end < len(text):
        parts.append(text[end:])
    return Template(_merged(parts))


def check_template(
    template: Template,
    path: Path,
    mistakes: Mistakes,
    catalogue: Mapping[str, FactSpec],
    matched: Sequence[str] | None,
) -> None:
    """Every slot must name a fact, a name of the rule, or a field in `matched`: fields of what the rule quantifies, None where
    nobody knows what that is."""
    for name in template.slots():
        if name in RULE_NAMES:
            continue
        if name.startswith("matched.") and (matched is None or name[8:] in matched):
            continue
        if name.startswith("matched."):
            fields = [f"matched.{field}" for field in (*(matched or ()), "count")]
            expected = "a field of the items that the rule looks through" if matched else (
                "a fact; the rule has no `some`, so nothing is matched"
            )  # fmt: skip
            mistakes.add(path, f"{expected} in the message", got=name, among=fields)
        elif find_spec(name, catalogue) is None or name == "property.*":
            names = [*RULE_NAMES, *catalogue, *(f"matched.{field}" for field in matched or ())]
            mistakes.add(path, "the name of a fact in the message", got=name, among=names)


def _merged(parts: list[str | Slot]) -> tuple[str | Slot, ...]:
    merged: list[str | Slot] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged[-1] = last + part
        else:
            merged.append(part)
    return tuple(merged)
