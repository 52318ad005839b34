"""Sections 5 to 7: waivers, break-glass, and what happened when something did not work."""

from __future__ import annotations

from governance.report.book import Cell, CellKind, Column, Section
from governance.report.filling import UNFINISHED, UNSELECTED
from governance.report.sections import columns as col
from governance.report.sections.context import Context, counted, query_table

OF_DECISION = f"(span = {UNSELECTED} AND EXISTS (SELECT 1 FROM decision d WHERE d.later = 0 AND d.id = json_extract(body, '$.waiver')))"
"""What is true of a use of break-glass that was not selected, while its decision was: it names no environment, actor or rule."""
_APPLIED = "FROM waived u JOIN decision d USING (n) WHERE later = 0"
_HELD = "SELECT 1 FROM held h WHERE h.policy = d.policy"
_USED = (
    f"{_APPLIED} AND u.waiver = w.name AND u.rule = w.rule AND d.ref = w.ref AND (w.digest IS NULL OR d.digest IS NULL OR "
    f"d.digest = w.digest) AND (EXISTS ({_HELD} AND h.terms = w.terms) OR NOT EXISTS ({_HELD}))"
)
"""Decisions of the period in which a waiver `w` was applied. It may have been renewed under its name for the same bytes: the terms are
those in the decision's policy, if that could be read."""
_MEMBER = "json_extract(body, '$.{}')"
_REVIEW = "json_extract(r.body, '$.{}')"


def waivers(at: Context) -> Section:
    """The exception register."""
    total = at.ledger.count("SELECT count(*) FROM waiver")
    used = at.ledger.count(f"SELECT count(DISTINCT n) {_APPLIED}")
    refused = at.ledger.count(
        f"SELECT count(DISTINCT n) {_APPLIED} AND d.result IN ('refused', 'quarantined')"
    )
    unused = at.ledger.count(f"SELECT count(*) FROM waiver w WHERE NOT EXISTS (SELECT 1 {_USED})")
    register = query_table(
        at.ledger,
        "waivers",
        "Exception register",
        (
            col.WAIVER, Column("state", "Stands"), col.RULE, col.ARTIFACT,
            col.DIGEST, Column("environments", "Environments"), Column("actors", "For whom"),
            col.REASON, col.TICKET, Column("requested_by", "Asked for by"),
            Column("approved_by", "Approved by"), Column("starts", "From", CellKind.TIME), col.UNTIL,
            Column("revoked", "Revoked"), Column("findings", "Findings when granted", CellKind.DIGEST),
            Column("uses", "Uses in the period", CellKind.NUMBER), Column("last_use", "Last use", CellKind.TIME),
            Column("source", "Known from"),
        ),
        "SELECT name, state, rule, ref, digest, environments, actors, reason, ticket, requested_by, approved_by, starts, expires, "
        f"revoked, findings, (SELECT count(*) {_USED}), (SELECT max(d.at) {_USED}), source FROM waiver w ORDER BY name, terms",
        note="A waiver without environments or people holds for all of them. Where it stands is told for the end of the period, by the "
        "newest policy that has it and the revocations on record up to then.",
        minor="digest environments actors ticket requested_by starts revoked findings last_use source",
        empty="No waiver was in a policy of the period, and none is on record.",
    )  # fmt: skip
    members = ", ".join(
        _MEMBER.format(name) for name in ("by", "key_id", "signed_at", "reason", "ticket", "expires")
    )
    steps = query_table(
        at.ledger,
        "waiver-steps",
        "Steps on record in the period",
        (
            col.AT, col.ENTRY, Column("event", "Step", CellKind.WORD), col.WAIVER,
            col.RULE, col.ARTIFACT, col.BY, col.KEY,
            Column("signed_at", "Signed at", CellKind.TIME), col.REASON, col.TICKET,
            col.UNTIL, Column("writer", "Recorded by", CellKind.ID),
        ),
        f"SELECT at, seq, event, {_MEMBER.format('waiver')}, {_MEMBER.format('rule')}, subject, {members}, writer FROM event "
        "WHERE kind = 'waiver' AND span = 0 AND event NOT IN ('break-glass', 'reviewed') ORDER BY seq",
        note="A step is recorded once its signature was verified; the signed file is kept as evidence. What was recorded by a client "
        "(`NAME/HOST`) is its word. `copied`: an ignore rule of Xray that was in force there.",
        minor="entry rule key_id signed_at ticket expires writer",
        empty="Nobody asked for, approved or revoked a waiver in the period.",
    )  # fmt: skip
    uses = query_table(
        at.ledger,
        "waiver-uses",
        "Each use in the period",
        (
            col.AT, col.ENTRY, col.WAIVER, col.RULE, col.RESULT, col.ARTIFACT,
            col.DIGEST, col.ACTOR, col.ENVIRONMENT, col.DECISION,
        ),
        f"SELECT d.at, d.seq, u.waiver, u.rule, d.result, d.ref, d.digest, d.actor, d.environment, d.id {_APPLIED} ORDER BY n",
        note="A waiver sets aside one rule. Where another one objected, the act was refused all the same.",
        minor="entry digest id",
        empty="No waiver was applied in the period.",
    )  # fmt: skip
    return Section(
        name="waivers",
        title="Exception register",
        lead=(
            (
                f"{counted(total, 'waiver')} stood in a policy of the period or left a step in the log. They were applied in "
                f"{counted(used, 'decision')}, of which {refused:,} {'was' if refused == 1 else 'were'} refused all the same by another rule; "
                f"{counted(unused, 'waiver')} went unused."
            ),
            (
                "A waiver holds for one rule and for exactly these bytes, has an end, and counts only with the signatures of people other "
                "than the one who made the artifact and the one who asked; a policy set may let the latter approve as well (`selfApproval`), "
                "and the names below tell."
            ),
        ),
        pairs=(
            ("Waivers", total),
            ("Decisions in which one was applied", used),
            ("of these refused by another rule", refused),
            ("Unused in the period", unused),
        ),
        tables=(register, steps, uses),
        selection=at.search(kinds=("waiver",)),
    )


