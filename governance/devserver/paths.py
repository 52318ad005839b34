"""Reading what stands in a request line: repository, path and matrix parameters, and Artifactory's property rules.

Promises paths without `.` or `..` elements and decoded exactly once: the path by URI rules (`+` stays `+`), matrix
values by form rules (`+` is a space). Does not look anything up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from governance.devserver.problems import Problem

Properties = dict[str, tuple[str, ...]]

_FORBIDDEN = frozenset('\\|*?"')
_KEY = re.compile(r"[^\W\d_][^\s)(}{\]\[*+^$\\/~`!@#%&<>;=,±§]*")
_CHECKSUM_HEX = {32: "md5", 40: "sha1", 64: "sha256"}
CHECKSUM_SUFFIXES = {".sha1": "sha1", ".md5": "md5", ".sha256": "sha256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a content request addresses. `path` has no slash at either end and is empty for the repository's root."""

    repo: str
    path: str
    is_folder: bool
    properties: Properties

    @property
    def label(self) -> str:
        """`repo:path`, as messages name it."""
        return f"{self.repo}:{self.path}"


def parse_target(raw: str) -> Target:
    """Read `repo/path[;k=v]`, still percent-encoded. Refuses with 400 what a real server refuses."""
    pieces, properties = [], []
    for segment in raw.split("/"):
        name, *matrix = segment.split(";")
        pieces.append(name)
        properties.extend(matrix)
    decoded = unquote("/".join(pieces), errors="strict") if "%" in raw else "/".join(pieces)
    repo, _, path = decoded.partition("/")
    return Target(
        repo=repo,
        path=clean_path(path),
        is_folder=path.endswith("/") or not path,
        properties=parse_matrix(properties),
    )


def clean_path(path: str) -> str:
    """Bring a decoded path to normal form, or refuse it."""
    if "://" in path or path.startswith(("http:/", "https:/")):
        raise Problem(400, f"Forbidden Url in path: {path}")
    if "\0" in path:
        raise Problem(400, "Invalid path: it holds a null character")
    elements = [element for element in path.split("/") if element and element != "."]
    for element in elements:
        _check_element(element)
    return "/".join(elements)


def _check_element(element: str) -> None:
    if not element.strip("."):
        raise Problem(400, f"Invalid path: '{element}' is made of dots alone")
    if element != element.strip(" "):
        raise Problem(400, f"Invalid path: '{element}' starts or ends with a space")
    if element == "&" or _FORBIDDEN.intersection(element):
        raise Problem(400, f"Invalid path: '{element}' holds a character that is not allowed")


def parse_matrix(pieces: Iterable[str]) -> Properties:
    """Matrix parameters: split at the first `=`, value form-decoded, key as it stands, values a set, no commas."""
    found: Properties = {}
    for piece in pieces:
        if not piece:
            continue
        key, _, value = piece.partition("=")
        _add(found, key, unquote_plus(value))
    return found


def parse_property_list(text: str) -> Properties:
    r"""The grammar of `?properties=`: entries split at `;` or `|`, values at `,`, each with backslash escapes. An entry with
    a second bare `=` is dropped without a word, as real servers do; nothing left at all is 400."""
    found: Properties = {}
    for entry in _split(text, ";|"):
        parts = _split(entry, "=")
        if len(parts) > 2 or not parts[0]:
            continue
        for value in _split(parts[1], ",") if len(parts) == 2 else [""]:
            _add(found, _unescape(parts[0]), _unescape(value))
    if not found:
        raise Problem(400, "Properties value cannot be empty.")
    check_keys(found)
    return found


def _split(text: str, separators: str) -> list[str]:
    """Split at unescaped separators; escapes stay in the pieces."""
    pieces, current, escaped = [], "", False
    for char in text:
        if not escaped and char in separators:
            pieces.append(current)
            current = ""
            continue
        current += char
        escaped = char == "\\" and not escaped
    return [*pieces, current]


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _add(found: Properties, key: str, value: str) -> None:
    values = found.get(key, ())
    if value not in values:
        found[key] = (*values, value)


def check_keys(properties: Mapping[str, object]) -> None:
    """Refuse property names that Artifactory refuses."""
    for key in properties:
        if not _KEY.fullmatch(key):
            raise Problem(
                400,
                f"Property key: {key} is invalid due to Name must start with a letter and cannot contain whitespace"
                " or special characters",
            )


def client_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Checksums that the client claims, in any spelling of the headers, by algorithm."""
    claimed = {}
    for algorithm in ("sha1", "sha256", "md5"):
        value = headers.get(f"X-Checksum-{algorithm.capitalize()}")
        if value:
            claimed[algorithm] = value.strip().lower()
    generic = headers.get("X-Checksum", "").strip().lower()
    if generic and (algorithm := _CHECKSUM_HEX.get(len(generic), "")):
        claimed.setdefault(algorithm, generic)
    return claimed
