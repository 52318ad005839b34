"""Strict YAML: the 1.2 core schema without the parts that surprise or explode, and a place for every value.

Promises: no duplicate keys, anchors, aliases, merge keys, tags, directives or keys that are not strings; UTF-8 without
a byte-order mark, NUL or Unicode's separators of lines; limits on bytes, depth and number of values. Every refusal names line and column. Does not:
know what a policy is.

PyYAML's C parser gives events; its constructors, which follow YAML 1.1 (`no` is false there, `1:30` is 90) and can
build objects, are not used. Places are not kept while a file is read well, since most files are: the first mistake
asks for them and pays a second pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from governance.policy.mistakes import Path

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | str | int | float | bool | None"

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_STARTS = frozenset("-+.0123456789")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAX_DIGITS = 18
_MOST_REFUSED = 200
_BREAK = re.compile(r"\r\n|\r|\n")
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_SEPARATOR = re.compile("[\x85\u2028\u2029]")
"""To YAML 1.2 characters like others, to the parser ends of lines: what stands behind one in a comment, and is shown there
by editors and reviews, would be a rule."""

_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one file may hold. The defaults fit 20,000 rules."""

    size: int = 4 << 20
    depth: int = 32
    values: int = 1_000_000


DEFAULT_LIMITS = Limits()


