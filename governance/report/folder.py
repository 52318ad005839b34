"""A compliance report as a folder that proves itself, and needs none of our software to be checked.

Promises: the folder is complete or not there; whatever formats were asked for, it carries the checkpoints, the hashes that join
them, the sample's records with receipts and the documents they rest on, and the program of one file that checks all of it.
`entries.jsonl` (format `jsonl`) has every entry of the report, byte for byte as it lies in the log, a broken one too: the program
then says so. Does not: hold more than one page of entries, or one document, at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from governance.audit.export import new_folder, write_verifier
from governance.audit.log import AuditLog
from governance.audit.merkle import leaf_hash
from governance.audit.store import Row
from governance.errors import AuditBrokenError, SettingsError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.report.book import Report
from governance.report.format import FORMATS
from governance.report.to_csv import write_tables

TABLES = "tables"
_OWN = ("csv", "jsonl")
_README = """\
This folder is a compliance report about the audit log {origin}. To check it, without network and without the software that
made it, run in this folder (Python 3.11 or later and, for signatures, the package `cryptography`):

    {command}

`verify_log.py` is meant to be read first; its beginning says what is in this folder and what is checked. Best take the program
and the key from where you trust them, and not from this folder.
{trouble}"""


def format_names() -> tuple[str, ...]:
    """Every format there is."""
    return tuple(sorted({*FORMATS, *_OWN}))


def check_formats(names: Iterable[str]) -> tuple[str, ...]:
    """The formats asked for, each once. Raises `SettingsError` for one that is not known, or whose packages are not installed."""
    asked, known = tuple(dict.fromkeys(names)), format_names()
    for name in asked:
        if name not in known:
            raise SettingsError(
                f"`{name[:80]}` is not a format of a compliance report",
                hint=f"There are: {', '.join(known)}.",
            )
        if name in FORMATS:
            FORMATS[name]()
    return asked


def write_folder(
    report: Report,
    log: AuditLog,
    folder: Path,
    formats: Iterable[str],
    *,
    done: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Write the report into a new folder, and return the names of its main files. `done` hears of each when it is written.
    Raises `AuditUnavailableError` where the folder cannot be written, or holds something."""
    asked = check_formats(formats)
    written: list[str] = []
    with new_folder(folder) as target:
        trouble = _prove(report, log, target, with_entries="jsonl" in asked)
        for name in asked:
            for file in _render(report, target, name):
                written.append(file)
                done(file)
        write_verifier(target)
        (target / "README.txt").write_text(
            _README.format(origin=report.origin, command=report.command, trouble=trouble or _bad(report))
        )
    return tuple(written)


def _bad(report: Report) -> str:
    """What is wrong with the log beyond what the folder can show: its proofs may hold, and the log be another than it was."""
    if report.is_good:
        return ""
    first = next(iter(report.verification.problems), None)
    what = "entries of the period are broken" if first is None else str(first)
    return f"\nNOT PROVED: when this report was made, the log did not prove itself: {what}\n"


def _render(report: Report, target: Path, name: str) -> Iterator[str]:
    if name == "csv":
        for _ in write_tables(report, target / TABLES):
            pass
        yield f"{TABLES}/"
    elif name == "jsonl":
        yield "entries.jsonl"
    else:
        renderer = FORMATS[name]()
        with (target / renderer.name).open("wb") as out:
            renderer.write(report, out)
        yield renderer.name


def _prove(report: Report, log: AuditLog, target: Path, *, with_entries: bool) -> str:
    """Everything that the verifier reads. Returns what could not be proved, for the reader."""
    points = report.checkpoints
    start, stop = report.extent.bounds(points.head.size)
    (target / "checkpoint").write_bytes(points.head.to_bytes())
    (target / "checkpoint.first").write_text(points.first.text)
    (target / "checkpoint.last").write_text(points.last.text)
    if report.vkey is not None:
        (target / "log.vkey").write_text(report.vkey + "\n")
    if with_entries:
        _write_entries(report, log, target, start, stop)
    trouble = ""
    try:
        part: dict[str, Json] = {
            "start": start,
            "stop": stop,
            "whole": with_entries and (report.extent.is_whole or start == stop),
            "before": _subtrees(log, 0, start),
            "within": _subtrees(log, start, stop),
            "after": _subtrees(log, stop, points.head.size),
        }
        (target / "range.json").write_bytes(orjson.dumps(part, option=orjson.OPT_INDENT_2) + b"\n")
        _write_sample(report, log, target)
    except AuditBrokenError as error:
        trouble = (
            f"\nNOT PROVED: the log's tree is damaged, so that some proofs are missing: {error.message}\n"
        )
    return trouble


def _write_entries(report: Report, log: AuditLog, target: Path, start: int, stop: int) -> None:
    """The entries of the report as they lie, and the recorded hashes of all between the first and the last."""
    wanted = report.entries.test()
    with (target / "entries.jsonl").open("wb") as entries, (target / "leaves.txt").open("wb") as leaves:
        for row in log.store.rows(start, stop):
            leaves.write(b"%b\n" % row.leaf.hex().encode())
            if wanted(row):
                entries.write(b"%b\n" % row.data)


def _subtrees(log: AuditLog, start: int, stop: int) -> list[Json]:
    """The fewest complete subtrees that hold the entries from `start` up to and without `stop`, with their sizes."""
    found: list[Json] = []
    while start < stop:
        level = min((start & -start).bit_length() - 1 if start else 64, (stop - start).bit_length() - 1)
        found.append([1 << level, log.store.node(level, start >> level).hex()])
        start += 1 << level
    return found


def _write_sample(report: Report, log: AuditLog, target: Path) -> None:
    """Records and receipts of the sample and its outcomes, and the documents that these name."""
    for name in ("records", "receipts", "evidence"):
        (target / name).mkdir()
    documents: set[Sha256] = set()
    for row in _sampled(report, log):
        if row.seq is not None and row.seq < report.checkpoints.head.size and leaf_hash(row.data) == row.leaf:
            (target / "records" / f"{row.seq}.json").write_bytes(row.data)
            proof = log.prove(row.seq, report.checkpoints.head)
            (target / "receipts" / f"{row.seq}.tlog-proof").write_bytes(proof.to_bytes())
        documents |= set(_named(orjson.loads(row.data)["body"]))
    with (target / "evidence.jsonl").open("w") as listing:
        for digest in sorted(documents):
            document = log.store.evidence(digest)
            listing.write(json.dumps({"sha256": digest, "erased": document is None}, sort_keys=True) + "\n")
            if document is not None:
                (target / "evidence" / digest).write_bytes(document)


def _sampled(report: Report, log: AuditLog) -> Iterator[Row]:
    for entry_id in report.sample:
        row = log.store.get(entry_id)
        if row is not None:
            yield row
        for outcome in report.outcome_ids(entry_id):
            found = log.store.get(outcome)
            if found is not None:
                yield found


def _named(body: dict[str, Json]) -> Iterator[Sha256]:
    """The documents that a decision or an outcome rests on: its facts, its policy, its list of moved files."""
    policy, moved = body.get("policy"), body.get("moved")
    for value in (
        body.get("facts"),
        policy.get("digest") if isinstance(policy, dict) else None,
        moved.get("manifest") if isinstance(moved, dict) else None,
    ):
        try:
            yield parse_sha256(str(value))
        except ValueError:
            continue
