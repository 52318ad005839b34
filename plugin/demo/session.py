"""One Python process in which scripts run one after another, as cells of a notebook do: MLflow and scikit-learn are
imported once instead of once per script.

Reads a JSON line `{"module", "arguments", "environment", "log"}` for each script and answers with `{"code": ...}`. Ends
when its input does, so it cannot outlive whoever started it.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
from collections.abc import Sequence

import mlflow.pyfunc
import mlflow.sklearn
import sklearn.linear_model
import sklearn.pipeline
import sklearn.tree

WARM = (mlflow.pyfunc, mlflow.sklearn, sklearn.linear_model, sklearn.pipeline, sklearn.tree)


def main() -> None:
    """Run what is asked for until there is nothing more."""
    # Descriptor 1 will be a script's log, so answers need one of their own.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        for line in sys.stdin:
            asked = json.loads(line)
            os.environ.clear()
            os.environ.update(asked["environment"])
            print_to(asked["log"])
            answers.write(json.dumps({"code": run(asked["module"], asked["arguments"])}) + "\n")
            answers.flush()


def run(module: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m MODULE ARGUMENTS` would. Returns its exit code."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - as the interpreter does at its top level
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def print_to(log: str) -> None:
    """Send standard output and error to a file, those of libraries and handlers included."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    main()
