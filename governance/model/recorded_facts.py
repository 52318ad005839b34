"""Facts read back from the record that `Facts.to_json` made of them.

Promises: what is read is what was written, and a record of another form is a `ValueError`. Of a record that is known by its digest
only some facts may be asked for: the others are then not there, and nobody looks at their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, repeat
from typing import Any
from urllib.parse import unquote

from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.facts import (
    Collection,
    Facts,
    FactValue,
    Item,
    ItemValue,
    Origin,
    Unknown,
    written_name,
)

Keys = Mapping[str, str]
"""Names of facts, each with the key that it has in a record. Made by `keys_of`."""

_NOT_THERE: dict[str, Json] = {}
_PLAIN = frozenset({str, int, bool})
_MOST_REMEMBERED = 4_096
_MOST_LETTERS = 200
"""Of a text that is remembered: what is kept must have a bound in bytes, too."""


def keys_of(names: Iterable[str]) -> Keys:
    """The keys of these facts."""
    return {name: written_name(name) for name in sorted(names)}


def facts_from_json(document: Mapping[str, Json]) -> Facts:
    """Read what `Facts.to_json` wrote. Raises `ValueError` on any other form."""
    keys = _keys_in(document)
    return Facts(_values(document, keys), dict(_Origins(document, keys)))


def facts_on_record(document: dict[str, Json], digest: Sha256, only: Keys | None = None) -> Facts:
    """`facts_from_json` for a record whose canonical bytes are known to have this digest, which is then not made again.

    With `only`, these facts alone, as far as they are there. Origins are made when somebody looks.
    """
    keys = _keys_in(document) if only is None else only
    values = _values(document, keys)
    return Facts.on_record(values, _Origins(document, keys), digest)


def _keys_in(document: Mapping[str, Json]) -> Keys:
    return {unquote(key) if "%" in key else key: key for key in document}


def _values(document: Mapping[str, Any], keys: Keys) -> dict[str, FactValue]:
    """The values behind these keys, as far as they are there. Most are plain, and are taken without a step of Python each."""
    rows = map(document.get, keys.values(), repeat(_NOT_THERE))
    try:
        values: dict[str, Any] = dict(zip(keys, map(dict.get, rows, repeat("value")), strict=True))
    except TypeError as error:
        name = next(name for name, key in keys.items() if not isinstance(document.get(key, _NOT_THERE), dict))
        raise ValueError(f"fact `{name}` is not an object") from error
    for name in [name for name, value in values.items() if value.__class__ not in _PLAIN]:
        row = document.get(keys[name])
        if row is None:
            del values[name]
        else:
            values[name] = _value(row)
    return values


class _Origins(Mapping[str, Origin]):
    """The origins in a record, each made when it is asked for."""

    __slots__ = ("_document", "_keys")

    def __init__(self, document: Mapping[str, Json], keys: Keys) -> None:
        self._document, self._keys = document, keys

    def __getitem__(self, name: str) -> Origin:
        found: Origin | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping, without an exception on the way: most facts of most findings are asked for so."""
        key = self._keys.get(name)
        row: Any = None if key is None else self._document.get(key)
        if row.__class__ is dict or isinstance(row, Mapping):
            source, at = row.get("source"), row.get("at")
            if isinstance(source, str) and isinstance(at, str):
                return (
                    _origin(source, at) if len(source) + len(at) <= _MOST_LETTERS else _new_origin(source, at)
                )
        return default

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._keys if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _new_origin(source: str, at: str) -> Origin:
    return Origin(source=source, observed_at=at)


_origin = lru_cache(maxsize=_MOST_REMEMBERED)(_new_origin)
"""Remembered, since the facts of one decision have few origins among them."""


def _value(row: Mapping[str, Any]) -> FactValue:
    if "unknown" in row:
        return _unknown(row)
    if "items" in row:
        rows, missing = row["items"], row.get("missing")
        if rows.__class__ is not list or not (missing is None or isinstance(missing, str)):
            raise ValueError("a collection whose items are not a list")
        return Collection.on_record(_items(rows), missing)
    if "value" not in row:
        raise ValueError("a fact with neither value, items nor unknown")
    return _member(row["value"])


def _unknown(row: Mapping[str, Any]) -> Unknown:
    if "at_least" not in row:
        return Unknown(str(row["unknown"]))
    known = _member(row["at_least"])
    if known is None or isinstance(known, Unknown):
        raise ValueError("a fact that is at least nothing")
    return Unknown(str(row["unknown"]), at_least=known)


def _items(rows: list[Any]) -> tuple[Item, ...]:
    """Most items hold plain values alone, and are taken as they were parsed: nobody writes to them."""
    if not rows:
        return ()
    try:
        is_plain = _PLAIN.issuperset(map(type, chain.from_iterable(map(dict.values, rows))))
        if "%" in "".join(chain.from_iterable(rows)):
            return tuple([{unquote(key): _member(each) for key, each in item.items()} for item in rows])
    except TypeError as error:
        raise ValueError("an item that is not an object") from error
    return tuple(rows) if is_plain else tuple([_item(item) for item in rows])


def _item(item: dict[str, Any]) -> Item:
    return {key: each if each.__class__ in _PLAIN else _member(each) for key, each in item.items()}  # type: ignore[misc]


def _member(value: Any) -> ItemValue:
    kind = value.__class__
    if kind is dict:
        if "decimal" in value:
            text = str(value["decimal"])
            return _decimal(text) if len(text) <= _MOST_LETTERS else _new_decimal(text)
        if "unknown" in value:
            return Unknown(str(value["unknown"]))
        raise ValueError("an object that is neither decimal nor unknown")
    if kind is list:
        return tuple(map(str, value))
    if value is None or kind in _PLAIN:
        return value  # type: ignore[no-any-return]  # one of a fact's
    raise ValueError(f"a fact cannot be a {kind.__name__}")


def _new_decimal(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


_decimal = lru_cache(maxsize=_MOST_REMEMBERED)(_new_decimal)
"""Remembered: scores have one decimal, and there are few of them."""
