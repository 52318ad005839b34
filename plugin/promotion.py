"""Promotions: the gate before an alias, a stage or a registered model that stands for an environment.

Step by step:

1. the whole of each version's files is listed as it lies in Artifactory now (`plugin.versions`);
2. each whole is admitted with the action `promote`, for the environment of the table `promotions`; one refusal refuses all,
   and the registry is not asked to do anything;
3. the registry acts, under the permits; where it says no, the outcome is `failed` and its answer is handed on;
4. what was done is put on record, and then the outcome.

Promises: a promotion that is not on record does not happen, since its decision comes first. Does not: move bytes; or undo
what the registry did where step 4 fails, which is an error that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from governance.errors import VerificationError
from governance.model.request import Action, Request
from governance.permit import Permit
from governance.wiring import Assembly
from plugin.context import caller, mlflow_context
from plugin.location import Part
from plugin.versions import Version, parts_of

MOST_VERSIONS = 50
"""As many versions are judged for one act, such as the renaming of a model."""


class RegistryRefusal(Exception):  # noqa: N818 - no error of ours: MLflow's own answer, on its way out of the permits
    """The registry itself said no; `response` is what it answered."""

    def __init__(self, response: Any) -> None:
        super().__init__(str(response.status_code))
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """Versions that are to stand for an environment, and what is done to make them."""

    environment: str
    versions: Sequence[Version]
    alias: str | None = None


@dataclass(slots=True)
class Promoted:
    """What the promotion rests on: the permits by version, and the id that joins all of it."""

    permits: list[tuple[Version, Permit]] = field(default_factory=list)
    correlation: str | None = None

    def of(self, version: Version | None) -> list[Permit]:
        """The permits for a version, or for all."""
        return [permit for each, permit in self.permits if version is None or each == version]


def promote(assembly: Assembly, promotion: Promotion, act: Callable[[Promoted], None]) -> None:
    """Do `act` under the permits.

    Raises `RefusedError`, and what listing and recording the decisions raises, and then `act` did not run; and what `act` and
    recording the outcome raises.
    """
    if len(promotion.versions) > MOST_VERSIONS:
        raise VerificationError(
            f"{len(promotion.versions)} versions would be promoted at once, and at most {MOST_VERSIONS} are judged together",
            hint="Promote the versions that are wanted one by one, by copying them or by an alias.",
        )
    promoted = Promoted()
    with ExitStack() as held:
        for version in promotion.versions:
            if not version.has_files:
                continue
            correlation, parts = parts_of(version, assembly)
            promoted.correlation = promoted.correlation or correlation
            for part in parts:
                request = _request(assembly, promotion, version, part, promoted.correlation)
                promoted.permits.append((version, held.enter_context(assembly.gate.admit(request))))  # 2
        act(promoted)  # 3 and 4


def _request(
    assembly: Assembly, promotion: Promotion, version: Version, part: Part, correlation: str
) -> Request:
    known = mlflow_context(part.root)
    return Request(
        action=Action.PROMOTE,
        artifact=part.artifact,
        actor=caller(),
        environment=promotion.environment,
        at=assembly.now(),
        correlation=correlation,
        mlflow=replace(
            known,
            run_id=version.run_id or known.run_id,
            model_id=known.model_id or version.model_id,
            model_name=version.name,
            model_version=version.number,
            alias=promotion.alias,
        ),
    )
