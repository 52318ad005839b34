"""Where a redirect may lead.

1. Only reads are redirected. A redirected upload would send the bytes twice, or an empty body the second time.
2. Never from https to http, and to another origin over https only.
3. The token stays with its own origin: `is_home` says where that is.
4. A redirect that only adds a slash means that the path is a folder. Following it would store an HTML listing as if
   it were the file.
5. At most five in a row (`LONGEST`; counted by the caller).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from governance.transport.failures import Exchange

STATUSES: Final = frozenset({301, 302, 303, 307, 308})
LONGEST: Final = 5
_READS: Final = frozenset({"GET", "HEAD"})
_PORTS: Final = {"http": 80, "https": 443}

Origin = tuple[str, str, int | None]


def origin_of(url: str) -> Origin:
    """Scheme, host and port, in lower case, the port filled in."""
    parts = urlsplit(url)
    return (
        parts.scheme.lower(),
        (parts.hostname or "").lower(),
        parts.port or _PORTS.get(parts.scheme.lower()),
    )


def is_home(url: str, home: Origin) -> bool:
    """True where the token may be sent along."""
    return origin_of(url) == home


def next_url(current: str, location: str, status: int, exchange: Exchange) -> str:
    """The address to go to. Raises `ProtocolError` by the rules above."""
    if exchange.method not in _READS:  # 1
        raise exchange.broken(
            "the server redirects a write",
            status=status,
            hint="The address in the settings is not the server's own: a proxy or another scheme (http for https) "
            "answers there. Use the address that it redirects to.",
        )
    try:
        target = urljoin(current, location)
        here, there = urlsplit(current), urlsplit(target)
        foreign = origin_of(target) != origin_of(current)
    except ValueError as error:
        raise exchange.broken("a redirect to something that is no address", status=status) from error
    if "@" in there.netloc:
        raise exchange.broken("a redirect that holds a user name or password", status=status)
    if foreign and there.scheme.lower() != "https":  # 2
        raise exchange.broken("the server redirects to an address without TLS", status=status)
    if _is_upgrade(here, there):
        raise exchange.broken(
            "the server redirects from http to https",
            status=status,
            hint="Use https: unset ARTIFACTORY_NO_SSL, or write https:// in MLGOV_ARTIFACTORY_URL.",
        )
    if not foreign and there.path == here.path + "/":  # 4
        raise exchange.broken(
            "this is a folder, not a file", status=status, hint="Ask for its files one by one."
        )
    return target


def _is_upgrade(here: SplitResult, there: SplitResult) -> bool:
    return (
        here.scheme.lower() == "http" and there.scheme.lower() == "https" and here.hostname == there.hostname
    )
