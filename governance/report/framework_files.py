"""Frameworks as data: one YAML file for each framework and version, read strictly.

Promises: every mistake of a file in one `FrameworkInvalidError`, each with file, line and column; every query of a framework that
came out of here is a selection that names a kind of entry and no time, so that it can be counted over any period. Does not: say
anything of a control that its file does not say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from governance.errors import ConfigurationError
from governance.places import open_file
from governance.policy.mistakes import Mistakes, nearest
from governance.policy.strict_yaml import Limits, YamlRefusedError, parse_yaml
from governance.report.controls import Control, Framework, FrameworkDate
from governance.report.selection import SelectionError, parse_selection

_LIMITS = Limits(size=1 << 20, depth=8, values=50_000)
_FOLDER = "frameworks"

_LINE, _NAME = r"^\S([^\n]*\S)?$", r"^[a-z0-9]+(-[a-z0-9]+)*$"
_DAY = r"^2\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
_WORDED = {
    _LINE: "one line of text, without blanks at its ends",
    _NAME: "lower-case words joined by hyphens",
    _DAY: "a day such as 2027-12-02",
}
_Line = Annotated[str, StringConstraints(max_length=400, pattern=_LINE)]
_Name = Annotated[str, StringConstraints(max_length=60, pattern=_NAME)]
_Day = Annotated[str, StringConstraints(pattern=_DAY)]


class FrameworkInvalidError(ConfigurationError):
    """Framework files with mistakes, or a framework that nobody knows. `problems` lists all of them."""

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        super().__init__(f"the framework cannot be used:\n{listed}", hint=hint)
        self.problems = tuple(problems)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)


class _Metadata(_Strict):
    name: _Name
    version: _Line
    title: _Line


class _Date(_Strict):
    what: _Line
    on: _Day
    certain: bool
    source: _Line


class _Control(_Strict):
    id: _Line
    title: _Line
    shown: _Line
    queries: Annotated[list[_Line], Field(min_length=1, max_length=10)]
    not_shown: _Line


class _File(_Strict):
    api_version: Literal["mlgov/v1"]
    kind: Literal["Framework"]
    metadata: _Metadata
    note: _Line
    dates: list[_Date] = []
    controls: Annotated[list[_Control], Field(min_length=1, max_length=2_000)]


def shipped() -> tuple[str, ...]:
    """The names of the frameworks that come with the program, sorted."""
    folder = files("governance.report").joinpath(_FOLDER)
    return tuple(sorted(each.name[:-5] for each in folder.iterdir() if each.name.endswith(".yaml")))


def load_frameworks(names: Iterable[str] = ()) -> tuple[Framework, ...]:
    """Frameworks by name, or from files of one's own by path (`./ours.yaml`); without any, all that come with the program.

    Raises `FrameworkInvalidError` with the mistakes of all of them.
    """
    known = shipped()
    found: list[Framework] = []
    problems: list[str] = []
    for name in dict.fromkeys(names or known):
        try:
            found.append(parse_framework(_read(name, known), name))
        except FrameworkInvalidError as error:
            problems += error.problems
    if problems:
        raise FrameworkInvalidError(
            problems, hint=f"There are: {', '.join(known)}; or give the path of a YAML file."
        )
    return tuple(found)


def parse_framework(data: bytes, source: str) -> Framework:
    """The framework of one file. Raises `FrameworkInvalidError`; `source` is what its messages call the file."""
    try:
        documents = parse_yaml(data, source, _LIMITS)
    except YamlRefusedError as error:
        place = f"{source}:{error.line}:{error.column}"
        raise FrameworkInvalidError([f"{place}: expected strict YAML, got {error.message}"]) from error
    if len(documents) != 1:
        raise FrameworkInvalidError([f"{source}:1:1: expected one document, got {len(documents)}"])
    (document,) = documents
    mistakes = Mistakes()
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            _note(mistakes, each)
        raise FrameworkInvalidError(mistakes.lines(document)) from error
    _check_controls(file, mistakes)
    if mistakes.found:
        raise FrameworkInvalidError(mistakes.lines(document))
    return _framework(file)


def _read(name: str, known: Sequence[str]) -> bytes:
    if name in known:
        return files("governance.report").joinpath(_FOLDER, f"{name}.yaml").read_bytes()
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        near = nearest(name, known)
        meant = "" if near is None else f", did you mean `{near}`?"
        raise FrameworkInvalidError([f"`{name[:80]}` is not a framework that comes with the program{meant}"])
    try:
        with open_file(path, may_be_piped=True) as stream:
            return stream.read(_LIMITS.size + 1)
    except OSError as error:
        raise FrameworkInvalidError([f"`{name}` cannot be read: {error.strerror}"]) from error


def _note(mistakes: Mistakes, error: ErrorDetails) -> None:
    """A mistake that pydantic found, in our words where it names a key."""
    match error["type"]:
        case "extra_forbidden":
            mistakes.add(error["loc"], "a key that is known here", got=error["loc"][-1], key=True)
        case "missing":
            mistakes.add(error["loc"][:-1], f"the key `{error['loc'][-1]}`", key=True)
        case _:
            mistakes.add(error["loc"], _expected(error), got=error["input"])


def _expected(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "string_pattern_mismatch":
            return _WORDED[context["pattern"]]
        case "string_too_long":
            return f"at most {context['max_length']} characters"
        case "too_short":
            return "at least one"
        case "too_long":
            return f"at most {context['max_length']}"
        case _:
            return error["msg"].removeprefix("Input should be ")


def _check_controls(file: _File, mistakes: Mistakes) -> None:
    """What one control cannot know alone, and whether its queries are selections that can be counted."""
    seen: set[str] = set()
    for place, control in enumerate(file.controls):
        if control.id in seen:
            mistakes.add(("controls", place, "id"), "an id that no other control has", got=control.id)
        seen.add(control.id)
        for number, query in enumerate(control.queries):
            where = ("controls", place, "queries", number)
            if control.queries.index(query) != number:
                mistakes.add(where, "a query that does not stand above already", got=query)
            try:
                selection = parse_selection(query)
            except SelectionError as error:
                mistakes.add(where, f"a selection: {error.message}", got=query)
                continue
            if selection.since is not None or selection.until is not None:
                mistakes.add(where, "no time, since the report's period applies", got=query)
            if not selection.kinds:
                mistakes.add(where, "a selection that names a kind of entry", got=query)


def _framework(file: _File) -> Framework:
    return Framework(
        name=file.metadata.name,
        version=file.metadata.version,
        title=file.metadata.title,
        note=file.note,
        dates=tuple(
            FrameworkDate(what=each.what, on=each.on, certain=each.certain, source=each.source)
            for each in file.dates
        ),
        controls=tuple(
            Control(
                id=each.id,
                title=each.title,
                claim=each.shown,
                queries=tuple(str(parse_selection(query)) for query in each.queries),
                not_shown=each.not_shown,
            )
            for each in file.controls
        ),
    )
