"""Train a classifier, log it through a tracking server, register it, load it back and predict.

Nothing in this file knows of governance: it is what a data scientist writes anyway. The tracking server is named by
`MLFLOW_TRACKING_URI`. With `--direct URI` the model is logged once more, straight to that artifact location.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import mlflow
import sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

REGISTERED_NAME = "breast-cancer"
# Said rather than inferred: MLflow would load the model in another process to find out, which takes seconds.
REQUIREMENTS = [f"scikit-learn=={sklearn.__version__}"]


def main() -> int:
    """Run the whole life of a model and print each step."""
    arguments = parse_arguments()
    features, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    train_x, test_x, train_y, test_y = train_test_split(features, labels, random_state=7)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(train_x, train_y)
    accuracy = float(model.score(test_x, test_y))
    print(f"trained on {len(train_x)} patients, accuracy on {len(test_x)} others: {accuracy:.3f}")

    signature = infer_signature(train_x, model.predict(train_x))
    mlflow.set_experiment("diagnosis")
    with mlflow.start_run():
        mlflow.log_metric("accuracy", accuracy)
        logged = mlflow.sklearn.log_model(
            model,
            name="classifier",
            signature=signature,
            pip_requirements=REQUIREMENTS,
            registered_model_name=REGISTERED_NAME,
        )
    version = logged.registered_model_version
    print(f"logged and registered as `{REGISTERED_NAME}` version {version}")

    loaded = mlflow.pyfunc.load_model(f"models:/{REGISTERED_NAME}/{version}")
    predicted = [int(label) for label in loaded.predict(test_x.head(5))]
    print(f"loaded it back; predictions for five patients: {predicted}")

    direct_uri = None
    if arguments.direct:
        experiment = mlflow.create_experiment("diagnosis-direct", artifact_location=arguments.direct)
        with mlflow.start_run(experiment_id=experiment):
            direct = mlflow.sklearn.log_model(
                model, name="classifier", signature=signature, pip_requirements=REQUIREMENTS
            )
        direct_uri = direct.model_uri
        mlflow.pyfunc.load_model(direct_uri).predict(test_x.head(1))
        print("logged and loaded once more, straight to and from Artifactory")

    if arguments.json:
        result = {
            "accuracy": round(accuracy, 3),
            "model_uri": logged.model_uri,
            "location": logged.artifact_path,
            "registered": f"models:/{REGISTERED_NAME}/{version}",
            "predictions": predicted,
            "direct_uri": direct_uri,
        }
        arguments.json.write_text(json.dumps(result), encoding="utf-8")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--direct", metavar="URI", help="log once more to this `artifactory://` location")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what happened to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
