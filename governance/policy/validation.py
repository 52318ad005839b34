"""What is wrong with the shape of a document: pydantic's errors, as mistakes with places and suggestions.

Promises: every mistake of the shape is noted, in words of the policy language. Does not: look at what the values mean, nor at
conditions.
"""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from governance.policy.literals import DURATION_FORM, DURATION_PATTERN
from governance.policy.mistakes import Mistakes, Path, joined
from governance.policy.schema import (
    DIGEST_PATTERN,
    ENVIRONMENT_PATTERN,
    NAME_PATTERN,
    RULE_PATTERN,
    WAIVER_PATTERN,
    Shape,
)

S = TypeVar("S", bound=Shape)

_FORMS = {
    NAME_PATTERN: "a name of lower-case letters, digits, `-` and `.`, at most 63 long",
    WAIVER_PATTERN: "a name of letters, digits, `-`, `_` and `.`, at most 63 long",
    ENVIRONMENT_PATTERN: "an environment: letters, digits and `-`, at most 32 long",
    RULE_PATTERN: "the full name of a rule: `policy/rule`",
    DIGEST_PATTERN: "a digest: `sha256:` or `dirhash1:` and 64 lower-case hex digits",
    DURATION_PATTERN: DURATION_FORM,
}

_SIMPLE = {
    "string_type": "a text (in quotes if it looks like a number)",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "`true` or `false`",
}

_LENGTHS = {
    "string_too_short": "a text of at least {} character(s)",
    "string_too_long": "a text of at most {} characters",
    "too_short": "a list with at least {} item(s)",
    "too_long": "a list with at most {} items",
}


def read_shape(shape: type[S], tree: object, mistakes: Mistakes) -> S | None:
    """`tree` as `shape`, or None after noting every mistake."""
    try:
        return shape.model_validate(tree)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _note(shape, detail, mistakes)
        return None


def _note(shape: type[BaseModel], detail: ErrorDetails, mistakes: Mistakes) -> None:
    kind, path, got = (
        detail["type"],
        tuple(part for part in detail["loc"] if part != "[key]"),
        detail["input"],
    )
    context = detail.get("ctx", {})
    if kind == "missing":
        mistakes.add(path[:-1], f"the key `{path[-1]}`, which is missing")
    elif kind == "extra_forbidden":
        known = _keys_at(shape, path[:-1])
        mistakes.add(path, f"one of the keys {joined(known)}", got=str(path[-1]), among=known, key=True)
    elif kind == "literal_error":
        words = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        words = [word.lower() if word in {"True", "False"} else word for word in words]
        mistakes.add(path, f"one of {', '.join(words)}", got=got, among=words)
    elif kind == "string_pattern_mismatch":
        expected = _FORMS.get(str(context["pattern"]), "another form")
        mistakes.add(path, expected, got=got, key=detail["loc"][-1:] == ("[key]",))
    elif kind in _SIMPLE:
        mistakes.add(path, _SIMPLE[kind], got=got)
    elif kind in _LENGTHS:
        limit = context.get("min_length", context.get("max_length"))
        mistakes.add(path, _LENGTHS[kind].format(limit), got=got)
    else:
        mistakes.add(path, _sentence(detail["msg"]), got=got)


def _sentence(message: str) -> str:
    """Pydantic's own words, for limits of length and size."""
    lowered = message[:1].lower() + message[1:]
    return lowered.replace("input should be ", "").replace("input should ", "a value that should ")


def _keys_at(shape: type[BaseModel], path: Path) -> list[str]:
    """The keys that the model at `path` knows."""
    current: Any = shape
    below_container = False
    for part in path:
        if below_container or isinstance(part, int):
            # An index, or a key of a mapping: its members have the model.
            below_container = False
            continue
        field = next((one for one in current.model_fields.values() if one.alias == part), None)
        current = _model_in(field.annotation) if field else None
        if current is None or field is None:
            return []
        below_container = "dict[" in str(field.annotation)
    return [field.alias or name for name, field in current.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
