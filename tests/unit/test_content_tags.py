"""YAML files whose tags import and call, for those who load them with all of Python's."""

from __future__ import annotations

import pytest

from governance.content.inspection import inspect, must_look
from governance.content.judgement import judge


@pytest.mark.parametrize(
    "data",
    [
        b"!!python/object/apply:os.system [id]\n",
        b"a: [1, {b: !!python/object/new:os.system {args: [id]}}]\n",
        b"a: !!python/name:os.system ''\n",
        b"a: !<tag:yaml.org,2002:python/object/apply:os.system> [id]\n",
        b"%TAG !p! tag:yaml.org,2002:python/object/\n---\na: !p!apply:os.system [id]\n",
        b"a: !!%70ython/object/apply:os%2Esystem [id]\n",
        "a: !!python/object/apply:os.system [id]\n".encode("utf-16"),
        b"a: !!python/object/apply:os.system [id]\n---\n[no: yaml",
        b"a: 1\n---\nb: !!python/object/apply:os.system [id]\n",
    ],
)
def test_a_tag_that_calls_is_malicious_however_it_is_written(data: bytes) -> None:
    for name in ("hparams.yaml", "m/Config.YML", "MLmodel"):
        found = inspect(name, data)
        assert found.imports == ("os.system",)
        assert judge(found.imports, is_broken=False) == "malicious"


@pytest.mark.parametrize(
    "data",
    [
        b"a: !!python/tuple [1, 2]\nb: hello!\nc: !!str 3\n",
        b"!!python/object:argparse.Namespace {lr: 0.1}\n",
        b"a: !custom x\n",
        b"a: '!!python/object/apply:os.system'  # !!python/object/apply:os.system\n",
        b"[" * 5_000 + b"!",
        b"\xff! no yaml",
    ],
)
def test_what_builds_data_or_is_no_tag_is_not_minded(data: bytes) -> None:
    found = inspect("hparams.yaml", data)
    assert judge(found.imports, is_broken=found.broken is not None) == "clean"


def test_a_name_that_nobody_knows_is_suspicious_and_a_long_file_read_whole() -> None:
    found = inspect("a.yaml", b"!!python/object:acme.Config {a: 1}\n")
    assert judge(found.imports, is_broken=False) == "suspicious"
    assert must_look("a.yaml", b"a: 1\n" * 900, 1 << 20)
