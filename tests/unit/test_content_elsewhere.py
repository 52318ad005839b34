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


def pipeline(*component: object) -> bytes:
    """What diffusers reads first of a pipeline, with one component besides the usual ones."""
    return json.dumps(
        {
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.30.0",
            "feature_extractor": [None, None],
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "extra": list(component),
        }
    ).encode()


@pytest.mark.parametrize("name", ["model_index.json", "m/Model_Index.json", "modular_model_index.json"])
@pytest.mark.parametrize(
    ("component", "verdict"),
    [
        (["diffusers.models.unet", "UNet"], "clean"),
        (["antigravity", "X"], "malicious"),
        (["subprocess", "Popen", {}], "malicious"),
        (["pip", "main"], "malicious"),
        (["acme.layers", "Net"], "suspicious"),
        (["diffusers_evil.layers", "Net"], "suspicious"),
    ],
)
def test_a_module_that_a_pipeline_has_imported_is_named(
    name: str, component: list[object], verdict: str
) -> None:
    found = inspect(name, pipeline(*component))
    assert found.imports == (() if verdict == "clean" else (f"{component[0]}.{component[1]}",))
    assert judge(found.imports, is_broken=False) == verdict
    assert inspect("other.json", pipeline(*component)).imports == ()


@pytest.mark.parametrize("data", [b"[]", b"[1, 2]", b"no JSON", b'{"a": ["os", null], "b": "os.system"}'])
def test_what_names_no_component_names_none(data: bytes) -> None:
    assert inspect("model_index.json", data).imports == ()


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"megatron_config": None, "megatron_core": "megatron.core", "auto_mapping": None}, None),
        ({"megatron_config": {"a": 1}, "megatron_core": "megatron.core"}, None),
        ({"megatron_config": {"a": 1}, "megatron_core": "acme"}, "acme.tensor_parallel"),
        ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, "antigravity.tensor_parallel"),
        ({"auto_mapping": {"base_model_class": "Net", "parent_library": "acme.models"}}, None),
        ({"auto_mapping": {"base_model_class": "X", "parent_library": "antigravity"}}, "antigravity.X"),
    ],
)
def test_a_module_that_an_adapter_has_imported_is_named(held: dict[str, object], told: str | None) -> None:
    found = inspect("m/adapter_config.json", json.dumps({"peft_type": "LORA", **held}).encode())
    assert found.imports == ((told,) if told else ())
