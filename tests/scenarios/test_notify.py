"""`mlgov audit notify` as it is run: rules and channels from files, a real mail server, a waiver that ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.audit.sqlite import SqliteStore
from governance.cli.main import main
from governance.model.verdict import Effect
from tests.audit_tools import make_log
from tests.mailserver import mail_server
from tests.mlflow_tools import environment
from tests.rawserver import answer, closed_port, raw_server
from tests.report_tools import decide
from tests.scenarios.cli import clean

RULES = """
apiVersion: mlgov/v1
kind: Notifications
rules:
  - {name: blocks, on: new-block, channels: [mail, hook]}
  - {name: changes, on: verdict-changed, channels: [hook]}
  - {name: waivers, on: waiver-expiring, channels: [mail]}
"""


def test_news_reaches_mailbox_and_webhook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, rules = tmp_path / "secret", tmp_path / "rules.yaml"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + "QUJD" * 11)
    rules.write_text(RULES)
    log = make_log(SqliteStore(tmp_path / "audit.sqlite"), origin="mlgov.local/audit")
    decide(log, decision=Effect.BLOCK, name="old")
    with mail_server() as mail, raw_server(answer(204)) as hook:
        (tmp_path / "mlgov.toml").write_text(
            f'[[channels]]\nname = "mail"\nkind = "email"\nto = ["ops@example.org"]\nsender = "mlgov@example.org"\n'
            f'server = "smtp://127.0.0.1:{mail.port}"\n'
            f'[[channels]]\nname = "hook"\nkind = "webhook"\nto = "{hook.url}/T0SECRET"\nsecret_file = "{secret}"\n'
        )
        own = clean(MLGOV_HOME=str(tmp_path), MLGOV_NOTIFY_PATH=str(rules))
        with environment(own):
            assert main(["audit", "notify", "--trial"]) == 0
            assert mail.mails[0]["Subject"] == "[mlgov] a trial notice: this channel works"
            assert main(["audit", "notify", "--once"]) == 0  # what lies in the log is no news
            assert (len(mail.mails), len(hook.seen)) == (1, 1)
            decide(log, decision=Effect.ALLOW, name="wine")
            decide(log, decision=Effect.BLOCK, name="wine")
            assert main(["audit", "notify", "--once"]) == 0
            assert main(["audit", "notify", "--once"]) == 0
            assert [each["Subject"].partition(":")[0] for each in mail.mails[1:]] == [
                "[mlgov] models/wine is blocked in production"
            ]
            assert [json.loads(seen.body)["type"] for seen in hook.seen[1:]] == [
                "mlgov.new-block", "mlgov.verdict-changed"
            ]  # fmt: skip
            text = capsys.readouterr()
            assert "T0SECRET" not in text.out + text.err
            main(["doctor", "--offline", "--json"])
            lines = {each["subject"]: each["seen"] for each in json.loads(capsys.readouterr().out)}
            assert lines["stream notify-mail"].endswith("up to date")
    log.close()


@pytest.mark.parametrize(("rules", "arguments", "words"), [
    (RULES, (), "expected channels of the settings file, got `hook`"),
    (RULES.replace("hook", "mail"), ("other",), "no rule names a channel `other`"),
    ("a: [", (), "strict YAML"),
    (None, (), "cannot be read"),
    (RULES.replace("hook", "mail"), ("--trial", "other"), "there is no channel `other`"),
])  # fmt: skip
def test_mistakes_are_said_before_anything_is_sent(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rules: str | None,
    arguments: tuple[str, ...],
    words: str,
) -> None:
    log = make_log(SqliteStore(tmp_path / "audit.sqlite"), origin="mlgov.local/audit")
    decide(log, decision=Effect.BLOCK)
    log.close()
    if rules is not None:
        (tmp_path / "rules.yaml").write_text(rules)
    (tmp_path / "mlgov.toml").write_text(
        f'notify_path = "{tmp_path}/rules.yaml"\n[[channels]]\nname = "mail"\nkind = "email"\nto = ["ops@example.org"]\n'
        f'sender = "mlgov@example.org"\nserver = "smtp://127.0.0.1:{closed_port()}"\n'
    )
    with environment(clean(MLGOV_HOME=str(tmp_path))):
        assert main(["audit", "notify", "--once", *arguments]) == 2
    assert words in capsys.readouterr().err
