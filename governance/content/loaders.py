"""What an `MLmodel`, and the files of one name that MLflow's loaders read beside weights, have imported and called.

`mlflow.pyfunc.load_model` imports whatever module the uploader has named as `loader_module` and calls its `_load_pyfunc`: `antigravity`
starts a browser as soon as it is imported. The loaders of XGBoost and Spark import and call a class of any name (`model_class`), those of
Keras and PyTorch import a module (`keras_module`, `keras_module.txt`, `pickle_module_info.txt`). Spark imports the class that the metadata of
each stage of a pipeline names. A model of the flavor `crate` is a function of R, which `mlflow models serve` has R read out of a file that
may be plain text.

Promises: each is named like an import of a pickle, but for the modules of MLflow that load models and the classes that MLflow writes.
Does not: import anything, or care whether a flavor has a loader of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from governance.content.documents import DocumentError, NoDocumentError, objects_in

IMPORTED: Final[Mapping[str, str]] = {"keras_module.txt": "models", "pickle_module_info.txt": "load"}
"""Files that hold the name of a module, and what is asked of it."""

_LONGEST: Final = 200
_FLAVORS: Final = (
    "catboost diffusers dspy fastai gluon h2o johnsnowlabs keras langchain langchain.model lightgbm llama_index llama_index.model "
    "mleap onnx openai openai.model paddle pmdarima promptflow prompt.promptlab_model prophet pyfunc.loaders.chat_agent "
    "pyfunc.loaders.chat_model pyfunc.loaders.code_model pyfunc.loaders.responses_agent pyfunc.model pytorch sentence_transformers shap "
    "sklearn spacy spark statsmodels tensorflow transformers xgboost"
)
_OWN: Final = frozenset(
    (
        *(f"mlflow.{name}._load_pyfunc" for name in _FLAVORS.split()),
        *(
            f"xgboost.sklearn.{name}"
            for name in (
                "XGBClassifier", "XGBModel", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker", "XGBRegressor",
            )
        ),
        *(f"{name}.models" for name in ("keras", "tensorflow.keras", "tf_keras")),
        "pyspark.ml.connect.pipeline.PipelineModel",
        "pyspark.ml.pipeline.PipelineModel",
        "xgboost.core.Booster",
        *(f"{name}.load" for name in ("cloudpickle", "cloudpickle.cloudpickle", "dill", "mlflow.pytorch.pickle_module", "pickle")),
    )
)  # fmt: skip
"""What loads a model and nothing else. What it loads lies in files that are looked into."""
_KEYS: Final = {"loader_module": "._load_pyfunc", "keras_module": ".models", "model_class": ""}
_BY_CLASS: Final = frozenset({"spark", "xgboost"})
"""The flavors that import the class. Others tell it, and load a pickle."""
_CRATE: Final = "crate"

_METADATA: Final = re.compile(
    r"(?:.*/)?metadata(?:/(?:.*/)?(?![._])(?P<part>part-)?[^/]*)?", re.DOTALL | re.IGNORECASE
)
"""Where Spark reads what a stage is: a folder, with such folders in it as `day=1`, or a file in its place. It passes over what begins with
a dot or an underscore, and so over its own checksums."""
_COMPRESSED: Final = (".bz2", ".deflate", ".gz", ".lz4", ".snappy", ".zst")
_SPARK: Final = re.compile(r"(?:org\.apache\.spark|pyspark)\.ml(?:\.[a-z]\w*)*\.[A-Z]\w*", re.ASCII)


def flavor_imports(flavors: Mapping[object, object]) -> Iterator[str]:
    """What the loaders import by what the flavors of an `MLmodel` say."""
    for name, flavor in flavors.items():
        if name == _CRATE:
            yield "R.readRDS"
        if not isinstance(flavor, Mapping):
            continue
        for key, asked in _KEYS.items():
            said = flavor.get(key)
            if isinstance(said, str) and (key != "model_class" or name in _BY_CLASS):
                yield from _foreign(f"{said}{asked}")


def file_imports(base: str, data: bytes) -> Iterator[str]:
    """What is imported by what a file of this name holds, which is one of `IMPORTED`."""
    yield from _foreign(f"{data[:_LONGEST].decode('utf-8', 'replace')}.{IMPORTED[base]}")


def is_stage(name: str, head: bytes) -> bool:
    """Whether Spark may read what class a stage of a pipeline has from a file of this name that begins with `head`. It reads the first
    line of any file in the folder, and other models have folders of that name."""
    place = _METADATA.fullmatch(name)
    return place is not None and (
        place["part"] is not None or _is_compressed(name) or head.lstrip()[:1] in {b"{", b""}
    )


def stage_imports(name: str, data: bytes) -> Iterator[str]:
    """The classes that such a file has imported and which are none of Spark's own. Raises `DocumentError` for what is hidden from this
    look and not from Spark."""
    if _is_compressed(name):
        raise DocumentError("metadata that Spark would unpack")
    place = _METADATA.fullmatch(name)
    for line in data.splitlines()[:1]:
        try:
            class_ = next(objects_in(line), {}).get("class")
        except NoDocumentError:
            if place is not None and place["part"] is not None:
                raise
            return  # Spark stops at it, and another model may have it: a document of many lines, say
        if isinstance(class_, str) and "." in class_ and not _SPARK.fullmatch(class_):
            yield class_[:_LONGEST]


def _is_compressed(name: str) -> bool:
    return name.casefold().endswith(_COMPRESSED)


def _foreign(name: str) -> Iterator[str]:
    if name not in _OWN:
        yield name[:_LONGEST]
