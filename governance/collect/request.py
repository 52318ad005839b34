"""The facts that the request itself states. No collector asks for these; the gate adds them."""

from __future__ import annotations

from governance.model.facts import FactValue, Unknown
from governance.model.request import Request


def request_facts(request: Request) -> dict[str, FactValue]:
    """What request and artifact say about themselves. Where they say nothing, the fact is unknown or known absent."""
    artifact, actor, mlflow = request.artifact, request.actor, request.mlflow
    values: dict[str, FactValue] = {
        "artifact.ref": artifact.ref,
        "artifact.repository": artifact.repository,
        "artifact.path": artifact.path,
        "artifact.name": artifact.name,
        "artifact.version": artifact.version,
        "artifact.kind": artifact.kind.value,
        "artifact.size": artifact.size
        if artifact.size is not None
        else Unknown("the size of a file is not known"),
        "artifact.digest": artifact.digest or Unknown("the bytes have not been hashed yet"),
        "actor.name": actor.name,
        "actor.authenticated": actor.is_authenticated,
        "actor.groups": actor.groups,
        "actor.kind": actor.kind.value,
        "environment": request.environment,
    }
    for field in ("run_id", "experiment_id", "model_name", "model_version", "alias"):
        value = getattr(mlflow, field)
        values[f"mlflow.{field}"] = value if value is not None else Unknown("MLflow did not say")
    values["mlflow.flavors"] = mlflow.flavors or Unknown("MLflow did not say")
    return values
