"""Decisions as a blast radius tells them: who did what, where, and how it ended.

Promises: every entry that is told was checked against its hash. Does not: look for decisions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from governance.audit.bodies import OutcomeStatus
from governance.audit.entry import EntryKind
from governance.audit.store import AuditStore, ManyAtOnce, Query
from governance.report.seen import Seen
from governance.report.words import body_of, object_in

_PAGE = 256
T = TypeVar("T")


class Act(NamedTuple):
    """One decision about an artifact that contains what was asked about. `ended` is how it ended, None where that was not
    looked up. A tuple, since a question may be answered by ten thousand of them."""

    seq: int | None
    id: str
    at: str
    instance: str
    ref: str
    because: str
    actor: str
    is_authenticated: bool
    action: str
    result: str
    environment: str
    host: str
    digest: str | None
    model: str | None
    registered: str | None
    alias: str | None
    ended: tuple[str, ...] | None

    @property
    def is_fetch(self) -> bool:
        """Whether it is a load or download that was let through."""
        return self.action in {"load", "download"} and self.result != "refused"

    @property
    def has_failed(self) -> bool:
        """Whether it is known to have failed, each time that it was tried: then it is no fetch, for all that it was let through."""
        return bool(self.ended) and set(self.ended or ()) == {OutcomeStatus.FAILED.value}

    @property
    def is_promotion(self) -> bool:
        """Whether it is a promotion that was let through."""
        return self.action == "promote" and self.result != "refused"


_MAKE: Callable[[tuple[Any, ...]], Act] = functools.partial(
    tuple.__new__, Act
)  # `Act`, without its arguments' names


def act_of(decision: Seen, because: str) -> Act:
    """What a decision tells, but for how it ended, which is empty for what was refused."""
    body = body_of(decision)
    actor, artifact = object_in(body, "actor"), object_in(body, "artifact")
    verdict, mlflow = object_in(body, "verdict"), object_in(body, "mlflow")
    name, version = _text(mlflow.get("model_name")), _text(mlflow.get("model_version"))
    refused = verdict.get("refused") is True
    return _MAKE((
        decision.seq,
        decision.id,
        decision.at,
        decision.instance,
        decision.subject,
        because,
        _text(actor.get("name")) or "?",
        _text(actor.get("authentication")) is not None,
        _text(body.get("action")) or "?",
        "refused" if refused else _text(verdict.get("decision")) or "?",
        _text(body.get("environment")) or "?",
        _text(artifact.get("host")) or "?",
        _text(artifact.get("digest")),
        _text(artifact.get("name")),
        name and (f"{name}/{version}" if version else name),
        _text(mlflow.get("alias")),
        () if refused else None,
    ))  # fmt: skip


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def endings(
    store: AuditStore,
    sequence_of: Mapping[str, str],
    read: Callable[[Sequence[int]], Iterator[Seen]],
) -> dict[str, tuple[str, ...]]:
    """How decisions ended, by id; `sequence_of` gives the correlation of each. `read` gives the entries of at most a few
    hundred numbers, those of them that are what was recorded."""
    ended: dict[str, list[str]] = {decision: [] for decision in sequence_of}
    for some in _pages([*dict.fromkeys(sequence_of.values())]):
        for numbers in _pages(_outcomes(store, some)):
            for outcome in read(numbers):
                body = body_of(outcome)
                decision = _text(body.get("decision")) or "?"
                if sequence_of.get(decision) == outcome.correlation:
                    ended[decision].append(_text(body.get("status")) or "?")
    return {decision: tuple(statuses) for decision, statuses in ended.items()}


def _pages(every: Sequence[T]) -> Iterator[Sequence[T]]:
    return (every[start : start + _PAGE] for start in range(0, len(every), _PAGE))


def _outcomes(store: AuditStore, correlations: Sequence[str]) -> Sequence[int]:
    if isinstance(store, ManyAtOnce):
        return store.numbers_of(EntryKind.OUTCOME, correlations)
    queries = (Query(kind=EntryKind.OUTCOME, correlation=each) for each in correlations)
    return sorted(row.seq for query in queries for row in store.find(query) if row.seq is not None)
