"""Attacks on our own look into containers: what one reader finds in them and another does not, and what is more work than it looks.

Where a loader is at hand it is seen to find the code; the code multiplies six by seven, and is never run but by its loader.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
import zipimport
from collections.abc import Callable, Mapping
from pathlib import Path

import joblib
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from governance.content.effort import Effort
from governance.content.inspection import inspect
from governance.content.zips import ends_as_zip, is_straight
from governance.model.facts import Unknown
from tests.attacks.test_hidden_code import EVIL, imports_of, look

CODE = b"\x80\x04" + EVIL
BENIGN = pickle.dumps([1.5, 2.5])
ENTRY = b"PK\x01\x02"


def a_zip(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def changed(data: bytes, mark: bytes, offset: int, form: str, value: int) -> bytes:
    """A zip with one field of the first header that begins with `mark` overwritten."""
    found = bytearray(data)
    struct.pack_into(form, found, data.index(mark) + offset, value)
    return bytes(found)


@pytest.mark.parametrize("size", [4 << 10, 64 << 10, 1 << 20])
def test_lzma_with_a_dictionary_of_any_size(tmp_path: Path, size: int) -> None:
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": size}]
    data = lzma.compress(CODE, format=lzma.FORMAT_ALONE, filters=filters)
    (tmp_path / "m").write_bytes(data)
    assert joblib.load(tmp_path / "m") == 42
    assert look(tmp_path, "model.pkl", data)["content.verdict"] == "malicious"
    assert look(tmp_path, "weights.bin", data)["content.verdict"] != "clean"


@pytest.mark.parametrize(
    ("compress", "opener"), [(gzip.compress, gzip.open), (bz2.compress, bz2.open), (lzma.compress, lzma.open)]
)
def test_a_pickle_cut_into_two_streams(
    tmp_path: Path, compress: Callable[[bytes], bytes], opener: Callable[[io.BytesIO], io.BufferedIOBase]
) -> None:
    data = compress(CODE[:9]) + compress(b"") + compress(CODE[9:])
    with opener(io.BytesIO(data)) as file:
        assert pickle.load(file) == 42
    assert look(tmp_path, "model.pkl", data)["content.verdict"] == "malicious"
    assert (
        look(tmp_path, "model.pkl", compress(CODE) + b"what follows is no stream")["content.verdict"]
        == "malicious"
    )


def test_more_streams_than_anybody_writes_are_not_clean(tmp_path: Path) -> None:
    data = gzip.compress(BENIGN[:1]) * 100 + gzip.compress(CODE)
    assert look(tmp_path, "model.pkl", data)["content.files_skipped"] == 1


def test_a_folder_of_a_zip_that_holds_bytes(tmp_path: Path) -> None:
    data = a_zip({"a/": b"", "w/": CODE})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert pickle.loads(archive.read("w/")) == 42
    assert look(tmp_path, "a.zip", data)["content.verdict"] == "malicious"
    assert look(tmp_path, "a.zip", a_zip({"a/": b"", "a/x": b"1"}))["content.verdict"] == "clean"


def test_a_member_without_a_name_hides_nothing(tmp_path: Path) -> None:
    data = a_zip({"?": b"", "a/data.pkl": CODE}).replace(b"?", b"\0")
    assert look(tmp_path, "model.pt", data)["content.verdict"] == "malicious"


@pytest.mark.parametrize("front", [b"#", b"GGUF", b"{}\n" * 1_000, b"\x00" * 5_000])
@pytest.mark.parametrize("name", ["notes.txt", "weights.bin", "model.gguf"])
def test_a_zip_behind_something_else(tmp_path: Path, front: bytes, name: str) -> None:
    """`zipfile`, and skops with it, looks for a zip from the end."""
    data = front + a_zip({"data.pkl": CODE})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert pickle.loads(archive.read("data.pkl")) == 42
    assert look(tmp_path, name, data)["content.verdict"] == "malicious"


@pytest.mark.parametrize("name", ["model.pkl", "weights.bin", "notes.txt"])
def test_a_pickle_before_a_zip(tmp_path: Path, name: str) -> None:
    """A file for two readers, of which each finds all in order: the places in the zip count from the file's start."""
    buffer = io.BytesIO(CODE)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("data.pkl", BENIGN)
    data = buffer.getvalue()
    assert pickle.loads(data) == 42
    assert is_straight(data)
    assert look(tmp_path, name, data)["content.verdict"] == "malicious"


