"""Pages of one file that need nothing else: no network, good on paper and on a phone. Reports and backtests are such pages.

Promises: nothing in the log can act on a page. All text is escaped by the template engine; the page's policy allows its own style
sheet and, where it has one, its own script, each by its hash, and nothing else at all; characters that turn or hide text are shown
as what they are. A page comes in pieces. Does not: know what is on a page, or hold a table in memory.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Iterator
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from governance.report.book import Column, Row, Section, Table, table_file
from governance.report.drawing import drawn
from governance.report.showing import human_size, marked, result_words, shown

_SLUG = re.compile(r"[^a-z0-9]+")
_TIME = re.compile(r"\b(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.\d{6}Z")
_PIECE = 64


def page(template: str, *, script: str | None = None, **values: object) -> Iterator[bytes]:
    """The page that a template makes of the values, with the script of that name."""
    style, program = _read("page.css"), "" if script is None else _read(script)
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown, "marked": marked, "size": human_size, "moment": _moment, "grouped": _grouped, "slug": _slug,
        "word": result_words, "brief": _brief, "first": _first, "drawn": drawn, "placed": _placed, "parted": _parted,
    }  # fmt: skip
    made = environment.get_template(template).stream(
        # Our own files, under their hashes; the only markup that is not escaped.
        style=Markup(style),  # noqa: S704 - see above
        script=Markup(program),  # noqa: S704 - see above
        style_digest=_digest(style),
        script_digest=_digest(program),
        **values,
    )
    made.enable_buffering(_PIECE)
    return (part.encode() for part in made)


def _first(rows: Iterator[Row], most: int) -> Iterator[Row]:
    return itertools.islice(rows, most)


def _placed(rest: str, section: Section, table: Table) -> str:
    """Where the rows are that a page leaves out."""
    return rest.format(file=f"tables/{table_file(section, table)}")


def _parted(table: Table) -> tuple[list[tuple[int, Column]], list[tuple[int, Column]]]:
    """The columns that are seen at once, and those for a closer look, each with its place in a row."""
    places = list(enumerate(table.columns))
    return [each for each in places if not each[1].minor], [each for each in places if each[1].minor]


def _moment(at: str) -> str:
    """`2026-03-01 12:00:04`; the whole is in the files."""
    return shown(at[:19].replace("T", " ")) if at[10:11] == "T" else shown(at)


def _brief(text: str) -> str:
    """A sentence with its times to the second."""
    return _TIME.sub(lambda found: f"{found[1]} {found[2]}", text)


def _grouped(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else shown(value)


def _slug(value: object) -> str:
    """A class name for a word, which may come from outside."""
    return _SLUG.sub("-", str(value).lower()[:40]).strip("-") or "other"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _read(name: str) -> str:
    return files("governance.report").joinpath("templates", name).read_text(encoding="utf-8")
