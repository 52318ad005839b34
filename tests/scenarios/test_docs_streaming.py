"""What `docs/streaming.md` shows is so: its receiver accepts our signature, and its settings and unit are read as written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from governance.audit.entry import EntryKind
from governance.notify.rules import parse_rules
from governance.settings import Settings
from governance.stream.signature import Secrets

PAGE = (Path(__file__).resolve().parents[2] / "docs/streaming.md").read_text()
KEY = bytes(range(32))


def block(language: str, holding: str) -> str:
    (found,) = [
        text for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if holding in text
    ]  # fmt: skip
    return str(found)


def test_the_receivers_check_accepts_what_we_sign_and_nothing_else() -> None:
    import base64
    import time

    names: dict[str, Any] = {}
    exec(block("python", "is_ours"), names)
    is_ours, now = names["is_ours"], int(time.time())
    secret = "whsec_" + base64.b64encode(KEY).decode()
    headers = Secrets((b"o" * 32, KEY)).headers(message_id="m", timestamp=now, body=b"x\n")
    assert is_ours(headers, b"x\n", secret)
    assert not is_ours(headers, b"y\n", secret)
    assert not is_ours({**headers, "webhook-id": "n"}, b"x\n", secret)
    old = Secrets((KEY,)).headers(message_id="m", timestamp=now - 400, body=b"x\n")
    assert not is_ours(old, b"x\n", secret)


def test_the_settings_are_read_as_written() -> None:
    table = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", block("toml", "[[streams]]"), flags=re.MULTILINE))
    settings = Settings(streams=table["streams"])
    assert [each.name for each in settings.streams] == ["siem", "archive"]
    assert settings.streams[0].form == "ocsf"
    assert settings.streams[1].is_webhook


def test_every_kind_of_entry_has_a_row_or_is_among_the_others() -> None:
    rows = PAGE.partition("| entry | class | activity |")[2].partition("\n\n")[0]
    named = {kind for kind in EntryKind if f"`{kind.value}`" in rows}
    assert named == {EntryKind.DECISION, EntryKind.OUTCOME, EntryKind.SIGNATURE, EntryKind.POLICY, EntryKind.KEY, EntryKind.WAIVER, EntryKind.REGISTRATION}  # fmt: skip
    assert "all others" in rows


def test_the_rules_and_channels_fit_together() -> None:
    rules = parse_rules(
        re.sub(
            r"^(\s+)# (?=\w+: )", r"\1", block("yaml", "kind: Notifications"), flags=re.MULTILINE
        ).encode(),
        "page",
    )
    channels = Settings(channels=tomllib.loads(block("toml", "[[channels]]"))["channels"]).channels
    assert {name for rule in rules for name in rule.channels} == {each.name for each in channels}
    assert {rule.on for rule in rules} == {"new-block", "verdict-changed", "waiver-expiring"}


def test_every_metric_is_in_the_table() -> None:
    """What the code makes and what the page lists are the same names."""
    root = Path(__file__).resolve().parents[2]
    made = set()
    for file in ("governance/metrics/meter.py", "plugin/figures.py"):
        made |= set(re.findall(r'"(mlgov_[a-z_]+)"', (root / file).read_text()))
    listed = set(re.findall(r"^\| `(mlgov_[a-z_]+)`", PAGE, re.MULTILINE))
    assert {name.removesuffix("_total") for name in listed} == made
