"""Shared by the tests of compliance reports: decisions straight into a log, without a gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from governance.audit.bodies import (
    OutcomeStatus,
    decision_body,
    moved_documents,
    outcome_body,
    policy_body,
)
from governance.audit.entry import EntryKind, evidence_digest
from governance.audit.log import AuditLog
from governance.audit.store import AuditStore
from governance.model.artifact import Artifact, FileEntry, Kind, parse_repository_key
from governance.model.canonical import Json
from governance.model.digest import Sha256
from governance.model.facts import Facts
from governance.model.request import Action, Actor, Request
from governance.model.verdict import Effect, Evidence, Finding, Mode, RuleResult, Severity, Truth, Verdict
from governance.report.book import Report, Table
from governance.report.folder import write_folder
from governance.report.making import Asked, make_report
from tests.audit_tools import START, StillClock, file_entry, make_log, sha, signer

HOSTILE = "</style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\u2066\u200b&amp;{{ 7*7 }}"
"""A name that would act on a page, and hide what it is, wherever it is not shown as text."""

DAY = timedelta(days=1)


def signed_log(clock: StillClock, store: AuditStore | None = None) -> AuditLog:
    return make_log(store, now=clock, signers=[signer()])


def decide(
    log: AuditLog,
    *,
    name: str = "wine",
    decision: Effect = Effect.ALLOW,
    action: Action = Action.LOAD,
    mode: Mode = Mode.ENFORCE,
    environment: str = "production",
    actor: str = "zoe",
    message: str = "not good",
    content: int = 2,
    waiver: str | None = None,
    facts: Facts | None = None,
    policy: Sha256 | None = None,
    kept: bool = True,
    status: OutcomeStatus | None = OutcomeStatus.DONE,
    signature: Mapping[str, Json] | None = None,
) -> str:
    """One decision, with its outcome unless `status` is None. Returns its id."""
    artifact = Artifact(
        kind=Kind.MODEL, host="h", repository=parse_repository_key("models"), path=name, name=name,
        files=(file_entry("MLmodel", 1), file_entry("model.pkl", content)),
    )  # fmt: skip
    request = Request(
        action=action, artifact=artifact, actor=Actor(name=actor), environment=environment, at=START, correlation="c"
    )  # fmt: skip
    evidence = (Evidence(fact="scan.complete", value=message, source=message),)
    finding = Finding(
        rule=f"p/{name}"[:200], effect=decision, severity=Severity.HIGH, message=message, remediation=message, evidence=evidence,
    )  # fmt: skip
    known = Facts({}) if facts is None else facts
    waived = RuleResult(rule="p/w", effect=Effect.BLOCK, truth=Truth.TRUE, fired=False, waiver=waiver)
    verdict = Verdict(
        decision=decision,
        findings=(finding,) if decision >= Effect.WARN else (),
        rules=(waived,) if waiver else (),
        policies=("p",),
        policy_digest=policy or sha(1),
        facts_digest=known.digest(),
    )
    refused = mode is Mode.ENFORCE and decision >= Effect.QUARANTINE
    receipt = log.append(
        EntryKind.DECISION,
        decision_body(request=request, verdict=verdict, mode=mode, refused=refused),
        subject=artifact.ref,
        correlation="c",
        evidence=(known.document(),) if kept else (),
    )
    if status is not None:
        ended = OutcomeStatus.REFUSED if refused else status
        moved = artifact.files if ended is OutcomeStatus.DONE else ()
        conclude(log, receipt.id, name=name, action=action, status=ended, moved=moved, signature=signature)
    return receipt.id


def refuse_by_default(log: AuditLog, *, name: str = "wine") -> str:
    """A refusal to which no rule objected; one warned. Returns its id."""
    warning = Finding(
        rule="p/unsigned", effect=Effect.WARN, severity=Severity.LOW, message="it is not signed", remediation="sign it", evidence=()
    )  # fmt: skip
    artifact = Artifact(
        kind=Kind.MODEL, host="h", repository=parse_repository_key("models"), path=name, name=name,
        files=(file_entry("MLmodel", 1),),
    )  # fmt: skip
    request = Request(
        action=Action.LOAD, artifact=artifact, actor=Actor(name="zoe"), environment="production", at=START, correlation="c"
    )  # fmt: skip
    verdict = Verdict(
        decision=Effect.BLOCK, findings=(warning,), rules=(), policies=("p",), policy_digest=sha(1), facts_digest=Facts({}).digest(),
    )  # fmt: skip
    body = decision_body(request=request, verdict=verdict, mode=Mode.ENFORCE, refused=True)
    decision = log.append(EntryKind.DECISION, body, subject=artifact.ref, correlation="c").id
    conclude(log, decision, name=name, status=OutcomeStatus.REFUSED)
    return decision


def conclude(
    log: AuditLog,
    decision: str,
    *,
    name: str = "wine",
    action: Action = Action.LOAD,
    status: OutcomeStatus = OutcomeStatus.DONE,
    moved: tuple[FileEntry, ...] = (),
    signature: Mapping[str, Json] | None = None,
) -> None:
    """How an act ended that rests on the decision of this id, with a list of the files that were moved."""
    body = outcome_body(
        decision=decision, action=action.value, status=status, moved=moved, signature=signature
    )
    log.append(
        EntryKind.OUTCOME, body, subject=f"models/{name}", correlation="c", evidence=moved_documents(moved)
    )


def note_policy(
    log: AuditLog, document: bytes, digest: Sha256, revision: int | None = None, source: str | None = None
) -> None:
    body = policy_body(digest=digest, revision=revision, names=["p"])
    if source is not None:
        body["source"] = source
    log.append(EntryKind.POLICY, body, subject="policy", correlation="c", evidence=(document,))


def rest(log: AuditLog, kind: str) -> Sha256:
    """Append an entry of that kind that rests on a document. Returns the document's name."""
    moved = (file_entry("MLmodel", 1), file_entry("model.pkl", 2))
    (listed,) = moved_documents(moved)
    if kind == "decision":
        decide(log, status=None)
    elif kind == "policy":
        note_policy(log, b'{"rules":[]}', evidence_digest(b'{"rules":[]}'))
    else:
        done = outcome_body(decision="d", action="load", status=OutcomeStatus.DONE, moved=moved)
        log.append(EntryKind.OUTCOME, done, subject="models/wine", correlation="c", evidence=(listed,))
    (info,) = log.store.evidence_list()
    return info.sha256


@contextmanager
def report_on(log: AuditLog, *, now: datetime = START + 365 * DAY, **asked: Any) -> Iterator[Report]:
    """A report, with the log's key."""
    vkey = log.key.vkey if log.key is not None else None
    with make_report(log, Asked(vkey=vkey, **asked), now=now) as made:
        yield made


def table(made: Report, name: str) -> Table:
    return next(each for section in made.sections for each in section.tables if each.name == name)


def rows(made: Report, name: str) -> list[dict[str, Any]]:
    """The rows of a table by column. Its count is right, whatever is asked."""
    found = table(made, name)
    names = [column.name for column in found.columns]
    listed = [dict(zip(names, row, strict=True)) for row in found.rows()]
    assert len(listed) == found.count, name
    return listed


def figure(made: Report, section: str, name: str) -> object:
    return dict(made.section(section).pairs)[name]


def folder_of(log: AuditLog, folder: Path, *formats: str, **asked: Any) -> Path:
    with report_on(log, **asked) as made:
        write_folder(made, log, folder, formats or ("html", "csv", "jsonl"))
    return folder
