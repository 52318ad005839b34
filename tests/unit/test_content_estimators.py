"""Models as tutorials of scikit-learn make them, as MLflow and joblib write them: none is suspicious for being usual."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from scipy.stats import randint
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

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
