"""The one HTTP session. Skeleton: signatures first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from governance.transport.answer import Answer, StreamedResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A token, or a user with password. Neither secret is ever part of a `repr`."""

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)


class Transport:
    """Skeleton."""

    def __init__(
        self,
        *,
        base_url: str,
        service: str,
        credentials: Credentials | None,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        retries: int = 3,
        pool_size: int = 16,
        verify: bool | str = True,
        proxies: Mapping[str, str] | None = None,
        max_body: int = 16 << 20,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        raise NotImplementedError

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        ok: Iterable[int] = (200,),
        idempotent: bool | None = None,
        limit: int | None = None,
    ) -> Any:
        """The parsed JSON of an answer whose status is in `ok`."""
        raise NotImplementedError

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        ok: Iterable[int] = (200,),
        idempotent: bool | None = None,
        limit: int | None = None,
    ) -> Answer:
        """An answer whose status is in `ok`."""
        raise NotImplementedError

    def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> AbstractContextManager[StreamedResponse]:
        """An answer whose body is read by the caller."""
        raise NotImplementedError

    def send(
        self, path: str, body: BinaryIO, *, size: int, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """PUT `size` bytes of `body`."""
        raise NotImplementedError
