"""What a Jinja template would reach for when a prompt is made with it, read from its syntax. Nothing is ever rendered.

A language model brings the template of its prompts along: in `chat_template.jinja`, in the JSON of its tokenizer or processor, or in
a GGUF file's header. Not every loader renders it in a sandbox (CVE-2024-34359), and outside of one a template that gets from any
value to its class, and from there to the interpreter's modules, runs what it likes.

Promises: every attribute or key that is written out is seen, whether it stands behind a dot, in brackets or in a filter; a name that
the template makes itself (joined, cut, replaced, formatted), and then looks something up by, is `COMPUTED`, whichever variables it
went through. Does not: follow values from outside, such as a message's keys, which templates look up by all the time; or judge.
"""

from __future__ import annotations

import builtins
import re
import types
from collections.abc import Iterator, Mapping
from typing import Final

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from governance.content.documents import NoDocumentError, objects_in, texts_in
from governance.content.effort import Effort
from governance.content.origins import MADE, Origins

ROOT: Final = "?template"
COMPUTED: Final = f"{ROOT}.computed"

_LARGEST: Final = 256 << 10
"""Characters; ten times what the longest templates have that models come with."""
_PRICE: Final = 15
"""How many operations of a pickle parsing a character is worth."""
_FILES: Final = (".jinja", ".jinja2", ".j2")
_DOCUMENTS: Final = frozenset(
    {"tokenizer_config.json", "chat_template.json", "processor_config.json", "preprocessor_config.json"}
)
_KEY: Final = "chat_template"
HELD: Final = _KEY.encode()
"""What is in JSON that holds a template, as loaders write it."""

_FRAME_NAMES: Final = frozenset(
    (
        "gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await", "ag_frame", "ag_code", "ag_await", "f_back",
        "f_builtins", "f_code", "f_globals", "f_locals", "tb_frame", "tb_next", "func_globals", "func_code", "im_func", "im_self", "mro",
    )
)  # fmt: skip
_SPECIAL: Final = frozenset(
    name.lower()
    for each in (type, types.FunctionType, types.MethodType, types.ModuleType, types.GeneratorType, builtins)
    for name in dir(each)
    if name.startswith("__")
) | {"__builtins__", "__dict__", "__file__", "__path__", "__wrapped__", "_templatereference__context"}  # fmt: skip
"""What Python's own objects have; others' texts begin and end with underscores too."""
_FIELD: Final = re.compile(r"\{[^{}]*?[.\[](__[a-z][a-z0-9_]*__)", re.IGNORECASE)
"""An attribute that `str.format` looks up."""
_BY_NAME: Final[Mapping[str, int]] = {
    "attr": 0, "map": 0, "selectattr": 0, "rejectattr": 0, "groupby": 0, "sum": 0, "unique": 1, "min": 1, "max": 1, "join": 1, "sort": 2,
}  # fmt: skip
"""The filters that look an attribute up, and which of their arguments names it."""


class TemplateUnreadError(Exception):
    """No template that Jinja reads, or too long a one. The text says which."""


class _Generation(Extension):
    """The one tag that loaders of language models have added to Jinja's: it marks what the model itself has said."""

    tags = {"generation"}  # noqa: RUF012 - as the class above has it

    def parse(self, parser: Parser) -> nodes.Node:
        """See `Extension.parse`."""
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(
            line
        )


_ENVIRONMENT: Final = Environment(  # noqa: S701 - parses, and never renders
    extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do", _Generation]
)


def is_template(name: str) -> bool:
    """Whether a file is a template, or holds one, by its name."""
    return name.casefold().endswith(_FILES) or is_document(name)


def is_document(name: str) -> bool:
    """Whether a file is, by its name, one of those that say how a model's inputs are prepared."""
    return name.rpartition("/")[2].casefold() in _DOCUMENTS


def file_reaches(name: str, data: bytes, effort: Effort) -> frozenset[str]:
    """What the templates of a file reach for, as `?template.name`. Raises `DocumentError`, `TemplateUnreadError` or `SpentError`."""
    if not name.casefold().endswith(_FILES):
        return document_reaches(data, effort)
    try:
        return template_reaches(data.decode("utf-8-sig"), effort)
    except UnicodeDecodeError as error:
        raise TemplateUnreadError("a template that is not UTF-8") from error


def document_reaches(data: bytes, effort: Effort) -> frozenset[str]:
    """What the templates in a JSON document reach for. Raises as `file_reaches`."""
    try:
        held = [node[_KEY] for node in objects_in(data) if _KEY in node]
    except NoDocumentError:
        return frozenset()  # nobody finds a template in it
    return frozenset(name for text in texts_in(held) for name in template_reaches(text, effort))


def template_reaches(text: str, effort: Effort) -> frozenset[str]:
    """What one template reaches for. Raises `TemplateUnreadError` or `SpentError`."""
    if "{" not in text:
        return frozenset()
    if len(text) > _LARGEST:
        raise TemplateUnreadError(f"a template of more than {_LARGEST} characters")
    effort.demand(_PRICE * len(text))
    try:
        tree = _ENVIRONMENT.parse(text)
        every = list(_walk(tree))
        origins = Origins(every)
        return frozenset(f"{ROOT}.{name}" for node in every for name in _reached(node, origins))
    except (TemplateError, ValueError, RecursionError, OverflowError, MemoryError) as error:
        raise TemplateUnreadError("a template that cannot be read") from error


def _walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _reached(node: nodes.Node, origins: Origins) -> Iterator[str]:
    match node:
        case nodes.Getattr(attr=name) if name.startswith("_") or name in _FRAME_NAMES:
            yield name
        case nodes.Const(value=str(text)):
            yield from _spelled(text)
        case nodes.Keyword(key=key):
            yield from _spelled(key)
        case nodes.Getitem(arg=key) if not isinstance(key, nodes.Slice) and MADE in origins.of(key):
            yield "computed"
        case nodes.Filter(name=name) if name in _BY_NAME and _is_computed(node, origins):
            yield "computed"


def _spelled(text: str) -> Iterator[str]:
    """The attributes that a text names: alone, as a path, or as the fields of a format."""
    parts = text.split(".")
    yield from (part for part in parts if part.lower() in _SPECIAL or part in _FRAME_NAMES)
    yield from (part for part in _FIELD.findall(text) if part.lower() in _SPECIAL)


def _is_computed(node: nodes.Filter, origins: Origins) -> bool:
    """Whether a filter is told which attribute to look up by a text that the template has made, or that is not to be seen here."""
    if node.name == "attr":
        return not all(isinstance(each, nodes.Const) for each in node.args) or bool(
            node.dyn_args or node.kwargs
        )
    place = _BY_NAME[node.name]
    named = [*node.args[place : place + 1], *(each.value for each in node.kwargs if each.key == "attribute")]
    if node.name == "map":  # `map("attr", name)`
        named += node.args
    dynamic = [each for each in (node.dyn_args, node.dyn_kwargs) if each is not None]
    return any(MADE in origins.of(each) for each in (*named, *dynamic))