class YamlRefusedError(ValueError):
    """A file that is not strict YAML. `line` and `column` count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class _Place:
    line: int
    column: int
    written: str | None = None


@dataclass(slots=True)
class Document:
    """One YAML document: its data, and on demand the place of every key and value. `doubtful` is where something stands that is
    not strict YAML, in whose place there is null or nothing; only `read_yaml` gives such documents."""

    source: str
    data: Tree
    text: str = field(repr=False)
    index: int = 0
    limits: Limits = DEFAULT_LIMITS
    doubtful: tuple[Path, ...] = ()
    _places: dict[tuple[Path, bool], _Place] | None = field(default=None, repr=False)

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at `path`, or of its key; of the nearest parent where there is none."""
        places = self._known()
        at = places.get((path, key)) or places.get((path, False))
        while at is None and path:
            path = path[:-1]
            at = places.get((path, False))
        return (at.line, at.column) if at else (1, 1)

    def written(self, path: Path) -> str | None:
        """How the plain scalar at `path` was written."""
        at = self._known().get((path, False))
        return at.written if at else None

    def _known(self) -> dict[tuple[Path, bool], _Place]:
        if self._places is None:
            builder = _Builder(self.text, self.limits, keep_places=True)
            builder.build()
            self._places = builder.places[self.index]
        return self._places


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What could be read of a file, and all that was refused in it. `is_whole` says that no document is missing."""

    documents: tuple[Document, ...]
    refused: tuple[YamlRefusedError, ...]
    is_whole: bool


def parse_yaml(data: bytes, source: str, limits: Limits = DEFAULT_LIMITS) -> list[Document]:
    """The documents of a file. Raises `YamlRefusedError`, the first where there are several."""
    text = _decode(data, limits)
    trees = _built(_Builder(text, limits, keep_places=False), text, limits)
    return [
        Document(source=source, data=tree, text=text, index=index, limits=limits)
        for index, tree in enumerate(trees)
    ]


def read_yaml(data: bytes, source: str, limits: Limits = DEFAULT_LIMITS) -> Reading:
    """The documents of a file as far as they can be read, with everything that is refused in it."""
    try:
        return Reading(documents=tuple(parse_yaml(data, source, limits)), refused=(), is_whole=True)
    except YamlRefusedError as first:
        refused = first
    try:
        text = _decode(data, limits)
    except YamlRefusedError:
        return Reading(documents=(), refused=(refused,), is_whole=False)
    builder = _Builder(text, limits, keep_places=True)
    try:
        _built(builder, text, limits)
        end: tuple[YamlRefusedError, ...] = ()
    except YamlRefusedError as last:
        end = (last,)
    documents = tuple(
        Document(source, tree, text, index, limits, tuple(builder.doubtful[index]), builder.places[index])
        for index, tree in enumerate(builder.trees)
    )
    return Reading(documents=documents, refused=(*builder.refused, *end), is_whole=not end)


def _built(builder: _Builder, text: str, limits: Limits) -> list[Tree]:
    try:
        return builder.build()
    except yaml.MarkedYAMLError as error:
        conflict = _CONFLICT.search(text)
        if conflict is not None:
            line = text.count("\n", 0, conflict.start()) + 1
            raise YamlRefusedError("a merge conflict of git that nobody has resolved", line, 1) from error
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlRefusedError(_problem(error, limits), line, column) from error
    except yaml.reader.ReaderError as error:
        raise _unreadable(text) from error
    except yaml.YAMLError as error:
        raise YamlRefusedError("not YAML", 1, 1) from error


def _problem(error: yaml.MarkedYAMLError, limits: Limits) -> str:
    """What is wrong. The scanner reads ahead of us, and from libyaml 0.2.6 on gives up by itself on deep nesting."""
    if error.problem == "exceeded maximum nesting depth":
        return f"nesting deeper than {limits.depth}"
    return f"not YAML: {error.problem}" if error.problem else "not YAML"


def _decode(data: bytes, limits: Limits) -> str:
    if len(data) > limits.size:
        raise YamlRefusedError(f"{len(data)} bytes, more than the {limits.size} that a file may have", 1, 1)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise YamlRefusedError("UTF-16 text; save the file as UTF-8", 1, 1)
    if data.startswith(b"\xef\xbb\xbf"):
        raise YamlRefusedError("a byte-order mark; save the file as UTF-8 without one", 1, 1)
    nul = data.find(b"\0")
    if nul >= 0:
        raise YamlRefusedError("a NUL byte", *_position(data[:nul].decode("utf-8", "replace")))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise YamlRefusedError("bytes that are not UTF-8", *_position(before)) from error
    separator = None if text.isascii() else _SEPARATOR.search(text)
    if separator is not None:
        code = f"{ord(separator[0]):04X}"
        message = f"a line separator (U+{code}); write it as `\\u{code}` in double quotes, or leave it out"
        raise YamlRefusedError(message, *_position(text[: separator.start()]))
    return text


def _position(before: str) -> tuple[int, int]:
    """Line and column, in characters, of what follows `before`."""
    lines = _BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


def _unreadable(text: str) -> YamlRefusedError:
    # The C reader counts bytes where Python's counts characters, so neither is asked.
    found = _CONTROL.search(text)
    position = _position(text[: found.start()]) if found else (1, 1)
    return YamlRefusedError("a character that YAML does not allow (a control character)", *position)


class _Builder:
    """Builds trees from events. One use. With places, what is refused and does not hide the rest is noted in `refused`, and its
    path in `doubtful`; without, the first refusal ends it."""

    def __init__(self, text: str, limits: Limits, *, keep_places: bool) -> None:
        self._text = text
        self._limits = limits
        self._left = limits.values
        self._keep = keep_places
        self._next: Any = None
        self.trees: list[Tree] = []
        self.places: list[dict[tuple[Path, bool], _Place]] = []
        self.doubtful: list[list[Path]] = []
        self.refused: list[YamlRefusedError] = []

    def build(self) -> list[Tree]:
        parser = _Loader(self._text)
        self._next = parser.get_event
        try:
            return self._documents()
        finally:
            parser.dispose()

    def _documents(self) -> list[Tree]:
        while True:
            event = self._next()
            kind = event.__class__
            if kind is yaml.StreamEndEvent:
                return self.trees
            if kind is yaml.DocumentStartEvent:
                self.places.append({})
                self.doubtful.append([])
                if event.version or event.tags:
                    self._refuse(_refused("a directive (`%YAML`, `%TAG`)", event))
                self.trees.append(self._value(self._next(), (), 0))
            # Stream starts and document ends carry nothing.

    def _value(self, event: Any, path: Path, depth: int) -> Tree:
        self._left -= 1
        if self._left < 0:
            raise _refused(f"more than {self._limits.values} values", event)
        kind = event.__class__
        if kind is yaml.AliasEvent:
            self._refuse(_refused(f"an alias (`*{event.anchor}`); write the value out", event), path)
            return None
        if event.anchor is not None:
            self._refuse(
                _refused(f"an anchor (`&{event.anchor}`); anchors and aliases are not allowed", event)
            )
        if event.tag is not None:
            self._refuse(_refused(f"a tag (`{_tag(event.tag)}`); tags are not allowed", event), path)
        if kind is yaml.ScalarEvent:
            if self._keep:
                self._note(event, path, event.value if event.implicit[0] else None)
            return self._scalar(event, path) if event.implicit[0] else str(event.value)
        if depth >= self._limits.depth:
            raise _refused(f"nesting deeper than {self._limits.depth}", event)
        if self._keep:
            self._note(event, path, None)
        if kind is yaml.MappingStartEvent:
            return self._mapping(path, depth + 1)
        return self._sequence(path, depth + 1)

    def _sequence(self, path: Path, depth: int) -> list[Tree]:
        members: list[Tree] = []
        take, keep = self._next, self._keep
        while True:
            event = take()
            if event.__class__ is yaml.SequenceEndEvent:
                return members
            members.append(self._value(event, (*path, len(members)) if keep else path, depth))

    def _mapping(self, path: Path, depth: int) -> dict[str, Tree]:
        members: dict[str, Tree] = {}
        first: dict[str, Any] = {}
        take, keep = self._next, self._keep
        while True:
            event = take()
            if event.__class__ is yaml.MappingEndEvent:
                return members
            try:
                key = _key(event)
                if key in members:
                    line = first[key].start_mark.line + 1
                    raise _refused(f"key `{key[:60]}` twice; it stands in line {line} already", event)
            except YamlRefusedError as error:
                if event.__class__ is not yaml.ScalarEvent:
                    raise
                self._refuse(error, (*path, event.value))
                self._skip(event.value, take(), (*path, event.value), depth)
                continue
            first[key] = event
            below = (*path, key) if keep else path
            if keep:
                mark = event.start_mark
                self.places[-1][below, True] = _Place(mark.line + 1, mark.column + 1)
            members[key] = self._value(take(), below, depth)

    def _skip(self, key: str, event: Any, path: Path, depth: int) -> None:
        """Read the value of a key that was refused, for its own mistakes; what a merge key merges has none beside the key's."""
        if key != "<<" or event.__class__ is not yaml.AliasEvent:
            self._value(event, path, depth)

    def _scalar(self, event: Any, path: Path) -> Tree:
        try:
            return _scalar(event)
        except YamlRefusedError as error:
            self._refuse(error, path)
            return None

    def _refuse(self, error: YamlRefusedError, path: Path | None = None) -> None:
        """Go on after a refusal where all of them are wanted. `path` is where the tree lacks something because of it."""
        if not self._keep or len(self.refused) == _MOST_REFUSED:
            raise error
        self.refused.append(error)
        if path is not None:
            self.doubtful[-1].append(path)

    def _note(self, event: Any, path: Path, written: str | None) -> None:
        mark = event.start_mark
        self.places[-1][path, False] = _Place(mark.line + 1, mark.column + 1, written)


