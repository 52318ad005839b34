"""What a file tells those who read it to import, to render, to call or to fetch: by its name, or by the parts of it that say where the next
one lies.

Promises: each reader of a format stands in a module of its own, and what it refuses becomes `broken` or `skipped` here. Does not: look into
pickles, arrays and zips (see `inspection`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from governance.content.documents import DocumentError, NoDocumentError
from governance.content.effort import SPENT, Budget, Effort, SpentError
from governance.content.elsewhere import HELD as AUTO_MAP
from governance.content.elsewhere import fetched, says_where
from governance.content.formats import HEAD, format_of_name
from governance.content.gguf import MARK as GGUF
from governance.content.gguf import GgufError, gguf_templates
from governance.content.graphs import graph_reaches
from governance.content.keras import CONFIG, keras_imports
from governance.content.loaders import is_stage, stage_imports
from governance.content.msgpack import may_hold
from governance.content.onnx import OnnxError, check_onnx
from governance.content.seen import Inspection
from governance.content.tags import tag_imports
from governance.content.targets import KEY as TARGET
from governance.content.targets import document_targets, yaml_targets
from governance.content.templates import (
    HELD,
    TemplateUnreadError,
    document_reaches,
    file_reaches,
    is_document,
    is_template,
    template_reaches,
)
from governance.content.windows import Bytes


def says_what(name: str, head: bytes) -> bool:
    """Whether it is its name by which loaders find what to import, to render or to fetch in a file that begins with `head`."""
    by_name = _is_config(name) or is_template(name) or _is_yaml(name) or says_where(name)
    return by_name or is_stage(name, head) or may_hold(name, head)


def _is_yaml(name: str) -> bool:
    return format_of_name(name) == "yaml"


def _is_config(name: str) -> bool:
    return name.rpartition("/")[2].casefold() == CONFIG


def said(format_: str, name: str, data: bytes, budget: Budget) -> Iterator[Inspection]:
    """What a file tells those who read it to import, to render or to fetch."""
    if _is_config(name):
        yield planned(format_, data, keras_imports)
    if says_where(name) or is_document(name) or (format_ == "json" and AUTO_MAP in data):
        yield _rendered(format_, lambda: fetched(name, data, budget.effort))
    if is_stage(name, data[:HEAD]):
        yield _rendered(format_, lambda: frozenset(stage_imports(name, data)))
    if says_where(name) or (format_ == "json" and TARGET in data):
        yield _rendered(format_, lambda: document_targets(data))
    if _is_yaml(name):
        yield _rendered(format_, lambda: tag_imports(data, budget.effort))
        yield _rendered(format_, lambda: yaml_targets(data, budget.effort))
    if is_template(name):
        yield _rendered(format_, lambda: file_reaches(name, data, budget.effort))
    elif data.startswith(GGUF):
        yield walked("gguf", name, data, budget.effort)
    elif format_ == "json" and HELD in data:
        yield _rendered(format_, lambda: document_reaches(data, budget.effort))


def _rendered(format_: str, reaches: Callable[[], frozenset[str]]) -> Inspection:
    """What the templates or tags that a file holds would reach for, or have fetched."""
    try:
        return Inspection(format=format_, imports=tuple(sorted(reaches())))
    except DocumentError as error:
        return Inspection(format=format_, broken=str(error))
    except TemplateUnreadError as error:
        return Inspection(format=format_, skipped=str(error))
    except SpentError:
        return Inspection(format=format_, skipped=SPENT)


def walked(format_: str, name: str, data: Bytes, effort: Effort) -> Inspection:
    """What is found by following the parts of a file that say where the next one lies."""
    try:
        return WALKS[format_](name, data, effort)
    except (OnnxError, GgufError) as error:
        return Inspection(format=format_, broken=str(error))
    except TemplateUnreadError as error:
        return Inspection(format=format_, skipped=str(error))
    except SpentError:
        return Inspection(format=format_, skipped=SPENT)


def _tensors(_name: str, data: Bytes, effort: Effort) -> Inspection:
    check_onnx(data, effort)
    return Inspection(format="onnx")


def _header(_name: str, data: Bytes, effort: Effort) -> Inspection:
    reached = (template_reaches(text, effort) for text in gguf_templates(data, effort))
    return Inspection(format="gguf", imports=tuple(sorted(frozenset().union(*reached))))


def _graph(name: str, data: Bytes, effort: Effort) -> Inspection:
    found = tuple(sorted(graph_reaches(name, data, effort)))
    return Inspection(
        format="tensorflow",
        imports=found,
        skipped="graphs of TensorFlow are not known to be harmless; ONNX is looked into",
    )


WALKS: Final[Mapping[str, Callable[[str, Bytes, Effort], Inspection]]] = {
    "onnx": _tensors,
    "gguf": _header,
    "tensorflow": _graph,
}


def planned(format_: str, data: bytes, imports_of: Callable[[bytes], frozenset[str]]) -> Inspection:
    """What says which names to import: a schema of skops, a configuration of Keras, or a file that is called so by chance."""
    try:
        return Inspection(format=format_, imports=tuple(sorted(imports_of(data))))
    except DocumentError as error:
        if isinstance(error, NoDocumentError) and imports_of is keras_imports:
            return Inspection(
                format=format_
            )  # many a program has a `config.json`, and Keras reads nothing but JSON
        return Inspection(format=format_, broken=str(error))
