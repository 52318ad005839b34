"""The client of Xray's REST interface.

Promises: a thing that Xray does not know is missing from the answer or `ABSENT`, and never looks clean. Does not:
decide what an issue means for the request, or wait for a scan to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from governance.errors import NotFoundError
from governance.model.canonical import Json
from governance.transport import Answer, Transport
from governance.transport.answer import MOST_WEIGHT
from governance.xray import meaning, wire
from governance.xray.items import ScanState, ScanStatus, Summary, Violation
from governance.xray.rules import XrayIgnoreRule, XrayPolicy, XrayWatch

_BATCH: Final = 50
_PAGE: Final = 100
_MAX_PAGES: Final = 50
_LIMIT: Final = 64 << 20
_SERVER: Final = "default"


class XrayClient:
    """One Xray. `transport` has the base URL `{scheme}://host/xray`. Thread-safe. Every call may raise `RemoteError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __repr__(self) -> str:
        return f"XrayClient({self._transport.host})"

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def version(self) -> str:
        """The server's version."""
        answer = self._transport.call("GET", "api/v1/system/version")
        return answer.read(wire.VersionAnswer).xray_version

    def status(self, repository: str, path: str) -> ScanStatus:
        """How far the scan of one file is."""
        body: Json = {"repo": repository, "path": path}
        try:
            answer = self._transport.call("POST", "api/v1/artifact/status", body=body, idempotent=True)
        except NotFoundError:
            return ScanStatus(state=ScanState.ABSENT)
        return meaning.status(answer.read(wire.StatusAnswer))

    def summary(self, paths: Iterable[str]) -> Iterator[Summary]:
        """What is known of the files `repository/path`, asked for as it is read, in as few requests as the size of an answer allows. One
        that is not among them is unknown to Xray, which never means that it is clean."""
        return self._summaries(
            "api/v2/summary/artifact",
            ({"paths": [f"{_SERVER}/{path}" for path in some]} for some in _batches(paths)),
        )

    def components(self, component_ids: Iterable[str]) -> Iterator[Summary]:
        """The same of components such as `pypi://requests:2.31.0`, whether stored or not."""
        return self._summaries(
            "api/v1/summary/component",  # there is no v2 of this one
            (
                {"component_details": [{"component_id": each} for each in some]}
                for some in _batches(component_ids)
            ),
        )

    def violations(self, repository: str, paths: Iterable[str]) -> Iterator[Violation]:
        """Violations of Xray's own policies by any of the files, each once, asked for as they are read. Raises `ProtocolError` where more
        are announced than are listed."""
        seen: set[tuple[str, ...]] = set()
        room = _Room()
        for some in _batches(paths):
            for row in self._violations([{"repo": repository, "path": path} for path in some], room):
                key = (row.violation_id,) if row.violation_id else (row.watch_name, row.type, row.issue_id)
                if key in seen:
                    continue
                seen.add(key)
                yield Violation(
                    id=row.violation_id or None,
                    watch=row.watch_name,
                    type=row.type,
                    severity=meaning.severity(row.severity),
                    issue_id=row.issue_id or None,
                )

    def policies(self) -> tuple[XrayPolicy, ...]:
        """Xray's own policies."""
        answer = self._transport.call("GET", "api/v2/policies", limit=_LIMIT)
        return tuple(meaning.policy(row) for row in answer.read(wire.PoliciesAnswer).root)

    def watches(self) -> tuple[XrayWatch, ...]:
        """Which policies hold for which repositories."""
        answer = self._transport.call("GET", "api/v2/watches", limit=_LIMIT)
        return tuple(meaning.watch(row) for row in answer.read(wire.WatchesAnswer).root)

    def ignore_rules(self) -> tuple[XrayIgnoreRule, ...]:
        """All ignore rules that Xray still has. Raises `ProtocolError` for more than can be listed."""
        found: dict[str, XrayIgnoreRule] = {}
        for page in range(1, _MAX_PAGES + 1):
            answer = self._transport.call(
                "GET",
                "api/v1/ignore_rules",
                params={"page_num": str(page), "num_of_rows": str(_PAGE)},
                limit=_LIMIT,
            )
            rows = answer.read(wire.IgnoreRulesAnswer)
            before = len(found)
            found |= {rule.id: rule for rule in map(meaning.ignore_rule, rows.data)}
            # A server that knows no pages sends all of them each time.
            if len(found) >= rows.total_count or len(found) == before:
                break
        if len(found) < rows.total_count:
            raise answer.exchange.broken(f"{rows.total_count} ignore rules announced, {len(found)} listed")
        return tuple(found.values())

    def _summaries(self, path: str, bodies: Iterable[Json]) -> Iterator[Summary]:
        room = _Room()
        for body in bodies:
            answer = self._transport.call("POST", path, body=body, idempotent=True, limit=_LIMIT)
            room.take(answer)
            yield from map(meaning.summary, answer.read(wire.SummaryAnswer).artifacts)

    def _violations(self, artifacts: list[Json], room: _Room) -> Iterator[wire.ViolationRow]:
        seen = 0
        for page in range(1, _MAX_PAGES + 1):  # `offset` is the number of the page, from 1
            body: Json = {
                "filters": {"include_details": True, "resources": {"artifacts": artifacts}},
                "pagination": {"order_by": "created", "direction": "asc", "limit": _PAGE, "offset": page},
            }
            answer = self._transport.call(
                "POST", "api/v1/violations", body=body, idempotent=True, limit=_LIMIT
            )
            room.take(answer)
            rows = answer.read(wire.ViolationsAnswer)
            yield from rows.violations
            seen += len(rows.violations)
            if not rows.violations or seen >= rows.total_violations:
                break
        if seen < rows.total_violations:
            raise answer.exchange.broken(f"{rows.total_violations} violations announced, {seen} listed")


class _Room:
    """What there is for all answers to one question together: the caller keeps what it is told."""

    def __init__(self) -> None:
        self._left = MOST_WEIGHT

    def take(self, answer: Answer) -> None:
        """Raises `ProtocolError` where there is no room for it."""
        self._left -= answer.weight
        if self._left < 0:
            raise answer.exchange.broken("more answers than can be kept", status=answer.status)


def _batches(items: Iterable[str]) -> Iterator[Sequence[str]]:
    left = iter(items)
    while some := tuple(islice(left, _BATCH)):
        yield some
