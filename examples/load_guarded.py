"""Load a model, and act on a refusal instead of just failing with it.

    python examples/load_guarded.py models:/wine/1

A quarantined model is tried again, as long as there is time. For a blocked one, everything that a person or a ticket
needs is in the exception. Exits with 1 when there is no model in the end.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import mlflow

from plugin.errors import BlockedModelError, ModelVerificationError, QuarantinedModelError

PATIENCE_SECONDS = 60


def load(uri: str, *, patience: float = PATIENCE_SECONDS) -> Any:
    """The model. Raises `BlockedModelError`, `ModelVerificationError`, or `QuarantinedModelError` when out of time."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return mlflow.pyfunc.load_model(uri)
        except QuarantinedModelError as refusal:
            pause = refusal.retry_after or 5
            if time.monotonic() + pause > deadline:
                raise
            print(f"not scanned yet, trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)


def main(uri: str) -> int:
    """Load, or explain."""
    try:
        model = load(uri)
    except BlockedModelError as refusal:
        print(f"blocked: decision {refusal.decision_id}", file=sys.stderr)
        for finding in refusal.findings:
            print(f"  [{finding.severity.word}] {finding.rule}: {finding.message}", file=sys.stderr)
            print(f"  what to do: {finding.remediation}", file=sys.stderr)
        if refusal.waiver_command:
            print(f"  to ask for an exception: {refusal.waiver_command}", file=sys.stderr)
        return 1
    except (ModelVerificationError, QuarantinedModelError) as refusal:
        print(refusal.message, file=sys.stderr)
        return 1
    print(f"loaded {model.metadata.model_uuid}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
