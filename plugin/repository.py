"""MLflow's verbs on `artifactory://` locations.

Promises: every verb that moves, or removes, bytes passes the gate; before anything is sent the URI's host is on the
allow-list, and a tracking server keeps to its own repositories; errors are `plugin.errors`, with their reasons. There is no
way around: `get_local_path` is always None, and none of MLflow's mixins for presigned, multipart or streamed transfers is
here, since they let bytes pass unhashed.

One object serves all requests of a tracking server's worker, so nothing about a request is kept on it. Work is in
`downloads`, `uploads` and `deletions`; this module speaks MLflow.
"""

from __future__ import annotations

import logging
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mlflow.entities import FileInfo
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path

from governance.artifactory.address import Address, parse_uri
from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import Tree
from governance.errors import NotFoundError
from governance.wiring import Assembly
from plugin.assembly import assembly_for, require_own, server_destination
from plugin.context import is_in_server
from plugin.deletions import Deletions
from plugin.downloads import Downloads
from plugin.ending import ended_in_order
from plugin.errors import as_mlflow
from plugin.listing import Listings
from plugin.location import is_sidecar, resolve
from plugin.sealing import Sealer
from plugin.staging import destination
from plugin.uploads import Uploads

logger = logging.getLogger(__name__)


class GovernedArtifactRepository(ArtifactRepository):
    """The artifact repository for `artifactory://HOST[:PORT]/artifactory/REPOSITORY/PATH`."""

    def __init__(
        self,
        artifact_uri: str,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
        *,
        assembly: Assembly | None = None,
        **_later: Any,
    ) -> None:
        """MLflow passes the two URIs by keyword, and either may be None; later versions may pass more."""
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        with as_mlflow():
            parts = assembly or assembly_for()
            self.root: Address = parse_uri(artifact_uri)
            self._is_settled = assembly is not None or is_in_server()
            self._kept = _Verbs.of(parts, self.root)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Upload one file into the folder `artifact_path`."""
        verify_artifact_path(artifact_path)
        with ended_in_order(), as_mlflow():
            verbs = self._verbs()
            folder = resolve(self.root, artifact_path)
            verbs.listings.forget(folder)
            verbs.uploads.file(Path(local_file), folder)
            verbs.listings.forget(folder)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Upload what lies in a local folder, with empty files and folders, into the folder `artifact_path`."""
        verify_artifact_path(artifact_path)
        with ended_in_order(), as_mlflow():
            verbs = self._verbs()
            folder = resolve(self.root, artifact_path)
            verbs.uploads.folder(Path(local_dir), folder)
            verbs.listings.forget(folder)

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        """What lies directly below `path`, by names relative to the repository's root. Nothing for a file, and nothing
        where nothing was logged yet."""
        with as_mlflow():
            client = self._verbs().client
            place = resolve(self.root, path)
            try:
                tree = client.children(place.repository, place.path)
            except NotFoundError:
                # Nothing there yet is the normal state of a new run; a repository that is not there is a mistake.
                client.info(place.repository, "")
                return []
            return [] if tree.is_file else _infos(place.path.removeprefix(self.root.path).strip("/"), tree)

    def download_artifacts(self, artifact_path: str, dst_path: str | None = None) -> str:
        """Download a file or folder into `dst_path`, which must exist (or a new folder that the caller then owns).

        All or nothing: the destination is touched only after every digest agreed with what the policy judged.
        """
        with ended_in_order(), as_mlflow(), destination(dst_path) as target:
            verbs = self._verbs()
            place = resolve(self.root, artifact_path)
            try:
                verbs.downloads.into(place, target)
            except NotFoundError:
                if place != self.root:
                    raise
                verbs.client.info(place.repository, "")
                logger.info("no artifacts found to download at `%s`", self.root)
        return os.path.normpath(target / (artifact_path or ""))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        # MLflow calls this by itself for traces; our own downloads do not come here.
        with ended_in_order(), as_mlflow():
            place = resolve(self.root, remote_file_path)
            self._verbs().downloads.file(place, Path(local_path).absolute())

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Delete a file or folder; None is everything below this repository's root. What is not there is no error."""
        with ended_in_order(), as_mlflow():
            verbs = self._verbs()
            place = resolve(self.root, artifact_path)
            verbs.deletions.remove(place)
            verbs.listings.forget(place)

    def get_local_path(self, artifact_path: str) -> str | None:  # noqa: ARG002 - MLflow's signature
        """None, always: a tracking server would serve a local file without asking anybody."""
        return None

    def seal(self, artifact_path: str | None = None, *, run_id: str | None = None) -> bool:
        """Sign the logged model at `artifact_path`, whose upload is complete. False where none of it came through here.
        `run_id` is the run that the tracking store names for it.
        """
        with ended_in_order(), as_mlflow():
            return self._verbs().uploads.seal_logged(resolve(self.root, artifact_path), run_id=run_id)

    def _verbs(self) -> _Verbs:
        """The working parts for the settings that are in force. MLflow keeps this object for a run as long as the process lives, and
        a notebook may have been given a new token since; a tracking server keeps to the settings that it began with."""
        if not self._is_settled:
            parts = assembly_for()
            if parts is not self._kept.assembly:
                self._kept = _Verbs.of(parts, self.root)
        return self._kept


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verbs:
    """What carries out the verbs below one root, with the settings of one assembly."""

    assembly: Assembly
    client: ArtifactoryClient
    listings: Listings
    downloads: Downloads
    uploads: Uploads
    deletions: Deletions

    @classmethod
    def of(cls, assembly: Assembly, root: Address) -> Self:
        """Put them together. Raises `SettingsError` for a host or repository that the settings do not let be asked."""
        require_own(root, assembly.settings)
        client = assembly.artifactory(root.host)
        listings = Listings(client, now=assembly.now)
        sealer = Sealer(assembly=assembly, client=client)
        return cls(
            assembly=assembly,
            client=client,
            listings=listings,
            downloads=Downloads(assembly=assembly, client=client, listings=listings, root=root),
            uploads=Uploads(assembly=assembly, client=client, sealer=sealer),
            deletions=Deletions(
                assembly=assembly,
                client=client,
                listings=listings,
                sealer=sealer,
                protected=server_destination(),
            ),
        )


def _infos(below: str, tree: Tree) -> list[Any]:
    rows = [
        *(FileInfo(posixpath.join(below, name), True, None) for name in tree.folders),
        *(
            FileInfo(posixpath.join(below, file.path), False, file.size)
            for file in tree.files
            if not is_sidecar(str(file.path))
        ),
    ]
    return sorted(rows, key=lambda row: str(row.path))
