"""Attacks through `requirements.txt`: pickles of protocol 0 are text, and a few of them are lists of packages at the same time.

What MLflow loads with joblib or pickle is said by `MLmodel`, which the attacker writes too, so no name makes a file harmless.
"""

from __future__ import annotations

import builtins
import importlib
import os
import pickle
import runpy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.content.inspection import inspect, may_hide
from governance.content.judgement import CLEAN, MALICIOUS, judge

CALLS: tuple[Callable[..., object], ...] = (
    os.system, os.popen, os.execv, subprocess.Popen, subprocess.call, subprocess.check_output, eval, exec, compile,
    builtins.open, importlib.import_module, runpy.run_path, shutil.rmtree, os.unlink,
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


class Evil:
    """Pickles as a call."""

    def __init__(self, call: Callable[..., object], arguments: tuple[object, ...]) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def verdict(data: bytes) -> str:
    found = inspect("requirements.txt", data)
    return judge(found.imports, is_broken=found.broken is not None)


EVILS = st.builds(Evil, st.sampled_from(CALLS), st.lists(VALUES, max_size=3).map(tuple))
FOLDED: st.SearchStrategy[object] = st.recursive(
    EVILS,
    lambda inner: (
        st.tuples(VALUES, inner).map(list)
        | st.builds(lambda key, value: {key: value}, st.text(max_size=5), inner)
        | st.tuples(inner, VALUES)
    ),
    max_leaves=3,
)


@given(FOLDED)
def test_a_pickle_that_calls_something_is_malicious_under_any_name(value: object) -> None:
    data = pickle.dumps(value, protocol=0)
    assert verdict(data) == MALICIOUS
    assert may_hide("text", data[:4096], len(data)), "it is read whole, whatever its size"


@given(st.sampled_from(CALLS), st.data())
def test_so_is_one_that_imports_it_and_was_cut_short(
    call: Callable[..., object], data: st.DataObject
) -> None:
    """The first lines of such a pickle are good names of packages: `cposix`, `system`, `p0`."""
    whole = pickle.dumps(Evil(call, ("x",)), protocol=0)
    at = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    assert verdict(whole[: data.draw(st.integers(at, len(whole)))]) == MALICIOUS


@pytest.mark.parametrize("module", ["nt", "os", "commands", "posix"])
def test_so_is_one_that_was_made_on_another_machine(module: str) -> None:
    data = f"c{module}\nsystem\np0\n(Vecho\ntRp1\n.".encode()
    assert verdict(data) == MALICIOUS


def test_four_names_of_packages_run_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen to run before it is seen to be found: joblib's unpickler is Python's own, and calls with any sequence."""
    ran = tmp_path / "ran"
    command = tmp_path / "bin/x"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ntouch {ran}\n")
    command.chmod(0o700)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    file = tmp_path / "requirements.txt"
    file.write_text("cos\nsystem\nVx\nRich\n")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("joblib").load(file)
    assert ran.exists()
    assert verdict(file.read_bytes()) == MALICIOUS


def test_five_names_set_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERY_OWN", "before")
    file = tmp_path / "requirements.txt"
    file.write_text("cos\nenviron\nVVERY_OWN\nVafter\nscipy\n")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("joblib").load(file)
    assert os.environ["VERY_OWN"] == "after"
    assert verdict(file.read_bytes()) == MALICIOUS


@pytest.mark.parametrize(
    "lines",
    [
        ["cmodel_code", "run", "Vx", "Rich"],  # a module of the model's own
        ["cmodel_code", "items", "Vx", "alembic"],  # is appended to
        ["cmodel_code", "run", "N.x"],  # ends well, and is what was loaded
        ["cantigravity", "fly", "pandas"],  # the import alone does it
        ["cpip", "main", "wheel"],
    ],
)
def test_a_list_by_which_something_happens_is_in_doubt_at_least(lines: list[str]) -> None:
    assert verdict(("\n".join(lines) + "\n").encode()) != CLEAN
