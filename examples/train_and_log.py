"""Train a wine classifier and log it to Artifactory, signed and on record.

    export ARTIFACTORY_AUTH_TOKEN=... MLGOV_ARTIFACTORY_URL=https://acme.jfrog.io/artifactory
    python examples/train_and_log.py artifactory://acme.jfrog.io/artifactory/models-local/wine

Without an argument it logs to wherever `MLFLOW_TRACKING_URI` says. Prints the model's URI.
"""

from __future__ import annotations

import sys

import mlflow
import sklearn
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(location: str | None) -> str:
    """Train, log, and return the URI to load from."""
    features, labels = load_wine(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(features, labels)

    name = "wine" if location is None else f"wine at {location}"
    experiment = mlflow.get_experiment_by_name(name)
    identifier = experiment.experiment_id if experiment else mlflow.create_experiment(name, location)
    with mlflow.start_run(experiment_id=identifier):
        mlflow.log_metric("accuracy", model.score(features, labels))
        logged = mlflow.sklearn.log_model(
            model,
            name="classifier",
            input_example=features.head(2),
            # Without this line MLflow starts another process to find out, which takes a while.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
        )
    uri: str = logged.model_uri
    return uri


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else None))
