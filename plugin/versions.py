"""Where the files of a registered model version lie, as MLflow's own registry would have them fetched.

What a client said when it registered the version does not count: the place is the one from which `models:/NAME/VERSION` is
loaded. What does not lie in Artifactory, or is not named so that one place is meant, is an artifact of which nothing is
known; a policy says what that means for a promotion.

Promises: a name that MLflow's proxy would read as another one (`%2e`, `#`, a host of its own) is never taken for a place of
ours. Does not: judge, or change the registry.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from governance.artifactory.address import SCHEME, Address, parse_uri
from governance.audit.entry import EntryKind
from governance.errors import GovernanceError
from governance.model.artifact import Artifact, Kind, RepositoryKey, artifact_on_record
from governance.model.digest import parse_digest
from governance.model.request import new_id
from governance.report.fields import Fields
from governance.report.words import body_of
from governance.wiring import Assembly
from plugin.assembly import server_destination
from plugin.listing import Listings
from plugin.location import Part, folder_name, logged_model_id

logger = logging.getLogger(__name__)

ELSEWHERE = RepositoryKey("not-in-artifactory")
"""In place of a repository, for what lies in none. It fits no pattern for a repository of somebody's, but `*`."""

PROMPT_SOURCES = frozenset({"dummy-source", "prompt-template"})
"""What MLflow writes in place of a location for the versions of prompts."""

_LOGIN = re.compile(r"[^/:@\s]*:[^/@\s]*@")
_MOST_STEPS = 8
_MOST_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model, as the registry has it. `number` is None before it is made."""

    name: str
    number: str | None
    source: str
    location: str
    run_id: str | None = None
    model_id: str | None = None

    @property
    def has_files(self) -> bool:
        """False for a prompt, which MLflow keeps in its registry too and which has no files."""
        return self.location not in PROMPT_SOURCES


def registered_version(store: Any, name: str, number: str) -> Version:
    """A version that is in the registry. Raises MLflow's `MlflowException`."""
    return version_of(store, store.get_model_version(name, number))


def version_of(store: Any, found: Any) -> Version:
    """MLflow's entity as a `Version`."""
    location = store.get_model_version_download_uri(found.name, found.version) or ""
    return Version(
        name=found.name,
        number=str(found.version),
        source=found.source or "",
        location=location,
        run_id=found.run_id or None,
        model_id=found.model_id or logged_model_id(location.partition(":")[2].lstrip("/")),
    )


def future_version(registry: Any, tracking: Any, message: Any) -> Version:
    """The version that a request would make. Raises `MlflowException` where its source is not there."""
    return Version(
        name=message.name,
        number=None,
        source=message.source,
        location=_followed(registry, tracking, message.source),
        run_id=message.run_id or None,
        model_id=message.model_id or None,
    )


def _followed(registry: Any, tracking: Any, source: str) -> str:
    """A `models:/` source as the place it stands for, which is what MLflow stores."""
    from mlflow.store.artifact.utils.models import _parse_model_uri, get_model_name_and_version

    for _ in range(_MOST_STEPS):
        if urlsplit(source).scheme != "models":
            return source
        model_id = _parse_model_uri(source).model_id
        if model_id is not None:
            source = tracking.get_logged_model(model_id).artifact_location
        else:
            source = registry.get_model_version_download_uri(*get_model_name_and_version(registry, source))
    return source


def parts_of(version: Version, assembly: Assembly) -> tuple[str, tuple[Part, ...]]:
    """The wholes that a version's files belong to, as they lie there now, and the id that joins what is asked about them.

    Raises `NotFoundError` where nothing lies there, and what asking Artifactory raises.
    """
    place = place_of(version.location)
    if place is None:
        return new_id(assembly.now()), (_elsewhere(version.location),)
    plan = Listings(assembly.artifactory(place.host), now=assembly.now).plan(place, fresh=True)
    return plan.correlation, plan.parts


def artifacts_on_record(version: Version, assembly: Assembly, *, ask: bool) -> tuple[Artifact, ...]:
    """The same for the record, and never an error: what Artifactory says where it is to be asked and answers, else what this
    log knows."""
    if not version.has_files:
        return ()
    try:
        if ask:
            return tuple(part.artifact for part in parts_of(version, assembly)[1])
    except GovernanceError as error:
        shown = without_secrets(version.location)
        logger.warning("what `%s` is made of is not known now: %s", shown, error.message)
    place = place_of(version.location)
    return (_elsewhere(version.location).artifact,) if place is None else (_remembered(place, assembly),)


def place_of(location: str) -> Address | None:
    """The place in Artifactory that a location means, or None for any other location."""
    try:
        parts = urlsplit(location)
        if parts.scheme == SCHEME:
            return parse_uri(location)
        path, destination = parts.path.strip("/"), server_destination()
        is_other = parts.scheme != "mlflow-artifacts" or parts.netloc or parts.query or parts.fragment
        if is_other or destination is None or not path or unquote(path) != path:
            return None
        return destination / path
    except (ValueError, GovernanceError):
        return None


def without_secrets(location: str) -> str:
    """A location fit for the record: without user, password, query and fragment, any of which may hold a token."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "(unreadable)"
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return _LOGIN.sub("", plain)[:_MOST_SHOWN]


def _elsewhere(location: str) -> Part:
    """A place outside of Artifactory, as an artifact that no collector can find out anything about."""
    shown = without_secrets(location)
    path = quote(shown, safe="/@+").strip("/")[:_MOST_SHOWN] or "unknown"
    artifact = Artifact(
        kind=Kind.MODEL,
        host=shown.partition(":/")[0] if ":/" in shown else "local",
        repository=ELSEWHERE,
        path=path,
        name=path.rpartition("/")[2] or path,
    )
    return Part(root=Address(host=artifact.host, repository=ELSEWHERE, path=path), artifact=artifact)


def _remembered(place: Address, assembly: Assembly) -> Artifact:
    """The artifact at a place, with the digest under which this log saw it signed or registered last."""
    ref = f"{place.repository}/{place.path}".rstrip("/")
    found: list[tuple[str, str]] = []
    for kind in (EntryKind.SIGNATURE, EntryKind.REGISTRATION):
        for stored in assembly.log.witnessed(kind=kind, subject=ref):
            body = Fields(body_of(stored.entry))
            said = body.sub("artifact") if kind is EntryKind.REGISTRATION else body
            digest = said.text("digest")
            if digest is not None and (kind is EntryKind.REGISTRATION or body.text("event") == "made"):
                found.append((stored.entry.id, digest))  # ids sort by time
    return artifact_on_record(
        kind=Kind.MODEL, host=place.host, ref=ref, repository=place.repository, path=place.path,
        name=folder_name(place), version=None, digest=parse_digest(max(found)[1]) if found else None,
    )  # fmt: skip
