"""Configurations of transformers models that have code fetched from another repository."""

from __future__ import annotations

import json

import pytest

from governance.content.inspection import inspect
from governance.content.judgement import judge


@pytest.mark.parametrize(
    "name", ["config.json", "m/tokenizer_config.json", "processor_config.json", "other_config.json"]
)
@pytest.mark.parametrize(
    "map_",
    [
        {"AutoConfig": "mallory/evil--configuration.C"},
        {"AutoModel": "modeling.M", "AutoTokenizer": ["mallory/evil--tokenization.T", None]},
    ],
)
def test_code_from_another_repository_is_named_and_suspicious(name: str, map_: object) -> None:
    found = inspect(name, json.dumps({"model_type": "x", "auto_map": map_}).encode())
    assert found.imports == ("?elsewhere.mallory/evil",)
    assert judge(found.imports, is_broken=False) == "suspicious"


@pytest.mark.parametrize(
    "name", ["config.json", "m/video_preprocessor_config.json", "Generation_Config.JSON", "config.4.0.0.json"]
)
def test_it_is_found_however_the_key_is_written(name: str) -> None:
    found = inspect(name, b'{"\\u0061uto_map": {"AutoConfig": "mallory/evil--configuration.C"}}')
    assert found.imports == ("?elsewhere.mallory/evil",)


@pytest.mark.parametrize(
    "data",
    [
        b'{"auto_map": {"AutoConfig": "configuration.C"}}',
        b'{"auto_map": null}',
        b'{"a": "b--c"}',
        b"auto_map: no JSON",
    ],
)
def test_code_beside_the_configuration_is_none_of_another(data: bytes) -> None:
    assert inspect("config.json", data).imports == ()
