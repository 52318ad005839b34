"""`runs:/` locations that do not hide a refusal.

MLflow's class looks for a run's files and then for its model's, swallows every error of both, and says that the path is
wrong. This one keeps what the two said: a refusal is raised as it is, even where the other half was found. That a path
is in neither place stays MLflow's own error.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

from plugin.ending import ended_in_order
from plugin.errors import GovernedError, as_mlflow
from plugin.staging import destination, release, staging


class GovernedRunsRepository(RunsArtifactRepository):
    """MLflow's own repository for `runs:/`, with errors that keep their type."""

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(artifact_uri, *args, **kwargs)
        self.seen: list[GovernedError] = []

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download from the run, its model, or both, all or nothing. Raises the first refusal of either."""
        target = destination(dst_path)
        # What one download sees must not show in another: each works on a copy with a list of its own.
        one = copy.copy(self)
        one.seen = []
        one.repo = _Witness(self.repo, one.seen)
        with ended_in_order(), as_mlflow(), staging(target) as staged:
            try:
                found = super(GovernedRunsRepository, one).download_artifacts(artifact_path, str(staged))
            except MlflowException as error:
                if one.seen:
                    raise one.seen[0] from error
                raise
            if one.seen:
                raise one.seen[0]
            release(staged, target)
        return os.path.normpath(target / Path(found).relative_to(staged))

    def _download_model_artifacts(self, artifact_path: str, dst_path: str) -> str | None:
        try:
            found: str | None = super()._download_model_artifacts(artifact_path, dst_path)
        except GovernedError as error:
            _remember(error, self.seen)
            raise
        return found


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
