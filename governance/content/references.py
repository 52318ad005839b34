"""What an `MLmodel` has its loader fetch from a hub, or open outside of the model.

MLflow loads a transformers model that was saved without its weights (`save_pretrained=False`, and each adapter by default) from the
hub, and every model of diffusers. Of other paths it makes no more than `os.path.join`, which leaves the model for an absolute path.

Promises: a name that is only kept for information (`source_model_name` of a model that was saved whole, the `uri` of an artifact) is none.
Does not: care whether the loader of a flavor is the one that its name says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import yaml

from governance.content.dependencies import read_mapping
from governance.content.documents import DocumentError
from governance.content.effort import Effort

MLFLOW_ADAPTER: Final = "peft"
"""The folder in which MLflow keeps an adapter, and from which it loads it onto a model that it has already."""

_LARGEST: Final = 1 << 20
_PRICE: Final = 2
"""How many operations of a pickle reading a byte is worth."""
_APART: Final = re.compile(r"[/\\]")
_DRIVE: Final = re.compile(r"[A-Za-z]:\S")
_ADAPTER_KEY: Final = "peft_adaptor"
_TOLD: Final = frozenset(
    ("config", "inference_config", "model_code_path", "model_config", "prompt_template", "prompts", "uri")
)
"""What loaders do not open: for information, for the model's own code, or a path of which the last part alone is read."""


def read_flavors(data: bytes, effort: Effort) -> Mapping[object, object]:
    """The flavors of an `MLmodel`. Raises `DocumentError` for what cannot be read, and `SpentError`."""
    if len(data) > _LARGEST:
        raise DocumentError("an `MLmodel` that is too long")
    effort.demand(_PRICE * len(data))
    try:
        document = read_mapping(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError("an `MLmodel` that cannot be read") from error
    flavors = document.get("flavors")
    return flavors if isinstance(flavors, Mapping) else {}


def model_references(flavors: Mapping[object, object]) -> list[str]:
    """The names and paths."""
    return [*_hub(flavors.get("transformers")), *_pipelines(flavors), *_paths(flavors)]


def leads_out(path: str) -> bool:
    """Whether a path, joined to a folder on any system, may lead out of it."""
    return bool(
        path.startswith(("/", "\\"))
        or _DRIVE.match(path)
        or any(part.strip() == ".." for part in _APART.split(path))
    )


def names_adapter(path: str) -> bool:
    """Whether a path leads into a folder of adapters."""
    return any(part.strip().casefold() == MLFLOW_ADAPTER for part in _APART.split(path))


def _hub(flavor: object) -> Iterator[str]:
    """What the transformers flavor fetches in place of weights that are not in the model."""
    if not isinstance(flavor, Mapping):
        return
    if flavor.get("local_base_model_path"):
        yield _text(flavor["local_base_model_path"])
    if "source_model_revision" in flavor:
        yield from (_text(value) for key, value in flavor.items() if _is_name(key) and value)


def _pipelines(flavors: Mapping[object, object]) -> Iterator[str]:
    """What the diffusers flavor puts an adapter on, which is never in the model. A configuration outweighs the flavor."""
    if "diffusers" not in flavors:
        return
    own, python = flavors["diffusers"], flavors.get("python_function")
    config = python.get("config") if isinstance(python, Mapping) else None
    for each in (own, config):
        if isinstance(each, Mapping) and each.get("base_model"):
            yield _text(each["base_model"])


def _paths(flavors: Mapping[object, object]) -> Iterator[str]:
    """The paths that lead out of the model, or past an adapter's base. What aliases make many of is looked at once."""
    waiting: list[object] = [flavors]
    seen: set[int] = set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if leads_out(value) or names_adapter(value):
                yield value
        elif isinstance(value, list | Mapping) and id(value) not in seen:
            seen.add(id(value))
            waiting += _opened(value) if isinstance(value, Mapping) else value


def _opened(value: Mapping[object, object]) -> Iterator[object]:
    """What loaders may open, out of a mapping."""
    return (
        each
        for name, each in value.items()
        if not (name in _TOLD or _is_name(name) or (name == _ADAPTER_KEY and each == MLFLOW_ADAPTER))
    )


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.endswith("_name")


def _text(value: object) -> str:
    """A name, or what stands in its place: a few aliases of aliases would make billions of values to write out."""
    return value if isinstance(value, str) else f"({type(value).__name__})"
