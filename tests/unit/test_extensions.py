"""Facts and collectors by entry point: what is taken, and that what is not fit never vanishes."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NoReturn

import pytest

from governance.collect.collector import gather
from governance.collect.extensions import COLLECTORS, FACTS, Context, Extensions, load_extensions
from governance.model.facts import CATALOGUE, OUT_OF_REACH, Facts, Unknown
from tests.unit.test_collector import REQUEST

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SPECS = """
from governance.model.facts import FactSpec, FactType

FACTS = [
    FactSpec(name="acme.approved", type=FactType.BOOLEAN, source="acme", meaning="whether our board approved it"),
    FactSpec(name="acme.risk", type=FactType.INTEGER, source="acme", meaning="what our board thinks"),
]
"""
BOARD = """
class Board:
    supplies = frozenset({"acme.approved", "acme.risk"})

    def __init__(self, context):
        self.now = context.now

    def collect(self, request):
        return {"acme.approved": request.artifact.name == "m", "acme.risk": self.now().day}
"""
LAZILY = """
from collections.abc import Mapping

class Lazily(Mapping):
    def __init__(self, look):
        self.look = look

    def __iter__(self):
        return iter(("acme.approved", "acme.risk"))

    def __len__(self):
        return 2

    def __getitem__(self, name):
        exec(self.look)
        return True