def test_a_large_zip_behind_something_else_is_read_whole(tmp_path: Path) -> None:
    data = b"GGUF" + a_zip({"pad": bytes(200 << 10), "data.pkl": CODE})
    assert look(tmp_path, "model.gguf", data)["content.verdict"] == "malicious"


BROKEN: Mapping[str, Callable[[bytes], bytes]] = {
    "another name in the member's own header": lambda data: data.replace(b"a/data.pkl", b"b/data.pkl", 1),
    "a checksum that does not fit": lambda data: changed(data, ENTRY, 16, "<L", 0),
    "another size": lambda data: changed(data, ENTRY, 24, "<L", 3),
    "a method that is not known": lambda data: changed(data, ENTRY, 10, "<H", 99),
    "a directory that points elsewhere": lambda data: changed(data, ENTRY, 42, "<L", 7),
    "no directory": lambda data: data[: data.index(ENTRY)],
}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_zip_is_searched_all_the_same(tmp_path: Path, way: str, method: int) -> None:
    """Other readers ask for less to agree: a zip that Python does not open must not hide what is in it."""
    data = BROKEN[way](a_zip({"a/data.pkl": CODE}, method))
    facts = look(tmp_path, "model.pt", data)
    assert (facts["content.verdict"], facts["content.unsafe_imports"]) == ("malicious", ("builtins.eval",))
    assert (
        look(tmp_path, "model.pt", BROKEN[way](a_zip({"a/data.pkl": BENIGN}, method)))["content.verdict"]
        == "suspicious"
    )


def test_a_broken_member_takes_nothing_from_what_was_found_in_others(tmp_path: Path) -> None:
    data = a_zip({"a/data.pkl": CODE, "a/data/0": BENIGN})
    at = data.rindex(ENTRY)
    broken = data[:at] + changed(data[at:], ENTRY, 16, "<L", 0)
    assert look(tmp_path, "model.pt", broken)["content.verdict"] == "malicious"
    large = a_zip({"a/data.pkl": CODE, "b.pkl": b"\x80\x04" + b"N0" * 1_000_000}, zipfile.ZIP_DEFLATED)
    found = inspect("model.pt", large, limit=1 << 20)
    assert (found.imports, found.skipped is not None) == (("builtins.eval",), True)


