"""What MLflow has registered for the schemes that the plugin serves: `python -m plugin.diagnose` prints it as one last
line of JSON.

For `mlgov doctor`, which does not import MLflow. Does not judge: a scheme that somebody else serves is just named.
"""

from __future__ import annotations

import json

SCHEMES = ("artifactory", "mlflow-artifacts", "runs")


def registered() -> dict[str, str]:
    """Module and name of the class or factory for each scheme, as MLflow would use it."""
    from mlflow.store.artifact import artifact_repository_registry as registry

    # The private name is the only door: the public function constructs a repository, which needs settings.
    known = registry._artifact_repository_registry._registry  # noqa: SLF001 - see above
    return {
        scheme: f"{known[scheme].__module__}.{known[scheme].__qualname__}"
        for scheme in SCHEMES
        if scheme in known
    }


if __name__ == "__main__":
    print(f"\n{json.dumps(registered())}")  # noqa: T201 - on a line of its own, whatever imported packages printed
