"""What may not be called while a pickle is loaded, though a function of a model may well name it.

A notebook's function that calls `pandas.read_csv` names it, and nothing happens before the function is called. A pickle that calls it
itself has whoever loads it read, fetch, write or run what the pickle's author chose.

Promises: of packages that stand beside models, what is named like that; the standard library's are dangerous named or called.
Does not: know what a function of the model's own does.
"""

from __future__ import annotations

from typing import Final

from governance.content.allowed import FUNCTIONS
from governance.content.layers import LAYERS
from governance.content.values import IMPORTS

CALLS: Final = "?calls."
"""Before the name of what is called."""

# fmt: off
_PACKAGES: Final = frozenset((
    "IPython", "PIL", "alembic", "anyio", "apsw", "botocore", "boto3", "catboost", "cffi", "click", "cloudpickle",
    "cryptography", "dask", "databricks", "datasets", "diffusers", "dill", "docker", "dotenv", "evaluate", "execnet",
    "fastapi", "fasttext", "flask", "fsspec", "gensim", "git", "gitdb", "google", "governance", "graphene", "graphql",
    "gunicorn", "huey", "huggingface_hub", "importlib_metadata", "jinja2", "joblib", "jsonpickle", "keras", "keyring",
    "lightgbm", "llvmlite", "mako", "matplotlib", "mlflow", "nltk", "numba", "numpy", "onnx", "onnxruntime",
    "opentelemetry", "pandas", "peft", "pickle5", "plugin", "plotly", "polars", "prometheus_client", "psycopg", "pyarrow",
    "pycaret", "pydantic", "pyspark", "pytest", "pytorch_lightning", "ray", "ruamel", "safetensors", "scipy",
    "sentence_transformers", "shap", "six", "skl2onnx", "sklearn", "skops", "spacy", "sqlalchemy", "sqlparse", "starlette",
    "statsmodels", "tensorflow", "tensorflow_hub", "tokenizers", "torch", "torchaudio", "torchvision", "transformers",
    "typer", "uvicorn", "virtualenv", "waitress", "werkzeug", "xgboost", "yaml", "zmq",
))
_VERBS: Final = frozenset((
    "autoreload", "chmod", "clone", "compile", "connect", "copyfile", "delete", "deploy", "dlopen", "download", "dump",
    "dumps", "edit", "eval", "exec", "execute", "export", "fetch", "filterwarnings", "fork", "genfromtxt", "import",
    "install", "launch", "load", "loads", "loadtxt", "main", "makedirs", "mkdir", "mkdtemp", "mkstemp", "move", "open",
    "popen", "pull", "push", "query", "read", "register", "remove", "rename", "request", "rmtree", "run", "save", "savetxt",
    "savez", "send", "serve", "shell", "simplefilter", "spawn", "start", "submit", "sync", "system", "to", "tofile",
    "touch", "unlink", "unsafe", "upload", "urlopen", "write",
))
"""With which a public function's name begins that does one of these. What packages rebuild their own objects by is called otherwise:
`_reconstruct`, `_rebuild_tensor_v2`, `unpickle_vocab`."""
_OTHERS: Final = frozenset((
    "apsw.Connection", "cffi.FFI", "cloudpickle.cloudpickle._builtin_type", "docker.from_env", "docker.client.from_env",
    "git.repo.base.Repo", "gunicorn.util._unlink", "keras.utils.get_file", "keras.src.utils.file_utils.get_file",
    "numpy.fromfile", "numpy.memmap", "pandas.ExcelFile", "pandas.ExcelWriter", "pandas.HDFStore",
    "pandas.io.excel._base.ExcelFile", "pandas.io.excel._base.ExcelWriter", "pandas.io.pytables.HDFStore",
    "pyarrow.MemoryMappedFile", "pyarrow.OSFile", "pyarrow.lib.MemoryMappedFile", "pyarrow.lib.OSFile",
    "sqlalchemy.create_engine", "sqlalchemy.engine.create.create_engine",
))
_OF_MEMORY: Final = frozenset((
    "numpy.bool", "numpy.bool_", "numpy.bytes_", "numpy.complex128", "numpy.complex64", "numpy.float128", "numpy.float16", "numpy.float32",
    "numpy.float64", "numpy.int16", "numpy.int32", "numpy.int64", "numpy.int8", "numpy.intc", "numpy.intp", "numpy.longdouble",
    "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray", "numpy.matrix", "numpy.ndarray", "numpy.random.mtrand.RandomState",
    "numpy.rec.recarray", "numpy.recarray", "numpy.record", "numpy.uint16", "numpy.uint32", "numpy.uint64", "numpy.uint8", "numpy.uintp",
    "numpy.void", "pandas.arrays.IntervalArray", "pandas.arrays.PeriodArray",
))
"""What takes given bytes for pointers, or anything for an array that says in an attribute at which address it lies: arrays and numbers are
rebuilt by functions that are told the class, and not by calling it. So do functions of numbers (`FUNCTIONS`), which also ask what they are
given for a method of their name."""
# fmt: on

