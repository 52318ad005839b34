"""Questions that are asked once, without credentials unless they are given."""

from __future__ import annotations

from governance.settings import Settings
from governance.transport import ClientCertificate, Credentials, Transport


def plain_transport(
    base: str,
    service: str,
    settings: Settings,
    *,
    credentials: Credentials | None = None,
    certificate: ClientCertificate | None = None,
) -> Transport:
    """A connection that carries no token of the settings by itself, tries once, and is the caller's to close."""
    return Transport(
        base_url=base,
        service=service,
        credentials=credentials,
        retries=0,
        verify=settings.certificates,
        certificate=certificate,
        proxies=settings.proxies_for(base),
    )
