"""What the walk over a pickle keeps of the values on the stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from governance.content.allowed import ALLOWED


@dataclass(frozen=True, slots=True)
class Import:
    """What an import, or an attribute of one, left on the stack."""

    module: str
    path: str

    @property
    def name(self) -> str:
        """As judged."""
        return f"{self.module}.{self.path}"


@dataclass(frozen=True, slots=True)
class Instance:
    """Of an imported class."""

    of: Import


Value = object
"""What is known: texts, small numbers, imports and their instances, layouts of arrays, and the tuples and dictionaries of these.
`None` stands for all else."""

FALSE: Final = object()
"""`False`, where a pickle has it."""

GETATTR: Final = frozenset({"builtins.getattr", "__builtin__.getattr"})
IMPORTS: Final = frozenset(
    {
        "numpy._core._ufunc_reconstruct",
        "numpy.core._ufunc_reconstruct",
        "scipy._lib._uarray._backend.unpickle_function",
        "skops.io._utils._import_obj",
        "skops.io._utils.gettype",
    }
)
"""What imports the name that it is given second from the module that it is given first."""
_TEXTS: Final = frozenset({"builtins.str", "__builtin__.str", "__builtin__.unicode"})
BUILTIN_TYPE: Final = "cloudpickle.cloudpickle._builtin_type"
"""Gives what the module `types` has under a name, up to all of the interpreter."""
ENUM: Final = Import("cloudpickle.cloudpickle", "_make_skeleton_enum()")
"""An enumeration that was written whole, of which Python 3.11 asks its members by `getattr`."""
PARTIAL: Final = object()
"""What can be called and is not known: a `functools.partial`, a method of something."""
OWN: Final = object()
"""A function or class that was written whole, or an instance of one."""
LIST: Final = Instance(Import("builtins", "list"))
GROWS: Final = frozenset({"__builtin__.list", "builtins.list", "collections.deque"})
"""To what a pickle appends. Another instance may have been given what is called in place of that."""
REBUILDS: Final = frozenset(
    {
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
    }
)
"""What makes an instance of the class that it is given first, and that says second what makes it: a base class, or a shape."""
MADE: Final[Mapping[str, Value]] = {
    # These may give back NaT, of which there is one for the whole process; a state changes it for all.
    **{
        f"pandas._libs.tslibs.{module}.{name}": Import(f"pandas._libs.tslibs.{module}", f"{name}()")
        for module, name in (("timestamps", "_unpickle_timestamp"), ("timedeltas", "_timedelta_unpickle"))
    },
    "numpy._core.numeric._frombuffer": Instance(Import("numpy", "ndarray")),
    "numpy.core.numeric._frombuffer": Instance(Import("numpy", "ndarray")),
    "_functools.partial": PARTIAL,
    "functools.partial": PARTIAL,
    "types.MethodType": PARTIAL,
    "cloudpickle.cloudpickle._make_function": OWN,
    "cloudpickle.cloudpickle._make_skeleton_class": OWN,
    "cloudpickle.cloudpickle._make_skeleton_enum": ENUM,
}
"""What comes of calls that matter."""


def may_be_text(value: Value) -> bool:
    """Whether something can be a text, and none of a class that is derived from it. An import may be a constant, where it is not known to
    be a class or function."""
    if isinstance(value, Import):
        return value.name not in ALLOWED
    return isinstance(value, str | None) or (isinstance(value, Instance) and value.of.name in _TEXTS)


def ask(name: str, arguments: Value) -> tuple[Import | None, Value] | None:
    """What is found where `name` is asked for something under a name, and what is left on the stack; None where that cannot be told."""
    match arguments:
        case (str(module), str(path), *_) if name in IMPORTS:
            found = Import(module, path)
            return found, found
        case (str(asked),) if name == BUILTIN_TYPE and asked[:1].isupper():
            return None, OWN
        case (Import(module=module, path=path), str(asked)) if name in GETATTR and not (
            arguments[0] is ENUM and not asked.startswith("_")
        ):
            found = Import(module, f"{path}.{asked}")
            return found, found
        case (owner, str(asked)) if name in GETATTR and not asked.startswith("__"):
            return _of_instance(owner, asked)
    return None


def _of_instance(owner: Value, asked: str) -> tuple[Import | None, Value] | None:
    match owner:
        case Import():  # `ENUM`
            return None, None
        case str() | dict():
            return Import("builtins", f"{type(owner).__name__}.{asked}"), PARTIAL
        case Instance(of=of):
            return Import(of.module, f"{of.path}.{asked}"), PARTIAL
    return (None, PARTIAL) if owner is OWN else None