def _key(event: Any) -> str:
    if event.__class__ is not yaml.ScalarEvent or event.anchor is not None or event.tag is not None:
        raise _refused("a key that is not a plain string", event)
    key = str(event.value)
    if not event.implicit[0]:
        return key
    if key == "<<":
        raise _refused("a merge key (`<<`); write the values out", event)
    if not isinstance(_scalar(event), str):
        raise _refused(f"key `{key[:60]}`, which is not a string; quote it", event)
    return key


def _scalar(event: Any) -> Tree:
    """A plain scalar by the core schema (YAML 1.2.2, section 10.3.2)."""
    text: str = event.value
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _STARTS:
        return text
    if _INT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise _refused(f"a number of {len(text)} digits", event)
        # The core schema reads 010 as ten, YAML 1.1 as eight: too doubtful to guess.
        if len(text.lstrip("+-")) > 1 and text.lstrip("+-")[0] == "0" and text[1] not in "ox":
            raise _refused(f"number `{text}` with a leading zero; quote it if it is text", event)
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise _refused("a number that is too large", event)
        return value
    if _NOT_FINITE.fullmatch(text):
        raise _refused(f"`{text}`, which is not a finite number", event)
    return text


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]


def _refused(what: str, event: Any) -> YamlRefusedError:
    mark = event.start_mark
    return YamlRefusedError(what, mark.line + 1, mark.column + 1)
