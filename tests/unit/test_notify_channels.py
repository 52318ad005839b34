"""Channels as the settings have them, and notices posted to webhooks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from standardwebhooks import Webhook

from governance.audit_wiring import utc_now
from governance.notify.carriers import WebhookCarrier
from governance.notifying import target_of
from governance.stream.channel import Channel
from governance.stream.post import Post
from governance.stream.signature import Secrets
from tests.rawserver import answer, raw_server
from tests.unit.notify_kit import NOTICE, channel

KEY = bytes(range(32))


def test_a_notice_is_posted_signed() -> None:
    with raw_server(answer(200)) as server:
        post = Post(f"{server.url}/T0", secrets=Secrets((KEY,)), shown="x", now=utc_now)
        WebhookCarrier(post).send(NOTICE)
        (seen,) = server.seen
    Webhook("whsec_" + base64.b64encode(KEY).decode()).verify(seen.body, dict(seen.headers), json_parse=False)
    document = json.loads(seen.body)
    assert document["type"] == "mlgov.new-block"
    assert document["data"]["title"] == "models/wine is blocked"
    assert seen.headers["webhook-id"] == f"notice_{NOTICE.key}"


@pytest.mark.parametrize("change", [
    {"to": ("ops@example.org\r\nBcc: eve@example.org",)}, {"to": ()}, {"to": ("Ops <ops@example.org>",)},
    {"sender": "x"}, {"server": "http://h"}, {"server": "smtp://u:p@h"}, {"server": "smtp://h:x"}, {"user": "u"},
    {"password": "secret"}, {"per_hour": 0}, {"unknown": 1},
])  # fmt: skip
def test_what_is_no_channel(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        channel(25, **change)
    assert "secret" not in str(caught.value).replace("SecretStr", "")


def test_a_webhook_channel_shows_no_path() -> None:
    fields = {"kind": "webhook", "name": "ops", "to": "https://h.example/T0SECRET", "secret_file": "/s"}
    found = TypeAdapter(Channel).validate_python(fields)
    assert "T0SECRET" not in repr(found) + target_of(found).shown
    with pytest.raises(ValidationError):
        TypeAdapter(Channel).validate_python({**fields, "to": "http://example.org/x"})
