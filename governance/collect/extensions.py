"""Facts and collectors from other packages, by entry point.

| group | its object | is |
| --- | --- | --- |
| `governance.facts` | an iterable of `FactSpec` | what there is to know; `source` is the name of the collector that supplies it |
| `governance.collectors` | a callable that takes a `Context` and returns a `Collector` | who finds it out |

Promises: a collector that cannot be loaded, or is not one, does not vanish: its facts are there and unknown, with that
reason, and the process's log says so loudly. Nobody outside can supply a fact of ours, nor one of another package. Facts
that cannot be loaded are not in the catalogue, so a policy that names one is refused; the log says why they are not, as
does `mlgov doctor`. Does not: run anything of a package but these two objects; what is installed is trusted, as any installed code is.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import Any

from governance.artifactory.client import ArtifactoryClient
from governance.collect.collector import Collector
from governance.model.facts import CATALOGUE, FactSpec, FactValue, Unknown, extended
from governance.model.request import Request

FACTS, COLLECTORS = "governance.facts", "governance.collectors"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a collector from outside is made with: clients by host, which hold the token of the settings, and the clock."""

    artifactory: Callable[[str], ArtifactoryClient]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An entry point that could not be used, and why."""

    group: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"entry point `{self.name}` of `{self.group}`: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What other packages add. `owners` tells the entry point behind each collector."""

    catalogue: Mapping[str, FactSpec]
    makers: Mapping[str, Callable[[Context], object] | Problem]
    problems: tuple[Problem, ...]

    def facts_of(self, collector: str) -> frozenset[str]:
        """The facts from outside that a collector of this name supplies."""
        return frozenset(
            name
            for name, spec in self.catalogue.items()
            if spec.source == collector and name not in CATALOGUE
        )

    def collectors(self, context: Context) -> tuple[Collector, ...]:
        """Every collector from outside; one that is not fit stands as a source of unknown facts. Facts that nobody
        supplies have one too."""
        made = [self._make(name, maker, context) for name, maker in sorted(self.makers.items())]
        spoken_for = {fact for each in made for fact in each.supplies}
        orphans = self.catalogue.keys() - CATALOGUE.keys() - spoken_for
        if orphans:
            reason = f"no entry point of `{COLLECTORS}` has the name of their source"
            made.append(Unfit(name="(nobody)", supplies=frozenset(orphans), reason=reason))
        return tuple(made)

    def _make(self, name: str, maker: Callable[[Context], object] | Problem, context: Context) -> Collector:
        supplies = self.facts_of(name)
        if isinstance(maker, Problem):
            return Unfit(name=name, supplies=supplies, reason=str(maker))
        try:
            return Outside(name=name, supplies=supplies, inner=_checked(maker(context), supplies))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything, which must not open or shut all doors
            problem = Problem(group=COLLECTORS, name=name, reason=_reason(error))
            logger.error("ITS FACTS ARE UNKNOWN: %s", problem)  # noqa: TRY400 - foreign text may hold anything
            return Unfit(name=name, supplies=supplies, reason=str(problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A collector of another package, which answers under the name of its entry point."""

    name: str
    supplies: frozenset[str]
    inner: Any

    @property
    def on_demand(self) -> bool:
        """What the collector says; else it is left alone where no rule reads its facts, as it may be slow."""
        return bool(getattr(self.inner, "on_demand", True))

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """What it says; `gather` holds it to what it announced. Raises `TypeError` for what is no answer."""
        found = self.inner.collect(request)
        if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
            raise TypeError("not a mapping by names of facts")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Stands for a collector that could not be loaded."""

    name: str
    supplies: frozenset[str]
    reason: str
    on_demand: bool = False

    def collect(self, request: Request) -> Mapping[str, FactValue]:
        """All of its facts, unknown."""
        del request
        return dict.fromkeys(self.supplies, Unknown(self.reason))


@functools.cache
def extensions() -> Extensions:
    """What the installed packages add. Looked for once in a process."""
    installed = metadata.entry_points()  # one reading of what all packages say, for both groups
    return load_extensions(installed.select(group=FACTS), installed.select(group=COLLECTORS))


def catalogue() -> Mapping[str, FactSpec]:
    """All facts there are here: ours, and those of other packages."""
    return extensions().catalogue


def load_extensions(
    facts: Iterable[metadata.EntryPoint], collectors: Iterable[metadata.EntryPoint]
) -> Extensions:
    """The same for given entry points, in the order of their names."""
    problems: list[Problem] = []
    known: Mapping[str, FactSpec] = CATALOGUE
    for point in sorted(facts, key=lambda each: (each.name, each.value)):
        try:
            known = extended(_specs(point.load()), known)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            problems.append(Problem(group=FACTS, name=point.name, reason=_reason(error)))
    makers: dict[str, Callable[[Context], object] | Problem] = {}
    for point in sorted(collectors, key=lambda each: (each.name, each.value)):
        maker: Callable[[Context], object] | Problem
        if point.name in makers:
            maker = Problem(group=COLLECTORS, name=point.name, reason="two packages have one of this name")
        else:
            maker = _maker(point)
        if isinstance(maker, Problem):
            problems.append(maker)
        makers[point.name] = maker
    for problem in problems:
        logger.error("NOT LOADED: %s", problem)
    return Extensions(catalogue=known, makers=makers, problems=tuple(problems))


def _maker(point: metadata.EntryPoint) -> Callable[[Context], object] | Problem:
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        return Problem(group=COLLECTORS, name=point.name, reason=_reason(error))
    if not callable(found):
        return Problem(group=COLLECTORS, name=point.name, reason="it is nothing that can be called")
    made: Callable[[Context], object] = found
    return made


def _specs(found: object) -> list[FactSpec]:
    specs = list(found) if isinstance(found, Iterable) else []
    if not specs or not all(isinstance(spec, FactSpec) for spec in specs):
        raise TypeError("not an iterable of `FactSpec`")
    return specs


def _checked(found: object, supplies: frozenset[str]) -> object:
    """A collector as the contract has it, that announces facts of its own alone."""
    announced = getattr(found, "supplies", None)
    if not isinstance(announced, frozenset) or not callable(getattr(found, "collect", None)):
        raise TypeError("not a collector: it lacks `supplies` or `collect`")
    stray = sorted(announced - supplies)
    if stray:
        raise ValueError(f"it announces `{stray[0]}`, which is no fact with its name as the source")
    return found


def _reason(error: BaseException) -> str:
    """What kind of failure, and its text where we wrote it: foreign text may hold secrets, or what a terminal obeys."""
    own = isinstance(error, TypeError | ValueError) and error.__traceback__ is not None and _is_ours(error)
    return str(error) if own else f"{type(error).__name__} while it was loaded"


def _is_ours(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith(
        "governance."
    )
