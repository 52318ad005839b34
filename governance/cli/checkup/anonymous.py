"""Questions that are asked without credentials."""

from __future__ import annotations

from governance.settings import Settings
from governance.transport import Transport


def plain_transport(base: str, service: str, settings: Settings) -> Transport:
    """A connection that carries no token, tries once, and is the caller's to close."""
    return Transport(
        base_url=base,
        service=service,
        credentials=None,
        retries=0,
        verify=settings.certificates,
        proxies=settings.proxies_for(base),
    )
