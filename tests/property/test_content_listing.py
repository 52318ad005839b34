"""Laws of what is taken for a list of packages, against Python's own unpickler: it would have done nothing, and lists are clean."""

from __future__ import annotations

import io
import pickle
import string
from typing import Any

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from governance.content.inspection import inspect, may_hide
from governance.content.judgement import CLEAN, is_dangerous, judge
from governance.content.listing import is_listing


def words(text: str) -> list[str]:
    return text.split()


# Of the names that people list, with all that begin as an import does, as another operation does, or as a module of Python's.
POPULAR = words(
    "aiohttp alembic attrs black boto3 cachetools catboost certifi cffi chardet charset-normalizer click cloudpickle colorama "
    "contourpy coverage cryptography cycler cython databricks-sdk docker fastapi filelock fonttools gitpython graphene greenlet "
    "gunicorn h5py httpx huggingface-hub icalendar idna ijson imageio imbalanced-learn iminuit importlib-metadata iniconfig ipdb "
    "ipykernel ipython isort jinja2 joblib jsonschema keras kiwisolver lightgbm lxml mako markupsafe matplotlib mlflow multidict "
    "networkx nltk numpy opencv-python optuna orjson packaging pandas pillow pip polars protobuf psutil pyarrow pydantic pytz "
    "pyyaml requests rsa s3fs scikit-learn scipy seaborn setuptools shap six spacy sqlalchemy statsmodels sympy tensorflow "
    "threadpoolctl tokenizers torch tqdm transformers tzdata ujson urllib3 uvicorn virtualenv werkzeug wrapt xgboost yarl zipp "
    "CatBoost Cython Flask GitPython IPython Jinja2 Markdown MarkupSafe Pillow PyYAML Pygments SQLAlchemy Werkzeug Nuitka"
)
VERSIONS = st.sampled_from(
    ["", "==1.2.3", ">=1,<2", "~=4.1", "[extra]==1.0", " >= 2.0 ; python_version < '3.12'"]
)
ENDS = st.sampled_from(["", "\n", "\n\n# made by hand\n"])


def verdict(data: bytes) -> str:
    found = inspect("requirements.txt", data)
    return judge(found.imports, is_broken=found.broken is not None)


class Traced:
    """Whatever was imported, as the worst that it could be: it takes every call, and every call is noted."""

    def __init__(self, unpickler: Tracer) -> None:
        self._unpickler = unpickler

    def _act(self, *_: object, **__: object) -> Any:
        self._unpickler.acted = True
        return self

    __call__ = __setstate__ = __setitem__ = append = extend = update = add = _act


