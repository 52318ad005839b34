"""What the records show for each control, as OSCAL assessment results (NIST, model 1.1): observations and findings, as JSON.

Promises: a result for each framework that was asked for, an observation for each of its controls with the searches behind it, and one
for the log's integrity; identifiers are the same for the same report (UUID version 5). Texts of the log are no Markdown.

Does not: say that a control is satisfied. OSCAL knows two states of a finding's target and none for "not assessed", and a number of
records is no assessment; so each is `not-satisfied` for the reason `other`, with a remark that says so, until an assessor decides. The
property `records` has what the log says.
"""

from __future__ import annotations

import base64
import re
from typing import BinaryIO
from uuid import UUID, uuid5

import orjson

from governance.model.canonical import Json
from governance.model.request import utc_text
from governance.report.book import Report
from governance.report.controls import ControlResult, FrameworkResult
from governance.report.matrix import STATUS_WORDS
from governance.report.showing import shown

OSCAL_VERSION = "1.1.3"
NAMESPACE = "urn:mlflow-governance:oscal"
"""Of our properties."""

_IDS = UUID("0d3c1a43-1f0e-5d5f-8f3f-5f8f0f5b6a11")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>{}|~&$^!#]")
_ENHANCEMENT = re.compile(r"\((\w+)\)")
_NO_TOKEN = re.compile(r"[^\w.\-]+", re.ASCII)
_NOT_ASSESSED = (
    "Not assessed: the log tells of records, and whether the control is satisfied is for an assessor to decide. "
    "The state says `not-satisfied` because OSCAL has none for this."
)


class OscalFormat:
    """One document of assessment results."""

    name = "report.oscal-ar.json"

    def write(self, report: Report, out: BinaryIO) -> None:
        """See `BookFormat.write`."""
        ids = _Ids(report)
        body: dict[str, Json] = {
            "uuid": ids.of("document"),
            "metadata": _metadata(report, ids),
            "import-ap": {"href": f"#{ids.of('plan')}", "remarks": "There is no assessment plan; see the resource."},
            "results": [_result(report, each, ids) for each in report.controls]
            or [_empty(report, ids)],
            "back-matter": {"resources": _resources(report, ids)},
        }  # fmt: skip
        out.write(orjson.dumps({"assessment-results": body}, option=orjson.OPT_INDENT_2) + b"\n")


def oscal_text(value: object) -> str:
    """Text for a field of Markdown, in which nothing is one, on one line and never empty."""
    return _MARKDOWN.sub(lambda found: "\\" + found[0], oscal_line(value))


def oscal_line(value: object) -> str:
    """Text for a field without markup: on one line, without blanks at its ends, never empty."""
    return " ".join(shown(value).split()) or "(empty)"


def control_token(control: str) -> str:
    """A control's id as OSCAL's catalogues write it: `AU-9(3)` is `au-9.3`."""
    token = _NO_TOKEN.sub("-", _ENHANCEMENT.sub(r".\1", control.lower().replace(". ", "-"))).strip("-.")
    return token if token[:1].isalpha() else f"c-{token}"


class _Ids:
    """Identifiers made from what the report is about."""

    def __init__(self, report: Report) -> None:
        parts = (
            report.origin,
            report.since,
            report.until,
            report.filter,
            report.made_at,
            report.checkpoints.head.root.hex(),
        )
        self._base = uuid5(_IDS, orjson.dumps(parts).decode())

    def of(self, *what: str) -> str:
        """One of them."""
        return str(uuid5(self._base, "\0".join(what)))


def _metadata(report: Report, ids: _Ids) -> dict[str, Json]:
    return {
        "title": oscal_text(f"Records for controls in the audit log {report.origin}"),
        "last-modified": report.made_at,
        "version": report.made_at,
        "oscal-version": OSCAL_VERSION,
        "props": _props({
            "log-proves-itself": "yes" if report.is_good else "no", "log-root": report.checkpoints.head.root.hex(),
            "log-size": str(report.checkpoints.head.size), "log-key": report.vkey, "selection": report.filter,
        }),
        "parties": [{"uuid": ids.of("party"), "type": "organization", "name": oscal_line(report.made_by)}],
        "remarks": "Made by mlflow-governance. Each observation names the search that repeats it.",
    }  # fmt: skip