def break_glass(at: Context) -> Section:
    """Overrides in an emergency, and who looked at them afterwards."""
    where = f"kind = 'waiver' AND event = 'break-glass' AND (span {{}} 0 OR {OF_DECISION})"
    by = _MEMBER.format("by").replace("body", "e.body")
    same = (
        f"r.kind = 'waiver' AND r.event = 'reviewed' AND {_REVIEW.format('waiver')} = {_MEMBER.format('waiver').replace('body', 'e.body')} "
        f"AND instr(r.writer, '/') = 0 AND person({_REVIEW.format('by')}) IS NOT person({by}) "
        f"AND ({_REVIEW.format('by')} GLOB 'p:*') IS ({by} GLOB 'p:*')"  # a pseudonym and a name may be one person
    )
    total = at.ledger.count(f"SELECT count(*) FROM event WHERE {where.format('=')}")
    opened = at.ledger.count(
        f"SELECT count(*) FROM event WHERE {where.format('=')} AND json_extract(body, '$.opened') = 1"
    )
    waiting = at.ledger.count(
        f"SELECT count(*) FROM event e WHERE {where.format('<=')} AND NOT EXISTS (SELECT 1 FROM event r WHERE {same})"
    )
    review = f"(SELECT {{}} FROM event r WHERE {same} ORDER BY r.seq LIMIT 1)"
    uses = query_table(
        at.ledger,
        "break-glass",
        "Each use of break-glass, with its review",
        (
            col.AT, col.ENTRY, col.ARTIFACT, col.BY, Column("justification", "Justification"),
            Column("needed", "Needed", CellKind.WORD), Column("opened", "Opened the door", CellKind.WORD),
            Column("objection", "Why it did not"), Column("reviewed_at", "Reviewed", CellKind.TIME),
            Column("reviewed_by", "Reviewed by"), Column("review", "Review"), col.DECISION,
        ),
        f"SELECT e.at, e.seq, e.subject, {_MEMBER.format('by')}, {_MEMBER.format('justification')}, "
        f"iif({_MEMBER.format('needed')}, 'yes', 'no'), iif({_MEMBER.format('opened')}, 'yes', 'no'), "
        f"iif({_MEMBER.format('opened')} OR NOT {_MEMBER.format('needed')}, NULL, {_MEMBER.format('reason')}), "
        f"{review.format('r.at')}, coalesce({review.format(_REVIEW.format('by'))}, 'nobody yet'), "
        f"{review.format(_REVIEW.format('reason'))}, {_MEMBER.format('waiver')} FROM event e WHERE {where.format('=')} ORDER BY e.seq",
        note="A review counts where it was recorded beside the log, once its signature was verified, and by somebody else than whoever used it.",
        minor="entry needed objection reviewed_at id",
        empty="Break-glass was not used in the period.",
    )  # fmt: skip
    return Section(
        name="break-glass",
        title="Break-glass and its review",
        lead=(
            (
                f"A refusal was overridden by justification {counted(opened, 'time')}; the justification was set for {counted(total, 'decision')} "
                f"in all. {counted(waiting, 'use')} up to the end of the period {'waits' if waiting == 1 else 'wait'} for a review."
            ),
            "It opens a door only in the environments that the policy set names, and never against a rule that is `waivable: never`.",
        ),
        pairs=(("Uses", total), ("that opened the door", opened), ("without a review", waiting)),
        tables=(uses,),
        selection=at.search(kinds=("waiver",)),
    )


