"""How connections are made: the checked address, the pool, and what the libraries below must not do.

Promises: no cookie, no `~/.netrc`, no environment and no query string in a log line. Does not: send anything.
"""

from __future__ import annotations

import ipaddress
import logging
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import requests.adapters

from governance.errors import SettingsError
from governance.transport.failures import clean

_SEND_PIECE: Final = 256 << 10


def checked_base(url: str) -> str:
    """The address of a service, without a final slash. Raises `SettingsError`, which repeats no user information."""
    parts = urlsplit(url)
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
            hint="Mend MLGOV_CA_BUNDLE (or REQUESTS_CA_BUNDLE, SSL_CERT_FILE): a PEM file, or a folder of them.",
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


class _Session(requests.Session):
    """Never looks at redirects by itself. Even when told not to follow one, `requests` reads its whole body, without a
    limit, to prepare the next request.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature of `requests`
        return None


class _WithoutQueries(logging.Filter):
    """Cuts queries from the lines that urllib3 logs: a redirect to a signed URL carries its key there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                part.partition("?")[0] if isinstance(part, str) else part for part in record.args
            )
        return True


_WITHOUT_QUERIES = _WithoutQueries()


def open_session(pool_size: int) -> requests.Session:
    """A session that takes nothing from its surroundings and keeps `pool_size` connections to a host."""
    logging.getLogger("urllib3.connectionpool").addFilter(_WITHOUT_QUERIES)
    session = _Session()
    session.trust_env = False
    # One session serves many threads: a cookie of one answer has no business in the next request.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=8, pool_maxsize=pool_size)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
