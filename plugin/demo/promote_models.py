"""Set an alias on registered model versions, and say how each went. A refusal is an exception of MLflow's like any other.

Takes an alias and model URIs (`models:/name/1`). Exits with 1 when any was refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException


def main() -> int:
    """Set the alias on each."""
    arguments = parse_arguments()
    results = [promote(uri, arguments.alias) for uri in arguments.uris]
    for result in results:
        print(f"{result['uri']}: {result['error'] or 'is now ' + arguments.alias}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results), encoding="utf-8")
    return 0 if all(result["error"] is None for result in results) else 1


def promote(uri: str, alias: str) -> dict[str, object]:
    """Set the alias on one version, and ask the registry who bears it then."""
    name, version = uri.removeprefix("models:/").split("/")
    client = MlflowClient()
    result: dict[str, object] = {"uri": uri, "error": None, "message": None}
    try:
        client.set_registered_model_alias(name, alias, version)
    except MlflowException as refusal:
        kind = type(refusal)
        result |= {"error": f"{kind.__module__}.{kind.__qualname__}", "message": refusal.message}
    return result | {"aliases": dict(client.get_registered_model(name).aliases)}


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("alias", metavar="ALIAS", help="such as `champion`")
    parser.add_argument("uris", metavar="URI", nargs="+", help="version to set it on")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write how each went to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
