"""What the plugin adds to `import mlflow`: `python -m benchmarks.imports [--json] [--quick]`.

MLflow loads our entry points whenever it is imported, so every user of MLflow pays for them. In a fresh process, CPU time
is counted while MLflow loads exactly these, and while the first repository for `artifactory://` is imported; the figures are
medians. (Comparing whole processes with and without the plugin measures the machine's mood: the difference is a
thousandth of the import.)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
TARGET = 150.0
CODE = """
import importlib.metadata, json, time
ours, plain = 0.0, importlib.metadata.EntryPoint.load
def load(self):
    global ours
    start = time.process_time()
    try:
        return plain(self)
    finally:
        if self.dist is not None and self.dist.name == "mlflow-governance":
            ours += time.process_time() - start
importlib.metadata.EntryPoint.load = load
start = time.process_time()
import mlflow.store.artifact.artifact_repository_registry
whole = time.process_time() - start
start = time.process_time()
import plugin.repository
first = time.process_time() - start
print(json.dumps({"mlflow": whole - ours, "ours": ours, "first": first}))
"""


def measure() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quick", action="store_true", help="two processes instead of seven")
    options = parser.parse_args(arguments)
    runs = [measure() for _ in range(2 if options.quick else 7)]
    base, added, first = (median(run[name] for run in runs) * 1000 for name in ("mlflow", "ours", "first"))
    rows = (
        ("added to `import mlflow`", added, TARGET),
        ("added by the first artifactory:// repository", first, None),
    )
    figures = [
        {
            "figure": name,
            "value": round(value, 1),
            "unit": "ms CPU",
            "peer": "import mlflow",
            "ratio": round(value / base, 4),
            "target": target,
            "met": None if target is None else value < target,
        }
        for name, value, target in rows
    ]
    report: dict[str, object] = {"benchmark": "imports", "figures": figures}
    print(json.dumps(report, indent=2) if options.json else json.dumps(report))
    return report


if __name__ == "__main__":
    main()
