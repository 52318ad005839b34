"""What sort of file something is: bytes before names."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from governance.content.formats import detect, format_of_name
from governance.model.facts import FORMATS


def a_zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def an_array(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


RECORD = np.zeros(1, dtype=[("a", "<f8"), ("b", "O")])
FILES = [
    ("model.pkl", pickle.dumps({"a": 1}), "pickle"),
    ("innocent.txt", pickle.dumps({"a": 1}), "pickle"),
    ("innocent.safetensors", pickle.dumps([1], protocol=2), "pickle"),
    ("weights.bin", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
    ("innocent.txt", b"cos\nsystem\n(S'echo'\ntR.", "pickle"),
    ("innocent.json", b"(S'echo'\nios\nsystem\n.", "pickle"),
    ("old.pkl", b"(lp0\n.", "pickle"),
    ("broken.pkl", b"", "pickle"),
    ("model.joblib", pickle.dumps(1), "joblib"),
    ("model.bin", b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n.", "joblib"),
    ("model.joblib", b"\x78\x9cabc", "joblib"),
    ("model.pkl", b"\x1f\x8babc", "joblib"),
    ("model.pt", a_zip("archive/data.pkl"), "torch-zip"),
    ("pytorch_model.bin", a_zip("archive/data.pkl", "archive/data/0"), "torch-zip"),
    ("model.pkl", a_zip("x"), "torch-zip"),
    ("model.pt", b"nonsense", "pickle"),
    ("m.keras", a_zip("config.json"), "keras-v3"),
    ("m.skops", a_zip("schema.json"), "skops"),
    ("a.zip", a_zip("x"), "archive"),
    ("a.npz", a_zip("a.npy"), "archive"),
    ("a.tar.gz", b"\x1f\x8babc", "archive"),
    ("a.tar", b"x" * 257 + b"ustar", "archive"),
    ("m.h5", b"\x89HDF\r\n\x1a\nrest", "keras-h5"),
    ("m.bin", bytes(512) + b"\x89HDF\r\n\x1a\nrest", "keras-h5"),
    ("m.h5", b"GGUF\x03\x00", "keras-h5"),
    ("m.keras", b"GGUF" + a_zip("config.json"), "keras-v3"),
    ("m.skops", b"x" + a_zip("schema.json"), "skops"),
    ("m.pkl", (16).to_bytes(8, "little") + b'{"a":{}}        ', "pickle"),
    ("crate.bin", b"X\n\0\0\0\3\0\4\2\1\0\3\5\0", "r-objects"),
    ("crate.bin", b"B\n\3\0\0\0\1\2\4\0\0\5\3\0", "r-objects"),
    ("crate.txt", b"A\n3\n262657\n197888\n5\nUTF-8\n", "r-objects"),
    ("letters.txt", b"A\n3\n2\n1\n", "text"),
    ("session.bin", b"RDX3\nX\n\0\0\0\3\0\4\2\1", "r-objects"),
    (".RData", b"RDA2\nA\n2\n", "r-objects"),
    ("model.rds", b"anything", "r-objects"),
    ("model.bin", b"\xac\xed\0\5sr\0\x11java.util.HashMap", "java-objects"),
    ("model.bin", b"7JL\x14\4\0\0\0", "julia-objects"),
    ("a.npy", an_array(np.zeros(3)), "npy"),
    ("a.npy", an_array(np.zeros(3, dtype="M8[25s]")), "npy"),
    ("a.npy", an_array(np.array(["x"])), "npy"),
    ("a.npy", an_array(np.zeros(1, dtype=[("O", "<i4", (2, 2)), (("title", "b"), [("c", "?")])])), "npy"),
    ("a.npy", an_array(np.zeros(3)).replace(b"(3,)", b"(3L)"), "npy"),
    ("a.npy", an_array(np.array([{}], dtype=object)), "npy-object"),
    ("a.npy", an_array(np.zeros(3))[:20], "npy-object"),
    ("a.txt", an_array(RECORD), "npy-object"),
    ("m.safetensors", (16).to_bytes(8, "little") + b'{"a":{}}        ', "safetensors"),
    ("m.bin", (16).to_bytes(8, "little") + b'{"a":{}}        ', "safetensors"),
    ("m.gguf", b"GGUF\x03\x00", "gguf"),
    ("m.onnx", b"\x08\x07\x12\x07pytorch", "onnx"),
    ("evil-1.0-py3-none-any.whl", a_zip("evil/__init__.py"), "python"),
    ("evil.egg", a_zip("evil.py"), "python"),
    ("app.pyz", b"#!/usr/bin/env python3\n" + a_zip("__main__.py"), "python"),
    ("code.zip", a_zip("evil.py"), "archive"),
    ("saved_model.pb", b"\x08\x01", "tensorflow"),
    ("MLmodel", b"flavors: {}\n", "yaml"),
    ("conda.yaml", b"channels: []\n", "yaml"),
    ("config.json", b'{"a": 1}', "json"),
    ("code.py", b"import os\nos.system('x')\n", "python"),
    ("requirements.txt", b"catboost\nnumpy\n", "text"),
    ("requirements.txt", b"iminuit\nscipy\n", "text"),
    ("notes", b"catboost\nnumpy # the next\npandas\n", "text"),
    ("requirements.txt", b"cos\nsystem\nnumpy\n", "pickle"),
    ("model.pkl", b"catboost\nnumpy\n", "pickle"),
    ("README", b"hello", "text"),
    ("notes", b"just text, caf\xc3\xa9", "text"),
    ("notes.txt", b"\x00\x01\x02", "other"),
    ("model.ubj", b"{L\x00\x00", "other"),
    ("empty.bin", b"", "other"),
    ("empty.txt", b"", "text"),
]


@pytest.mark.parametrize(("name", "data", "format_"), FILES)
def test_formats(name: str, data: bytes, format_: str) -> None:
    assert detect(name, data[:4096]) == format_


def test_a_long_text_may_be_cut_inside_a_letter() -> None:
    data = ("ü" * 5000).encode()
    assert detect("a.txt", data[:4096]) == "text"
    assert detect("a.txt", b"x" + data[:4095]) == "text"


def test_every_answer_is_of_the_catalogue() -> None:
    assert {format_ for _, _, format_ in FILES} <= set(FORMATS)
    assert {format_of_name(name) for name, _, _ in FILES} <= set(FORMATS)
