"""The properties that an upload gets in Artifactory, namespace `mlgov.*`.

| property | value |
| --- | --- |
| `mlgov.decision` | id of the decision in the audit log that let the upload through |
| `mlgov.policy` | SHA-256 of the policy in force |
| `mlgov.digest` | identity of the bytes: `sha256:` of a file, `dirhash1:` of a folder |
| `mlgov.key-id`, `mlgov.signature` | signer's key, and SHA-256 of the signature bundle; absent where nothing was signed |
| `mlgov.run`, `mlgov.experiment`, `mlgov.model` | MLflow's ids, where known |
| `mlgov.user` | who uploaded; with `claimed:` in front where no login vouches for the name |
| `mlgov.commit` | source commit of the run, where known |

They are for people and searches. No verdict rests on them alone: whoever may annotate may change them.
"""

from __future__ import annotations

from collections.abc import Mapping

from governance.artifactory.client import ArtifactoryClient
from governance.errors import ForbiddenError, ProtocolError
from governance.model.digest import Digest, Sha256
from governance.permit import Permit

_MAX_VALUE = 512
_RIGHT = (
    "The token needs the right to annotate (`mlgov doctor` looks). The files are stored, and signed where there is a key; what is "
    "missing is their properties."
)
_OTHERS = "Those of another upload are there: where two write the same place at once, let one do so, and log it again. Otherwise: "


def properties_of(
    permit: Permit, *, digest: Digest | None, key_id: str | None = None, bundle: Sha256 | None = None
) -> dict[str, str]:
    """The properties of what was uploaded under a permit."""
    request, verdict = permit.request, permit.decision.verdict
    actor, context = request.actor, request.mlflow
    values = {
        "mlgov.decision": permit.decision.id,
        "mlgov.policy": verdict.policy_digest,
        "mlgov.digest": digest,
        "mlgov.key-id": key_id,
        "mlgov.signature": bundle,
        "mlgov.run": context.run_id,
        "mlgov.experiment": context.experiment_id,
        "mlgov.model": context.model_id or context.model_name,
        "mlgov.user": actor.name if actor.is_authenticated else f"claimed:{actor.name}",
        "mlgov.commit": context.source_commit,
    }
    return {key: value[:_MAX_VALUE] for key, value in values.items() if value}


def write_properties(
    client: ArtifactoryClient, repository: str, path: str, values: Mapping[str, str]
) -> None:
    """Set properties and read them again. Raises `ForbiddenError`, or `ProtocolError` where the server did not keep one, which is what
    a missing right to annotate can look like.
    """
    try:
        client.set_properties(repository, path, values)
    except ForbiddenError as error:
        error.hint = _RIGHT
        raise
    found = client.properties(repository, path)
    lost = sorted(key for key, value in values.items() if found.get(key) != (value,))
    if lost:
        is_others = found.get("mlgov.decision", ()) not in ((), (values.get("mlgov.decision"),))
        raise ProtocolError(
            f"{len(lost)} propert(ies) were not kept, the first is `{lost[0]}`",
            service="Artifactory",
            method="PATCH",
            path=f"api/metadata/{repository}/{path}",
            hint=f"{_OTHERS}{_RIGHT}" if is_others else _RIGHT,
        )
