"""What a user names on the command line, and the artifact that it stands for.

Promises: `artifactory://host/artifactory/repository/path` and `repository/path` mean the same place, where the settings
name the host; what is found there is cut into wholes as the plugin cuts it, so that a dry verdict is about the same
bytes as the real one. Does not: speak to MLflow, hence no `models:/` or `runs:/`.
"""

from __future__ import annotations

import errno
from pathlib import Path
from urllib.parse import urlsplit

from governance.artifactory.address import Address, parse_uri
from governance.artifactory.client import ArtifactoryClient
from governance.errors import SettingsError, TransferError, UnsafePathError
from governance.model.artifact import parse_relative_path, parse_repository_key
from governance.settings import Settings
from plugin.location import Part, lone_part, look_up, select, split, top_parts, whole

_MLFLOW_SCHEMES = ("models:", "runs:", "mlflow-artifacts:")


def local_folder(text: str) -> Path | None:
    """The local file or folder that `text` names, or None where it names a place in Artifactory. Raises `TransferError` where
    that may not be seen."""
    if not text or "://" in text:  # nothing is not the folder that one stands in: a variable was not set
        return None
    path = Path(text)
    try:
        return path if path.exists() else None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise TransferError(f"`{text}` cannot be read: {error.strerror}") from error


def parse_reference(text: str, settings: Settings) -> Address:
    """The place that `text` names. Raises `SettingsError` where it names none, or the host is not known."""
    if text.startswith(_MLFLOW_SCHEMES):
        raise SettingsError(
            f"`{text}` is a location of MLflow's, which only its tracking server can resolve",
            hint="Name the place in Artifactory: `artifactory://HOST/artifactory/REPOSITORY/PATH`. "
            "MLflow tells it: `mlflow.models.get_model_info(URI).artifact_path`.",
        )
    if "://" in text:
        return parse_uri(text)
    if not settings.artifactory_url:
        raise SettingsError(
            f"`{text}` names no host, and `MLGOV_ARTIFACTORY_URL` is not set",
            hint="Set it, or give the whole address: `artifactory://HOST/artifactory/REPOSITORY/PATH`.",
        )
    key, _, path = text.strip("/").partition("/")
    host = urlsplit(settings.artifactory_url).netloc.lower()
    try:
        return Address(
            host=host,
            repository=parse_repository_key(key),
            path=parse_relative_path(path) if path else "",
        )
    except (ValueError, UnsafePathError) as error:
        raise SettingsError(
            f"`{text}` is neither a local folder nor `REPOSITORY/PATH`: {error}",
            hint="Give `REPOSITORY/PATH` or `artifactory://HOST/artifactory/REPOSITORY/PATH`.",
        ) from error


def locate(client: ArtifactoryClient, place: Address) -> tuple[Part, ...]:
    """The wholes that asking for `place` means, each with the files asked for. Raises `NotFoundError`."""
    found = look_up(client, place)
    root = found.root
    if root is not None:
        tree = client.tree(root.repository, root.path)
        return (Part(root=root, artifact=whole(root, tree), selection=select(place, root, tree)),)
    if found.file is not None:
        return top_parts(client, place) or (lone_part(client, place, found.file),)
    tree = client.tree(place.repository, place.path)
    return top_parts(client, place) or split(place, tree)
