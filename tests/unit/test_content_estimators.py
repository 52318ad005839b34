"""Models as tutorials of scikit-learn make them, as MLflow and joblib write them: none is suspicious for being usual."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_array, csr_matrix
from scipy.stats import randint
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler

from governance.content.inspection import inspect
from governance.content.judgement import CLEAN, MALICIOUS, SUSPICIOUS, judge
from tests.unit.test_content_pickles import ARGUMENTS

FRAME = pd.DataFrame({"a": np.linspace(0.1, 1, 12), "b": np.array(["x", "y"] * 6, dtype=object)})
NUMBERS, CLASSES = FRAME[["a"]], np.array([0, 1] * 6)

USUAL: dict[str, Callable[[], object]] = {
    "a function of numpy": lambda: make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(
        NUMBERS, CLASSES
    ),
    "columns by their type": lambda: ColumnTransformer([
        ("n", StandardScaler(), make_column_selector(dtype_include=np.number)), ("c", OneHotEncoder(), ["b"]),
    ]).fit(FRAME),
    "a target that is transformed": lambda: TransformedTargetRegressor(
        Ridge(), func=np.log1p, inverse_func=np.expm1
    ).fit(NUMBERS, CLASSES),
    "a search by a score's name": lambda: GridSearchCV(
        LogisticRegression(), {"C": [1, 2]}, scoring="f1", cv=2
    ).fit(NUMBERS, CLASSES),
    "a search by a scorer": lambda: GridSearchCV(
        LogisticRegression(), {"C": [1]}, scoring=make_scorer(f1_score), cv=2
    ).fit(NUMBERS, CLASSES),
    "periods": lambda: pd.Series(pd.period_range("2024-01", periods=3, freq="D")),
    "months": lambda: [pd.period_range("2024-01", periods=3, freq="M"), pd.date_range("2024-01", periods=3, freq="MS")],
    "weeks": lambda: [pd.offsets.Week(weekday=1), pd.offsets.BusinessDay(2), pd.offsets.QuarterEnd()],
    "intervals": lambda: [pd.cut(FRAME["a"], 3), pd.Interval(0, 1), pd.Series(pd.interval_range(0, 3))],
    "splines": lambda: make_pipeline(SplineTransformer(), LogisticRegression()).fit(NUMBERS, CLASSES),
}  # fmt: skip


def verdict(data: bytes) -> str:
    found = inspect("model.pkl", data)
    assert (found.broken, found.skipped) == (None, None)
    return judge(found.imports, is_broken=False)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
@pytest.mark.parametrize("kind", USUAL)
def test_a_usual_model_is_clean(kind: str, dumps: Callable[[object], bytes]) -> None:
    assert verdict(dumps(USUAL[kind]())) == CLEAN


def test_a_search_over_a_distribution_is_not_called_malicious() -> None:
    """Distributions of scipy run text that they hold when they are loaded, so they are not clean; each holds methods of its own."""
    search = RandomizedSearchCV(RandomForestClassifier(n_estimators=2), {"max_depth": randint(2, 5)}, n_iter=1, cv=2)  # fmt: skip
    assert verdict(pickle.dumps(search.fit(NUMBERS, CLASSES))) == SUSPICIOUS


def test_an_instance_that_is_called_may_call_what_it_holds() -> None:
    scorer = b"csklearn.metrics._scorer\n_Scorer\n)\x81"
    assert verdict(ARGUMENTS + b"0" + scorer + b".") == CLEAN
    assert verdict(ARGUMENTS + b"0" + scorer + b")R.") == MALICIOUS


HELD = b"csklearn.dummy\nDummyClassifier\n)\x81}(U\x13%b}(U\x05shapeK\x01\x85U\x07typestrU\x03<f8U\x04dataK\x08\x88\x86uub"
"""An instance that says in an attribute of this name that it is an array at address 8."""


@pytest.mark.parametrize("attribute", [b"__array_interface__", b"another_interface__"])
@pytest.mark.parametrize(
    "called", ["numpy exp", "numpy float64", "sklearn.metrics._ranking roc_auc_score", "scipy.sparse._csr csr_matrix",
        "sklearn.neighbors._kd_tree KDTree", "pandas.arrays PeriodArray"]
)  # fmt: skip
def test_what_reads_an_array_at_any_address_is_not_called_while_loading(
    called: str, attribute: bytes
) -> None:
    """The name of the attribute may be worked out on the way."""
    named = b"c" + called.replace(" ", "\n").encode() + b"\n"
    assert verdict(b"\x80\x02" + named + HELD % attribute + b"\x85R.") == MALICIOUS
    assert verdict(b"\x80\x02" + named + b".") == CLEAN


def test_an_address_is_told_wherever_it_is_held() -> None:
    held = HELD % b"__array_interface__"
    found = inspect("model.pkl", b"\x80\x02" + held + b".")
    assert found.imports == ("?layout.numpy.dtype", "sklearn.dummy.DummyClassifier")
    assert verdict(b"\x80\x02" + HELD % b"another_interface__" + b".") == CLEAN


@pytest.mark.filterwarnings("ignore:Trying to unpickle")
@pytest.mark.parametrize("text", [b"U\x0c__setstate__", b"S'__setst\\x61te__'\n", b"V__setst\\u0061te__\n"])
@pytest.mark.parametrize("made", ["collections OrderedDict", "builtins dict"])
def test_what_attributes_made_of_pairs_have_called_counts_as_called(made: str, text: bytes) -> None:
    """The same as by a dictionary whose keys are set one by one, which is followed."""
    pairs = b"c" + made.replace(" ", "\n").encode() + b"\n](" + text + b"cnumpy\nndarray\n\x86e\x85R"
    data = b"\x80\x02csklearn.preprocessing._data\nStandardScaler\n)\x81" + pairs + b"bU\x01xb."
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        pickle.loads(data)
    assert verdict(data) == MALICIOUS


PAIRED = {
    "a list": b"](T__cnumpy\nndarray\ne",
    "a list at its mark": b"(T__cnumpy\nndarray\nl",
    "a tuple at its mark": b"(T__cnumpy\nndarray\nt",
    "a set": b"\x8f(T__cnumpy\nndarray\n\x90",
    "a frozen set": b"(T__cnumpy\nndarray\n\x91",
    "keys": b"}T__K\x01scnumpy\nndarray\nK\x02s",
    "keys at their mark": b"(T__K\x01cnumpy\nndarray\nK\x02d",
}


@pytest.mark.parametrize("pair", PAIRED)
def test_whatever_python_takes_for_a_pair_counts_as_one(pair: str) -> None:
    held = PAIRED[pair].replace(b"T__", b"U\x0c__setstate__")
    state = b"cbuiltins\ndict\n](" + held + b"e\x85R"
    data = b"\x80\x04csklearn.preprocessing._data\nStandardScaler\n)\x81" + state + b"b."
    assert verdict(data) == MALICIOUS
    assert verdict(data.replace(b"__setstate__", b"__getstate__")) == CLEAN


def test_sparse_matrices_and_trees_are_clean_as_they_are_saved() -> None:
    tree = KNeighborsClassifier(2, algorithm="kd_tree").fit(NUMBERS, CLASSES)
    parts = [csr_matrix(np.eye(3)), coo_array(np.eye(2)), tree, np.float64(1), np.ma.masked_array([1, 2])]
    for dumps in (pickle.dumps, cloudpickle.dumps, lambda each: pickle.dumps(each, protocol=2)):
        assert [verdict(dumps(each)) for each in parts] == [CLEAN] * len(parts)


@pytest.mark.parametrize("end", [b"(K\x01K\x02e.", b"(K\x01K\x02\x90.", b"K\x01a."])
def test_what_an_unpickler_appends_to_is_a_list_or_may_call_what_it_holds(end: bytes) -> None:
    """An estimator has no `extend`, unless it was given one as an attribute."""
    start = b"\x80\x04cnumpy\nndarray\n0"
    assert verdict(start + b"csklearn.dummy\nDummyClassifier\n)\x81" + end) == MALICIOUS
    for harmless in (b"]", b"cbuiltins\nlist\n)\x81", b"ccollections\ndeque\n)\x81"):
        assert verdict(start + harmless + end) == CLEAN


@pytest.mark.parametrize("class_", [b"cacme\nNet\n", b"csklearn.dummy\nDummyClassifier\n)\x81"])
def test_what_makes_an_index_is_told_a_class_and_no_instance(class_: bytes) -> None:
    """It calls what that has under the name `from_arrays`."""
    made = b"cpandas.core.indexes.interval\n_new_IntervalIndex\n(%b}tR."
    assert verdict(b"\x80\x02cnumpy\nndarray\n0" + made % b"cpandas\nIntervalIndex\n") == CLEAN
    assert verdict(b"\x80\x02cnumpy\nndarray\n0" + made % class_) != CLEAN


@pytest.mark.parametrize("key", [b"}", b"]", b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR", b"(}K\x01t"])
def test_a_key_that_no_dictionary_can_have_is_no_error_of_ours(key: bytes) -> None:
    assert verdict(b"\x80\x02}" + key + b"K\x01s.") == CLEAN
    assert verdict(b"\x80\x02}(" + key + b"cposix\nsystem\nu.") == MALICIOUS
