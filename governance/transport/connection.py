"""How connections are made: the checked address, the pools, and what the libraries below must not do.

Promises: no cookie, no `~/.netrc`, no environment; no query string in a log line, and no address in a warning.

The `requests` session sets up TLS, proxies and pools, once per origin. Each request then goes straight to the pool of
its origin: preparing and sending it through the session would cost as much again as the request itself, which a folder
of a thousand files pays a thousand times.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3
from requests.utils import select_proxy

from governance.errors import SettingsError
from governance.forking import call_after_fork
from governance.transport.client_certificate import ClientCertificate
from governance.transport.clocked import with_bounded_answers
from governance.transport.failures import clean

_SEND_PIECE: Final = 256 << 10


def checked_base(url: str) -> str:
    """The address of a service, without a final slash. Raises `SettingsError`, which repeats no user information."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # half an IPv6 address, a port beyond 65535
        raise SettingsError(
            "the address of a service has a host or a port that cannot be one",
            hint="Write https://HOST[:PORT]/artifactory.",
        ) from None
    if "@" in parts.netloc:
        raise SettingsError(
            "the service's address holds a user name or password",
            hint="Take it out of the address, and set ARTIFACTORY_AUTH_TOKEN instead.",
        )
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise SettingsError(
            f"`{clean(url)[:120]}` is not an address of a service",
            hint="Write https://HOST[:PORT]/artifactory.",
        )
    return url.rstrip("/")


def checked_certificates(verify: bool | str) -> bool | str:
    """What certificates are checked against: a file or folder of authorities, or a yes or no. Raises `SettingsError`."""
    if isinstance(verify, str) and not Path(verify).exists():
        raise SettingsError(
            f"the certificate authorities `{verify}` are not there",
            hint="Fix MLGOV_CA_BUNDLE (or REQUESTS_CA_BUNDLE, SSL_CERT_FILE): a PEM file, or a folder of them.",
        )
    return verify


def is_loopback(host: str) -> bool:
    """True for this machine's own addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Adapter(requests.adapters.HTTPAdapter):
    """Sends in large pieces: with the 16 KiB of `http.client`, an upload costs 16 times as many calls."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, blocksize=_SEND_PIECE, **more)


class _WithoutQueries(logging.Filter):
    """Cuts queries from the lines that urllib3 logs: a redirect to a signed URL carries its key there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.partition("?")[0] if isinstance(part, str) else part for part in record.args
            )
        return True


class _WithoutAddress(logging.Filter):
    """Takes the whole address, and what the server sent, from urllib3's warning about headers that it cannot read: the path of
    a webhook lets one post there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Failed to parse headers"):
            record.msg, record.args = "a server sent headers that could not be read in full", ()
            record.exc_info = record.exc_text = None
        return True


_WITHOUT_QUERIES = _WithoutQueries()
_WITHOUT_ADDRESS = _WithoutAddress()


@dataclass(frozen=True, slots=True)
class _Way:
    """The pool that leads to an origin. `is_proxied`: to a proxy that wants whole addresses."""

    pool: urllib3.HTTPConnectionPool
    is_proxied: bool


class Connections:
    """Keeps up to `pool_size` connections to each host. Takes nothing from its surroundings. Thread-safe."""

    def __init__(
        self,
        *,
        pool_size: int,
        timeouts: tuple[float, float],
        answer_timeout: float,
        verify: bool | str,
        certificate: ClientCertificate | None,
        home: str,
        proxies: Mapping[str, str],
    ) -> None:
        logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERIES)
        logging.getLogger("urllib3.connection").addFilter(_WITHOUT_ADDRESS)
        self._pool_size = pool_size
        self._answer_timeout = answer_timeout
        self._timeout = urllib3.Timeout(connect=timeouts[0], read=timeouts[1])
        self._verify = verify
        self._certificate = (
            None if certificate is None else (str(certificate.certificate), str(certificate.key))
        )
        self._home = _split(home)[0]
        self._proxies = dict(proxies)
        self._begin()
        call_after_fork(self._begin)

    def _begin(self) -> None:
        """Start without a connection. After a fork the sockets are the parent's: over them, each would get the other's answers."""
        self._session = requests.Session()
        self._session.trust_env = False
        # One session serves many threads: a cookie of one answer has no business in the next request.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(pool_connections=8, pool_maxsize=self._pool_size)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._adapter = adapter
        self._ways: dict[str, _Way] = {}

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None
    ) -> urllib3.BaseHTTPResponse:
        """One exchange, without redirects and retries; the body of the answer is unread. Raises what `urllib3` and below
        raise."""
        origin, slash, rest = _split(url)
        way = self._ways.get(origin)
        if way is None:
            # Two threads may both make one: the session hands out the same pool to both.
            way = self._ways[origin] = self._way(origin)
        return way.pool.urlopen(
            method,
            url if way.is_proxied else slash + rest,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
            decode_content=False,
        )

    def _way(self, origin: str) -> _Way:
        prepared = requests.Request("GET", origin).prepare()
        # The target of a redirect has no business with it.
        own = self._certificate if origin == self._home else None
        pool = self._adapter.get_connection_with_tls_context(
            prepared, self._verify, proxies=self._proxies, cert=own
        )
        self._adapter.cert_verify(pool, origin, self._verify, own)  # type: ignore[no-untyped-call]  # as `requests` has it
        kept = cast(urllib3.HTTPConnectionPool, pool)
        kept.ConnectionCls = with_bounded_answers(kept.ConnectionCls, self._answer_timeout)
        proxy = select_proxy(origin, self._proxies)
        return _Way(
            kept,
            is_proxied=bool(proxy) and origin.startswith("http:") and not str(proxy).startswith("socks"),
        )


def _split(url: str) -> tuple[str, str, str]:
    """Scheme and host, `/`, and the rest of an absolute address without fragment."""
    scheme, _, tail = url.partition("//")
    host, _, rest = tail.partition("/")
    if "?" in host or "#" in host:  # an address that a redirect gave, without a path
        host = urlsplit(url).netloc
        rest = tail[len(host) :]
    return f"{scheme.lower()}//{host}", "/", rest.partition("#")[0]
