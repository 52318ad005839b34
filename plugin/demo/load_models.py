"""Load models, predict with each, and say how each went. A refusal is an exception like any other.

Takes model URIs (`models:/name/1`, `artifactory://...`). Exits with 1 when any was refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_iris


def main() -> int:
    """Load and predict."""
    arguments = parse_arguments()
    results = [load(uri) for uri in arguments.uris]
    for result in results:
        print(f"{result['uri']}: {result['error'] or 'predicts ' + str(result['predictions'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results), encoding="utf-8")
    return 0 if all(result["error"] is None for result in results) else 1


def load(uri: str) -> dict[str, object]:
    """Load one model and predict three flowers."""
    result: dict[str, object] = {"uri": uri, "predictions": None, "error": None, "message": None}
    try:
        model = mlflow.pyfunc.load_model(uri)
    except MlflowException as refusal:
        kind = type(refusal)
        return result | {"error": f"{kind.__module__}.{kind.__qualname__}", "message": refusal.message}
    features, _ = load_iris(return_X_y=True, as_frame=True)
    return result | {"predictions": [int(label) for label in model.predict(features.iloc[[0, 70, 140]])]}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("uris", metavar="URI", nargs="+", help="model to load")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write how each load went to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