def degraded(at: Context) -> Section:
    """Outages, lost outcomes, entries in doubt."""
    figures: list[tuple[str, Cell]] = [
        ("Decisions in degraded mode", at.ledger.count("SELECT count(*) FROM decision WHERE later = 0 AND degraded IS NOT NULL")),
        ("Decisions that lacked a source", at.ledger.count("SELECT count(*) FROM seen WHERE unreachable IS NOT NULL")),
        ("Decisions without an outcome", at.ledger.count(f"SELECT count(*) FROM decision d WHERE {UNFINISHED}")),
        ("Acts that failed", at.ledger.count("SELECT count(*) FROM outcome WHERE later = 0 AND status IN ('failed', 'incomplete')")),
        ("Recoveries of the log", at.ledger.count("SELECT count(*) FROM event WHERE kind = 'recovery' AND span = 0")),
    ]  # fmt: skip
    what = (
        col.ACTION,
        col.ARTIFACT,
        col.ACTOR,
        col.ENVIRONMENT,
    )
    tables = (
        query_table(
            at.ledger, "degraded", "Decisions in degraded mode",
            (col.AT, col.ENTRY, *what, col.RESULT, Column("degraded", "What was done, and on which earlier verdict"), col.DECISION),
            "SELECT at, seq, action, ref, actor, environment, result, degraded, id FROM decision WHERE later = 0 AND degraded IS NOT NULL "
            f"ORDER BY n {at.order}",
            minor="entry id",
            empty="No decision was made in degraded mode.",
        ),
        query_table(
            at.ledger, "unreachable", "Sources that gave no answer",
            (Column("sources", "Sources"), col.DECISIONS, col.FIRST,
             col.LAST),
            "SELECT unreachable, count(*), min(at), max(at) FROM seen JOIN decision USING (n) WHERE unreachable IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
            empty="The facts at hand name no source that gave no answer.",
        ),
        query_table(
            at.ledger, "unfinished", "Decisions without an outcome",
            (col.AT, col.ENTRY, *what, col.RESULT, col.DECISION),
            f"SELECT at, seq, action, ref, actor, environment, result, id FROM decision d WHERE {UNFINISHED} ORDER BY n {at.order}",
            note="The gate decided, and nothing more was recorded up to the time of this report: the process ended in between, the act "
            "is still going on, or its outcome could not be written.",
            minor="entry id",
            empty="Every decision has its outcome on record.",
        ),
        query_table(
            at.ledger, "failed", "Acts that did not end well",
            (col.AT, col.ENTRY, Column("status", "Status", CellKind.WORD), *what, Column("error", "Error", CellKind.ID), col.DECISION),
            "SELECT o.at, o.seq, o.status, o.action, o.ref, d.actor, d.environment, o.error, o.decision FROM outcome o "
            f"LEFT JOIN decision d ON d.id = o.decision WHERE o.later = 0 AND o.status IN ('failed', 'incomplete') ORDER BY o.seq {at.order}",
            note="Who asked and where is told where the decision is of the period too.",
            minor="entry id",
            empty="No act is on record as failed or incomplete.",
        ),
        query_table(
            at.ledger, "recoveries", "Entries that were written after all",
            (col.AT, col.ENTRY, Column("writer", "Writer", CellKind.ID), Column("count", "Entries", CellKind.NUMBER), Column("ids", "Their ids", CellKind.ID)),
            f"SELECT at, seq, writer, json_array_length(body, '$.ids'), {_MEMBER.format('ids')} FROM event WHERE kind = 'recovery' AND span = 0 ORDER BY seq",
            note="The store had not confirmed these when they were first written. Nothing was let through until it did.",
            empty="No entry is on record that was confirmed later than it was written.",
        ),
    )  # fmt: skip
    return Section(
        name="degraded",
        title="Degraded mode and failures",
        lead=(
            "What the gate decided while a source was down, which acts left no outcome, and when the log itself was behind.",
            "Failures to notify somebody are not in this log.",
        ),
        pairs=tuple(figures),
        tables=tables,
        selection=at.search(kinds=("recovery",)),
    )
