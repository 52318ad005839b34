"""What Xray says about an artifact and about the packages it declares.

Promises:

1. A file counts as scanned only where Xray says that its scan is done, has a summary of it, and that summary is about
   the bytes that are there now (`general.sha256`).
2. Bad news counts from an incomplete scan too, and from an Xray that fell silent or is late; good news never does. So
   `xray.malicious` may be true of a half-scanned model, and is unknown, not false, until the last file is done.
3. A declared package without a version, or one that Xray does not know, leaves the list of advisories incomplete. It
   leaves `xray.malicious` alone, which speaks of the artifact's bytes and of packages that Xray does know. Where Xray does not say
   what it knows of one, that is unknown too, unless something is malicious.
4. Of an upload only the declared packages are asked about, where the files that declare them are at hand. What Xray says
   of them is bad news or none: it has not seen the files yet.

Xray does not look into some plain text files and says so (`NOT_SUPPORTED`); these count as scanned where their names
are those of text. Anything else that it does not support stays unscanned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from governance.collect import advice
from governance.collect.collector import too_many_files, unknown_after
from governance.collect.dependencies import NOT_STORED, DependencyReader
from governance.collect.scanned import Scanned, foremost, join
from governance.collect.threads import Threads, while_waited_for
from governance.content.dependencies import Declared
from governance.errors import GovernanceError, RemoteError
from governance.model.artifact import Artifact
from governance.model.facts import FactValue, ItemValue, Unknown
from governance.model.request import Action, Request
from governance.xray.client import XrayClient
from governance.xray.items import ScanStatus, Summary, Violation

FirstSeen: TypeAlias = Callable[[frozenset[str], Request], Mapping[str, ItemValue]]

_NOT_STORED: Final = Unknown(NOT_STORED)
_SILENT: Final = Unknown("Xray does not say")
_AWAITED: Final = Unknown("not heard yet")
"""Stands for what is not heard yet, and is told from all else by identity."""
_NO_HISTORY: Final = Unknown("no history of advisories is kept")
_WORKERS: Final = 8
_PATIENCE: Final = 1.0
"""Seconds in which the files that declare packages are mostly read, so that Xray is asked about all packages at once."""
_AHEAD: Final = timedelta(hours=1)
"""By so much Xray's clock may run ahead. Of a time further off, a scan would stay fresh until it comes."""