class Tracer(pickle._Unpickler):
    """Python's own unpickler, to which nothing is strange."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.acted = False
        self.imports: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        self.imports.append(f"{module}.{name}")
        return Traced(self)

    def ends(self) -> bool:
        """Whether it gets to the end."""
        try:
            self.load()
        except Exception:
            return False
        return True


APPENDS = words(
    "cachetools catboost certifi cffi chardet charset-normalizer click cloudpickle Cython databricks-sdk docker fastapi filelock "
    "fonttools gitpython graphene greenlet huggingface-hub icalendar imbalanced-learn"
)
"""`Cython` is a text of 121 bytes here, which the next letter appends to what `click` imported."""


@settings(max_examples=200)
@given(st.lists(st.sampled_from(POPULAR), unique_by=str.lower, max_size=60), ENDS)
@example(APPENDS, "")
@example(words("cachetools catboost Nuitka numpy opencv-python"), "")  # `N` pushes `None`
def test_names_in_order_are_clean_unless_an_unpickler_acts_by_them(names: list[str], end: str) -> None:
    """As `pip freeze` and MLflow write them, but without versions, which would leave no doubt."""
    data = ("\n".join(sorted(names, key=str.lower)) + end).encode()
    tracer = Tracer(data)
    tracer.ends()
    if tracer.acted:
        assert verdict(data) != CLEAN
        return
    assert verdict(data) == CLEAN
    assert inspect("requirements.txt", data).format == "text"
    assert not may_hide("text", data[:4096], len(data))


@given(
    st.lists(
        st.builds("{}=={}.{}".format, st.sampled_from(POPULAR), st.integers(0, 99), st.integers(0, 99)),
        min_size=1,
    ),
    ENDS,
)
def test_pinned_names_are_clean_in_any_order(lines: list[str], end: str) -> None:
    assert verdict(("\n".join(lines) + end).encode()) == CLEAN


LETTERS = string.ascii_letters + string.digits
NAMES = st.one_of(
    st.sampled_from(POPULAR),
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True),
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.builds("{}{}".format, NAMES, VERSIONS), min_size=1, max_size=12), ENDS)
@example(["catboost", "numpy"], "\n")
@example(["iminuit", "scipy"], "\n")
@example(["ijson", "pandas"], "\n")
@example(["cffi", "cryptography", "joblib", "boto3"], "\n")
def test_any_list_is_clean_unless_an_unpickler_would_get_somewhere(lines: list[str], end: str) -> None:
    data = ("\n".join(lines) + end).encode()
    assume(
        not data.startswith((b"PK", b"BZh", b"GGUF"))
    )  # the marks of other formats, which are names as well
    tracer = Tracer(data)
    gets_somewhere = tracer.ends() or tracer.acted or any(map(is_dangerous, tracer.imports))
    assert verdict(data) == CLEAN or gets_somewhere


OPERATIONS = st.one_of(
    st.sampled_from(
        words(
            "cos cposix cnumpy catboost iminuit ios system numpy environ Vx V1 VLD_PRELOAD I1 L2 F0 N N.x S'x' Rich Rx append a1 scipy s1 "
            "setuptools b2 boto3 o1 o.x t1 l d p0 p1 g0 g1 q0 r h0 j 0 00 1 2 2R 1.a ( (1 ) ] } . R. Pillow P1 e u Q 0c"
        )
    ),
    st.text(LETTERS + "._-()[]'\"", min_size=1, max_size=4),
)


@settings(max_examples=500)
@given(
    st.lists(OPERATIONS, max_size=8),
    st.sampled_from(["", "\n"]),
    st.sampled_from(["", "cnumpy\nx\n", "catboost\nnumpy\n"]),
)
@example(["cos", "system", "Vx", "Rich"], "\n", "")
@example(["cos", "environ", "VLD_PRELOAD", "Vx", "scipy"], "\n", "")
@example(["Vx", "Rich"], "\n", "cnumpy\nx\n")
@example(["N.x"], "\n", "catboost\nnumpy\n")
def test_of_what_is_taken_for_a_list_nothing_is_done_by_an_unpickler(
    lines: list[str], end: str, start: str
) -> None:
    """Lines that are operations, on top of an import. `cos, system, Vx, Rich` are four good names of packages."""
    data = (start + "\n".join(lines) + end).encode()
    if not is_listing(data, is_whole=True):
        return
    tracer = Tracer(data)
    assert not tracer.ends()
    assert not tracer.acted
    harmless = {"ast", "calendar", "json", "pdb", "struct"}
    assert {name.partition(".")[0] for name in filter(is_dangerous, tracer.imports)} <= harmless


def test_the_tracer_sees_what_is_done() -> None:
    """Or the law above would hold for want of sight."""
    for lines, acted in (
        (b"cos\nsystem\nVx\nRich\n", True),
        (b"cos\nenviron\nVa\nVb\nscipy\n", True),
        (b"catboost\nnumpy\n", False),
    ):
        tracer = Tracer(lines)
        assert not tracer.ends()
        assert tracer.acted is acted
        assert is_listing(lines, is_whole=True) is not acted
    ended = Tracer(b"catboost\nnumpy\nN.x\n")
    assert ended.ends()
    assert ended.imports == ["atboost.numpy"]
