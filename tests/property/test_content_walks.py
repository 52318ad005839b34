"""Laws of the look inside files: total on any bytes, bounded, and never more trusting after a change."""

from __future__ import annotations

import pickle
import pickletools

from hypothesis import given
from hypothesis import strategies as st

from governance.content.dependencies import merge, read_declared, read_requirements
from governance.content.formats import detect
from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, judge
from governance.content.pickles import walk
from governance.model.facts import FORMATS

SYSTEM = b"cos\nsystem\n(S'echo'\ntR0"
NAMES = st.sampled_from(
    ["m.pkl", "m.pt", "a.zip", "m.joblib", "a.npy", "notes.txt", "m.bin", "MLmodel", "m.keras"]
)
STARTS = st.sampled_from([b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x1f\x8b", b"\x78\x9c", b"BZh9", b"\xfd7zXZ\x00", b"GGUF"])  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4) | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(NAMES, STARTS, st.binary(max_size=300))
def test_any_bytes_can_be_looked_at(name: str, start: bytes, rest: bytes) -> None:
    data = start + rest
    assert detect(name, data) in FORMATS
    found = inspect(name, data, limit=1 << 20)
    assert found.format in FORMATS
    walk(data)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_data_imports_nothing_and_is_clean(value: object, protocol: int) -> None:
    found = walk(pickle.dumps(value, protocol=protocol))
    assert found.problem is None
    assert found.imports == () or set(found.imports) <= {"_codecs.encode", "__builtin__.bytes"}
    assert judge(found.imports, is_broken=False) == CLEAN


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL), st.data())
def test_an_import_slipped_in_at_any_operation_is_found(
    value: object, protocol: int, data: st.DataObject
) -> None:
    good = pickle.dumps(value, protocol=protocol)
    starts = [position for operation, _, position in pickletools.genops(good) if operation.name != "PROTO"]
    at = data.draw(st.sampled_from(starts))
    bad = good[:at] + SYSTEM + good[at:]
    found = inspect("m.pkl", bad)
    assert "os.system" in found.imports
    assert judge(found.imports, is_broken=found.broken is not None) != CLEAN


@given(PLAIN, st.data())
def test_a_pickle_cut_short_is_never_clean(value: object, data: st.DataObject) -> None:
    good = pickle.dumps(value)
    cut = good[: data.draw(st.integers(2, len(good) - 1))]
    found = inspect("m.pkl", cut)
    assert judge(found.imports, is_broken=found.broken is not None) != CLEAN


@given(
    st.sampled_from(["requirements.txt", "conda.yaml", "python_env.yaml", "MLmodel"]), st.binary(max_size=300)
)
def test_any_bytes_can_be_read_as_declarations(name: str, data: bytes) -> None:
    found = read_declared(name, data)
    for package in found.packages:
        assert package.purl.startswith(f"pkg:{package.ecosystem}/{package.name}")


LINES = st.lists(st.text(alphabet="abc-_.=<>1 #@;[]\\", max_size=20), max_size=8)


@given(LINES)
def test_every_line_is_a_package_a_reference_or_a_problem(lines: list[str]) -> None:
    found = read_requirements(lines)
    said = [
        line for line in "\n".join(lines).replace("\\\n", "").split("\n") if line.split("#")[0].strip(" \\")
    ]
    tools = {"pip", "setuptools", "wheel", "python"}
    if said and not any(tool in line for line in said for tool in tools):
        assert found.packages or found.problems or found.files


@given(LINES, LINES)
def test_merging_loses_no_name_and_no_problem(first: list[str], second: list[str]) -> None:
    parts = [read_requirements(first), read_requirements(second)]
    whole = merge(parts)
    assert {each.name for each in whole.packages} == {each.name for part in parts for each in part.packages}
    assert set(whole.problems) == {each for part in parts for each in part.problems}
    assert merge([whole]) == whole