class ScanCollector:
    """`xray.*`, `scan.*`, `vulnerabilities`, `licences` and `operational_risk`."""

    name = "xray"
    on_demand = True
    supplies = frozenset(
        {
            "xray.malicious",
            "xray.max_cvss",
            "xray.max_severity",
            "xray.indexed",
            "xray.watches",
            "xray.violations",
            "scan.complete",
            "scan.age",
            "scan.engines",
            "scan.database_age",
            "vulnerabilities",
            "licences",
            "operational_risk",
        }
    )

    def __init__(
        self,
        clients: Callable[[str], XrayClient],
        *,
        dependencies: DependencyReader,
        now: Callable[[], datetime],
        first_seen: FirstSeen = lambda advisories, _request: dict.fromkeys(advisories, _NO_HISTORY),
    ) -> None:
        """`first_seen` tells since when advisories, by their ids, are known here; see `governance.collect.history`."""
        self._clients = clients
        self._dependencies = dependencies
        self._now = now
        self._first_seen = first_seen

    def ask(self, request: Request) -> ScanInquiry:
        """What is to be asked about a stored artifact, or the packages of one that is to be uploaded."""
        return ScanInquiry(
            request,
            clients=self._clients,
            dependencies=self._dependencies,
            now=self._now,
            first_seen=self._first_seen,
        )

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts, once all is heard. Raises `RemoteError` where Xray does not say what it knows of the files."""
        return self.ask(request).answer()


class ScanInquiry:
    """What Xray is asked about one request, and what it has said so far.

    One thread asks, others help it, and one more may want to know what was heard: each list only grows, by one whole thing at a
    time.
    """

    def __init__(
        self,
        request: Request,
        *,
        clients: Callable[[str], XrayClient],
        dependencies: DependencyReader,
        now: Callable[[], datetime],
        first_seen: FirstSeen,
    ) -> None:
        self._request = request
        self._artifact = request.artifact
        self._clients = clients
        self._dependencies = dependencies
        self._now = now
        self._first_seen = first_seen
        self._files: list[Summary] = []
        self._statuses: dict[str, ScanStatus | Unknown] = {}
        self._packages: list[Summary] = []
        self._unheard: Unknown | None = _AWAITED
        """Why Xray may know more of the declared packages than it has said."""
        self._gap: Unknown | None = None
        """Why there may be packages of which Xray knows nothing."""
        self._violations: list[Violation] = []
        self._unlisted: Unknown | None = _AWAITED
        """Why there may be more violations than were heard of."""
        self._repository = str(request.artifact.repository)
        """Under which key Xray knows the repository: what a remote repository holds lies in its cache."""

    def answer(self) -> Mapping[str, FactValue]:
        """All facts. Raises `RemoteError` where Xray does not say what it knows of the files."""
        if self._request.action is Action.UPLOAD:
            if self._request.staged is None:
                return dict.fromkeys(ScanCollector.supplies, _NOT_STORED)
            self._ask_about_packages(self._clients(self._artifact.host))
            return self._of_packages(_NOT_STORED)
        too_many = too_many_files(len(self._artifact.files))
        if too_many is not None:
            return dict.fromkeys(ScanCollector.supplies, too_many)
        client = self._clients(self._artifact.host)
        with Threads(_WORKERS, "scan") as executor:
            packages = executor.submit(self._ask_about_packages, client)
            self._ask_about_files(client, executor)
            executor.submit(self._ask_for_violations, client).result()
            packages.result()
        return self._facts(_SILENT)

    def heard(self, rest: Unknown) -> Mapping[str, FactValue]:
        """The facts as of now; none where nothing was heard yet."""
        if not (self._files or self._packages or self._statuses):  # violations are asked for last
            return {}
        if self._request.action is Action.UPLOAD:
            return self._of_packages(rest)
        return self._facts(rest)

    def _of_packages(self, files: Unknown) -> dict[str, FactValue]:
        """What is known where nothing is of the files, for the reason `files`."""
        found = tuple(self._packages)
        facts: dict[str, FactValue] = dict.fromkeys(ScanCollector.supplies, files)
        return facts | {
            "xray.malicious": advice.malicious(found, files),
            "xray.max_cvss": advice.max_cvss(found, files),
            "xray.max_severity": advice.max_severity(found, files),
            "vulnerabilities": self._advisories(found, files),
            "licences": advice.licences((), found, files),
            "operational_risk": advice.operational_risk(found, files),
        }

    def _ask_about_files(self, client: XrayClient, executor: Executor) -> None:
        paths = self._paths()
        known = self._repository
        for key in (known, f"{known}-cache"):
            self._repository = key
            for summary in client.summary(while_waited_for([f"{key}/{path}" for path in paths])):
                self._files.append(summary)
            if self._files or not paths:
                break
        else:
            self._repository = known
        silent: list[Unknown] = []

        def ask(path: str) -> None:
            place = f"{self._repository}/{path}"
            self._statuses[place] = _status(client, self._repository, path, silent)

        list(executor.map(ask, paths))

    def _ask_about_packages(self, client: XrayClient) -> None:
        asked: set[str] = set()
        reading = self._dependencies.reading(self._request)
        executor = Threads(1, "declared")
        whole = executor.submit(self._dependencies.read, self._request, reading)
        executor.shutdown(wait=False)
        is_whole = False
        try:
            # A slow file must not keep Xray from being asked about the packages of all others.
            while not is_whole:
                is_whole = bool(wait_for([whole], timeout=_PATIENCE).done)
                declared = whole.result() if is_whole else reading.so_far(None)
                fresh = {each.component_id for each in declared.packages if each.component_id} - asked
                for summary in client.components(while_waited_for(sorted(fresh))):
                    self._packages.append(summary)
                asked |= fresh
        except GovernanceError as error:
            unread: Unknown | None = unknown_after(error)
        else:
            gap = _gap(declared, self._packages)
            self._gap = None if gap is None else Unknown(gap)
            unread = declared.unread
        self._unheard = unread and replace(
            unread, reason=f"the declared packages are not known to the last: {unread.reason}"
        )

    def _ask_for_violations(self, client: XrayClient) -> None:
        """Violations, which need a right of their own: without it the other facts stand all the same."""
        try:
            found = client.violations(self._repository, while_waited_for(self._paths()))
            for violation in while_waited_for(found):  # a few files may have many pages
                self._violations.append(violation)
        except RemoteError as error:
            self._unlisted = unknown_after(error)
        else:
            self._unlisted = None

    def _paths(self) -> list[str]:
        return [_below(self._artifact, str(entry.path)) for entry in self._artifact.files]

    def _facts(self, rest: Unknown) -> dict[str, FactValue]:
        """What is known of files and packages. What was not heard is unknown for the reason `rest`."""
        # Last things first, while more may come: a status is asked for when all summaries are there, and those of another repository
        # only while there are none.
        known, files, repository = self._statuses.copy(), tuple(self._files), self._repository
        places = [f"{repository}/{path}" for path in self._paths()]
        statuses = {place: known.get(place, rest) for place in places}
        scanned = join(zip(self._artifact.files, places, strict=True), statuses, files)
        unheard = rest if self._unheard is _AWAITED else self._unheard  # set when all else is
        packages, gap = tuple(self._packages), self._gap
        unlisted = rest if self._unlisted is _AWAITED else self._unlisted
        violations = tuple(self._violations)
        watches = tuple(sorted({each.watch for each in violations}))
        doubt = foremost(scanned.doubt, unheard)
        missing = foremost(doubt, gap)
        summaries = (*scanned.summaries, *packages)
        return {
            "xray.malicious": advice.malicious(summaries, doubt),
            "xray.max_cvss": advice.max_cvss(summaries, missing),
            "xray.max_severity": advice.max_severity(summaries, missing),
            "xray.indexed": scanned.is_indexed,
            "xray.watches": watches if unlisted is None else replace(unlisted, at_least=watches or None),
            "xray.violations": len(violations)
            if unlisted is None
            else replace(unlisted, at_least=len(violations) or None),
            "scan.complete": scanned.is_complete,
            "scan.age": self._age(scanned),
            "scan.engines": scanned.engines or _SILENT
            if scanned.unasked is None
            else replace(scanned.unasked, at_least=scanned.engines or None),
            "vulnerabilities": self._advisories(summaries, missing),
            "licences": advice.licences(scanned.summaries, packages, missing),
            "operational_risk": advice.operational_risk(summaries, missing),
        }

    def _advisories(self, summaries: Sequence[Summary], missing: Unknown | None) -> FactValue:
        return advice.vulnerabilities(
            summaries, missing, first_seen=lambda advisories: self._first_seen(advisories, self._request)
        )

    def _age(self, scanned: Scanned) -> FactValue:
        if scanned.doubt is not None:
            return scanned.doubt
        if scanned.oldest is None:
            return Unknown("Xray does not say when it scanned")
        age = self._now() - scanned.oldest
        if age < -_AHEAD:
            return Unknown("Xray names a time of its scan that has not come yet")
        return max(0, int(age.total_seconds()))


def _status(client: XrayClient, repository: str, path: str, silent: list[Unknown]) -> ScanStatus | Unknown:
    """The status of one file. Once Xray was `silent` about one, it is asked about no more of them."""
    if silent:
        return silent[0]
    try:
        return client.status(repository, path)
    except RemoteError as error:
        unknown = unknown_after(error)
        if unknown.out_of_reach:
            silent.append(unknown)
        return unknown


def _below(artifact: Artifact, path: str) -> str:
    return f"{artifact.path}/{path}".lstrip("/")


def _gap(declared: Declared, found: Sequence[Summary]) -> str | None:
    if declared.problems:
        return f"not every declared package is known: {declared.problems[0]}"
    loose = [each.name for each in declared.packages if each.component_id is None]
    if loose:
        return f"{_and_more(loose)} declared without a version"
    known = {summary.component_id.lower() for summary in found}
    strange = [each for each in declared.packages if (each.component_id or "").lower() not in known]
    return f"{_and_more([each.name for each in strange])} unknown to Xray" if strange else None


def _and_more(names: Sequence[str]) -> str:
    return f"`{names[0]}`" if len(names) == 1 else f"`{names[0]}` and {len(names) - 1} more"
