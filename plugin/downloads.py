"""Downloads: judged whole, moved in parallel, released only when every digest agrees.

Step by step:

1. find what asking for the place means (`plugin.listing`);
2. admit every whole that is touched; one refusal refuses all;
3. fetch into a private folder beside the destination, hashing what is written;
4. hold each digest against what was judged (`Permit.moved`), and see that nothing is missing;
5. rename into the destination, still under the permits, so that the outcome is recorded after it.

Where the listing was some seconds old, and the outcome is a refusal or a difference, the server is asked once more; where
it no longer agrees with the old listing, the steps are repeated, which is a new question to the gate. Not done here: unpickling, importing or looking into anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from governance.artifactory.address import Address
from governance.artifactory.client import ArtifactoryClient
from governance.errors import DigestMismatchError, NotFoundError, RefusedError, VerificationError
from governance.model.artifact import FileEntry, Kind
from governance.model.request import Action, Request
from governance.permit import Permit
from governance.wiring import Assembly
from plugin.context import caller, mlflow_context
from plugin.listing import Listings, Plan
from plugin.location import Part
from plugin.progress import progress
from plugin.staging import check_room, release, space_errors, staging
from plugin.transfer import Incoming, OpenNew, fetch, open_new


class Downloads:
    """Downloads from below one root of one Artifactory. Safe to use from many threads."""

    def __init__(
        self,
        *,
        assembly: Assembly,
        client: ArtifactoryClient,
        listings: Listings,
        root: Address,
        opener: OpenNew = open_new,
    ) -> None:
        self._assembly = assembly
        self._client = client
        self._listings = listings
        self._root = root
        self._opener = opener

    def into(self, place: Address, target: Path) -> None:
        """Bring a file or folder to the same place below `target` that it has below the root.

        Raises `RefusedError`, `NotFoundError`, `VerificationError`; then `target` is as it was.
        """
        self._repeated(self._listings.plan(place), target, self._relative)

    def file(self, place: Address, local: Path) -> None:
        """Bring one file to the path `local`. Raises as `into`."""
        plan = self._listings.plan(place)
        if not plan.is_file:
            raise NotFoundError(
                "no such file", service="Artifactory", method="GET", path=place.path, status=404
            )
        self._repeated(plan, local.parent, lambda _: local.name)

    def _repeated(self, plan: Plan, target: Path, named: Callable[[str], str]) -> None:
        try:
            self._move(plan, target, named)
        except (RefusedError, DigestMismatchError, NotFoundError):
            fresh = self._listings.plan(plan.place, fresh=True) if plan.is_kept else plan
            if fresh.parts == plan.parts:
                raise
            self._move(fresh, target, named)

    def _move(self, plan: Plan, target: Path, named: Callable[[str], str]) -> None:
        with ExitStack() as held:
            permits = [
                held.enter_context(self._assembly.gate.admit(self._request(part, plan)))
                for part in plan.parts
            ]  # 2
            moving = [
                (permit, entry)
                for permit, part in zip(permits, plan.parts, strict=True)
                for entry in part.moving
            ]
            check_room(target, sum(entry.size or 0 for _, entry in moving))
            staged = held.enter_context(staging(target))
            items = [(permit, _incoming(permit, entry, str(staged), named)) for permit, entry in moving]
            self._fetch(items)  # 3, and 4 as each file ends
            _check_complete(permits)  # 4
            with space_errors(staged):
                for folder in plan.folders if plan.is_file else (plan.place.path, *plan.folders):
                    (staged / named(folder)).mkdir(parents=True, exist_ok=True)
            release(staged, target)  # 5

    def _fetch(self, items: list[tuple[Permit, Incoming]]) -> None:
        workers = self._assembly.settings.transfer_workers
        with progress("Downloading artifacts", len(items)) as done:
            fetch(self._client, items, workers=workers, opener=self._opener, done=done)

    def _request(self, part: Part, plan: Plan) -> Request:
        model = part.artifact.kind is Kind.MODEL
        return Request(
            action=Action.LOAD if model else Action.DOWNLOAD,
            artifact=part.artifact,
            actor=caller(),
            environment=self._assembly.settings.environment,
            at=self._assembly.now(),
            correlation=plan.correlation,
            mlflow=mlflow_context(part.root),
            selection=part.selection,
        )

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._root.path).lstrip("/")


def _incoming(permit: Permit, entry: FileEntry, staged: str, named: Callable[[str], str]) -> Incoming:
    artifact = permit.request.artifact
    path = f"{artifact.path}/{entry.path}".lstrip("/")
    place = f"{staged}/{named(path)}"
    return Incoming(
        repository=artifact.repository,
        path=path,
        name=str(entry.path),
        size=entry.size,
        folder=place.rpartition("/")[0],
        place=place,
    )


def _check_complete(permits: list[Permit]) -> None:
    missing = [name for permit in permits for name in permit.missing()]
    if missing:
        raise VerificationError(f"{len(missing)} file(s) were not fetched, the first is `{missing[0]}`")
