"""Which names a Keras configuration has imported when it is loaded, beside the layers and functions that Keras itself is made of.

A configuration is JSON: in a `.keras` file, or as `config.json` in a folder. Each object in it says from which module it is to be
imported, and may bring its code along. Keras refuses some of this in its safe mode, which the caller may switch off, and which had
holes in several releases (CVE-2024-3660, CVE-2025-1550, CVE-2025-8747).

Promises: nothing is imported. A name is left out only where it is of the modules that Keras builds networks from, and no class that
runs, loads or unpickles what it is given (`_DOORS`). Does not: call the rest of a configuration harmless; a graph is not looked into.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping
from typing import Final

from governance.content.documents import objects_in

CONFIG: Final = "config.json"
LAMBDA: Final = "?lambda"
"""Code that the configuration holds itself."""

_MAX_NAME: Final = 1_000
_ROOTS: Final = frozenset({"keras", "tf_keras", "keras_core", "keras_hub", "keras_nlp", "keras_cv"})
_PARTS: Final = frozenset(
    (
        "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "mixed_precision",
        "models", "optimizers", "quantizers", "random", "regularizers",
    )
)  # fmt: skip
_TOPS: Final = frozenset({"Model", "Sequential", "Functional", "DTypePolicy", "Variable", "KerasTensor"})
"""What is named as of `keras` itself."""
_DOORS: Final = frozenset(
    (
        "FlaxLayer", "JaxLayer", "Lambda", "SlicingOpLambda", "TFOpLambda", "TFSMLayer", "TorchModuleWrapper", "load_model",
    )
)  # fmt: skip
_BUILTIN: Final = frozenset(vars(builtins))


def keras_imports(data: bytes) -> frozenset[str]:
    """The names in a configuration. Raises `DocumentError`."""
    return frozenset(name[:_MAX_NAME] for node in objects_in(data) for name in _stated(node))


def _stated(node: Mapping[str, object]) -> Iterator[str]:
    name, module = node.get("class_name"), node.get("module")
    if node.get("function_type") == "lambda" or name == "__lambda__":
        yield LAMBDA
    if not isinstance(name, str) or name == "__lambda__":
        return
    if name == "function":
        name = node.get("config")
    if not isinstance(name, str):
        return
    if not isinstance(module, str):  # as Keras 2 wrote it: its own, or what the caller hands over
        module = "keras.layers"
    if not _is_own(module, name):
        yield f"{module}.{name}"


def _is_own(module: str, name: str) -> bool:
    root, *rest = module.removesuffix(".").split(".")
    if root == "builtins":  # how functions of the caller's are written
        return name not in _BUILTIN
    if root not in _ROOTS or name in _DOORS:
        return False
    inner = [part for part in rest if part != "src"]
    return inner[0] in _PARTS if inner else name in _TOPS
