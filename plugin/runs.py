"""`runs:/` locations that do not hide a refusal.

MLflow's class looks for a run's files and then for its model's, swallows every error of both, and says that the path is
wrong. This one keeps what the two said: a refusal is raised as it is, even where the other half was found. That a path
is in neither place stays MLflow's own error. And MLflow puts the two together: each was judged, the mixture was not, so that one is
refused in which the run adds a file to the model.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

from governance.errors import VerificationError
from plugin.ending import ended_in_order
from plugin.errors import GovernedError, as_mlflow
from plugin.staging import destination, first_other, release, staging


class GovernedRunsRepository(RunsArtifactRepository):
    """MLflow's own repository for `runs:/`, with errors that keep their type."""

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(artifact_uri, *args, **kwargs)
        self.seen: list[GovernedError] = []

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download from the run, its model, or both, all or nothing. Raises the first refusal of either."""
        # What one download sees must not show in another: each works on a copy with a list of its own.
        one = copy.copy(self)
        one.seen = []
        one.repo = _Witness(self.repo, one.seen)
        with ended_in_order(), as_mlflow(), destination(dst_path) as target, staging(target) as staged:
            try:
                found = super(GovernedRunsRepository, one).download_artifacts(artifact_path, str(staged))
            except MlflowException:
                if one.seen:
                    first = one.seen[0]
                    raise first.with_traceback(None) from first.__cause__
                raise
            if one.seen:
                raise one.seen[0]
            release(staged, target)
        return os.path.normpath(target / Path(found).relative_to(staged))

    def _download_model_artifacts(self, artifact_path: str, dst_path: str) -> str | None:
        try:
            return self._beside_the_run(artifact_path, Path(dst_path))
        except GovernedError as error:
            _remember(error, self.seen)
            raise

    def _beside_the_run(self, artifact_path: str, target: Path) -> str | None:
        """The model's half, brought to where the run's half lies already. Raises `GovernedError` where that would add to it."""
        with as_mlflow(), staging(target) as staged:
            found: str | None = super()._download_model_artifacts(artifact_path, str(staged))
            if found is None:
                return None
            added = first_other(staged, target)
            if added is not None:
                raise VerificationError(
                    f"the run has a file `{added.relative_to(target)}` of its own beside its model: put together they are a model that "
                    "nobody judged",
                    hint="Load the model by its own address (`models:/m-...`), or move the run's file to another folder.",
                )
            release(staged, target)
            return str(target / Path(found).relative_to(staged))


class _Witness:
    """The run's repository, whose refusals are written down before the base class swallows them."""

    def __init__(self, repository: Any, seen: list[GovernedError]) -> None:
        self._repository = repository
        self.seen = seen

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        try:
            found: str = self._repository.download_artifacts(artifact_path, dst_path)
        except GovernedError as error:
            _remember(error, self.seen)
            raise
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)


def _remember(error: GovernedError, seen: list[GovernedError]) -> None:
    # A missing path is no refusal: an MLflow 3 model lies beside its run, so the first look always misses.
    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
        seen.append(error)
