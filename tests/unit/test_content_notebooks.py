"""What people write in notebooks, as cloudpickle writes it whole: harmless things are not called malicious, and armed ones are.

Each piece is run as a notebook's cell is, in a module that nobody can import.
"""

from __future__ import annotations

import pickle
import sys
from textwrap import dedent
from types import ModuleType

import cloudpickle
import pytest

from governance.content.inspection import inspect
from governance.content.judgement import MALICIOUS, SUSPICIOUS, is_dangerous, judge

CELLS = {
    "signatures and types by name": """
        import inspect, types
        def thing(a: int, *, b: str = ""): return inspect.Parameter
        thing = [inspect.signature(thing), types.SimpleNamespace, types.MappingProxyType, types.GenericAlias]
    """,
    "methods of values": """
        import numpy as np
        class Words:
            def split(self, text): return text.split()
        thing = [Words().split, {"a": 1}.get, [1].append, "-".join, np.zeros(3).mean]
    """,
    "enumerations": """
        import enum
        class Thing(enum.Enum):
            RED = 1
            @classmethod
            def of(cls, value): return cls(value)
            @property
            def nice(self): return self.name.title()
        class Level(enum.IntEnum):
            LOW = enum.auto()
        class Word(enum.StrEnum):
            YES = "yes"
        class Right(enum.Flag):
            READ = 1; WRITE = 2
        thing = [Thing.RED, Level.LOW, Word.YES, Right.READ | Right.WRITE, {Thing.RED: 1}]
    """,
    "classes that restore themselves": """
        class Base:
            def __setstate__(self, state): self.__dict__ = state
        class Thing(Base):
            def __getstate__(self): return self.__dict__.copy()
            def __setstate__(self, state):
                super().__setstate__(state)
                self.lock = None
        thing = [Thing()]
    """,
    "data classes": """
        import dataclasses, typing
        @dataclasses.dataclass(frozen=True, slots=True)
        class Frozen:
            names: list[str] = dataclasses.field(default_factory=list)
        @dataclasses.dataclass(kw_only=True, order=True)
        class Thing:
            a: int
            b: typing.ClassVar[int] = 3
            c: dataclasses.InitVar[int] = 3
            def __post_init__(self, c): pass
        thing = [Frozen(), Thing(a=1)]
    """,
    "named tuples and typed dictionaries": """
        import collections, typing
        Pair = collections.namedtuple("Pair", "left right")
        class Row(typing.NamedTuple):
            key: int
            text: str = ""
        class Options(typing.TypedDict, total=False):
            a: typing.Required[int]
        thing = [Pair(1, 2), Row(1), Options]
    """,
    "abstract and generic classes": """
        import abc, typing, collections.abc, numbers
        T = typing.TypeVar("T")
        class Base(abc.ABC, typing.Generic[T]):
            @property
            @abc.abstractmethod
            def name(self) -> T: ...
        class Shape(typing.Protocol):
            def area(self) -> float: ...
        class Table(collections.abc.Mapping):
            def __getitem__(self, key): return key
            def __iter__(self): return iter(())
            def __len__(self): return 0
        class Meta(type): pass
        class Thing(Base[str], metaclass=abc.ABCMeta):
            name = "x"
        class Other(metaclass=Meta): pass
        class Amount(numbers.Number): pass
        thing = [Thing(), Table(), Shape, Other()]
    """,
    "type hints": """
        import collections.abc, typing, pydantic
        P = typing.ParamSpec("P")
        def thing(
            a: collections.abc.Callable[[int], str], b: typing.Optional["Later"], c: typing.Annotated[int, "unit"],
            d: typing.Deque[int], e: typing.Pattern[str], f: dict[str, tuple[int, ...]] | None, g: typing.Callable[P, int],
            *rest: typing.Literal["a"], **more: typing.Union[int, str],
        ) -> typing.NoReturn: ...
    """,
    "decorators": """
        import contextlib, functools
        def logged(call):
            @functools.wraps(call)
            def inner(*given, **named): return call(*given, **named)
            return inner
        @contextlib.contextmanager
        def around(): yield 1
        @functools.total_ordering
        class Ordered:
            def __eq__(self, other): return True
            def __lt__(self, other): return False
        class Thing(contextlib.ContextDecorator):
            @logged
            def call(self): return around
            @staticmethod
            def plain(): return 1
            half = functools.partial(round, ndigits=2)
            def __init__(self): self.bound = self.call
        thing = [Thing(), logged, Ordered()]
    """,
    "classes of others below them": """
        import ast, collections, html.parser, json, logging, threading
        class Encoder(json.JSONEncoder):
            def default(self, value): return super().default(value)
        class Cleaner(html.parser.HTMLParser): pass
        class Visitor(ast.NodeVisitor): pass
        class Lines(logging.Formatter): pass
        class Bag(collections.UserDict): pass
        class Local(threading.local): pass
        class BadInputError(FileNotFoundError): pass
        class OldWarning(UserWarning): pass
        thing = [Encoder, Cleaner, Visitor, Lines, Bag(), Local, BadInputError, OldWarning]
    """,
    "functions imported by name": """
        from base64 import b64decode
        from bisect import bisect
        from copy import deepcopy
        from dataclasses import asdict
        from functools import reduce
        from hashlib import sha256
        from heapq import nlargest
        from html import unescape
        from io import BytesIO
        from itertools import chain, groupby
        from json import dumps, loads
        from math import log, sqrt
        from operator import add
        from os.path import basename, join
        from re import findall, sub
        from statistics import mean
        from textwrap import dedent
        from time import perf_counter
        from typing import cast
        from unicodedata import normalize
        from urllib.parse import urlparse
        from uuid import uuid4
        def thing():
            return (b64decode, bisect, deepcopy, asdict, reduce, sha256, nlargest, unescape, BytesIO, chain, groupby, dumps, loads,
                    log, sqrt, add, basename, join, findall, sub, mean, dedent, perf_counter, cast, normalize, urlparse, uuid4)
    """,
    "values": """
        import collections, datetime, decimal, logging, math, pathlib, re, uuid, zoneinfo
        thing = {
            "best": max, "all": [min, sum, len, sorted, round, math.log1p], "clean": str.lower, "flags": re.I | re.M,
            "pattern": re.compile("a"), "when": datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), "log": logging.getLogger("x"),
            "where": pathlib.Path("x"), "id": uuid.UUID(int=1), "price": decimal.Decimal(1), "chain": collections.ChainMap({}, {}),
        }
    """,
}  # fmt: skip


