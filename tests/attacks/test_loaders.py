"""Attacks by way of what MLflow's and joblib's loaders do beside unpickling. Each is first seen to work."""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
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
