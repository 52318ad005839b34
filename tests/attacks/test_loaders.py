"""Attacks by way of what MLflow's and joblib's loaders do beside unpickling. Each is first seen to work."""

from __future__ import annotations

import io
import lzma
import struct
import sys
import zipfile
import zipimport
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import mlflow
import pytest
import yaml

from tests.attacks.test_hidden_code import EVIL, look


def test_a_model_that_is_loaded_by_a_module_of_the_interpreters_is_malicious(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that opens a browser as soon as it is imported. The model holds no code at all."""
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)
    text = yaml.safe_dump({"flavors": {"python_function": {"loader_module": "antigravity", "env": {}}}})
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(AttributeError, match="_load_pyfunc"):
        mlflow.pyfunc.load_model(str(tmp_path))
    assert len(opened) == 1
    facts = look(tmp_path, "MLmodel", text.encode())
    assert facts["content.verdict"] == "malicious"


def alone(length: bytes) -> bytes:
    """`EVIL` in the oldest form of LZMA, with settings of which no mark is known, and so much behind it that nobody reads up to the end."""
    settings = [{"id": lzma.FILTER_LZMA1, "lc": 0, "lp": 0, "pb": 0, "dict_size": 1 << 16}]
    data = lzma.compress(EVIL + bytes(1 << 20), lzma.FORMAT_ALONE, filters=settings)
    return data[:5] + length + data[13:]


def lzip() -> bytes:
    settings = [{"id": lzma.FILTER_LZMA1, "lc": 3, "lp": 0, "pb": 2, "dict_size": 1 << 16}]
    data = b"LZIP\x01\x10" + lzma.compress(EVIL, lzma.FORMAT_ALONE, filters=settings)[13:]
    data += struct.pack("<IQ", zlib.crc32(EVIL), len(EVIL))
    return data + struct.pack("<Q", len(data) + 8)


UNMARKED = {
    "of unknown length": alone(b"\xff" * 8),
    "like a header of tensors": alone(b"\x00\x00\x00{ \x00\x00\x00"),
    "lzip": lzip(),
}


@pytest.mark.parametrize("name", ["weights.bin", "model.safetensors", "python_model.pkl", "model.onnx"])
@pytest.mark.parametrize("kind", UNMARKED)
def test_a_pickle_that_mlflow_unpacks_by_whatever_settings_of_lzma_is_found(
    tmp_path: Path, kind: str, name: str
) -> None:
    """`MLmodel` says by what the pickle is unpacked, and what it is called."""
    (tmp_path / name).write_bytes(UNMARKED[kind])
    flavor = {
        "loader_module": "mlflow.pyfunc.model",
        "python_model": name,
        "python_model_compression": "lzma",
        "cloudpickle_version": "3",
        "env": {},
    }
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))
    with pytest.raises(AttributeError, match="'int' object"):  # it came to 42
        mlflow.pyfunc.load_model(str(tmp_path))
    facts = look(tmp_path, name, UNMARKED[kind])
    if kind == "of unknown length" or name.endswith(".pkl"):
        # A length that is not true stops whoever reads up to the end.
        assert facts["content.verdict"] == ("suspicious" if "tensors" in kind else "malicious")
    else:
        assert facts["content.verdict"] != "clean"
    assert facts["files"].items[0]["format"] in {"pickle", "joblib", "archive"}


def test_numbers_that_begin_like_lzma_are_numbers(tmp_path: Path) -> None:
    for first in set(range(200)) - {0x5D}:
        data = struct.pack("<4q", first, 5, 0, 7) + bytes(200)
        assert look(tmp_path, "weights.bin", data)["content.verdict"] == "clean"


@pytest.mark.parametrize("space", [b"", b" "])
@pytest.mark.parametrize("length", [b"0x1a", b"  1_a", b"+0X1A"])
@pytest.mark.parametrize("name", ["weights.bin", "notes.txt", "model.joblib"])
def test_a_pickle_as_the_first_releases_of_joblib_compressed_it_is_found(
    tmp_path: Path, name: str, length: bytes, space: bytes
) -> None:
    assert len(EVIL) == int(length, 16)
    data = b"ZF" + length.ljust(19) + space + zlib.compress(EVIL)
    (tmp_path / name).write_bytes(data)
    with pytest.warns(DeprecationWarning, match="joblib"):
        assert joblib.load(tmp_path / name) == 42
    facts = look(tmp_path, name, data)
    if name.endswith(".joblib"):
        assert facts["content.verdict"] == "malicious"
    else:
        assert (facts["content.verdict"] != "clean", facts["content.files_skipped"]) == (True, 1)


def test_a_text_that_begins_with_two_letters_is_a_text(tmp_path: Path) -> None:
    facts = look(tmp_path, "notes.txt", b"ZF Friedrichshafen makes gears.\n")
    assert (facts["content.verdict"], facts["files"].items[0]["format"]) == ("clean", "text")


def tensors() -> bytes:
    header = b'{"a":{"dtype":"U8","shape":[8000],"data_offsets":[0,8000]}}'.ljust(88)
    return len(header).to_bytes(8, "little") + header + bytes(8_000)


def zipped(*names: str) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "answer = 42".ljust(100))
    return bytearray(buffer.getvalue())


def imported_from(path: Path) -> object:
    here: dict[str, object] = {}
    exec(zipimport.zipimporter(str(path)).get_code("own"), here)
    return here["answer"]


def with_a_mark_in_its_end() -> bytes:
    data = zipped("own.py")
    data[-18:-14], data[-2:] = b"PK\x05\x06", b"\x01\x00"
    return tensors() + data


def with_more_than_entries_in_its_directory() -> bytes:
    data = zipped("own.py", "other.py")
    data[data.rindex(b"PK\x01\x02")] = 0
    return tensors() + data


@pytest.mark.parametrize("make", [with_a_mark_in_its_end, with_more_than_entries_in_its_directory])
def test_a_zip_from_which_python_imports_and_which_it_does_not_open_is_found(
    tmp_path: Path, make: Callable[[], bytes]
) -> None:
    """`MLmodel` may call it the model's code. It stands behind tensors."""
    data = make()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(data))
    (tmp_path / "model.safetensors").write_bytes(data)
    assert imported_from(tmp_path / "model.safetensors") == 42
    facts = look(tmp_path, "model.safetensors", data)
    assert facts["content.verdict"] == "suspicious"
    assert facts["files"].items[0]["format"] == "archive"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="imports know the larger record")
def test_a_zip_from_which_python_imports_what_other_readers_take_for_a_comment_is_found(
    tmp_path: Path,
) -> None:
    """Its larger record shifts what is counted from the end by 76 bytes: past the first entry's name."""
    parts = []
    for each in (zipped("a" * 30), zipped("own.py")):
        at = each.index(b"PK\x01\x02")
        parts += [each[:at], each[at:-22]]
    first, entry, own, inner = parts
    inner[42:46] = (len(first) - 76).to_bytes(4, "little")
    entry[32:34] = len(inner).to_bytes(2, "little")
    start, size = len(first + own), len(entry + inner)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start)
    end += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, start, 0)
    data = bytes(first + own + entry + inner) + end
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a" * 30]
    (tmp_path / "weights.bin").write_bytes(data)
    assert imported_from(tmp_path / "weights.bin") == 42
    assert look(tmp_path, "weights.bin", data)["content.verdict"] == "suspicious"