def run_cell(code: str, more: str = "") -> object:
    """What it calls `thing`. Its module is gone afterwards, as a notebook's is where the model is loaded."""
    cell = sys.modules["a_notebook"] = ModuleType("a_notebook")
    try:
        exec(dedent(code) + more, vars(cell))
    finally:
        del sys.modules["a_notebook"]
    return cell.thing


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
def test_what_a_notebook_defines_is_not_called_malicious(code: str) -> None:
    found = inspect("python_model.pkl", cloudpickle.dumps(run_cell(code)))
    assert found.broken is None
    assert [name for name in found.imports if is_dangerous(name)] == []
    assert judge(found.imports, is_broken=False) == SUSPICIOUS


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL))
def test_nor_are_methods_in_older_protocols(protocol: int) -> None:
    found = inspect(
        "python_model.pkl", cloudpickle.dumps(run_cell(CELLS["methods of values"]), protocol=protocol)
    )
    assert [name for name in found.imports if is_dangerous(name)] == []


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize(
    "armed", ["os.system", "eval", "subprocess.run", "getattr", "operator.attrgetter('x')"]
)
def test_nor_does_it_hide_what_is(code: str, armed: str) -> None:
    with_it = run_cell(code, f"\nimport operator, os, subprocess\nthing = [thing, {armed}]")
    found = inspect("python_model.pkl", cloudpickle.dumps(with_it))
    assert judge(found.imports, is_broken=False) == MALICIOUS
