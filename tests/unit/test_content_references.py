"""What an `MLmodel`, and the documents beside it, have fetched from elsewhere, and what they only mention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from governance.content.effort import Effort
from governance.content.inspection import inspect, must_look
from governance.content.judgement import judge

WHOLE = {
    "components": ["tokenizer"],
    "model_binary": "model",
    "peft_adaptor": "peft",
    "pipeline_model_type": "BertForSequenceClassification",
    "source_model_name": "mallory/base",
    "tokenizer_name": "/home/mallory/tokenizer",
    "tokenizer_type": "BertTokenizer",
    "torch_dtype": "torch.float32",
}
"""As MLflow writes the flavor of a model that it has saved with its weights."""


def mlmodel(**flavors: object) -> bytes:
    return yaml.safe_dump(
        {"flavors": flavors, "signature": {"inputs": "../in"}, "artifact_path": "/m"}
    ).encode()


@pytest.mark.parametrize(
    "flavors",
    [
        {"transformers": WHOLE},
        {"sentence_transformers": {"source_model_name": "/home/mallory/model", "code": None}},
        {
            "python_function": {
                "artifacts": {"weights": {"path": "artifacts/w.bin", "uri": "/home/mallory/w.bin"}},
                "config": {"base_model": "owner/name", "cache": "/var/cache"},
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "model_code_path": "/home/mallory/agent.py",
            },
            "langchain": {"model_config": "../config.yaml"},
        },
    ],
)
def test_a_model_that_was_saved_whole_and_says_where_it_came_from_is_clean(
    flavors: Mapping[str, Any],
) -> None:
    found = inspect("MLmodel", mlmodel(**flavors))
    assert judge(found.imports, is_broken=found.broken is not None) == "clean"


@pytest.mark.parametrize(
    ("flavors", "named"),
    [
        (
            {"transformers": {**WHOLE, "source_model_revision": "a" * 40}},
            ["/home/mallory/tokenizer", "mallory/base"],
        ),
        ({"transformers": {**WHOLE, "local_base_model_path": "mallory/evil"}}, ["mallory/evil"]),
        ({"diffusers": {"base_model": "mallory/evil", "adapter_weights": "adapter"}}, ["mallory/evil"]),
        ({"diffusers": {}, "python_function": {"config": {"base_model": "mallory/evil"}}}, ["mallory/evil"]),
        ({"sklearn": {"pickled_model": "/srv/evil.pkl"}}, ["/srv/evil.pkl"]),
        ({"python_function": {"data": "a/../../evil"}}, ["a/../../evil"]),
        ({"python_function": {"code": r"\\evil\share"}}, [r"\\evil\share"]),
        ({"onnx": {"data": r"a\..\..\evil"}}, [r"a\..\..\evil"]),
        ({"onnx": {"data": "C:evil.onnx"}}, ["C:evil.onnx"]),
        ({"pytorch": {"extra_files": [{"path": "../evil"}]}}, ["../evil"]),
        ({"transformers": {**WHOLE, "model_binary": "./PEFT"}}, ["./PEFT"]),
        ({"transformers": {**WHOLE, "peft_adaptor": "../peft"}}, ["../peft"]),
    ],
)
def test_a_model_that_is_loaded_from_elsewhere_says_so(flavors: Mapping[str, Any], named: list[str]) -> None:
    for name in ("MLmodel", "m/mlmodel"):
        found = inspect(name, mlmodel(**flavors))
        assert found.imports == tuple(f"?elsewhere.{each}" for each in named)
        assert judge(found.imports, is_broken=False) == "suspicious"


@pytest.mark.parametrize(
    "data",
    [
        b"flavors: {a: {<<: {data: ../evil}}}",
        b"flavors: [",
        b"\xff",
        b"flavors: " + b"[" * 100 + b"]" * 100,
        b"flavors: {}\n" + b"#" * (1 << 20),
    ],
)
def test_an_mlmodel_that_cannot_be_read_is_not_clean(data: bytes) -> None:
    assert inspect("MLmodel", data).broken


def test_aliases_of_aliases_cost_what_they_are_long() -> None:
    rows = ["a0: &a0 [../evil]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 30))]
    data = ("flavors: {f: {" + ", ".join(rows) + "}}").encode()
    assert inspect("MLmodel", data).imports == ("?elsewhere.../evil",)


def test_many_long_mlmodels_are_more_than_is_looked_into() -> None:
    data = mlmodel(f={}) + b"#" * 1_000
    assert inspect("MLmodel", data, effort=Effort(operations=500)).skipped


@pytest.mark.parametrize(
    "name",
    [
        "MLmodel",
        "adapter_config.json",
        "modules.json",
        "Router_config.json",
        "video_preprocessor_config.json",
    ],
)
def test_a_long_document_is_read_to_its_end(name: str) -> None:
    assert must_look(f"m/{name}", b" " * 4_096, 1 << 20)


def document(name: str, content: object) -> tuple[str, ...]:
    return inspect(name, json.dumps(content).encode()).imports


def of(class_: str, **given: object) -> dict[str, object]:
    """An object as MLflow writes it among the settings of a LlamaIndex model."""
    return {"object_constructor": f"llama_index.{class_}", "object_kwargs": given}


OWN = "sentence_transformers.models.Transformer"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("peft/adapter_config.json", {"base_model_name_or_path": "owner/base"}),
        (
            "m/peft/adapter_config.json",
            {"base_model_name_or_path": "owner/base", "tokenizer_name_or_path": "a/b"},
        ),
        ("model/adapter_config.json", {"base_model_name_or_path": None}),
        ("model/config.json", {"_name_or_path": "owner/base", "activation_function": "gelu_new"}),
        ("2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"}),
        ("model/config.json", {"attn_implementation": "sdpa", "text_config": {"_attn_implementation": None}}),
        ("model/config.json", {"backbone": "resnet50", "use_pretrained_backbone": True}),
        (
            "model/config.json",
            {"backbone": "a/b", "backbone_config": {"a": 1}, "use_pretrained_backbone": False},
        ),
        (
            "modules.json",
            [{"idx": 0, "name": "0", "path": "", "type": OWN}, {"path": "1_Pooling", "type": OWN}],
        ),
        ("router_config.json", {"types": {"query_0": OWN}, "structure": {"query": ["query_0"]}}),
        ("sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False}),
        (
            "settings.json",
            {"_llm": of("llms.openai.base.OpenAI", model_name="a/b"), "_t": [of("core.node_parser.text.A")]},
        ),
        (
            "settings.json",
            {"_llm": of("llms.huggingface_api.base.A", model_name="a/b"), "editor": {"path": "../a"}},
        ),
        ("modules.json", ["a", {"type": "commonjs", "main": "x.y"}]),
    ],
)
def test_a_document_that_mentions_a_model_fetches_none(name: str, content: object) -> None:
    assert document(name, content) == ()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("model/adapter_config.json", {"base_model_name_or_path": "owner/base"}, "?elsewhere.owner/base"),
        ("adapter_config.json", {"base_model_name_or_path": "owner/base"}, "?elsewhere.owner/base"),
        ("peft/model/adapter_config.json", {"base_model_name_or_path": "o/b"}, "?elsewhere.o/b"),
        ("peft/adapter_config.json", {"peft_type": "XLORA", "adapters": {"0": "m/evil"}}, "?elsewhere.m/evil"),
        ("modules.json", [{"path": "", "type": "m/evil--mod.Class"}], "?elsewhere.m/evil"),
        ("modules.json", [{"path": "../peft", "type": OWN}], "?elsewhere.../peft"),
        ("modules.json", [{"path": "peft", "type": OWN}], "?elsewhere.peft"),
        ("modules.json", [{"path": "", "type": "evil.Class"}], "evil.Class"),
        ("modules.json", [{"path": "", "type": "sentence_transformers.os.system"}], "sentence_transformers.os.system"),
        ("router_config.json", {"types": {"a": "m/evil--mod.Class"}}, "?elsewhere.m/evil"),
        ("router_config.json", {"types": {"peft": OWN}}, "?elsewhere.peft"),
        ("wordembedding_config.json", {"tokenizer_class": "evil.Class"}, "evil.Class"),
        ("2_Dense/config.json", {"activation_function": "evil.run"}, "evil.run"),
        ("sentence_bert_config.json", {"tokenizer_name_or_path": "m/evil"}, "?elsewhere.m/evil"),
        ("settings.json", {"_e": of("embeddings.huggingface.base.A", model_name="m/evil")}, "?elsewhere.m/evil"),
        ("settings.json", {"_e": of("x.A", model_name="m/evil", model_kwargs={"trust_remote_code": True})}, "?elsewhere.m/evil"),
        ("settings.json", {"_e": [{"object_constructor": "evil.Class", "object_kwargs": {}}]}, "evil.Class"),
        ("config.json", {"backbone": "hf-hub:m/evil", "use_pretrained_backbone": True}, "?elsewhere.hf-hub:m/evil"),
        ("processor_config.json", {"a": {"audio_tokenizer_name_or_path": "m/evil"}}, "?elsewhere.m/evil"),
        ("config.json", {"attn_implementation": "m/evil:run"}, "?elsewhere.m/evil:run"),
        ("config.json", {"text_config": {"_attn_implementation": {"": "m/evil"}}}, "?elsewhere.m/evil"),
        ("config.json", {"backbone": "m/evil", "use_pretrained_backbone": False}, "?elsewhere.m/evil"),
    ],
)  # fmt: skip
def test_a_document_that_has_something_fetched_or_imported_names_it(
    name: str, content: object, named: str
) -> None:
    assert document(name, content) == (named,)
    assert judge((named,), is_broken=False) == "suspicious"


@pytest.mark.parametrize(
    ("flavors", "verdict"),
    [
        ({"python_function": {"loader_module": "mlflow.sklearn"}}, "clean"),
        ({"python_function": {"loader_module": "mlflow.pyfunc.loaders.code_model"}}, "clean"),
        ({"xgboost": {"model_class": "xgboost.core.Booster"}}, "clean"),
        ({"sklearn": {"model_class": "own.Model"}}, "clean"),  # only told
        ({"spark": {"model_class": "pyspark.ml.pipeline.PipelineModel"}}, "clean"),
        ({"tensorflow": {"keras_module": "tensorflow.keras"}}, "clean"),
        ({"python_function": {"loader_module": "a_module"}}, "suspicious"),
        ({"python_function": {"loader_module": "mlflow.pyfunc.scoring_server.app"}}, "suspicious"),
        ({"xgboost": {"model_class": "own.Model"}}, "suspicious"),
        ({"crate": {"version": "0.1.0", "model": "crate.bin"}}, "suspicious"),  # a function of R
        ({"python_function": {"loader_module": "antigravity"}}, "malicious"),
        ({"xgboost": {"model_class": "code.interact"}}, "malicious"),
        ({"spark": {"model_class": "pdb.Pdb"}}, "malicious"),
        ({"keras": {"keras_module": "antigravity"}}, "malicious"),
    ],
)
def test_what_a_loader_imports_is_judged_like_an_import_of_a_pickle(
    flavors: Mapping[str, Any], verdict: str
) -> None:
    found = inspect("MLmodel", mlmodel(**flavors))
    assert judge(found.imports, is_broken=found.broken is not None) == verdict


@pytest.mark.parametrize(
    ("name", "module", "verdict"),
    [
        ("pickle_module_info.txt", b"mlflow.pytorch.pickle_module", "clean"),
        ("keras_module.txt", b"tensorflow.keras", "clean"),
        ("pickle_module_info.txt", b"own", "suspicious"),
        ("keras_module.txt", b"antigravity", "malicious"),
    ],
)
def test_so_is_a_module_that_a_file_names(name: str, module: bytes, verdict: str) -> None:
    assert must_look(f"data/{name}", module, len(module))
    assert judge(inspect(f"data/{name}", module).imports, is_broken=False) == verdict


STAGE = "sparkml/stages/0_x/metadata/part-00000-e69f-c000.txt"


@pytest.mark.parametrize(
    ("name", "class_", "verdict"),
    [
        (STAGE, "org.apache.spark.ml.feature.VectorAssembler", "clean"),
        (STAGE, "pyspark.ml.pipeline.PipelineModel", "clean"),
        (STAGE, "own.Transformer", "suspicious"),
        (STAGE, "org.apache.spark.ml.x.os.system", "suspicious"),
        (STAGE, "antigravity.Thing", "malicious"),
        ("metadata/anything", "antigravity.Thing", "malicious"),  # Spark reads whatever lies there
        ("metadata/anything.npy", "antigravity.Thing", "malicious"),
        ("metadata/day=1/anything", "antigravity.Thing", "malicious"),
        ("sparkml/metadata", "antigravity.Thing", "malicious"),
        ("metadata/labels.json", "cat", "clean"),  # no module to import
        ("metadata/.part-00000.crc", "antigravity.Thing", "clean"),  # but for that
        ("other/part-00000", "antigravity.Thing", "clean"),
    ],
)
def test_the_class_of_a_stage_of_spark_is_judged_like_an_import_of_a_pickle(
    name: str, class_: str, verdict: str
) -> None:
    """`pyspark.ml` imports it by its name, before it looks whether it is one."""
    data = json.dumps({"class": class_, "uid": "x_1", "paramMap": {}, "defaultParamMap": {}}).encode() + b"\n"
    assert must_look(name, data, 1 << 20) == ("metadata" in name and "/." not in name)
    found = inspect(name, b" " * 5_000 + data)
    assert judge(found.imports, is_broken=found.broken is not None) == verdict


@pytest.mark.parametrize("name", [STAGE, f"{STAGE}.gz", "metadata/part-0.deflate", "metadata/more.bz2"])
def test_metadata_that_only_spark_can_read_are_not_clean(name: str) -> None:
    found = inspect(name, b"\xff\x06\0\0sNaPpY")
    assert judge(found.imports, is_broken=found.broken is not None) == "suspicious"


def test_a_folder_of_that_name_in_another_model_is_left_alone() -> None:
    assert not must_look("metadata/table.parquet", b"PAR1" + bytes(4_092), 1 << 30)
    assert inspect("metadata/notes.txt", b"learned on Monday").broken is None
    for text in (b'{\n  "class": "own.Thing"\n}', b"{{ a template }}"):
        assert inspect("metadata/info.json", text).broken is None
