"""A subset of AQL over the item domain.

Promises the grammar and clause order of a real server for `items.find(...)` with `include`, `sort`, `offset` and
`limit`, and its plain-text errors. Other domains, relative dates, `$msp` and archive fields are refused, never ignored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from governance.devserver import access
from governance.devserver.aql_criteria import (
    ALL_FIELDS,
    DEFAULT_FIELDS,
    FIELDS,
    Predicate,
    compile_criteria,
    refuse,
)
from governance.devserver.items import Item
from governance.devserver.problems import Problem, Shape
from governance.devserver.routing import Call, Router
from governance.devserver.store import Store

Json = dict[str, Any]

_CLAUSES = ("include", "sort", "offset", "limit", "distinct")
MAX_ROWS = 500_000


def add_routes(router: Router) -> None:
    """`api/search/aql`."""
    router.add("POST", "/artifactory/api/search/aql", search)


async def search(call: Call) -> web.Response:
    """Answer one query. Errors are plain text."""
    if call.caller.is_anonymous:
        raise Problem(403, "Only non-anonymous users are allowed to access AQL queries", shape=Shape.TEXT)
    text = (await call.body()).decode("utf-8", "replace").strip()
    query = parse(text)
    if not call.caller.admin and not {"repo", "path", "name"} <= set(query.fields):
        raise refuse("For permissions reasons AQL demands the following fields: repo, path and name.")
    items = [
        item
        for config in call.platform.store.repositories.all()
        for item in call.platform.store.everything(config["key"])
        if query.matches(item) and access.has(call, "r", item.repo, item.path)
    ]
    rows = query.shape(items, call.platform.store)
    span: Json = {"start_pos": query.offset, "end_pos": query.offset + len(rows), "total": len(rows)}
    if query.limit is not None:
        span["limit"] = query.limit
    return web.json_response({"results": rows, "range": span})


def _syntax(query: str, rest: str) -> Problem:
    return refuse(
        f"Failed to parse query: {query}, it looks like there is syntax error near the following sub-query: {rest}"
    )


# -- parsing


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed query."""

    matches: Predicate
    fields: tuple[str, ...]
    with_properties: bool
    with_stats: bool
    sort: tuple[str, ...]
    descending: bool
    offset: int
    limit: int | None

    def shape(self, items: list[Item], store: Store) -> list[Json]:
        """Rows in order and in the range that was asked for."""
        if self.sort:
            items.sort(
                key=lambda item: tuple(FIELDS[name](item) for name in self.sort), reverse=self.descending
            )
        last = None if self.limit is None else self.offset + self.limit
        return [self._row(item, store) for item in items[self.offset : last]]

    def _row(self, item: Item, store: Store) -> Json:
        values = ((name, FIELDS[name](item)) for name in self.fields)
        row: Json = {name: value for name, value in values if value is not None}
        if self.with_properties:
            pairs = ((key, value) for key, values in item.properties.items() for value in values)
            row["properties"] = [{"key": key, "value": value} for key, value in pairs]
        if self.with_stats:
            usage = store.usage(item)
            row["stats"] = [{"downloads": usage.downloads, "downloaded_by": usage.last_by or None}]
        return row


def parse(text: str) -> Query:
    """Read a query. Raises the text errors of a real server."""
    match = re.match(r"items\s*\.\s*find\s*\(", text)
    if match is None:
        domain = re.match(r"\s*([\w.]+?)\s*\.\s*find", text)
        if domain and domain[1] != "items":
            raise refuse(f"The domain {domain[1]} is not supported by this server")
        raise _syntax(text, text)
    criteria, rest = _arguments(text, text[match.end() :])
    clauses = _clauses(text, rest)
    if len(criteria) > 1 or not all(isinstance(each, dict) for each in criteria):
        raise _syntax(text, text[match.end() :])
    names = [str(name) for name in clauses.get("include", ())]
    fields = _included(names)
    sort, descending = _sort(clauses.get("sort", ()), fields)
    tree = criteria[0] if criteria else {}
    typed = compile_criteria(tree)
    only_files = not _mentions_type(tree)
    return Query(
        matches=lambda item: typed(item) and not (only_files and item.folder),
        fields=fields,
        with_properties=any(name.startswith(("@", "property")) for name in names),
        with_stats=any(name.startswith("stat") for name in names),
        sort=sort,
        descending=descending,
        offset=_number(clauses.get("offset", (0,))),
        limit=_number(clauses["limit"]) if "limit" in clauses else None,
    )


def _arguments(text: str, rest: str) -> tuple[list[Any], str]:
    """JSON values separated by commas up to the closing parenthesis, and what follows it."""
    decoder, found = json.JSONDecoder(), []
    rest = rest.lstrip()
    while not rest.startswith(")"):
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError) as error:
            raise _syntax(text, rest) from error
        found.append(value)
        rest = rest[end:].lstrip()
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith(")"):
            raise _syntax(text, rest)
    return found, rest[1:].strip()


def _clauses(text: str, rest: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    order = list(_CLAUSES)
    while rest:
        match = re.match(r"\.\s*(\w+)\s*\(", rest)
        if match is None or match[1] not in order:
            raise _syntax(text, rest)
        order = order[order.index(match[1]) + 1 :]
        found[match[1]], rest = _arguments(text, rest[match.end() :])
    return found


def _included(names: list[str]) -> tuple[str, ...]:
    plain = [name for name in names if not name.startswith(("@", "property", "stat"))]
    if "*" in plain:
        return ALL_FIELDS
    for name in plain:
        if name not in ALL_FIELDS:
            raise refuse(f"Unknown field in include: {name}")
    return tuple(plain) or DEFAULT_FIELDS


def _sort(arguments: list[Any] | tuple[()], fields: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    if not arguments:
        return (), False
    order = arguments[0]
    if not isinstance(order, dict) or len(order) != 1 or next(iter(order)) not in ("$asc", "$desc"):
        raise refuse("A sort needs $asc or $desc with a list of fields.")
    ((direction, names),) = order.items()
    if any(name not in fields for name in names):
        raise refuse("Only the result fields are allowed to use in the sort section.")
    return tuple(names), direction == "$desc"


def _number(arguments: list[Any] | tuple[int]) -> int:
    value = arguments[0] if arguments else 0
    if not isinstance(value, int) or value < 0:
        raise refuse("offset and limit need a number")
    return min(value, MAX_ROWS)


def _mentions_type(tree: Any) -> bool:
    if isinstance(tree, dict):
        return "type" in tree or any(_mentions_type(value) for value in tree.values())
    return isinstance(tree, list) and any(_mentions_type(each) for each in tree)
