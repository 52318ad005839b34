"""Clients of Artifactory and Xray, by host.

Promises: the token goes to hosts on the allow-list, and to the Xray that the settings name, and to no other. Does not: ask anything of
them by itself, nor load a client that is not asked for, so that commands which only read the log start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from governance.errors import SettingsError
from governance.forking import ForkLock
from governance.settings import Settings
from governance.transport import Credentials, Transport

if TYPE_CHECKING:
    from governance.artifactory.client import ArtifactoryClient
    from governance.artifactory.evidence import EvidenceClient
    from governance.xray.client import XrayClient

_SERVICES = {"artifactory": "Artifactory", "xray": "Xray", "evidence": "Evidence"}


class Connections:
    """Clients by host, made on first use and shared. Safe to use from many threads at once."""

    def __init__(self, settings: Settings, *, extra_hosts: frozenset[str] = frozenset()) -> None:
        """`extra_hosts` come from whoever started this process (a tracking server's artifact destination), never from
        a request.
        """
        self._settings = settings
        self._allowed = settings.allowed_hosts | {host.lower() for host in extra_hosts}
        self._artifactory: dict[str, ArtifactoryClient] = {}
        self._xray: dict[str, XrayClient] = {}
        self._lock = ForkLock()

    def artifactory(self, host: str) -> ArtifactoryClient:
        """The client of one Artifactory. Raises `SettingsError` for a host that is not on the allow-list.

        Anyone who may create an experiment chooses its artifact location, so a location's host is not a reason to
        send it a token.
        """
        from governance.artifactory.client import ArtifactoryClient

        host = self._check(host)
        with self._lock:
            if host not in self._artifactory:
                self._artifactory[host] = ArtifactoryClient(self._transport(host, "artifactory"))
            return self._artifactory[host]

    def xray(self, host: str) -> XrayClient:
        """The client of the Xray that belongs to an Artifactory. Raises `SettingsError` as `artifactory` does."""
        host = self._check(host)
        from governance.xray.client import XrayClient

        with self._lock:
            if host not in self._xray:
                self._xray[host] = XrayClient(self._transport(host, "xray"))
            return self._xray[host]

    def evidence(self, host: str) -> EvidenceClient:
        """A client of the evidence service beside it; the caller closes it. Raises `SettingsError` as `artifactory`."""
        from governance.artifactory.evidence import EvidenceClient

        return EvidenceClient(self._transport(self._check(host), "evidence"))

    def scheme(self, host: str) -> str:
        """`https`, unless the settings name this very host with `http` or turn TLS off for all."""
        url = urlsplit(self._settings.artifactory_url or "")
        if self._settings.no_ssl:
            return "http"
        return url.scheme if url.netloc.lower() == host.lower() else "https"

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for artifactory in self._artifactory.values():
                artifactory.close()
            for xray in self._xray.values():
                xray.close()
            self._artifactory.clear()
            self._xray.clear()

    def _check(self, host: str) -> str:
        host = host.lower()
        if host in self._allowed:
            return host
        raise SettingsError(
            f"host `{host}` is not one of the Artifactory hosts that may be given the token",
            hint=f"If it is yours, set `MLGOV_ARTIFACTORY_URL={self.scheme(host)}://{host}` or add it to "
            "`MLGOV_ARTIFACTORY_HOSTS`. If you do not know it, an artifact location points somewhere it should not.",
        )

    def _transport(self, host: str, service: str) -> Transport:
        settings = self._settings
        base = f"{self.scheme(host)}://{host}/{service}"
        if service == "xray" and settings.xray_url:
            base = settings.xray_url
        token = settings.token.get_secret_value() if settings.token else None
        return Transport(
            base_url=base,
            service=_SERVICES[service],
            credentials=Credentials(token=token) if token else None,
            pool_size=max(16, settings.transfer_workers + 4),
            verify=settings.certificates,
            certificate=settings.own_certificate,
            proxies=settings.proxies_for(base),
        )
