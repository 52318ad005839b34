"""The JSON that Artifactory sends, checked at the door.

Promises: what passes has the documented types and is within limits, and of what does not pass the first mistake is looked at and no
other: millions of wrong rows would take minutes, and gigabytes, to be told of. Unknown fields are ignored, since each release of
the server adds some. Does not: give values to the rest of the house (`items` does), or check names (`client` does).

Known contradictions that are taken both ways: sizes as numbers and as strings; folders with size -1 or without one.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

_NAME = 4096
_ROWS = 500_000
_KEYS = 10_000


def _whole_number(value: object) -> object:
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        return int(value)
    return value


def _few(value: object) -> object:
    if isinstance(value, dict) and len(value) > _KEYS:
        raise ValueError(f"more than {_KEYS} members")
    return value


Size = Annotated[int, BeforeValidator(_whole_number), Field(ge=-1, lt=1 << 53)]
Text = Annotated[str, Field(max_length=_NAME)]
Hex = Annotated[str, Field(max_length=128)]
Kept = TypeVar("Kept")
Few = Annotated[Kept, BeforeValidator(_few)]
Values = Annotated[tuple[Text, ...], Field(strict=False, fail_fast=True)]
"""Not strict, since `_few` hands Python values on, and a list is no strict tuple."""


class Wire(BaseModel):
    """Base of all wire forms."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Checksums(Wire):
    """`checksums` of a file. A server may leave out any of them."""

    sha256: Hex | None = None


class ListedItem(Wire):
    """One row of `?list`. `uri` is relative to the root, with a `/` before it; `sha2` is the SHA-256."""

    uri: Text
    size: Size = -1
    last_modified: AwareDatetime = Field(alias="lastModified")
    folder: bool
    sha2: Hex | None = None


class FileList(Wire):
    """Answer of `GET api/storage/...?list`."""

    files: Annotated[tuple[ListedItem, ...], Field(max_length=_ROWS, fail_fast=True)]


class Child(Wire):
    """One row of a folder's `children`."""

    uri: Text
    folder: bool


class Item(Wire):
    """Answer of `GET api/storage/...`. A folder has `children` and no `size`; a repository's root has no creator."""

    repo: Text
    path: Text
    created: AwareDatetime | None = None
    created_by: Text | None = Field(None, alias="createdBy")
    last_modified: AwareDatetime | None = Field(None, alias="lastModified")
    modified_by: Text | None = Field(None, alias="modifiedBy")
    mime_type: Text | None = Field(None, alias="mimeType")
    size: Size | None = None
    checksums: Checksums | None = None
    children: Annotated[tuple[Child, ...], Field(max_length=_ROWS, fail_fast=True)] | None = None


class Created(Wire):
    """Answer of a deploy."""

    size: Size | None = None
    checksums: Checksums | None = None


class Properties(Wire):
    """Answer of `GET api/storage/...?properties`."""

    properties: Few[dict[Text, Values]]


class Message(Wire):
    """One line of what a copy or move reports."""

    level: Text
    message: str = ""


class Messages(Wire):
    """Answer of `POST api/copy` and `api/move`."""

    messages: Annotated[tuple[Message, ...], Field(fail_fast=True)] = ()


class Repository(Wire):
    """Answer of `GET api/repositories/{key}`."""

    key: Text
    rclass: Text
    package_type: Text = Field("generic", alias="packageType")
    xray_index: bool | None = Field(None, alias="xrayIndex")


class ServerVersion(Wire):
    """Answer of `GET api/system/version`."""

    version: Text
    addons: Annotated[tuple[Text, ...], Field(fail_fast=True)] = ()


class Principals(Wire):
    """Rights by user and by group, as letters."""

    users: Few[dict[Text, Values]] = Field(default_factory=dict)
    groups: Few[dict[Text, Values]] = Field(default_factory=dict)


class Permissions(Wire):
    """Answer of `GET api/storage/...?permissions`."""

    principals: Principals


class AqlRange(Wire):
    """`notification` is set where the server trimmed the result."""

    notification: str | None = None


class AqlResult(Wire):
    """Answer of `POST api/search/aql`."""

    results: Annotated[tuple[dict[str, object], ...], Field(max_length=_ROWS, fail_fast=True)]
    range: AqlRange = AqlRange()


class FiledEvidence(Wire):
    """Answer of `POST evidence/api/v1/subject/...`. Releases differ in what else they say."""

    uri: Text
    sha256: Hex | None = None
    verified: bool | None = None
