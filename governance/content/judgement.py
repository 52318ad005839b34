"""What to think of the names that a pickle imports. Pure.

Three answers for a name: *allowed* (on the exact list in `allowed`), *dangerous* (of the standard library and not
allowed, or of a package whose business is installing, fetching or running; or by which a template leaves its confines), and
*unknown* otherwise. A list of
dangerous names alone can be walked around, and is: so unknown is never good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from governance.content.allowed import ALLOWED
from governance.content.standard_library import MODULES

CLEAN: Final = "clean"
SUSPICIOUS: Final = "suspicious"
MALICIOUS: Final = "malicious"

# fmt: off
_RUNS_OR_FETCHES: Final = frozenset((
    "IPython", "aiohttp", "fabric", "ftputil", "httpx", "invoke", "ipykernel", "paramiko", "pexpect", "pip",
    "pkg_resources", "plumbum", "ptyprocess", "requests", "setuptools", "sh", "urllib3", "websocket",
    "websockets", "wget",
))
# Of the standard library and seen in harmless checkpoints: not allowed, and no proof of malice.
_DOUBTFUL: Final = frozenset((
    "_operator.itemgetter", "_thread.RLock", "enum.Enum", "functools.partial", "inspect._empty",
    "itertools.count", "logging.getLogger", "operator.itemgetter", "random.Random", "re._compile",
    "string.Formatter", "threading.RLock",
))
# What cloudpickle names to build a class anew that was defined in a notebook or script, with its base classes and type hints:
# each custom transformer and each `mlflow.pyfunc.PythonModel` that is logged as an object. What such a class does is in its
# functions' code, which no name tells, so it is not allowed either.
_OF_CLASSES_BY_MODULE: Final[Mapping[str, str]] = {
    "_functools": "reduce",
    "_operator": "getitem or_",
    "_thread": "get_ident",
    "abc": "ABC ABCMeta",
    "builtins": (
        "ArithmeticError AssertionError AttributeError BaseException Exception IndexError KeyError LookupError "
        "NotImplementedError OSError RuntimeError StopIteration TypeError ValueError "
        "classmethod property staticmethod type"
    ),
    "dataclasses": "Field _DataclassParams _HAS_DEFAULT_FACTORY_CLASS _MISSING_TYPE _replace",
    "typing": (
        "Any Callable Dict FrozenSet Generic Iterable Iterator List Literal Mapping Optional Sequence Set Tuple Type "
        "TypedDict Union _TypedDictMeta"
    ),
}
# fmt: on
_NO_PROOF: Final = _DOUBTFUL | {
    f"{module}.{name}" for module, names in _OF_CLASSES_BY_MODULE.items() for name in names.split()
}
_PRIVATE: Final = frozenset(f"_{name}" for name in MODULES) | {"_winapi", "_posixsubprocess", "_aix_support"}
"""`_io` and its like: the same modules by another door."""


# What a template gets from any value to the interpreter by; to ask for a value's class alone is only odd.
_ESCAPES: Final = frozenset(
    f"?template.{name}"
    for name in (
        "__base__", "__bases__", "__builtins__", "__closure__", "__code__", "__getattribute__", "__globals__", "__import__",
        "__init__", "__loader__", "__mro__", "__reduce__", "__reduce_ex__", "__spec__", "__subclasses__", "_TemplateReference__context",
        "ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals", "f_locals", "func_globals", "gi_frame", "mro", "tb_frame",
    )
)  # fmt: skip


_GETS_OUT: Final = _ESCAPES | {"?tensorflow.WriteFile", "?tensorflow.output_stream"}
"""And what a graph changes the machine by that runs it."""


def is_allowed(name: str) -> bool:
    """True for a name on the exact list."""
    return name in ALLOWED


def is_dangerous(name: str) -> bool:
    """True for a name that no model needs and that attacks are made of."""
    if name in ALLOWED or name in _NO_PROOF:
        return False
    if name in _GETS_OUT:
        return True
    root = name.partition(".")[0]
    return root in MODULES or root in _PRIVATE or root in _RUNS_OR_FETCHES


def judge(imports: Iterable[str], *, is_broken: bool) -> str:
    """The verdict on one file. `is_broken` says that it could not be read to its end as what it claims to be."""
    names = set(imports)
    if any(is_dangerous(name) for name in names):
        return MALICIOUS
    return SUSPICIOUS if is_broken or not names <= ALLOWED else CLEAN