"""
_NUMBERS = itertools.count()
Install = Callable[[str], str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A module of the given source on the path; its name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def module(source: str) -> str:
        name = f"outside_{next(_NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    yield module
    for name in names:
        sys.modules.pop(name, None)


def found_by(extensions: Extensions, *, within: float = 10) -> Facts:
    def nobody(host: str) -> NoReturn:
        raise AssertionError(host)

    collectors = extensions.collectors(Context(artifactory=nobody, now=lambda: NOW), within=within)
    return gather(collectors, REQUEST, deadline=within, now=lambda: NOW)


def facts(module: str, name: str = "acme") -> EntryPoint:
    return EntryPoint(name=name, value=f"{module}:FACTS", group=FACTS)


def collector(module: str, name: str = "acme", value: str = "Board") -> EntryPoint:
    return EntryPoint(name=name, value=f"{module}:{value}", group=COLLECTORS)


def test_they_are_taken(install: Install) -> None:
    found = load_extensions([facts(install(SPECS))], [collector(install(BOARD))])
    assert found.problems == ()
    assert found.catalogue.keys() - CATALOGUE.keys() == {"acme.approved", "acme.risk"}
    known = found_by(found)
    assert (known.get("acme.approved"), known.get("acme.risk")) == (True, 22)
    assert known.origins["acme.risk"].source == "acme"


def test_the_package_on_the_page_is_taken_as_it_stands(install: Install) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
    specs, board = re.findall(r"^```python\n(# acme_gov/.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    found = load_extensions([facts(install(specs))], [collector(install(board))])
    assert found.problems == ()
    assert found_by(found).get("acme.approved") == Unknown("the board has no list yet")


def test_without_any_nothing_changes() -> None:
    found = load_extensions([], [])
    assert (dict(found.catalogue), found.makers, found.problems) == (dict(CATALOGUE), {}, ())
    assert found.collectors(Context(artifactory=lambda host: None, now=lambda: NOW)) == ()  # type: ignore[arg-type,return-value]


BROKEN: dict[str, tuple[str, str, str]] = {
    "that is not there": (BOARD, "Nobody", "AttributeError"),
    "that cannot be imported": ("import nowhere_at_all\n", "Board", "ModuleNotFoundError"),
    "that ends the program": ("raise SystemExit\n", "Board", "SystemExit"),
    "that cannot be made": (BOARD.replace("self.now =", "1 / 0 #"), "Board", "ZeroDivisionError"),
    "that is none": (BOARD, "Board.supplies", "cannot be called"),
    "that lacks what one has": (
        "class Board:\n    def __init__(self, context): pass\n",
        "Board",
        "not a collector",
    ),
    "that speaks for us": (BOARD.replace('"acme.risk"}', '"signature.valid"}'), "Board", "`signature.valid`"),
    "that raises": (BOARD.replace("return", "raise KeyError('secret') or"), "Board", "KeyError in acme"),
    "that answers with nothing": (BOARD.replace("return", "return None and"), "Board", "TypeError in acme"),
    "that says more": (
        BOARD.replace("return {", 'return {"signature.valid": True, '),
        "Board",
        "does not announce",
    ),
    "that says less": (BOARD.replace("return {", "return {} and {"), "Board", "did not say"),
    "that says what is no value": (
        BOARD.replace("return {", "return dict.fromkeys(self.supplies, {1: 'secret'}) or {"),
        "Board",
        "a dict is no value",
    ),
    "that says more than is kept": (
        BOARD.replace("return {", "return dict.fromkeys(self.supplies, 'x' * 3_000_000) or {"),
        "Board",
        "acme said more than 4194304 bytes",
    ),
    "that says a number without an end": (
        BOARD.replace("return {", "return dict.fromkeys(self.supplies, 10 ** 5000) or {"),
        "Board",
        "ValueError in acme",
    ),
    "whose answer asks its service at each look": (
        BOARD.replace("return {", "return Lazily('raise OSError(`secret`)') or {").replace("`", '"') + LAZILY,
        "Board",
        "OSError in acme",
    ),
    "that cannot say when it is asked": (
        BOARD + "\n    on_demand = property(lambda self: 1 / 0)\n",
        "Board",
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_collector_leaves_its_facts_unknown(install: Install, name: str) -> None:
    source, value, reason = BROKEN[name]
    known = found_by(load_extensions([facts(install(SPECS))], [collector(install(source), value=value)]))
    for fact in ("acme.approved", "acme.risk"):
        unknown = known.get(fact)
        assert isinstance(unknown, Unknown)
        assert reason in unknown.reason
        assert "secret" not in unknown.reason
    assert isinstance(known.get("signature.valid"), Unknown)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (BOARD.replace("self.now =", "import time; time.sleep(20)\n        self.now ="), "TimeoutError"),
        (BOARD.replace("return {", "return Lazily('__import__(`time`).sleep(20)') or {").replace("`", '"') + LAZILY, "no answer"),
    ],
    ids=["while it is made", "when its answer is read"],
)  # fmt: skip
def test_nobody_waits_for_a_collector_that_waits_for_its_service(
    install: Install, source: str, reason: str
) -> None:
    extensions = load_extensions([facts(install(SPECS))], [collector(install(source))])
    unknown = found_by(extensions, within=0.3).get("acme.approved")
    assert isinstance(unknown, Unknown)
    assert reason in unknown.reason


def test_a_service_of_others_may_be_out_too(install: Install) -> None:
    silent = "from governance.collect.collector import unknown_after\nfrom governance.errors import UnavailableError\n"
    answer = 'return {"acme.approved": unknown_after(UnavailableError("out", service="board", method="GET", path="/")), '
    source = silent + BOARD.replace("return {", answer + '"acme.risk": 1} or {')
    known = found_by(load_extensions([facts(install(SPECS))], [collector(install(source))]))
    assert known.get(OUT_OF_REACH) == ("acme.approved",)


@pytest.mark.parametrize(("least", "known"), [("22", 22), ("('a',)", ("a",)), ("[7]", None), ("{}", None)])
def test_a_package_can_tell_what_a_fact_is_at_least(install: Install, least: str, known: object) -> None:
    part = f'Unknown("half an answer", out_of_reach=True, at_least={least})'
    source = "from governance.model.facts import Unknown\n" + BOARD.replace(
        "return {", f'return {{"acme.risk": {part}}} or {{'
    )
    found = found_by(load_extensions([facts(install(SPECS))], [collector(install(source))]))
    assert found.get("acme.risk") == Unknown("half an answer", at_least=known)  # type: ignore[arg-type]
    assert found.get(OUT_OF_REACH) == ("acme.risk",)


@pytest.mark.parametrize("points", [[], [("other",)]])
def test_facts_that_nobody_supplies_are_unknown(install: Install, points: list[tuple[str]]) -> None:
    collectors = [collector(install(BOARD), name) for (name,) in points]
    known = found_by(load_extensions([facts(install(SPECS))], collectors))
    unknown = known.get("acme.risk")
    assert isinstance(unknown, Unknown)
    assert "no entry point" in unknown.reason


def test_two_collectors_with_one_name_are_both_out(install: Install) -> None:
    found = load_extensions([facts(install(SPECS))], [collector(install(BOARD)), collector(install(BOARD))])
    unknown = found_by(found).get("acme.risk")
    assert isinstance(unknown, Unknown)
    assert "two packages" in unknown.reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_at_all\n", "ModuleNotFoundError"),
        (SPECS.replace("acme.risk", "signature.valid"), "in the catalogue already"),
        (SPECS.replace("acme.risk", "risk"), "namespace of its own"),
        ("FACTS = ['acme.approved']\n", "not an iterable of `FactSpec`"),
        ("FACTS = 7\n", "not an iterable of `FactSpec`"),
    ],
)
def test_facts_that_cannot_be_loaded_are_told(install: Install, source: str, reason: str) -> None:
    found = load_extensions([facts(install(source))], [])
    (problem,) = found.problems
    assert reason in str(problem)
    assert dict(found.catalogue) == dict(CATALOGUE)


def test_one_package_cannot_take_the_facts_of_another(install: Install) -> None:
    found = load_extensions([facts(install(SPECS)), facts(install(SPECS), "evil")], [])
    (problem,) = found.problems
    assert (problem.name, "already" in problem.reason) == ("evil", True)
    assert "acme.risk" in found.catalogue
