"""The one HTTP session: time limits, bounded retries, redirect and token rules, size limits, errors.

Promises: a token and a certificate of ours go to the origin of `base_url` and nowhere else; every wait and every whole body is bounded; an
answer whose status was not asked for is an error. Does not: know what the paths mean, or read the environment (so
proxies and CA bundles are arguments, and `~/.netrc` is never consulted).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit

import urllib3

from governance.errors import RemoteError
from governance.model.canonical import Json
from governance.transport.answer import Answer, StreamedResponse, read_capped
from governance.transport.body import Readable, SizedBody
from governance.transport.client_certificate import ClientCertificate
from governance.transport.connection import Connections, checked_base, checked_certificates, is_loopback
from governance.transport.credentials import Credentials
from governance.transport.failures import FAILURES, Exchange, failure_of, status_error
from governance.transport.plan import Params, Plan, make_plan
from governance.transport.redirects import LONGEST, STATUSES, is_home, next_url, origin_of
from governance.transport.retries import Retries, asked_pause

_log = logging.getLogger(__name__)

_MAX_ERROR_BODY: Final = 64 << 10
_MAX_ERROR_SECONDS: Final = 10


class _Target(TypedDict):
    base_url: str
    service: str
    secrets: tuple[str, ...]


class Transport:
    """One session to one service. Thread-safe. `base_url` has no user information, query or final slash that counts;
    paths are relative to it and already percent-encoded. `service` is the name that errors bear. Timeouts are in seconds: for a
    connection, for the next bytes, and for a whole answer that is no stream."""

    def __init__(
        self,
        *,
        base_url: str,
        service: str,
        credentials: Credentials | None,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        answer_timeout: float = 120,
        retries: int = 3,
        pool_size: int = 16,
        verify: bool | str = True,
        certificate: ClientCertificate | None = None,
        proxies: Mapping[str, str] | None = None,
        max_body: int = 16 << 20,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.base_url = checked_base(base_url)
        self.service = service
        self.host = urlsplit(self.base_url).netloc.lower()
        self._home = origin_of(self.base_url)
        self._credentials = credentials or Credentials()
        self._authorization = self._credentials.header()
        self._target: _Target = {
            "base_url": self.base_url,
            "service": service,
            "secrets": self._credentials.secrets(),
        }
        self._answer_timeout = answer_timeout
        self._retries = Retries(limit=retries)
        self._verify = checked_certificates(verify)
        if certificate is not None:
            certificate.check()
        self._max_body = max_body
        self._sleep = sleep
        self._clock = clock
        self._connections = Connections(
            pool_size=pool_size,
            timeouts=(connect_timeout, read_timeout),
            answer_timeout=answer_timeout,
            verify=self._verify,
            certificate=certificate,
            home=self.base_url,
            proxies=proxies or {},
        )
        self._warn()

    def __repr__(self) -> str:
        return f"Transport({self.service}, {self.base_url})"

    @property
    def claims(self) -> Mapping[str, object]:
        """What the token says about itself, unverified."""
        return self._credentials.claims()

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | None] | None = None,
        body: Json | bytes = None,
        ok: Collection[int] = (200,),
        idempotent: bool | None = None,
        limit: int | None = None,
    ) -> Any:
        """The parsed JSON of an answer whose status is in `ok`. Parameters as in `call`."""
        return self.call(
            method, path, params=params, body=body, ok=ok, idempotent=idempotent, limit=limit
        ).json()

    def text(self, method: str, path: str, *, ok: Collection[int] = (200,)) -> str:
        """The text of an answer whose status is in `ok`."""
        return self.call(method, path, ok=ok).text()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Json | bytes = None,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200,),
        idempotent: bool | None = None,
        limit: int | None = None,
    ) -> Answer:
        """An answer whose status is in `ok`, whole.

        | parameter | meaning |
        | --- | --- |
        | `params` | query, also as pairs where a key may come twice; a value of None makes a bare key (`?list`) |
        | `body` | JSON to send, or bytes as they are |
        | `idempotent` | whether a second time does no harm; by default so for GET, HEAD, PUT and DELETE |
        | `limit` | most bytes of the answer; `max_body` by default |
        """
        plan = make_plan(
            method, path, params=params, headers=headers, body=body, idempotent=idempotent, **self._target
        )
        return self._whole(plan, ok, limit)

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200, 206),
    ) -> Iterator[StreamedResponse]:
        """An answer whose body the caller reads inside the `with`. A try that fails before the body is repeated by the
        rules; a body that breaks off is the caller's to resume."""
        plan = make_plan(method, path, headers=headers, **self._target)
        response = self._open(plan, ok)
        try:
            yield StreamedResponse(response, plan.exchange)
        finally:
            response.close()

    def send(
        self,
        path: str,
        body: Readable,
        *,
        size: int,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200, 201),
    ) -> Answer:
        """PUT `size` bytes of `body` from where it stands. It is sent again by the rules where it can be rewound."""
        source = SizedBody(body, size) if size else b""
        plan = make_plan("PUT", path, headers=headers, body=source, **self._target)
        return self._whole(plan, ok, None)

    def _whole(self, plan: Plan, ok: Collection[int], limit: int | None) -> Answer:
        response = self._open(plan, ok)
        most = self._max_body if limit is None else limit
        try:
            content = read_capped(
                response, plan.exchange, limit=most, seconds=self._answer_timeout, clock=self._clock
            )
        finally:
            response.close()
        return Answer(status=response.status, headers=response.headers, body=content, exchange=plan.exchange)

    def _open(self, plan: Plan, ok: Collection[int]) -> urllib3.BaseHTTPResponse:
        """The answer, body unread, after as many tries as the rules allow. Raises for a status that is not in `ok`."""
        tried = 1
        outcome = self._try(plan)
        while (pause := self._pause(outcome, tried, plan)) is not None and plan.rewind():
            if isinstance(outcome, urllib3.BaseHTTPResponse):
                outcome.close()
            self._sleep(pause)
            tried += 1
            outcome = self._try(plan)
        if not isinstance(outcome, urllib3.BaseHTTPResponse):
            error, cause = failure_of(outcome, plan.exchange)
            raise error from cause
        if outcome.status not in ok:
            raise self._refusal(outcome, plan.exchange)
        return outcome

    def _pause(self, outcome: urllib3.BaseHTTPResponse | Exception, tried: int, plan: Plan) -> float | None:
        if isinstance(outcome, urllib3.BaseHTTPResponse):
            return self._retries.after_status(
                outcome.status, outcome.headers, tried=tried, idempotent=plan.idempotent
            )
        return self._retries.after_failure(outcome, tried=tried, idempotent=plan.idempotent)

    def _try(self, plan: Plan) -> urllib3.BaseHTTPResponse | Exception:
        """One try. The exception is handed back rather than raised, so that no traceback of ours leads to the ones of
        `urllib3`, which quote queries and carry headers."""
        try:
            return self._follow(plan)
        except FAILURES as failure:
            return failure

    def _follow(self, plan: Plan) -> urllib3.BaseHTTPResponse:
        url, home = plan.url, True  # a plan is for a place below `base_url`
        for _ in range(LONGEST + 1):
            response = self._exchange(plan, url, home=home)
            if response.status not in STATUSES or (location := response.headers.get("Location")) is None:
                return response
            response.close()
            url = next_url(url, location, response.status, plan.exchange)
            home = is_home(url, self._home)
        raise plan.exchange.broken(f"more than {LONGEST} redirects in a row")

    def _exchange(self, plan: Plan, url: str, *, home: bool) -> urllib3.BaseHTTPResponse:
        headers = dict(plan.headers)
        if self._authorization is not None and home:
            headers["Authorization"] = self._authorization
        started = self._clock()
        response = self._connections.send(plan.exchange.method, url, headers=headers, body=plan.body)
        if _log.isEnabledFor(logging.DEBUG):
            spent = (self._clock() - started) * 1000
            _log.debug("%s %s %d %.0f ms", plan.exchange.method, plan.exchange.path, response.status, spent)
        return response

    def _refusal(self, response: urllib3.BaseHTTPResponse, exchange: Exchange) -> Exception:
        try:
            body = read_capped(
                response, exchange, limit=_MAX_ERROR_BODY, seconds=_MAX_ERROR_SECONDS, clock=self._clock
            )
        except RemoteError:
            body = b""  # the status says enough
        finally:
            response.close()
        error = status_error(response.status, body, exchange)
        error.retry_after = asked_pause(response.headers)
        return error

    def _warn(self) -> None:
        if self._verify is False:
            _log.warning(
                "TLS certificates of %s are NOT checked: anyone on the way can read the token", self.host
            )
        if self._authorization and self._home[0] == "http" and not is_loopback(self._home[1]):
            _log.warning("%s is spoken to over plain http: anyone on the way can read the token", self.host)
