"""Attacks on our own look into files: code under another format's first bytes, under no mark at all, and under trusted names.

Each file is first seen to run code when its loader reads it. That code multiplies six by seven.
"""

from __future__ import annotations

import functools
import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from governance.collect.contents import ContentsCollector
from governance.content.dependencies import read_declared
from governance.content.pickles import may_import
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.facts import Unknown
from governance.model.request import Action, Actor, Request

EVIL = b"cbuiltins\neval\n(S'6*7'\ntR."
LONG = 100 << 10
"""More than is read of a file in one go, so that its first bytes alone decide whether it is read whole."""


def skipping(front: bytes, size: int) -> bytes:
    """`size` bytes that begin with `front` and are one string to an unpickler, which drops it."""
    return (
        front + b"X" + (size - len(front) - 6).to_bytes(4, "little") + b"." * (size - len(front) - 6) + b"0"
    )


def safetensors() -> bytes:
    """A header as safetensors has it, whose length is an operation that takes the next bytes as its text."""
    size = ord("B") | 40 << 8  # read as: 40 bytes are a string
    header = b'{"__metadata__":{"x":"' + b" " * 15 + b"0" + EVIL
    return size.to_bytes(8, "little") + header.ljust(size)


HIDDEN: Mapping[str, bytes] = {
    "a word and a number": b"GGUF\x03\x00\x00\x00\x00" + b"0" + EVIL,
    "a header of tensors": safetensors(),
    "no mark": b"U\x08builtinsU\x04eval\x93(S'6*7'\ntR.",
    "no word before the name": b"U\x01a0" + EVIL,
    "behind all that is looked at first": skipping(b"", 5_000) + EVIL,
    "behind two strings": skipping(b"GGUF\x03\x00\x00\x00\x000", 3_000) + skipping(b"", 3_000) + EVIL,
}


def look(folder: Path, name: str, data: bytes) -> Mapping[str, Any]:
    (folder / name).write_bytes(data)
    entry = FileEntry(path=parse_relative_path(name), size=len(data))
    artifact = Artifact(
        kind=Kind.FILE, host="h", repository=parse_repository_key("r"), path="m", name=name, files=(entry,)
    )
    request = Request(
        action=Action.UPLOAD,
        artifact=artifact,
        actor=Actor(name="mallory"),
        environment="production",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        correlation="c",
        staged={name: folder / name},
    )
    return ContentsCollector(lambda _: pytest.fail("nothing is asked")).collect(request)