def _result(report: Report, found: FrameworkResult, ids: _Ids) -> dict[str, Json]:
    framework = found.framework
    name = framework.name
    tokens: list[Json] = [
        {"control-id": token}
        for token in dict.fromkeys(control_token(each.control.id) for each in found.results)
    ]
    return {
        "uuid": ids.of("result", name),
        "title": oscal_text(f"{framework.title}, {framework.version}"),
        "description": oscal_text(framework.note or "Records for controls."),
        "start": _start(report),
        "end": report.until or report.made_at,
        "props": _props({"framework": name, "framework-version": framework.version}),
        "reviewed-controls": {"control-selections": [{"include-controls": tokens}]},
        "observations": [
            _integrity(report, ids, name),
            *(_observation(report, each, ids, name) for each in found.results),
        ],
        "findings": [_finding(each, ids, name) for each in found.results],
    }


def _empty(report: Report, ids: _Ids) -> dict[str, Json]:
    """Where no framework was asked for: the integrity of the log alone."""
    return {
        "uuid": ids.of("result", ""),
        "title": "Integrity of the log",
        "description": "No framework was asked for.",
        "start": _start(report),
        "end": report.until or report.made_at,
        "reviewed-controls": {
            "control-selections": [{"description": "none: no framework was asked for", "include-all": {}}]
        },
        "observations": [_integrity(report, ids, "")],
    }


def _start(report: Report) -> str:
    """The period's beginning: its first entry where none was given."""
    if report.since is not None:
        return report.since
    first = next(iter(report.entries), None)
    return report.made_at if first is None else utc_text(first.entry.at)


def _integrity(report: Report, ids: _Ids, name: str) -> dict[str, Json]:
    if report.is_good:
        text = f"All {report.verification.size} entries of the log were recomputed, and it proves itself."
    else:
        text = "THE LOG DOES NOT PROVE ITSELF. Do not rely on the other observations until this is explained."
    problems: list[Json] = [{"description": oscal_text(each)} for each in report.verification.problems[:50]]
    evidence: list[Json] = [
        {"href": f"#{ids.of('checkpoint')}", "description": "the checkpoint of this report"}
    ]
    return {
        "uuid": ids.of("integrity", name),
        "title": "Integrity of the log",
        "description": text,
        "methods": ["TEST"],
        "types": ["finding" if not report.is_good else "control-objective"],
        "relevant-evidence": evidence + problems,
        "collected": report.made_at,
        "props": _props({"log-proves-itself": "yes" if report.is_good else "no", "broken-entries": str(report.broken)}),
        "remarks": oscal_text(f"To check it offline, in the folder of the report: {report.command}"),
    }  # fmt: skip


def _observation(report: Report, result: ControlResult, ids: _Ids, name: str) -> dict[str, Json]:
    control = result.control
    evidence: list[Json] = [
        {
            "description": oscal_text(f"{count.count} entries: {count.query}"),
            "props": _props({"search": count.query, "command": count.command, "count": str(count.count)}),
        }
        for count in result.counts
    ]
    return {
        "uuid": ids.of("observation", name, control.id),
        "title": oscal_text(f"{control.id}: {control.title}"),
        "description": oscal_text(f"{STATUS_WORDS[result.status].capitalize()}. {control.claim}"),
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "relevant-evidence": evidence,
        "collected": report.made_at,
        "props": _props({"control": control.id, "records": result.status.value}),
        "remarks": oscal_text(f"What they do not show: {control.not_shown}"),
    }


def _finding(result: ControlResult, ids: _Ids, name: str) -> dict[str, Json]:
    control = result.control
    return {
        "uuid": ids.of("finding", name, control.id),
        "title": oscal_text(f"{control.id}: {control.title}"),
        "description": oscal_text(f"{STATUS_WORDS[result.status].capitalize()}. Not assessed."),
        "props": _props({"control": control.id, "records": result.status.value}),
        "target": {
            "type": "objective-id",
            "target-id": control_token(control.id),
            "status": {"state": "not-satisfied", "reason": "other", "remarks": _NOT_ASSESSED},
        },
        "related-observations": [
            {"observation-uuid": ids.of("observation", name, control.id)},
            {"observation-uuid": ids.of("integrity", name)},
        ],
    }


def _resources(report: Report, ids: _Ids) -> list[Json]:
    head = report.checkpoints.head.to_bytes()
    return [
        {
            "uuid": ids.of("plan"),
            "title": "No assessment plan",
            "description": "These results were drawn from an audit log by the searches that each observation names, without a plan.",
        },
        {
            "uuid": ids.of("checkpoint"),
            "title": "Checkpoint of the log",
            "description": "The log's size and root at the time of the report, signed where the log has a key (C2SP tlog-checkpoint).",
            "base64": {
                "filename": "checkpoint",
                "media-type": "text/plain",
                "value": base64.b64encode(head).decode(),
            },
        },
    ]


def _props(values: dict[str, str | None]) -> list[Json]:
    return [
        {"name": name, "ns": NAMESPACE, "value": oscal_line(value)} for name, value in values.items() if value
    ]
