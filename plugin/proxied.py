"""The client side of the tracking server's artifact proxy.

Promises: what the server refused, or could not do, is raised as the error that the server raised, with all that it
holds; and of a download that fails in part, nothing is left in the destination. Does not: enforce anything. The server
refuses with or without this class; an unmodified client gets the same reason as text inside an `MlflowException`.

MLflow's base class turns every failed file of a download into one plain `MlflowException`, so the first error of a
download is kept aside and raised in its place.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
from requests import HTTPError

from governance.errors import UnsafePathError
from plugin.ending import ended_in_order
from plugin.errors import GovernedError, as_mlflow, from_json
from plugin.staging import destination, release, staging


class GovernedProxyRepository(MlflowArtifactsRepository):
    """MLflow's own repository for `mlflow-artifacts:/`, with errors that keep their type."""

    def __init__(self, artifact_uri: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(artifact_uri, *args, **kwargs)
        self.seen: list[GovernedError] = []

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Upload one file through the server. Raises `GovernedStorageError` for a name that MLflow would change."""
        with typed(), as_mlflow():
            check_name("/".join(part for part in (artifact_path, Path(local_file).name) if part))
            super().log_artifact(local_file, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        """List one level through the server."""
        with typed():
            listed: list[Any] = super().list_artifacts(path)
            return listed

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete through the server."""
        with typed():
            super().delete_artifacts(artifact_path)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download through the server, all or nothing."""
        # What one download sees must not show in another: each works on a copy with a list of its own.
        one = copy.copy(self)
        one.seen = []
        with ended_in_order(), as_mlflow(), destination(dst_path) as target, staging(target) as staged:
            try:
                super(GovernedProxyRepository, one).download_artifacts(artifact_path, str(staged))
            except GovernedError:
                raise
            except Exception:
                if one.seen:
                    # MLflow's own error says the same once more for each file, below the frames of each of its threads.
                    first = one.seen[0]
                    raise first.with_traceback(None) from first.__cause__
                raise
            release(staged, target)
        return os.path.normpath(target / (artifact_path or ""))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        if self.seen:
            # The model was refused already: the files still waiting in the queue need not ask again.
            raise self.seen[0]
        try:
            with typed(), as_mlflow():
                check_name(remote_file_path)
                super()._download_file(remote_file_path, local_path)
        except GovernedError as error:
            self.seen.append(error)
            raise


def check_name(path: str) -> None:
    """Raise `UnsafePathError` for a path that does not reach the other side as it is.

    MLflow puts paths into URLs without quoting them, and its server decodes them until nothing changes any more: what
    follows a `#` or a `?` is lost, and `a%20b` becomes `a b`. The file would be stored, or fetched, under another name.
    """
    if "#" in path or "?" in path or unquote(path) != path:
        raise UnsafePathError(
            f"MLflow's artifact proxy cannot carry the name `{path}`",
            hint="Rename the file: no `#`, no `?`, and no `%` before two hexadecimal digits.",
        )


@contextmanager
def typed() -> Iterator[None]:
    """Turn an HTTP error that carries one of our documents into the error it describes."""
    try:
        yield
    except HTTPError as error:
        governed = _rebuild(error)
        if governed is None:
            raise
        raise governed from None  # MLflow's own error holds the document once more, as raw JSON


def _rebuild(error: HTTPError) -> GovernedError | None:
    if error.response is None:
        return None
    try:
        return from_json(error.response.json())
    except ValueError:
        return None