def test_nor_does_one_that_lies_further_off_than_any_file_reaches(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        far = zipfile.ZipInfo("far")
        far.extra = struct.pack("<2HQ", 1, 8, (1 << 64) - 1)
        archive.writestr(far, b"")
        archive.writestr("a/data.pkl", CODE)
    data = changed(buffer.getvalue(), ENTRY, 42, "<L", 0xFFFF_FFFF)
    assert look(tmp_path, "model.pt", data)["content.verdict"] == "malicious"


def two_directories() -> bytes:
    """A zip whose record at the end gives the place of one directory, and has another right before it."""
    hidden, shown = a_zip({"a/data.pkl": CODE}), a_zip({"a/data.pkl": BENIGN})
    return hidden[: hidden.index(b"PK\x05\x06")] + shown


def two_large_directories() -> bytes:
    """The same with the records for large zips: the locator's place is not where Python looks for one."""
    data = a_zip({"a/data.pkl": BENIGN})
    end = data.index(b"PK\x05\x06")
    size, offset = struct.unpack_from("<2L", data, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    return data[:end] + record + locator + data[end:]


@pytest.mark.parametrize("make", [two_directories, two_large_directories])
def test_a_zip_in_which_readers_find_different_directories(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("a/data.pkl") == BENIGN
    assert look(tmp_path, "model.pt", data)["content.verdict"] != "clean"


def test_and_what_the_other_one_leads_to_is_seen(tmp_path: Path) -> None:
    assert look(tmp_path, "model.pt", two_directories())["content.verdict"] == "malicious"


def test_a_large_zip_as_torch_writes_it_is_in_order(tmp_path: Path) -> None:
    data = two_large_directories()
    end = data.index(b"PK\x06\x06")
    assert look(tmp_path, "m.pt", changed(data, b"PK\x06\x07", 8, "<Q", end))["content.verdict"] == "clean"


@pytest.mark.parametrize("name", ["weights.bin", "a.tar", "model.pth"])
def test_a_tar_without_the_mark_of_one(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("pickle")
        member.size = len(CODE)
        archive.addfile(member, io.BytesIO(CODE))
    block = bytearray(buffer.getvalue()[:512])
    block[257:265] = bytes(8)
    block[148:156] = b"%06o\x00 " % (sum(block[:148]) + sum(block[156:]) + 8 * 32)
    data = bytes(block) + buffer.getvalue()[512:]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["pickle"]
    assert look(tmp_path, name, data)["content.files_skipped"] == 1


@pytest.mark.parametrize("block", [0, 512, 2048, 4096, 32768])
def test_hdf5_behind_a_user_block(tmp_path: Path, block: int) -> None:
    facts = look(tmp_path, "weights.bin", b"x" * block + b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert facts["content.files_skipped"] == 1


def keras(*layers: object) -> bytes:
    dense = {"module": "keras.layers", "class_name": "Dense", "config": {"activation": "relu"}}
    network = {"layers": [dense, *layers]}
    return json.dumps(
        {"module": "keras.src.models.functional", "class_name": "Functional", "config": network}
    ).encode()


CONFIGURED: Mapping[str, tuple[object, str, str]] = {
    "a function": ({"module": "os", "class_name": "function", "config": "system"}, "malicious", "os.system"),
    "a class": ({"module": "subprocess", "class_name": "Popen"}, "malicious", "subprocess.Popen"),
    "what Python has built in": (
        {"module": "builtins", "class_name": "function", "config": "eval"}, "malicious", "builtins.eval",
    ),
    "code": ({"class_name": "__lambda__", "config": {"value": "4wAA"}}, "suspicious", "?lambda"),
    "code as Keras 2 wrote it": ({"class_name": "X", "function_type": "lambda"}, "suspicious", "?lambda"),
    "a layer that runs code": ({"class_name": "Lambda", "config": {}}, "suspicious", "keras.layers.Lambda"),
    "a layer that unpickles": (
        {"module": "keras.layers", "class_name": "TorchModuleWrapper"}, "suspicious", "keras.layers.TorchModuleWrapper",
    ),
    "what Keras fetches with": (
        {"module": "keras.utils", "class_name": "function", "config": "get_file"}, "suspicious", "keras.utils.get_file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("coding", ["utf-8", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("kind", CONFIGURED)
def test_what_a_configuration_of_keras_has_imported(tmp_path: Path, kind: str, coding: str) -> None:
    layer, verdict, name = CONFIGURED[kind]
    config = keras(layer).decode().encode(coding)
    for file, data in (
        ("config.json", config),
        (
            "model.keras",
            a_zip({"metadata.json": b"{}", "config.json": config, "model.weights.npz": a_zip({})}),
        ),
    ):
        facts = look(tmp_path, file, data)
        if file == "config.json":
            assert facts["content.unsafe_imports"] == (name,)
        if file == "config.json" or verdict == "malicious":
            assert facts["content.verdict"] == verdict
        else:  # its graph is not looked into: nobody can tell that it is no worse
            assert isinstance(facts["content.verdict"], Unknown)
        assert imports_of(facts) == (name,)


def test_a_large_configuration_is_read_whole(tmp_path: Path) -> None:
    config = b" " * (100 << 10) + keras(CONFIGURED["a function"][0])
    assert look(tmp_path, "config.json", config)["content.verdict"] == "malicious"


def test_a_network_of_kerass_own_parts_names_nothing_and_is_not_clean(tmp_path: Path) -> None:
    mine = {
        "module": "builtins",
        "class_name": "function",
        "config": "my_loss",
        "registered_name": "function",
    }
    facts = look(tmp_path, "model.keras", a_zip({"config.json": keras(mine)}))
    assert (facts["content.files_skipped"], facts["files"].items[0]["imports"]) != (0, ())
    assert look(tmp_path, "config.json", keras(mine))["content.verdict"] == "clean"
    assert (
        look(tmp_path, "config.json", b'{"time_step_limit": [0.0, Infinity]}')["content.verdict"] == "clean"
    )


def test_a_method_that_a_skops_file_takes_of_a_harmless_class(tmp_path: Path) -> None:
    data = skops.io.dumps(FunctionTransformer(StandardScaler().fit))
    facts = look(tmp_path, "model.skops", data)
    assert facts["content.verdict"] == "suspicious"
    assert any(name.endswith("StandardScaler.fit") for name in facts["content.unsafe_imports"])


@pytest.mark.parametrize(
    "source",
    [b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", b"GGUF = 1\nimport os\n", b"", b"\x80\x04N."],
)
def test_a_module_is_python_whatever_its_bytes_are(tmp_path: Path, source: bytes) -> None:
    if source[:1] != b"\x80":
        compile(source, "m.py", "exec")
        assert look(tmp_path, "m.py", source)["files"].items[0]["format"] == "python"
    assert look(tmp_path, "m.py", source)["files"].items[0]["format"] in {"python", "pickle"}


NATIVE = [
    ("code/m.cpython-311-x86_64-linux-gnu.so", b"\x7fELF\x02\x01\x01"),
    ("weights.bin", b"\x7fELF\x02\x01\x01" + bytes(100)),
    ("m.pyd", b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little") + b"PE\x00\x00"),
    ("weights.bin", b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little") + b"PE\x00\x00"),
    ("weights", b"\xcf\xfa\xed\xfe" + bytes(100)),
]


@pytest.mark.parametrize(("name", "data"), NATIVE)
def test_programs_and_libraries_are_called_so(tmp_path: Path, name: str, data: bytes) -> None:
    facts = look(tmp_path, name.rpartition("/")[2], data)
    assert facts["files"].items[0]["format"] == "native"
    assert look(tmp_path, "notes.txt", b"MZ is how it begins")["files"].items[0]["format"] == "text"


def test_graphs_in_words_are_graphs(tmp_path: Path) -> None:
    facts = look(tmp_path, "saved_model.pbtxt", b"saved_model_schema_version: 1\n")
    assert facts["content.files_skipped"] == 1


def test_a_small_file_that_is_hours_of_work_is_left(tmp_path: Path) -> None:
    """Sixty kilobytes that unpack to sixty million operations; two thousand such files were half a day."""
    work = a_zip({f"{n}.pkl": b"\x80\x04" + b"N0" * 300_000 + b"N." for n in range(9)}, zipfile.ZIP_DEFLATED)
    effort = Effort(operations=2_000_000)
    found = inspect("a.zip", work, effort=effort)
    assert (found.skipped is not None, effort.operations) == (True, 0)
    assert inspect(
        "b.pkl", BENIGN, effort=effort
    ).skipped  # what is left for one artifact is left for all its files
    assert inspect("b.zip", a_zip({"x": BENIGN}), effort=effort).skipped
    kept = inspect("c.zip", a_zip({"a.pkl": CODE}), effort=Effort(operations=1_000))
    assert kept.imports == ("builtins.eval",)


def test_a_directory_of_a_million_members_is_not_listed() -> None:
    one = a_zip({"a": b""})
    at, end = one.index(ENTRY), one.index(b"PK\x05\x06")
    directory = one[at:end] * 200_000
    data = (
        one[:at] + directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3392, 3392, len(directory), at, 0)
    )
    assert inspect("a.zip", data).skipped == "more than 5000 members"
    assert inspect("a.txt", b"#" + data).skipped == "more than 5000 members"


def test_a_document_of_millions_of_lists_is_not_loaded() -> None:
    bomb = b'{"__loader__": "x", "content": [' + b"[]," * 2_000_000 + b"[]]}"
    found = inspect("m.skops", a_zip({"schema.json": bomb}, zipfile.ZIP_DEFLATED))
    assert found.broken == "a document of more than 1000000 values"
    assert inspect("config.json", bomb).broken


def test_lzma_that_wants_more_memory_than_there_is_hides_nothing_beside_it(tmp_path: Path) -> None:
    greedy = bytearray(lzma.compress(CODE, format=lzma.FORMAT_ALONE))
    greedy[1:5] = (1 << 31).to_bytes(4, "little")
    (tmp_path / "m.zip").write_bytes(a_zip({"a.pkl": bytes(greedy), "b.pkl": CODE}))
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from governance.content.inspection import inspect\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "print(inspect('m.zip', Path(sys.argv[1]).read_bytes()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m.zip")], capture_output=True, text=True, check=True
    )
    assert "imports=('builtins.eval',), skipped='it unpacks to more than is looked into'" in done.stdout


LOADER = {"loader.py": b"def _load_pyfunc(path): ..."}
FRONTS: Mapping[str, bytes] = {
    "nothing": b"",
    "small weights": (2).to_bytes(8, "little") + b"{}" + bytes(8),
    "weights": (2).to_bytes(8, "little") + b"{}" + bytes(200 << 10),
    "large weights": (2).to_bytes(8, "little") + b"{}" + bytes(17 << 20),
}


@pytest.mark.parametrize("front", list(FRONTS))
@pytest.mark.parametrize(
    "name", ["weights.zip", "model.skops", "w.safetensors", "m.onnx", "m.gguf", "notes.txt"]
)
def test_a_zip_that_python_imports_from_is_no_archive(tmp_path: Path, front: str, name: str) -> None:
    """`MLmodel` may name any file as its code, which then stands in `sys.path`."""
    data = FRONTS[front] + a_zip(LOADER | ({"schema.json": b"{}"} if name.endswith("skops") else {}))
    facts = look(tmp_path, name, data)
    assert zipimport.zipimporter(str(tmp_path / name)).find_spec("loader") is not None
    (row,) = facts["files"].items
    if front == "large weights":
        assert (facts["content.files_skipped"], facts["content.verdict"] != "clean") == (1, True)
    else:
        assert row["format"] == "python"


def test_a_zip_of_libraries_is_native_and_one_of_weights_an_archive(tmp_path: Path) -> None:
    for name, members, expected in (
        ("a.zip", {"lib/a.so": b"\x7fELF"}, "native"),
        ("app.jar", {"A.class": b"\xca\xfe\xba\xbe"}, "native"),
        ("a.npz", {"w.npy": b""}, "archive"),
        ("ts.pt", {"ts/data.pkl": BENIGN, "ts/code/__torch__.py": b""}, "torch-zip"),
        ("exported.pt2", {"exported/data/a.bin": b""}, "torch-zip"),
    ):
        facts = look(tmp_path, name, a_zip(members))
        assert (facts["files"].items[0]["format"], facts["content.verdict"]) == (expected, "clean")


def test_what_only_looks_like_the_end_of_a_zip_is_none() -> None:
    assert not ends_as_zip(b"PK\x05\x06" + b"\xff\x00" * 9, 1 << 20)
    assert not ends_as_zip(bytes(100), 100)
    assert ends_as_zip(a_zip(LOADER)[-30:], len(a_zip(LOADER)))
