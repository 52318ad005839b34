"""Try to log a malicious model, which is refused, and log four that nobody should load, or not yet.

The tracking server is named by `MLFLOW_TRACKING_URI`. The malicious one is harmless in fact: were it unpickled, it would
write an empty file, whose path `--payload` gives, and the demo shows that this file never appears. One of the four is
logged as an honest model; the demo then puts the malicious pickle, which is written to `--trap`, in its place.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import sklearn
from mlflow.exceptions import MlflowException
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

HONEST = [f"scikit-learn=={sklearn.__version__}"]
# CVE-2020-14343, CVSS 9.8: PyYAML before 5.4 runs code that a YAML file names.
VULNERABLE = [*HONEST, "PyYAML==5.3"]


class Trap(BaseEstimator):
    """An estimator whose pickle holds a command instead of weights."""

    def __init__(self, payload: str) -> None:
        self.payload = payload

    def __reduce__(self) -> tuple[object, ...]:
        """What `pickle` stores: call `os.system` with this text when loaded."""
        import os

        return (os.system, (f"touch '{self.payload}'",))

    def predict(self, _features: Any) -> list[int]:
        """So that MLflow takes it for a model."""
        return [0]


def main() -> int:
    """Log all of them, and say how the first was refused and where each of the others went."""
    arguments = parse_arguments()
    trap = Trap(str(arguments.payload))
    arguments.trap.write_bytes(pickle.dumps(trap))
    features, labels = load_iris(return_X_y=True, as_frame=True)
    honest = DecisionTreeClassifier(max_depth=3, random_state=7).fit(features, labels)
    mlflow.set_experiment("from-the-internet")
    suspects: dict[str, tuple[object, Sequence[str]]] = {
        "iris-malicious": (honest, HONEST),
        "iris-vulnerable": (honest, VULNERABLE),
        "iris-tampered": (honest, HONEST),
        "iris-unscanned": (honest, HONEST),
    }
    refused = attempt(trap)
    located = {}
    for name, (model, requirements) in suspects.items():
        located[name] = log(model, name, requirements)
        print(f"logged `{name}`")
    if arguments.json:
        arguments.json.write_text(json.dumps({"logged": located, "refused": refused}), encoding="utf-8")
    return 0


def attempt(trap: Trap) -> dict[str, str]:
    """What the user sees who logs the malicious model."""
    try:
        log(trap, "iris-malicious", HONEST)
    except MlflowException as refusal:
        kind = type(refusal)
        print(f"logging the malicious model: {kind.__qualname__}")
        return {"error": f"{kind.__module__}.{kind.__qualname__}", "message": refusal.message}
    sys.exit("the malicious model was stored")


def log(model: object, name: str, requirements: Sequence[str]) -> dict[str, str]:
    """Log and register one model."""
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            model,
            name="classifier",
            pip_requirements=list(requirements),
            registered_model_name=name,
            # MLflow's default, skops, would refuse the trap already. Very many models out there are pickles.
            serialization_format="cloudpickle",
        )
    return {
        "registered": f"models:/{name}/{logged.registered_model_version}",
        "location": logged.artifact_path,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--payload", metavar="FILE", type=Path, required=True, help="file the trap would create"
    )
    parser.add_argument(
        "--trap", metavar="FILE", type=Path, required=True, help="write the malicious pickle to this file"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write where each model is to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
