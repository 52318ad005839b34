"""Where streams may lead, and what is shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.stream.destination import Destination, name_of


@pytest.mark.parametrize("to", [
    "file:relative", "ftp://x", "https://", "https://u:p@h/x", "http://example.org/x", "syslog+tls://", "syslog+tls://h/x",
    "syslog+tls://h:99999", "https://h/x#y", "file:/a b", "", "syslog://h", "https://h/\r\nX: y",
    "syslog+tcp://" + "a" * 64 + ".example", "https://a..b/x", "syslog+udp://ä..b",
])  # fmt: skip
def test_what_is_no_destination(to: str) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Destination(name="x", to=to, secret_file=Path("/s"))
    assert "u:p" not in str(caught.value)


def test_a_message_that_no_datagram_can_hold_is_no_setting() -> None:
    """It would be tried for ever."""
    with pytest.raises(ValueError, match="over UDP"):
        Destination(name="x", to="syslog+udp://h", max_message=65_001)


def test_a_webhooks_path_is_never_shown() -> None:
    found = Destination(name="x", to="https://hooks.example.org/T000/SECRET?k=v", secret_file=Path("/s"))
    assert found.shown == "https://hooks.example.org/…"
    assert "SECRET" not in repr(found)
    assert "SECRET" not in name_of(found.to)
    assert name_of("syslog+tls://siem.example:6514").startswith("syslog-tls-siem-example-")