def imports_of(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The unsafe imports that are known: all of them, or at least these."""
    found = facts["content.unsafe_imports"]
    named = found.at_least if isinstance(found, Unknown) else found
    assert isinstance(named, tuple)
    return named


@pytest.mark.parametrize("name", ["weights.bin", "model.gguf", "model.safetensors", "notes.txt", "config"])
@pytest.mark.parametrize("length", [0, LONG])
@pytest.mark.parametrize("kind", HIDDEN)
def test_a_pickle_is_found_under_any_first_bytes(tmp_path: Path, kind: str, length: int, name: str) -> None:
    data = HIDDEN[kind].ljust(length, b".")
    assert pickle.loads(data) == 42
    facts = look(tmp_path, name, data)
    assert facts["content.verdict"] == "malicious"
    assert imports_of(facts) == ("builtins.eval",)


def text(of: str) -> bytes:
    return b"\x8c" + bytes([len(of)]) + of.encode()


def imported(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def called(function: bytes, *given: bytes) -> bytes:
    return function + b"(" + b"".join(given) + b"tR"


def asked(owner: bytes, name: str) -> bytes:
    return imported("builtins", "getattr") + owner + text(name) + b"\x86R"


DETOURS: Mapping[str, bytes] = {
    "what imports by two names, for ufuncs": called(
        imported("numpy.core", "_ufunc_reconstruct"), text("builtins"), text("eval")
    ),
    "what imports by two names, for skops": called(
        imported("skops.io._utils", "_import_obj"), text("builtins"), text("eval")
    ),
    "a getter by another name": called(
        called(imported("sqlalchemy.util", "dottedgetter"), text("eval")),
        called(imported("cloudpickle.cloudpickle", "subimport"), text("builtins")),
    ),
    "a method of an instance": called(
        asked(imported("yaml.constructor", "UnsafeConstructor") + b")\x81", "find_python_name"),
        text("builtins.eval"),
        b"N",
    ),
    "what is a type by name alone": called(
        imported("_operator", "getitem"),
        called(imported("cloudpickle.cloudpickle", "_builtin_type"), text("__builtins__")),
        text("eval"),
    ),
    "a module that another package imported": imported("pandas.io.common", "codecs.builtins.eval"),
    "what a module may call": called(
        imported("_operator", "getitem"), imported("pandas", "__builtins__"), text("eval")
    ),
    "what a function may call": called(
        imported("_operator", "getitem"),
        called(imported("_operator", "getitem"), imported("numpy", "load.__globals__"), text("__builtins__")),
        text("eval"),
    ),
    "what is asked of such a module": asked(
        asked(imported("pandas.io.common", "codecs"), "builtins"), "eval"
    ),
}
"""Ways to `eval` that name no package but harmless ones."""


@pytest.mark.parametrize("way", DETOURS)
def test_code_that_is_reached_through_harmless_packages_is_malicious(tmp_path: Path, way: str) -> None:
    data = b"\x80\x04" + called(DETOURS[way], text("6*7")) + b"."
    assert pickle.loads(data) == 42
    facts = look(tmp_path, "model.pkl", data)
    assert facts["content.verdict"] == "malicious"


def test_a_pickle_that_runs_a_command_by_what_mlflow_itself_has_for_that_is_malicious(tmp_path: Path) -> None:
    command = b"(" + text("echo") + text("42") + b"l"
    data = b"\x80\x04" + called(imported("mlflow.utils.process", "_exec_cmd"), command) + b"."
    assert pickle.loads(data).stdout == "42\n"
    assert look(tmp_path, "model.pkl", data)["content.verdict"] == "malicious"


def test_a_pickle_that_changes_what_it_imports_is_malicious(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pathlib.Path, "read_lines", None, raising=False)
    changed = b"N}" + text("read_lines") + imported("builtins", "str") + b"s\x86b"
    data = b"\x80\x04" + imported("pathlib", "Path") + changed + b"."
    pickle.loads(data)
    assert vars(pathlib.Path)["read_lines"] is str
    facts = look(tmp_path, "model.pkl", data)
    assert facts["content.verdict"] == "malicious"
    assert facts["content.unsafe_imports"] == ("?changes.pathlib.Path",)


OBJECTS = {
    "as numpy writes it": "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "with other quotes": """{"descr": "|O", 'fortran_order': False, 'shape': (1,)}""",
    "by its name": "{'descr': 'object', 'fortran_order': False, 'shape': (1,)}",
    "with a letter escaped": "{'\\x64escr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "in brackets": "{'descr': ('|O'), 'fortran_order': False, 'shape': (1,)}",
    "in two parts": "{'descr': '|' 'O', 'fortran_order': False, 'shape': (1,)}",
    "said twice": "{'descr': '<f8', 'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    "as a type of one object": "{'descr': ('|O', ()), 'fortran_order': False, 'shape': (1,)}",
    "behind spaces": "{" + " " * 5_000 + "'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_an_array_of_objects_is_found_in_every_spelling(tmp_path: Path, kind: str) -> None:
    header = OBJECTS[kind].encode() + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + EVIL
    ran: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.eval", ran.append)
        with suppress(AttributeError, ValueError):  # what the code came to is no array
            np.load(io.BytesIO(data), allow_pickle=True)
    assert ran == ["6*7"]
    assert look(tmp_path, "a.npy", data)["content.verdict"] == "malicious"


def test_a_record_with_many_columns_is_an_ordinary_array(tmp_path: Path) -> None:
    """Its header is longer than what is looked at first."""
    buffer = io.BytesIO()
    columns = [(f"a column with a long name {number}", "<f8") for number in range(200)]
    np.save(buffer, np.zeros(20, dtype=columns))
    facts = look(tmp_path, "a.npy", buffer.getvalue())
    assert (facts["content.verdict"], facts["files"].items[0]["format"]) == ("clean", "npy")


def test_and_in_a_zip(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.bin", HIDDEN["behind all that is looked at first"])
    assert look(tmp_path, "a.zip", buffer.getvalue())["content.verdict"] == "malicious"


def test_one_too_large_to_look_into_is_not_clean(tmp_path: Path) -> None:
    data = skipping(b"GGUF\x03\x00\x00\x00\x000", 17 << 20) + EVIL
    assert pickle.loads(data) == 42
    facts = look(tmp_path, "model.gguf", data)
    assert facts["content.files_skipped"] == 1
    assert facts["content.verdict"] != "clean"


BY_LOADS = imported("cloudpickle", "loads")
BYTES = b"C" + bytes([len(EVIL)]) + EVIL
PARTIAL = called(imported("functools", "partial"), BY_LOADS)
LIST = imported("builtins", "list")
CALLED: Mapping[str, bytes] = {
    "by its name": called(BY_LOADS, BYTES),
    "as a class": b"(" + BY_LOADS + BYTES + b"o",
    "from the memo": BY_LOADS + b"q\x070h\x07" + BYTES + b"\x85R",
    "for each of a list": called(LIST, called(imported("builtins", "map"), BY_LOADS, b"](" + BYTES + b"e")),
    "with arguments out of sight": called(
        LIST, imported("builtins", "map") + called(imported("builtins", "tuple"), b"](" + BY_LOADS + b"](" + BYTES + b"ee") + b"R"
    ),
    "as a partial": called(PARTIAL, BYTES),
    "as what an instance restores itself by": b"](" + imported("argparse", "Namespace") + b")\x81N}" + text("__setstate__") + BY_LOADS
    + b"s\x86b" + BYTES + b"b0K\x2ae",
    "as a partial that is mapped": called(LIST, called(imported("builtins", "map"), PARTIAL, b"](" + BYTES + b"e")),
    "as what a partial becomes": called(
        called(imported("functools", "partial"), imported("builtins", "len")) + b"(" + BY_LOADS + b")}Ntb", BYTES
    ),
    "as a partial out of a list": called(
        called(imported("_operator", "getitem"), b"](" + PARTIAL + b"e", b"K\x00"), BYTES
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", CALLED)
def test_a_pickle_that_calls_a_loader_itself_is_malicious(tmp_path: Path, way: str) -> None:
    data = b"\x80\x04" + CALLED[way] + b"."
    assert pickle.loads(data) in (42, [42])
    facts = look(tmp_path, "model.pkl", data)
    assert facts["content.verdict"] == "malicious"
    assert "?calls.cloudpickle.loads" in facts["content.unsafe_imports"]


def test_one_whose_functions_name_loaders_alone_is_not(tmp_path: Path) -> None:
    read = functools.partial(pd.read_csv, sep=";")
    here: dict[str, Any] = {
        "load": joblib.load,
        "read": read,
        "__name__": "a_cell",
    }
    exec("class Own:\n    by = read\n    def go(self): return load, read\nown = Own()", here)
    facts = look(tmp_path, "python_model.pkl", cloudpickle.dumps([here["Own"], here["own"], here["own"].go]))
    assert {"joblib.numpy_pickle.load", "pandas.read_csv"} <= set(facts["content.unsafe_imports"])
    assert facts["content.verdict"] == "suspicious"


def test_nat_is_not_changed_for_the_whole_process(tmp_path: Path) -> None:
    made = imported("pandas._libs.tslibs.timestamps", "_unpickle_timestamp")
    made = called(made, b"\x8a\x08" + bytes(7) + b"\x80", b"N", b"N", b"K\x0a")
    assert pickle.loads(b"\x80\x04" + made + b".") is pd.NaT
    facts = look(tmp_path, "model.pkl", b"\x80\x04" + made + b"}" + text("a") + b"K\x01sb.")
    assert facts["content.verdict"] == "malicious"


def test_what_joblib_runs_behind_the_bytes_of_an_array_is_not_hidden_by_them(tmp_path: Path) -> None:
    """They lie between the operations. Here they are one to whoever does not step over them, which takes in what follows."""
    hidden = EVIL[:-1] + b"0" + text("an array") + b"0N."
    array = b"B" + len(hidden).to_bytes(4, "little")
    wrapped = imported("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81}("
    wrapped += text("subclass") + imported("numpy", "ndarray") + text("shape") + b"K\x05\x85"
    wrapped += text("dtype") + called(imported("numpy", "dtype"), text("u1"))
    wrapped += text("order") + text("C") + text("allow_mmap") + b"\x89ub"
    data = b"\x80\x04" + wrapped + array + hidden.replace(b"6*7", b"1/0") + b"."
    with pytest.raises(ZeroDivisionError):
        joblib.load(io.BytesIO(data))
    for name in ("model.joblib", "model.pkl"):
        assert look(tmp_path, name, data)["content.verdict"] != "clean"


ORDINARY = {
    "MLmodel": b"artifact_path: model\nflavors:\n  python_function:\n    env:\n",
    "requirements.txt": b"cloudpickle==3.1.2\nnumpy==2.4.0\nscikit-learn==1.9.1\n",
    "requirements-loose.txt": b"mlflow\nclick==1\nnumpy\n",
    "notes.txt": b"Based on The Iris data.\nIt was fitted in May.\n",
    "config.json": b'{"architectures": ["Bert"], "vocab_size": 30522}',
    "vocab.txt": b"\n".join(b"[unused%d]" % number for number in range(2_000)),
    "data.csv": b"Id,Sepal,Species\n" + b"1,5.1,setosa\n" * 2_000,
    "model.gguf": b"GGUF\x03\x00\x00\x00\x23\x01\x00\x00\x00\x00\x00\x00" + bytes(LONG),
    "model.safetensors": (88).to_bytes(8, "little")
    + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(88)
    + bytes(4),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_is_no_pickle_is_not_taken_for_one(tmp_path: Path, name: str) -> None:
    data = ORDINARY[name]
    assert not may_import(data[:4096], len(data))
    assert look(tmp_path, name, data)["content.verdict"] == "clean"


def test_a_safetensors_header_that_is_an_operation_by_chance_is_still_one(tmp_path: Path) -> None:
    """Lengths are multiples of eight, and two of these are operations with an argument."""
    for size in (0x58 + 256 * number for number in range(64)):
        header = b'{"__metadata__":{"format":"pt"},"layer.0.weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
        data = size.to_bytes(8, "little") + header.ljust(size) + bytes(16)
        assert look(tmp_path, "m.safetensors", data)["content.verdict"] == "clean"


def test_nor_is_one_that_is_too_large_to_be_read_whole() -> None:
    """Of these only the first bytes are seen, and a doubt would count against a model of many gigabytes."""
    names = (
        f'"layer.{number}.weight":{{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}' for number in range(99)
    )
    header = f"{{{','.join(names)}}}".encode()
    sizes = range(8, 1 << 17, 8)
    doubtful = [size for size in sizes if may_import((size.to_bytes(8, "little") + header)[:4096], 5 << 30)]
    # A text up to the end of its line, behind a mark: an attack looks just so.
    assert {size & 0xFFFF for size in doubtful} == {0x5628, 0x5688}
    assert len(doubtful) == 4


def test_a_skops_file_is_judged_by_the_names_that_it_brings_along(tmp_path: Path) -> None:
    """MLflow trusts the types that the uploader's `MLmodel` lists, so nothing else would stop it."""
    model = make_pipeline(FunctionTransformer(functools.partial(os.system, "true")))
    data = skops.io.dumps(model)
    loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    assert loaded.steps[0][1].func.func is os.system
    for name in ("model.skops", "weights.zip", "weights.bin"):
        facts = look(tmp_path, name, data)
        assert facts["content.verdict"] == "malicious"
        assert "posix.system" in facts["content.unsafe_imports"]


@pytest.mark.parametrize("schema", [None, b"no JSON", '{"__loader__": "TypeNode"}'.encode("utf-16")])
def test_a_skops_file_without_a_schema_that_can_be_read_is_not_clean(
    tmp_path: Path, schema: bytes | None
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.npy", b"\x93NUMPY")
        if schema is not None:
            archive.writestr("schema.json", schema)
    assert look(tmp_path, "model.skops", buffer.getvalue())["content.verdict"] == "suspicious"


def test_an_ordinary_skops_file_is_clean(tmp_path: Path) -> None:
    scaled = ColumnTransformer([("scaled", StandardScaler(), [0])])
    model = make_pipeline(scaled, LogisticRegression()).fit([[0.0], [1.0]], [0, 1])
    assert look(tmp_path, "model.skops", skops.io.dumps(model))["content.verdict"] == "clean"


@pytest.mark.parametrize("name", ["MLmodel", "conda.yaml", "python_env.yaml"])
@pytest.mark.parametrize("key", ["<<", "!!merge x"])
def test_copies_of_copies_are_not_unfolded(name: str, key: str) -> None:
    """Two thousand bytes, 10**60 entries: the file is all problem, and nothing waits for it."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{{key}: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 60)]
    assert read_declared(name, "\n".join(lines).encode()).problems == (f"{name} cannot be read: a merge key",)


def test_a_model_whose_pickle_lies_outside_of_it_is_suspicious(tmp_path: Path) -> None:
    """MLflow joins what `MLmodel` says to the model's folder, which an absolute path leaves. Nobody judged what lies there."""
    outside, model = tmp_path / "outside.pkl", tmp_path / "model"
    outside.write_bytes(EVIL)
    model.mkdir()
    flavor = {
        "pickled_model": str(outside),
        "serialization_format": "cloudpickle",
        "sklearn_version": "1.9.1",
    }
    text = yaml.safe_dump({"flavors": {"sklearn": flavor}})
    (model / "MLmodel").write_text(text)
    assert mlflow.sklearn.load_model(str(model)) == 42
    facts = look(tmp_path, "MLmodel", text.encode())
    assert facts["content.verdict"] == "suspicious"
    assert facts["content.unsafe_imports"] == (f"?elsewhere.{outside}",)
