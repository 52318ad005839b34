"""What Xray says about an artifact and about the packages it declares.

Promises:

1. A file counts as scanned only where Xray says that its scan is done, has a summary of it, and that summary is about
   the bytes that are there now (`general.sha256`).
2. Bad news counts from an incomplete scan too, and from an Xray that fell silent; good news never does. So `xray.malicious`
   may be true of a half-scanned model, and is unknown, not false, until the last file is done.
3. A declared package without a version, or one that Xray does not know, leaves the list of advisories incomplete. It
   leaves `xray.malicious` alone, which speaks of the artifact's bytes and of packages that Xray does know.

4. Of an upload only the declared packages are asked about, where the files that declare them are at hand. What Xray says
   of them is bad news or none: it has not seen the files yet.

Xray does not look into some plain text files and says so (`NOT_SUPPORTED`); these count as scanned where their names
are those of text. Anything else that it does not support stays unscanned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from governance.collect import advice
from governance.collect.collector import too_many_files, unknown_after
from governance.collect.dependencies import NOT_STORED
from governance.collect.scanned import Scanned, foremost, join
from governance.collect.threads import Threads
from governance.content.dependencies import Declared
from governance.errors import GovernanceError, RemoteError
from governance.model.artifact import Artifact
from governance.model.facts import FactValue, ItemValue, Unknown
from governance.model.request import Action, Request
from governance.xray.client import XrayClient
from governance.xray.items import ScanStatus, Summaries, Summary, Violation

FirstSeen: TypeAlias = Callable[[frozenset[str], Request], Mapping[str, ItemValue]]

_NOT_STORED: Final = Unknown(NOT_STORED)
_SILENT: Final = Unknown("Xray does not say")
_NO_HISTORY: Final = Unknown("no history of advisories is kept")
_WORKERS: Final = 8
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
        dependencies: Callable[[Request], Declared],
        now: Callable[[], datetime],
        first_seen: FirstSeen = lambda advisories, _request: dict.fromkeys(advisories, _NO_HISTORY),
    ) -> None:
        """`first_seen` tells since when advisories, by their ids, are known here; see `governance.collect.history`."""
        self._clients = clients
        self._dependencies = dependencies
        self._now = now
        self._first_seen = first_seen

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """The facts about a stored artifact, or the packages of one that is to be uploaded. Raises `RemoteError` where
        Xray says nothing of either."""
        artifact = request.artifact
        if request.action is Action.UPLOAD:
            if request.staged is None:
                return dict.fromkeys(self.supplies, _NOT_STORED)
            found, _ = self._packages(self._clients(artifact.host), request)
            return self._of_packages(request, found, _NOT_STORED)
        too_many = too_many_files(len(artifact.files))
        if too_many is not None:
            return dict.fromkeys(self.supplies, too_many)
        client = self._clients(artifact.host)
        with Threads(_WORKERS, "scan") as executor:
            packages = executor.submit(self._packages, client, request)
            try:
                repository, scanned = self._files(client, artifact, executor)
            except RemoteError as error:
                found, _ = packages.result()
                if not found.found:
                    raise
                return self._of_packages(request, found, unknown_after(error))
            violations = executor.submit(_violations, client, repository, artifact)
            return self._facts(request, scanned, *packages.result(), violations.result())

    def _of_packages(self, request: Request, found: Summaries, files: Unknown) -> dict[str, FactValue]:
        """What is known where Xray says nothing of the files, for the reason `files`."""
        facts: dict[str, FactValue] = dict.fromkeys(self.supplies, files)
        return facts | {
            "xray.malicious": advice.malicious(found.found, files),
            "xray.max_cvss": advice.max_cvss(found.found, files),
            "xray.max_severity": advice.max_severity(found.found, files),
            "vulnerabilities": self._advisories(request, found.found, files),
            "licences": advice.licences((), found.found, files),
        }

    def _files(self, client: XrayClient, artifact: Artifact, executor: Executor) -> tuple[str, Scanned]:
        """What is known of the files, and under which key Xray knows the repository: what a remote repository holds
        lies in its cache."""
        repository = str(artifact.repository)
        paths = [_below(artifact, str(entry.path)) for entry in artifact.files]
        found = client.summary([f"{repository}/{path}" for path in paths]).found
        if paths and not found:
            cache = f"{repository}-cache"
            found = client.summary([f"{cache}/{path}" for path in paths]).found
            repository = cache if found else repository
        silent: list[Unknown] = []
        statuses = executor.map(lambda path: _status(client, repository, path, silent), paths)
        places = [f"{repository}/{path}" for path in paths]
        return repository, join(
            zip(artifact.files, places, strict=True), dict(zip(places, statuses, strict=True)), found
        )

    def _packages(self, client: XrayClient, request: Request) -> tuple[Summaries, Unknown | None]:
        """What is known of the declared packages, and why there may be more to know."""
        try:
            declared = self._dependencies(request)
            wanted = sorted({each.component_id for each in declared.packages if each.component_id})
            found = client.components(wanted) if wanted else Summaries()
        except GovernanceError as error:
            unknown = unknown_after(error)
            return Summaries(), replace(
                unknown, reason=f"the declared packages are not known: {unknown.reason}"
            )
        gap = _gap(declared, found)
        return found, None if gap is None else Unknown(gap)

    def _facts(
        self,
        request: Request,
        scanned: Scanned,
        packages: Summaries,
        gap: Unknown | None,
        violations: tuple[Violation, ...] | Unknown,
    ) -> dict[str, FactValue]:
        doubt = scanned.doubt
        missing = foremost(doubt, gap)
        summaries = (*scanned.summaries, *packages.found)
        return {
            "xray.malicious": advice.malicious(summaries, doubt),
            "xray.max_cvss": advice.max_cvss(summaries, missing),
            "xray.max_severity": advice.max_severity(summaries, missing),
            "xray.indexed": scanned.is_indexed,
            "xray.watches": violations
            if isinstance(violations, Unknown)
            else tuple(sorted({each.watch for each in violations})),
            "xray.violations": violations if isinstance(violations, Unknown) else len(violations),
            "scan.complete": scanned.is_complete,
            "scan.age": self._age(scanned),
            "scan.engines": doubt if doubt is not None and doubt.out_of_reach else scanned.engines or _SILENT,
            "scan.database_age": _SILENT,
            "vulnerabilities": self._advisories(request, summaries, missing),
            "licences": advice.licences(scanned.summaries, packages.found, missing),
            "operational_risk": advice.operational_risk(summaries, missing),
        }

    def _advisories(
        self, request: Request, summaries: Sequence[Summary], missing: Unknown | None
    ) -> FactValue:
        return advice.vulnerabilities(
            summaries, missing, first_seen=lambda advisories: self._first_seen(advisories, request)
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


def _violations(client: XrayClient, repository: str, artifact: Artifact) -> tuple[Violation, ...] | Unknown:
    """Violations, which need a right of their own: without it the other facts stand all the same."""
    try:
        return client.violations(repository, [_below(artifact, str(entry.path)) for entry in artifact.files])
    except RemoteError as error:
        return unknown_after(error)


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


def _gap(declared: Declared, found: Summaries) -> str | None:
    if declared.problems:
        return f"not every declared package is known: {declared.problems[0]}"
    loose = [each.name for each in declared.packages if each.component_id is None]
    if loose:
        return f"{_and_more(loose)} declared without a version"
    known = {summary.component_id.lower() for summary in found.found}
    strange = [each for each in declared.packages if (each.component_id or "").lower() not in known]
    return f"{_and_more([each.name for each in strange])} unknown to Xray" if strange else None


def _and_more(names: Sequence[str]) -> str:
    return f"`{names[0]}`" if len(names) == 1 else f"`{names[0]}` and {len(names) - 1} more"
