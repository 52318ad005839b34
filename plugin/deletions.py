"""Deletions: admitted like everything else, recorded with what was there, and followed by a new signature of the rest.

Promises: a repository, or the whole of a tracking server's destination, is never deleted; what is not there is no
error. Does not: empty Artifactory's trash can.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack, suppress

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient
from governance.errors import NotFoundError, UnsafePathError
from governance.model.artifact import FILE_SIGNATURE_SUFFIX, Kind
from governance.model.request import Action, Request
from governance.permit import Permit
from governance.wiring import Assembly
from plugin.context import caller, mlflow_context
from plugin.listing import Listings, Plan
from plugin.location import Part
from plugin.sealing import Sealer

logger = logging.getLogger(__name__)


class Deletions:
    """Deletions in one Artifactory. Safe to use from many threads."""

    def __init__(
        self,
        *,
        assembly: Assembly,
        client: ArtifactoryClient,
        listings: Listings,
        sealer: Sealer,
        protected: Address | None = None,
    ) -> None:
        """`protected` is a place that is never deleted as a whole, beside the repository itself."""
        self._assembly = assembly
        self._client = client
        self._listings = listings
        self._sealer = sealer
        self._protected = protected

    def remove(self, place: Address) -> None:
        """Delete a file or folder. Raises `RefusedError`, and `UnsafePathError` for what is never deleted as a whole."""
        if not place.path or self._holds_all(place):
            raise UnsafePathError(
                f"`{place}` is the root of everything and is not deleted",
                hint="Name a run, a model or a path below it; a repository is deleted in Artifactory.",
            )
        if self._assembly.settings.delete_skip:
            logger.warning("`%s` stays in Artifactory: ARTIFACTORY_ARTIFACTS_DELETE_SKIP is set", place)
            return
        with suppress(NotFoundError):
            plan = self._listings.plan(place, fresh=True)
            self._remove(place, plan)

    def _holds_all(self, place: Address) -> bool:
        """Whether the protected place is this one, or lies in it."""
        return self._protected is not None and f"{self._protected.uri}/".startswith(f"{place.uri}/")

    def _remove(self, place: Address, plan: Plan) -> None:
        with ExitStack() as held:
            permits = [
                held.enter_context(self._assembly.gate.admit(self._request(part, plan)))
                for part in plan.parts
            ]
            self._client.delete(place.repository, place.path)
            for permit, part in zip(permits, plan.parts, strict=True):
                _report(permit, part)
            if plan.is_file and plan.parts[0].artifact.kind is Kind.FILE:
                with suppress(NotFoundError):
                    self._client.delete(place.repository, f"{place.path}{FILE_SIGNATURE_SUFFIX}")
            self._seal_rest(place, plan, permits)

    def _seal_rest(self, place: Address, plan: Plan, permits: list[Permit]) -> None:
        part = plan.parts[0]
        if len(plan.parts) > 1 or part.root.path == place.path or part.artifact.signature is None:
            return
        if part.artifact.kind is Kind.FILE or part.selection is None:
            return
        removed = frozenset(part.selection)
        if str(part.artifact.signature.path) not in removed:
            self._sealer.seal_folder(permits[0], part.root, (), removed=removed)

    def _request(self, part: Part, plan: Plan) -> Request:
        return Request(
            action=Action.DELETE,
            artifact=part.artifact,
            actor=caller(),
            environment=self._assembly.settings.environment,
            at=self._assembly.now(),
            correlation=plan.correlation,
            mlflow=mlflow_context(part.root),
            selection=part.selection,
        )


def _report(permit: Permit, part: Part) -> None:
    """Name what was deleted, with the digests that the server had for it."""
    for entry in part.moving:
        if entry.sha256 is not None:
            permit.moved(str(entry.path), entry.sha256)
