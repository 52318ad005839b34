"""The rules of notification: one YAML file, read strictly.

Promises: every mistake at once, each with file, line and column; a rule names channels and nothing else about them, so
that whoever may edit the file cannot send notices, or a signature, to a place of his own. Does not: read a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from governance.errors import ConfigurationError, SettingsError
from governance.places import open_file
from governance.policy.literals import LiteralError, parse_duration
from governance.policy.strict_yaml import Document, Limits, YamlRefusedError, parse_yaml

_LIMITS: Final = Limits(size=256 << 10, depth=8, values=5_000)


class RulesInvalidError(ConfigurationError):
    """Rules with mistakes. `problems` lists all of them, each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(
            f"{len(problems)} mistake(s) in the rules of notification:\n{listed}",
            hint="Fix the lines named above.",
        )
        self.problems = tuple(problems)


def _seconds(value: object) -> int:
    try:
        return parse_duration(value)
    except LiteralError as error:
        raise ValueError(f"expected {error}") from error


_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
_Duration = Annotated[int, BeforeValidator(_seconds), Field(gt=0, le=366 * 86_400)]
_Names = Annotated[tuple[_Name, ...], Field(min_length=1, max_length=20, strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, hide_input_in_errors=True
    )


class _Rule(_Strict):
    name: _Name
    channels: _Names


class NewBlock(_Rule):
    """A refusal of block or quarantine (with `observed`, also what only would have been refused). The same objection to
    the same bytes is told again only after `quiet`."""

    on: Literal["new-block"]
    environments: _Names = ("production",)
    quarantine: bool = False
    observed: bool = False
    quiet: _Duration = 86_400


class VerdictChanged(_Rule):
    """The same bytes get another verdict than the last time, and somebody loaded or downloaded them in the last `in_use`."""

    on: Literal["verdict-changed"]
    environments: _Names = ("production",)
    in_use: _Duration = 90 * 86_400


class WaiverExpiring(_Rule):
    """A waiver in force ends within one of `before`; told once for each."""

    on: Literal["waiver-expiring"]
    before: Annotated[tuple[_Duration, ...], Field(min_length=1, max_length=10, strict=False)] = (
        14 * 86_400,
        3 * 86_400,
    )


Rule = Annotated[NewBlock | VerdictChanged | WaiverExpiring, Field(discriminator="on")]


class _File(_Strict):
    api_version: Literal["mlgov/v1"]
    kind: Literal["Notifications"]
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=100, strict=False)]


def load_rules(path: Path) -> tuple[NewBlock | VerdictChanged | WaiverExpiring, ...]:
    """The rules of a file. Raises `SettingsError` where it cannot be read, `RulesInvalidError` for mistakes."""
    try:
        with open_file(path, may_be_piped=True) as file:
            data = file.read(_LIMITS.size + 1)
    except OSError as error:
        raise SettingsError(
            f"the rules of notification `{path}` cannot be read: {error.strerror}",
            hint="`MLGOV_NOTIFY_PATH` or `--rules` names the file.",
        ) from error
    return parse_rules(data, str(path))


def parse_rules(data: bytes, source: str) -> tuple[NewBlock | VerdictChanged | WaiverExpiring, ...]:
    """The rules in `data`; `source` is what messages call it. Raises `RulesInvalidError`."""
    try:
        documents = parse_yaml(data, source, _LIMITS)
    except YamlRefusedError as error:
        raise RulesInvalidError(
            [f"{source}:{error.line}:{error.column}: expected strict YAML, got {error.message}"]
        ) from error
    if len(documents) != 1:
        raise RulesInvalidError([f"{source}:1:1: expected one document, got {len(documents)}"])
    try:
        rules = _File.model_validate(documents[0].data).rules
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise RulesInvalidError(
            [_worded(documents[0], each["loc"], each["msg"]) for each in found]
        ) from error
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RulesInvalidError([f"{source}: expected each name once, got `{twice[0]}` twice"])
    return rules


def _worded(document: Document, location: tuple[int | str, ...], message: str) -> str:
    # A union's own steps (`new-block`) are part of what pydantic names, and not of the file.
    kinds = {"new-block", "verdict-changed", "waiver-expiring"}
    path = tuple(each for each in location if each not in kinds)
    line, column = document.place(path)
    place = ".".join(map(str, path)) or "file"
    return f"{document.source}:{line}:{column} {place}: {message.removeprefix('Value error, ')}"