BUILT: Final = LAYERS | frozenset((
    "accelerate.state.PartialState", "scipy.interpolate._interpolate.interp1d",
    *(
        f"scipy.sparse.{place}.{kind}_{what}"
        for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
        for place in (f"_{kind}", kind)
        for what in ("array", "matrix")
    ),
    *(f"sklearn.neighbors._{tree}_tree.{name}" for tree, name in (("ball", "BallTree"), ("ball", "BallTree64"), ("kd", "KDTree"), ("kd", "KDTree64"))),
    "sentence_transformers.sentence_transformer.training_args.SentenceTransformerTrainingArguments",
    "sentence_transformers.training_args.SentenceTransformerTrainingArguments", "transformers.training_args.TrainingArguments",
    "transformers.training_args_seq2seq.Seq2SeqTrainingArguments",
))  # fmt: skip
"""Classes whose instances are made without calling them, as pickles do, and given their attributes: the `training_args.bin` beside nearly
every model of the hub, layers of networks, sparse matrices. Called, they read files that they are told, set variables and ask for devices; copy
and call what they are given; or take it for an array at some address."""

CALLS_FIRST: Final = "torch._tensor._rebuild_from_type_v2"
"""Calls what it is given first with arguments that it is given, too. Of a tensor that is the name of a function."""
CALL_ARGUMENTS: Final = frozenset((
    "_functools.reduce", "_tuplegetter", "builtins.filter", "builtins.map", "builtins.max", "builtins.min",
    "builtins.sorted", "functools.cached_property", "functools.reduce", "functools.singledispatchmethod",
    "itertools.accumulate", "itertools.dropwhile", "itertools.filterfalse", "itertools.groupby", "itertools.starmap",
    "itertools.takewhile", "numpy.random._pickle.__bit_generator_ctor", "numpy.random._pickle.__generator_ctor",
    "numpy.random._pickle.__randomstate_ctor", "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.datetimes._new_DatetimeIndex", "pandas.core.indexes.interval._new_IntervalIndex",
    "pandas.core.indexes.timedeltas._new_TimedeltaIndex", CALLS_FIRST,
))  # fmt: skip
"""What is not dangerous, and calls what it is given."""
CALLED_AS: Final = frozenset({"__new__", "__setstate__", "add", "append", "extend"})
"""By which names an unpickler, or what it calls, calls what an instance holds."""


def is_harmful(name: str) -> bool:
    """Whether something that may be named may not be called."""
    root, *path = name.split(".")
    if name in _OTHERS or name in _OF_MEMORY or name in BUILT or name in FUNCTIONS:
        return True
    if root not in _PACKAGES:
        return False
    return name in IMPORTS or (
        bool(path) and (path[-1].split("_")[0] in _VERBS or path[-1].removeprefix("_") in _VERBS)
    )
