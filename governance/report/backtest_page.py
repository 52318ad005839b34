"""A backtest as JSON, and as one HTML page with a chart that needs nothing else: no network, no script.

Promises: nothing in the log can act on the page (all text is escaped, hidden characters are shown as codes, and the page
allows one style sheet, by its hash). Does not: leave out rows without saying how many.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from governance.model.canonical import Json
from governance.report.backtest import Backtest, Side
from governance.report.showing import shown

_TOP = 25
_SERIES = ("same", "blocked", "allowed", "other")
_TONES = {"same": "accent", "blocked": "refused", "allowed": "allowed", "other": "warned"}
_WORDS = {
    "same": "as recorded",
    "blocked": "newly blocked",
    "allowed": "newly allowed",
    "other": "otherwise, let through or refused as before",
}
_MOST_DAYS = 120


def backtest_tree(made: Backtest) -> dict[str, Json]:
    """Everything, for machines. Tables are by count, the largest first."""
    return {
        "policy": {"digest": made.policy, "revision": made.revision, "names": list(made.names)},
        "since": made.since,
        "until": made.until,
        "decisions": made.decisions,
        "judged": made.judged,
        "same": made.same,
        "newly_blocked": _side(made.blocked),
        "newly_allowed": _side(made.allowed),
        "otherwise": dict(sorted(made.shifted.items())),
        "days": {day: dict(zip(_SERIES, counts, strict=True)) for day, counts in sorted(made.days.items())},
        "not_gathered_then": dict(made.blind.most_common()),
        "broken": {"count": made.broken_count, "first": list(made.broken)},
        "other_versions": dict(sorted(made.versions.items())),
        "evidence_gone": made.gone,
    }


def backtest_page(made: Backtest) -> bytes:
    """The page."""
    style = _read("report.css") + _read("backtest.css")
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    page = environment.get_template("backtest.html").render(
        made=made,
        # Our own files, under their hash; the only markup that is not escaped.
        style=Markup(style),  # noqa: S704 - see above
        style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        bars=_bars(made),
        tones=_TONES,
        words=_WORDS,
        sides=(("newly blocked", "refused", made.blocked), ("newly allowed", "allowed", made.allowed)),
        most=_TOP,
    )
    return page.encode()


def _side(side: Side) -> dict[str, Json]:
    def table(counts: Counter[str]) -> Json:
        return dict(counts.most_common())

    return {
        "count": side.count,
        "by_rule": table(side.rules),
        "by_actor": table(side.actors),
        "by_artifact": table(side.artifacts),
        "by_environment": table(side.environments),
        "examples": [
            {
                "id": one.id,
                "at": one.at,
                "artifact": one.ref,
                "actor": one.actor,
                "environment": one.environment,
                "action": one.action,
                "before": one.before,
                "after": one.after,
                "rules": list(one.rules),
            }
            for one in side.examples
        ],
    }


def _bars(made: Backtest) -> list[dict[str, object]]:
    """A column per day, or per several days where there are many, of what came out otherwise; inline styles are forbidden."""
    days = sorted(made.days.items())
    step = max(1, -(-len(days) // _MOST_DAYS))
    grouped = [
        (
            days[place][0],
            [sum(counts) for counts in zip(*(each for _, each in days[place : place + step]), strict=True)],
        )
        for place in range(0, len(days), step)
    ]
    highest = max((sum(counts[1:]) for _, counts in grouped), default=0) or 1
    columns: list[dict[str, object]] = []
    for place, (label, counts) in enumerate(grouped):
        top = 100.0
        parts = []
        for series, count in list(zip(_SERIES, counts, strict=True))[1:]:
            height = 100.0 * count / highest
            if count:
                top -= height
                parts.append({"tone": _TONES[series], "y": f"{top:.2f}", "height": f"{height:.2f}"})
        words = ", ".join(f"{_WORDS[name]} {count}" for name, count in zip(_SERIES, counts, strict=True))
        columns.append({"x": place * 12, "label": label, "words": words, "parts": parts})
    return columns


def _read(name: str) -> str:
    return files("governance.report").joinpath("templates", name).read_text(encoding="utf-8")
