"""One signed POST to a webhook, through the one HTTP session.

Promises: the signature goes to the address of the settings and nowhere else, since writes are never redirected; no error
names the path or query of a webhook's address, which are often what lets one post there; the answer is bounded and not
kept. Does not: try again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final
from urllib.parse import unquote_plus, urlsplit

from governance.errors import RemoteError, TlsError, UnreachableError
from governance.stream.signature import Secrets
from governance.transport import ClientCertificate, Transport

_OK: Final = frozenset({200, 201, 202, 204})
_MAX_ANSWER: Final = 64 << 10
_HINT: Final = "Look at the receiver; what it did not take waits in the log and is sent again."
_TOO_LARGE: Final = 413


class Post:
    """A webhook. Safe to use from one thread at a time. `timeout` bounds each wait and the whole answer, in seconds."""

    def __init__(
        self,
        url: str,
        *,
        secrets: Secrets,
        shown: str,
        now: Callable[[], datetime],
        verify: bool | str = True,
        certificate: ClientCertificate | None = None,
        proxies: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        self._path = parts.path or "/"
        self._params = _pairs(parts.query) or None
        self._secrets = secrets
        self._shown = shown
        self._now = now
        self._transport = Transport(
            base_url=f"{parts.scheme}://{parts.netloc}",
            service="webhook",
            credentials=None,
            connect_timeout=min(10.0, timeout),
            read_timeout=timeout,
            answer_timeout=timeout,
            retries=0,
            pool_size=1,
            verify=verify,
            certificate=certificate,
            proxies=proxies,
        )

    def send(self, body: bytes, *, message_id: str, content_type: str) -> None:
        """Deliver `body`. Raises `RemoteError`, whose `status` is the answer's where there was one."""
        signed = self._secrets.headers(
            message_id=message_id, timestamp=int(self._now().timestamp()), body=body
        )
        try:
            self._transport.call(
                "POST", self._path, params=self._params, body=body, ok=_OK, limit=_MAX_ANSWER,
                headers={**signed, "Content-Type": content_type},
            )  # fmt: skip
        except RemoteError as error:
            raise self._without_path(error) from None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _without_path(self, error: RemoteError) -> RemoteError:
        status, kind = error.status, type(error)
        what = "it did not take what was sent"
        if status is not None and 300 <= status < 400:
            what = "it redirects, which is not followed with a signature"
        elif status in _OK:
            what = "it may have taken what was sent, but its answer is too long or does not end, so that it is sent again"
        elif isinstance(error, TlsError):
            what = "its certificate is not accepted, or no TLS could be agreed on"
        elif isinstance(error, UnreachableError):
            what = "no connection, or no answer in time"
        return kind(
            what, service="webhook", method="POST", path=self._shown, status=status, hint=_HINT,
            retry_after=error.retry_after,
        )  # fmt: skip


def is_too_large(error: RemoteError) -> bool:
    """Whether a smaller body may do."""
    return error.status == _TOO_LARGE


def _pairs(query: str) -> tuple[tuple[str, str | None], ...]:
    """The members of a query: a name may come twice, and without a value."""
    split = (member.partition("=") for member in query.split("&") if member)
    return tuple((unquote_plus(name), unquote_plus(value) if sign else None) for name, sign, value in split)
