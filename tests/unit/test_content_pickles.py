"""The walk over a pickle's operations. The malicious ones are written as operations and never loaded."""

from __future__ import annotations

import bz2
import collections
import datetime as dt
import gzip
import io
import lzma
import os
import pickle
import zipfile
import zlib
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import cloudpickle
import numpy as np
import pytest

from governance.content.inspection import MAX_UNPACKED, inspect
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, is_allowed, is_dangerous, judge
from governance.content.pickles import walk

SYSTEM = b"cos\nsystem\n(S'echo'\ntR."


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


OPERATIONS = [
    ("GLOBAL", SYSTEM, ("os.system",)),
    ("INST", b"(S'echo'\nios\nsystem\n.", ("os.system",)),
    ("OBJ", b"(cos\nsystem\nS'echo'\no.", ("os.system",)),
    ("STACK_GLOBAL", b"\x80\x04" + short("os") + short("system") + b"\x93.", ("os.system",)),
    ("memo by MEMOIZE", b"\x80\x04" + short("os") + b"\x940" + short("system") + b"\x940h\x00h\x01\x93.", ("os.system",)),
    ("memo by BINPUT", b"\x80\x04" + short("os") + b"q\x070" + short("system") + b"q\x080h\x07h\x08\x93.", ("os.system",)),
    ("memo by PUT", b"\x80\x04" + short("os") + b"p5\n0" + short("system") + b"p6\n0g5\ng6\n\x93.", ("os.system",)),
    ("memo by LONG_BINPUT", b"\x80\x04" + short("os") + b"r\x00\x01\x00\x000j\x00\x01\x00\x00" + short("system") + b"\x93.", ("os.system",)),
    ("DUP", b"\x80\x04" + short("code") + b"2\x93.", ("code.code",)),
    ("POP between", b"\x80\x04" + short("os") + b"K\x010" + short("system") + b"\x93.", ("os.system",)),
    ("POP_MARK between", b"\x80\x04" + short("os") + b"(K\x01K\x021" + short("system") + b"\x93.", ("os.system",)),
    ("old strings", b"\x80\x04S'os'\nS'system'\n\x93.", ("os.system",)),
    ("UNICODE", b"\x80\x04Vos\nVsystem\n\x93.", ("os.system",)),
    ("BINUNICODE", b"\x80\x04X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93.", ("os.system",)),
    ("BINUNICODE8", b"\x80\x04\x8d" + (2).to_bytes(8, "little") + b"os" + short("system") + b"\x93.", ("os.system",)),
    ("computed", b"\x80\x04" + short("os") + b"cacme\nf\n)R\x93.", ("?unresolved", "acme.f")),
    ("a text that is built", b"\x80\x04cbuiltins\nstr\n" + short("os") + b"\x85\x81" + short("f") + b"\x93.", ("?unresolved", "builtins.str")),
    ("a constant", b"\x80\x04cacme\nNAME\n" + short("f") + b"\x93.", ("?unresolved", "acme.NAME")),
    ("escaped", b"\x80\x04Vo\\u0073\nVsystem\n\x93.", ("os.system",)),
    ("escaped in bytes", b"\x80\x04S'o\\x73'\nS'\\163ystem'\n\x93.", ("os.system",)),
    ("half a character", b"\x80\x04Vo\\ud800\nVsystem\n\x93.", ("?unresolved",)),
    ("escaped otherwise", b"\x80\x04S'o\\\\s'\nVsystem\n\x93.", ("?unresolved",)),
    ("EXT", b"\x80\x02\x82\x01.", ("?extension",)),
    ("dotted", b"\x80\x04" + short("numpy") + short("f2py.os.system") + b"\x93.", ("?within.f2py.os.system", "numpy.f2py.os.system")),
    ("not UTF-8", b"\x80\x02c\xffos\nsystem\n.", ("\\xffos.system",)),
    ("frames", b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00" + short("os") + short("system") + b"\x93.", ("os.system",)),
    ("two in a row", pickle.dumps(1) + SYSTEM, ("os.system",)),
    ("persistent id", b"\x80\x02(X\x07\x00\x00\x00storagetQcos\nsystem\n.", ("os.system",)),
    ("nothing", pickle.dumps({"a": [1, 2.0, None, True, "x", b"y"]}), ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "imports"), [row[1:] for row in OPERATIONS], ids=[row[0] for row in OPERATIONS]
)
def test_every_way_to_import_is_seen(data: bytes, imports: tuple[str, ...]) -> None:
    found = walk(data)
    assert found.imports == imports
    assert found.problem is None


BROKEN = [
    b"",
    b"\x80\x04",
    SYSTEM[:-1],
    b"cos\nsystem",
    b"cos\nsystem\n\xff",
    b"cos\nsystem\n0000.",
    b"cos\nsystem\nt.",
    b"\x93.",
    b"2.",
    b"\x94.",
    b"pnumber\n.",
    b"K\x01px\n.",
    b"X\xff\xff\xff\xffabc",
    b"K\x01a.",
    b"(K\x01e.",
    b"](K\x01a.",
    b"(2.",
    b"\x8e" + b"\xff" * 8,
    b"\x95\x01",
]


@pytest.mark.parametrize("data", BROKEN)
def test_what_cannot_be_read_on_says_so_and_keeps_what_was_seen(data: bytes) -> None:
    found = walk(data)
    assert found.problem
    assert found.imports == (("os.system",) if data.startswith(b"cos\nsystem\n") else ())


@pytest.mark.parametrize(
    "value",
    [b"K\x01", b"K\x01\x85", b"}", b"]", b"N", b"\x89", b"cbuiltins\nset\n", b"cbuiltins\nset\n)\x81"],
)
def test_what_is_no_text_names_nothing(value: bytes) -> None:
    for data in (value + short("system"), short("os") + value):
        with pytest.raises((pickle.UnpicklingError, TypeError)):
            pickle.loads(b"\x80\x04" + data + b"\x93.")
        assert "?unresolved" not in walk(b"\x80\x04" + data + b"\x93.").imports


def test_what_follows_a_pickle_need_not_be_one() -> None:
    assert walk(pickle.dumps(1) + b"raw bytes \xff").problem is None
    broken = walk(pickle.dumps(1) + b"cos\nsystem\n\xff")
    assert (broken.imports, broken.problem is None) == (("os.system",), False)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_real_pickles_of_every_protocol_are_read_to_their_end(protocol: int) -> None:
    value = [
        collections.OrderedDict(a=1),
        dt.datetime.now(dt.UTC),
        {1, 2},
        1 << 100,
        "ü",
        b"x" * 300,
        np.zeros(4),
        *([zoneinfo.ZoneInfo("UTC")] if protocol >= 2 else []),
    ]
    data = pickle.dumps(value, protocol=protocol)
    found = walk(data)
    assert (found.problem, found.end) == (None, len(data))
    assert {"collections.OrderedDict", "datetime.datetime", "numpy.dtype"} <= set(found.imports)
    assert all(is_allowed(name) for name in found.imports)


def a_zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


ARRAY_HEADER = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"
CONTAINERS = [
    ("m.pt", a_zip(**{"a/data.pkl": SYSTEM, "a/data/0": b"\x00" * 100})),
    ("m.pt", a_zip(**{"a/data/0": SYSTEM})),
    ("a.zip", a_zip(x=a_zip(y=SYSTEM))),
    ("m.joblib", zlib.compress(SYSTEM)),
    ("m.pkl", gzip.compress(SYSTEM, mtime=0)),
    ("m.pkl", bz2.compress(SYSTEM)),
    ("m.pkl", lzma.compress(SYSTEM)),
    ("m.npy", b"\x93NUMPY\x01\x00" + len(ARRAY_HEADER).to_bytes(2, "little") + ARRAY_HEADER + SYSTEM),
    ("m.npy", b"\x93NUMPY\x02\x00" + len(ARRAY_HEADER).to_bytes(4, "little") + ARRAY_HEADER + SYSTEM),
]


@pytest.mark.parametrize(("name", "data"), CONTAINERS, ids=map(str, range(len(CONTAINERS))))
def test_containers_are_opened(name: str, data: bytes) -> None:
    found = inspect(name, data)
    assert found.imports == ("os.system",)
    assert found.broken is None


def test_a_bomb_is_skipped_and_not_clean() -> None:
    bomb = zlib.compress(b"\x80\x04" + b"N0" * 2_000_000)
    assert inspect("m.joblib", bomb, limit=1 << 20).skipped
    archive = a_zip(**{"a/data.pkl": b"\x80\x02" + b"\x00" * 2_000_000})
    assert len(archive) < 10_000
    assert inspect("m.pt", archive, limit=1 << 20).skipped
    assert MAX_UNPACKED <= 64 << 20


def test_a_zip_whose_parts_disagree_is_broken() -> None:
    data = a_zip(**{"a/data.pkl": pickle.dumps(1)})
    assert inspect("m.pt", data.replace(b"a/data.pkl", b"b/data.pkl", 1)).broken
    assert inspect("m.pt", data[:-30]).broken
    twice = a_zip(**{"a/data.pkl": pickle.dumps(1), "b/data.pkl": pickle.dumps(2)})
    assert inspect("m.pt", twice.replace(b"b/data.pkl", b"a/data.pkl")).broken


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_member_cannot_be_unpacked_is_broken(method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/data.pkl", pickle.dumps(list(range(1_000))))
    data = bytearray(buffer.getvalue())
    for at in range(60, 90):
        data[at] ^= 0xFF
    assert inspect("m.pt", bytes(data)).broken == "a zip that does not fit together"


def test_an_encrypted_member_is_skipped_and_not_clean() -> None:
    data = bytearray(a_zip(**{"a/data.pkl": pickle.dumps(1)}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    found = inspect("m.pt", bytes(data))
    assert (found.skipped, found.broken) == ("a member is encrypted", None)


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "a.tar", "saved_model.pb", "a.7z"])
def test_what_is_not_looked_into_says_so(name: str) -> None:
    data = {
        "m.h5": b"\x89HDF\r\n\x1a\n",
        "m.keras": a_zip(config=b"\x00"),
        "a.tar": b"x" * 257 + b"ustar",
    }.get(name, b"7z\xbc\xaf\x27\x1c")
    found = inspect(name, data)
    assert found.skipped or name == "m.keras"


NAMES = [
    ("os.system", MALICIOUS), ("posix.system", MALICIOUS), ("nt.system", MALICIOUS), ("builtins.eval", MALICIOUS),
    ("__builtin__.eval", MALICIOUS), ("_io.FileIO", MALICIOUS), ("_posixsubprocess.fork_exec", MALICIOUS),
    ("subprocess.Popen", MALICIOUS), ("pip._internal.main", MALICIOUS), ("commands.getoutput", MALICIOUS),
    ("test.support.x", MALICIOUS), ("__main__.Model", SUSPICIOUS),
    ("?unresolved", SUSPICIOUS), ("?extension", SUSPICIOUS), ("acme.models.Net", SUSPICIOUS),
    ("numpy.f2py.os.system", MALICIOUS), ("pandas.io.common.os.system", SUSPICIOUS), ("?within.os.system", MALICIOUS),
    ("?within._os.system", MALICIOUS), ("?within.parallel.subprocess.run", MALICIOUS), ("?within.requests.get", MALICIOUS),
    ("?within.Outer.Inner", CLEAN), ("?within.Table.copy", CLEAN), ("?within.datetime.datetime", CLEAN),
    ("numpy.load.__globals__", MALICIOUS), ("pandas.io.common.__builtins__", MALICIOUS), ("acme.Net.__init__", SUSPICIOUS),
    ("numpy.testing._private.utils.runstring", MALICIOUS), ("opentelemetry.sdk.resources._run_command", MALICIOUS),
    ("gevent.subprocess.Popen", MALICIOUS), ("six.exec_", MALICIOUS), ("mlflow.projects.run", MALICIOUS), ("acme.popen.Engine", SUSPICIOUS), ("pandas.io.pytables.HDFStore", SUSPICIOUS), ("functools.partial", SUSPICIOUS),
    ("osmium.Reader", SUSPICIOUS), ("_acme.x", SUSPICIOUS), ("builtins.type", SUSPICIOUS), ("typing.Generic", SUSPICIOUS), ("typing.Any", CLEAN),
    ("omegaconf.dictconfig.DictConfig", CLEAN), ("omegaconf.resolvers.oc.env", SUSPICIOUS),
    ("json.dumps", SUSPICIOUS), ("json.tool.main", MALICIOUS), ("time.sleep", MALICIOUS), ("pathlib._local.PosixPath", CLEAN),
    ("builtins.getattr", MALICIOUS), ("typing.get_type_hints", MALICIOUS), ("_operator.methodcaller", MALICIOUS),
    ("collections.OrderedDict", CLEAN), ("numpy.ndarray", CLEAN), ("numpy.object_", SUSPICIOUS), ("torch.FloatStorage", CLEAN),
    ("sklearn.linear_model._logistic.LogisticRegression", CLEAN), ("builtins.set", CLEAN),
    ("catboost.core.CatBoostClassifier", CLEAN), ("catboost.core.Pool", SUSPICIOUS),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict"), NAMES)
def test_names_are_judged_exactly(name: str, verdict: str) -> None:
    assert judge([name], is_broken=False) == verdict
    assert judge([name, "os.system"], is_broken=False) == MALICIOUS
    assert judge([name], is_broken=True) != CLEAN
    assert not (is_allowed(name) and is_dangerous(name))


def read(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


GETATTR = read("builtins", "getattr")
SKELETON = read("cloudpickle.cloudpickle", "_make_skeleton_enum") + b")R"
ASKED = [
    ("of an import", GETATTR + read("acme", "Net") + short("Inner") + b"\x86R", ("?within.Net.Inner", "acme.Net", "acme.Net.Inner")),
    ("of what was asked for", GETATTR + GETATTR + read("acme", "io") + short("os") + b"\x86R" + short("system") + b"\x86R",
     ("?within.io.os", "?within.io.os.system", "acme.io", "acme.io.os", "acme.io.os.system")),
    ("by an old import", b"cbuiltins\ngetattr\n" + read("acme", "Net") + short("Inner") + b"\x86R",
     ("?within.Net.Inner", "acme.Net", "acme.Net.Inner")),
    ("from the memo", GETATTR + b"\x940h\x00" + read("acme", "Net") + short("f") + b"\x86R",
     ("?within.Net.f", "acme.Net", "acme.Net.f")),
    ("a member of an enumeration", GETATTR + SKELETON + short("RED") + b"\x86R", ("cloudpickle.cloudpickle._make_skeleton_enum",)),
    ("more of an enumeration", GETATTR + SKELETON + short("__init__") + b"\x86R",
     ("?within._make_skeleton_enum().__init__", "cloudpickle.cloudpickle._make_skeleton_enum",
      "cloudpickle.cloudpickle._make_skeleton_enum().__init__")),
    ("of what was made", GETATTR + read("acme", "load") + b")R" + short("system") + b"\x86R", ("acme.load", "builtins.getattr")),
    ("of a text", GETATTR + short("x") + short("format") + b"\x86R", ("?within.str.format", "builtins.str.format")),
    ("a name that is worked out", GETATTR + read("acme", "Net") + b"K\x01\x86R", ("acme.Net", "builtins.getattr")),
    ("with a value for none", GETATTR + read("acme", "Net") + short("f") + b"N\x87R", ("acme.Net", "builtins.getattr")),
    ("with a mark", GETATTR + b"(" + read("acme", "Net") + short("f") + b"tR", ("?within.Net.f", "acme.Net", "acme.Net.f")),
    ("handed on", read("functools", "reduce") + GETATTR + read("acme", "Net") + b"\x86R", ("acme.Net", "builtins.getattr", "functools.reduce")),
    ("handed on first of two", read("functools", "partial") + GETATTR + short("x") + b"\x86R", ("builtins.getattr", "functools.partial")),
    ("handed on alone", read("functools", "partial") + GETATTR + b"\x85R", ("builtins.getattr", "functools.partial")),
    ("kept in a list", b"]" + GETATTR + b"a", ("builtins.getattr",)),
    ("kept in a long list", b"](" + GETATTR + b"e", ("builtins.getattr",)),
    ("called with itself", read("acme", "f") + GETATTR + b"R", ("acme.f", "builtins.getattr")),
    ("given back", GETATTR, ("builtins.getattr",)),
    ("changed by BUILD", read("acme", "f") + GETATTR + b"b", ("?changes.acme.f", "acme.f", "builtins.getattr")),
    ("as a class", b"(" + GETATTR + read("acme", "Net") + b"o", ("acme.Net", "builtins.getattr")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "imports"), [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_what_is_asked_of_an_import_is_an_import_and_any_other_asking_is_told_of(
    data: bytes, imports: tuple[str, ...]
) -> None:
    found = walk(b"\x80\x04" + data + b".")
    assert (found.imports, found.problem) == (imports, None)


def written_in_a_notebook() -> type:
    """A class that cloudpickle has to write whole, as it does with those of `__main__`."""

    @dataclass
    class Settings:
        names: list[str] = field(default_factory=list)
        limit: int | None = None

    class RefusedError(ValueError):
        pass

    class Model:
        def __init__(self, act: Callable[[], object] | None = None) -> None:
            self.settings = Settings()
            self.act = act

        @property
        def limit(self) -> int | None:
            return self.settings.limit

        @staticmethod
        def refusal() -> type[Exception]:
            return RefusedError

        def predict(self, rows: list[Any], params: Optional[dict[str, Any]] = None) -> list[Any]:  # noqa: UP045 - as others write it, which names `typing.Optional`
            return rows if super().__eq__(params) else []

    Model.predict.__annotations__ |= {"rows": list[int | None], "params": Optional[dict[str, Any]]}  # noqa: UP045 - see above
    return Model


ARGUMENTS = b"\x80\x02ctransformers.training_args\nTrainingArguments\n"


def test_the_arguments_of_a_training_are_clean_unless_they_are_called() -> None:
    """`training_args.bin` lies beside nearly every model of the hub that somebody trained on."""
    state = b"}X\x02\0\0\0lrG?\xb9\x99\x99\x99\x99\x99\x9as"
    built = inspect("training_args.bin", ARGUMENTS + b")\x81" + state + b"b.")
    assert judge(built.imports, is_broken=False) == CLEAN
    for called in (b")R.", b"X\x01\0\0\0x\x85R.", b")\x810" + ARGUMENTS[2:] + b")R."):
        found = inspect("training_args.bin", ARGUMENTS + called)
        assert "?calls.transformers.training_args.TrainingArguments" in found.imports
        assert judge(found.imports, is_broken=False) == MALICIOUS
    asked = b"cbuiltins\ngetattr\n" + ARGUMENTS[2:] + b")\x81X\x0b\0\0\0set_dataset\x86R."
    assert judge(inspect("a.pkl", b"\x80\x02" + asked).imports, is_broken=False) != CLEAN


def test_a_class_of_a_notebook_is_not_called_malicious_for_being_a_class() -> None:
    model = written_in_a_notebook()
    found = inspect("python_model.pkl", cloudpickle.dumps(model()))
    assert {"builtins.type", "_functools.reduce", "dataclasses.Field"} <= set(found.imports)
    assert judge(found.imports, is_broken=False) == SUSPICIOUS
    for act in (os.system, eval):
        armed = inspect("python_model.pkl", cloudpickle.dumps(model(act)))
        assert judge(armed.imports, is_broken=False) == MALICIOUS


@pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "notes.txt"])
@pytest.mark.parametrize("start", [b"p1\n0g1\0\n", b"p1\n0g1\0zz\n", b"p1\0\n0g1\n"])
def test_an_index_ends_with_a_nul_as_it_does_for_the_unpickler_in_c(start: bytes, name: str) -> None:
    data = b"X\x01\0\0\0a" + start + b"0cposix\ngetcwd\n)R."
    assert pickle.loads(data) == str(Path.cwd())
    assert "posix.getcwd" in inspect(name, data).imports
