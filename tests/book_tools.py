"""Compliance reports for tests: made from a log, and rendered."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from governance.audit.bodies import key_body, policy_body, signature_body, waiver_body
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.model.facts import Collection, Facts, Unknown
from governance.model.request import Action
from governance.model.verdict import Effect, Mode
from governance.report.book import Report
from governance.report.format import FORMATS
from governance.report.framework_files import load_frameworks
from governance.report.making import Asked, make_report
from governance.report.matrix import ControlTally
from tests.audit_tools import START, make_log, sha
from tests.report_tools import HOSTILE, decide

NOW = START + timedelta(days=1)
NASTY = (
    HOSTILE + "{0} [click](https://evil.example) `code` *bold* <para/> <font color='[[[x]]]'>\x1b[31m ) Tj (evil) "
    "/JS (app.alert(1)) %PDF-1.4 \u05d0\u05d1 \u0627\u0644 模型 \U0001f600 &#60; e\u0301"
)  # fmt: skip
"""What somebody might call a model who wants a reader of reports to see, follow or run something."""


FRAMEWORKS = load_frameworks()


@contextmanager
def booked(log: AuditLog, *, now: datetime = NOW, **asked: Any) -> Iterator[Report]:
    """A compliance report about a log, with all frameworks."""
    given: dict[str, Any] = {
        "controls": ControlTally(FRAMEWORKS),
        "software": (("Made with", "mlflow-governance 0"),),
    }
    with make_report(log, Asked(**(given | asked)), now=now) as report:
        yield report


def rendered(log: AuditLog, name: str, **asked: Any) -> bytes:
    """A report in one of the formats."""
    out = io.BytesIO()
    with booked(log, **asked) as report:
        FORMATS[name]().write(report, out)
    return out.getvalue()


def empty_period() -> dict[str, Any]:
    """A month before anything was recorded."""
    return {"since": datetime(2020, 1, 1, tzinfo=UTC), "until": datetime(2020, 2, 1, tzinfo=UTC)}


def hostile_log() -> AuditLog:
    """A log in which everything that somebody from outside may name is nasty."""
    log = make_log()
    name = NASTY.replace("/", "|").replace("\x1b", "")
    for effect, mode in (
        (Effect.BLOCK, Mode.ENFORCE),
        (Effect.QUARANTINE, Mode.OBSERVE),
        (Effect.ALLOW, Mode.ENFORCE),
    ):
        decide(log, name=name, decision=effect, mode=mode, message=NASTY, waiver=NASTY)
    decide(log, name=name, action=Action.UPLOAD)
    subject = name[:200]
    log.append(
        EntryKind.KEY,
        key_body(event=NASTY, key_id=NASTY, name=NASTY, reason=NASTY),
        subject=subject,
        correlation="c",
    )
    more = {"by": NASTY, "justification": NASTY, "reason": NASTY, "rule": NASTY, "ticket": NASTY}
    log.append(
        EntryKind.WAIVER,
        waiver_body(event="break-glass", waiver=NASTY, more=more),
        subject=subject,
        correlation="c",
    )
    log.append(
        EntryKind.POLICY,
        policy_body(digest=sha(9), revision=1, names=[NASTY]),
        subject="policy",
        correlation="c",
    )
    made = signature_body(event="made", digest=NASTY, key_id=NASTY, bundle=sha(3), signer=NASTY, reason=NASTY)
    log.append(EntryKind.SIGNATURE, made, subject=subject, correlation="c")
    return log


def broken_log() -> AuditLog:
    """A log in which somebody changed a byte of one entry."""
    log = make_log()
    for name in ("one", "two"):
        decide(log, name=name, decision=Effect.BLOCK)
    store = log.store
    assert isinstance(store, MemoryStore)
    row = store._rows[1]
    store._rows[1] = row._replace(data=row.data.replace(b"production", b"productiom"))
    return log


def log_of_facts(**values: Any) -> AuditLog:
    """A log with one use of a model, and the facts behind it."""
    log = make_log()
    decide(log, facts=Facts(values))
    return log


PACKAGES = Collection((
    {"purl": "pkg:pypi/pyyaml@5.3", "name": "pyyaml", "version": "5.3", "direct": True},
    {"purl": "not a purl", "name": NASTY, "version": NASTY, "direct": True},
))  # fmt: skip
ADVISORIES = Collection((
    {
        "id": "X-1", "cve": "CVE-2020-14343", "severity": "critical", "cvss": 9.8, "component": "pyyaml",
        "component_version": "5.3", "fixed_in": ("5.4",), "malicious": False, "published": "2021-03-25T00:00:00.000000Z",
        "applicable": Unknown("nobody looked"),
    },
    {"id": NASTY, "cve": None, "severity": NASTY, "cvss": Unknown("none"), "component": NASTY, "published": NASTY, "fixed_in": (NASTY,)},
))  # fmt: skip
