"""Which policy is in force, from settings: files, or a signed bundle and where it is fetched.

Promises: without any setting it is the policy found upwards, or the shipped `baseline`. Does not: read a policy, or trust a bundle;
whoever takes one checks its signature.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import policies
from governance.artifactory.address import SCHEME, parse_uri
from governance.artifactory.client import ArtifactoryClient
from governance.audit_wiring import tracking_credentials
from governance.errors import SettingsError
from governance.places import expanded, open_file
from governance.policy.load import discover
from governance.settings import Settings
from governance.transport import Transport

_USER = re.compile(r"//[^/@]*@")

MAX_POLICY_BUNDLE = 64 << 20
"""Largest policy bundle in bytes, wherever it comes from."""


def policy_files(settings: Settings, *, start: Path | None = None) -> tuple[Path, ...]:
    """The policy files in force, in the order of preference that `Assembly.policies` names. Raises `SettingsError` where the
    settings name a signed bundle in their place."""
    if _is_bundle(settings.policy_path):
        raise SettingsError(
            f"`{settings.policy_path}` is a signed bundle, and this reads policy files",
            hint="Name the folder that the bundle is made of.",
        )
    if settings.policy_path is not None:
        return (settings.policy_path,)
    found = discover(start or Path.cwd())
    return (found,) if found is not None else (policies.path("baseline"),)


def policy_bundle(settings: Settings) -> str | None:
    """Where the policy comes from as a signed bundle: as the settings name one, or in place of a policy file. Raises `SettingsError`
    where they name files beside it, of which nobody would learn that they are not in force."""
    if settings.policy_bundle is not None and settings.policy_path is not None:
        raise SettingsError(
            "both `MLGOV_POLICY_BUNDLE` and `MLGOV_POLICY_PATH` are set, and the policy comes from one place",
            hint="Unset one. A team's layer comes in one bundle with what it extends: `mlgov policy bundle` of a folder with both.",
        )
    in_place = str(settings.policy_path) if _is_bundle(settings.policy_path) else None
    return settings.policy_bundle or in_place


def policy_source(settings: Settings) -> str:
    """Where the policy comes from, as a short digest that is the same for the same place on one machine: a path tells about a home,
    and a URL may hold a credential, and neither belongs on record."""
    bundle = policy_bundle(settings)
    places = (
        [_USER.sub("//", bundle)]
        if bundle is not None
        else [str(path.absolute()) for path in policy_files(settings)]
    )
    return hashlib.sha256("\n".join(places).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _is_bundle(path: Path | None) -> bool:
    """Whether this is a tar, not a folder or a file to be read as YAML."""
    if path is None or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "replace")
    except (OSError, tarfile.HeaderError):
        return False
    return True


def bundle_fetcher(
    settings: Settings, location: str, *, artifactory: Callable[[str], ArtifactoryClient]
) -> Callable[[], bytes]:
    """What fetches the policy bundle from a file, an `artifactory://` location or a tracking server (`https://.../`,
    whose app serves it at `gov/policy`). Raises `SettingsError` for another form. The bundle's signature is checked by
    whoever takes it, so nothing here is trusted.
    """
    scheme = urlsplit(location).scheme
    if scheme == SCHEME:
        address = parse_uri(location)
        return lambda: artifactory(address.host).read_small(
            address.repository, address.path, limit=MAX_POLICY_BUNDLE
        )
    if scheme in {"https", "http"}:
        transport = Transport(base_url=location, service="MLflow", credentials=tracking_credentials(settings))
        return lambda: transport.call("GET", "gov/policy", limit=MAX_POLICY_BUNDLE).body
    if scheme:
        raise SettingsError(
            f"a policy bundle cannot come from `{scheme}:`",
            hint="`MLGOV_POLICY_BUNDLE` is a file, an `artifactory://` location or the URL of a tracking server.",
        )
    return lambda: read_bundle_file(expanded(location))


def read_bundle_file(path: Path) -> bytes:
    """A policy bundle from disk. Raises `SettingsError` where it cannot be read or is too large."""
    try:
        with open_file(path, may_be_piped=True) as file:
            data = file.read(MAX_POLICY_BUNDLE + 1)
    except OSError as error:
        raise SettingsError(
            f"the policy bundle `{path}` cannot be read: {error.strerror}", hint="Fix `MLGOV_POLICY_BUNDLE`."
        ) from error
    if len(data) > MAX_POLICY_BUNDLE:
        raise SettingsError(f"the policy bundle `{path}` is larger than {MAX_POLICY_BUNDLE} bytes")
    return data
