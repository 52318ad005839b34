"""Sections 8 and 11: what changed in the policies, and in the keys and signatures."""

from __future__ import annotations

from governance.report.book import CellKind, Column, Section, Table
from governance.report.filling import LATER
from governance.report.sections import columns as col
from governance.report.sections.context import NOT_RECORDED, Context, counted, query_table


def policies(at: Context) -> Section:
    """The policy change log."""
    ledger = at.ledger
    total = ledger.count("SELECT count(*) FROM policy")
    looser = ledger.count("SELECT count(DISTINCT n) FROM difference WHERE direction = 'looser'")
    used = query_table(
        ledger,
        "policies-used",
        "Policies that decisions of the period rest on",
        (
            col.POLICY_TEXT, col.REVISION,
            col.DECISIONS, Column("first", "First decision", CellKind.TIME),
            Column("last", "Last decision", CellKind.TIME),
        ),
        "SELECT policy, max(revision), count(*), min(at), max(at) FROM decision WHERE later = 0 GROUP BY 1 ORDER BY 4",
        empty=col.NO_DECISION,
    )  # fmt: skip
    changes = query_table(
        ledger,
        "policy-changes",
        "Policies as they came into force",
        (
            col.AT, col.ENTRY, Column("state", "What"), col.REVISION, Column("names", "Policies"),
            col.POLICY_TEXT, Column("writer", "First used by", CellKind.ID),
            Column("author", "Author"), Column("approver", "Approver"), Column("tests", "Test and backtest"),
        ),
        "SELECT at, seq, state, revision, names, digest, writer, ?, ?, ? FROM policy ORDER BY n",
        values=(NOT_RECORDED, NOT_RECORDED, NOT_RECORDED),
        note="Each is compared with the one that the same writer took from the same place (files or a bundle) before, the first of a writer or place "
        "with the newest of any; to go by another place again where nothing changed meanwhile is no change. Where entries do not say where a policy comes from, processes of one writer that run under policies of "
        "their own show as changes back and forth. The log records which policy decided, by the digest of its whole text, which is kept as evidence. Who wrote it, who approved "
        "it and what its tests and backtests gave is where the policy's files are versioned (the revision's commit and its review).",
        minor="entry digest approver tests",
        empty="No policy came into force in the period.",
    )  # fmt: skip
    return Section(
        name="policies",
        title="Policy changes",
        lead=(
            f"{counted(total, 'policy', 'policies')} came into force in the period; {counted(looser, 'change')} made something looser.",
            (
                "Looser means that some request may get a milder verdict than before, stricter that some may get a harder one; what cannot be "
                "proved either way is called other. A change of mode (observe, warn, enforce) is among them."
            ),
        ),
        pairs=(("Policies that came into force", total), ("Changes that loosened something", looser)),
        tables=(changes, _differences(at), used),
        selection=at.search(kinds=("policy",)),
    )


def _differences(at: Context) -> Table:
    return query_table(
        at.ledger,
        "policy-differences",
        "What changed, rule by rule",
        (
            col.AT,
            col.REVISION,
            Column("direction", "Direction", CellKind.WORD),
            col.RULE,
            Column("words", "Change"),
            Column("position", "Where", CellKind.ID),
            col.POLICY_TEXT,
        ),
        "SELECT at, revision, direction, rule, words, nullif(position, ''), digest FROM difference JOIN policy USING (n) "
        "ORDER BY n, difference.rowid",
        minor="position digest",
        empty="No policy of the period differs from the one before it.",
    )


def _uploads(at: Context) -> Table:
    signed = (
        "(SELECT {} FROM event s WHERE s.kind = 'signature' AND s.event = 'made' "
        "AND s.subject = d.ref AND (s.seq IS NULL OR s.seq > d.seq) ORDER BY s.rowid {} LIMIT 1)"
    )
    later = signed.format("json_extract(s.body, '$.key_id')", "DESC")
    whole = signed.format(f"iif(s.span = {LATER}, 'as a whole, after the period', 'as a whole')", "")
    moved = "(SELECT sum(m.{}) FROM outcome m WHERE m.decision = d.id AND m.status = 'done')"
    return query_table(
        at.ledger,
        "uploads",
        "Uploads and who signed them",
        (
            col.AT, col.ENTRY, col.ARTIFACT, col.FILES, col.SIZE, col.DIGEST, Column("signed", "Signed", CellKind.WORD), col.KEY, col.BUNDLE,
            Column("run", "MLflow run", CellKind.ID), col.DECISION,
        ),
        f"SELECT d.at, d.seq, d.ref, coalesce(nullif({moved.format('count')}, 0), d.files), "
        f"coalesce(nullif({moved.format('bytes')}, 0), d.size), coalesce(o.digest, d.digest), "
        "CASE WHEN o.bundle IS NOT NULL THEN 'with its upload' "
        f"ELSE coalesce({whole}, iif(o.status = 'done', 'not signed', o.status), 'no outcome') END, "
        f"coalesce(o.key_id, {later}), o.bundle, json_extract(d.mlflow, '$.run_id'), d.id FROM decision d LEFT JOIN outcome o ON o.rowid = "
        "(SELECT x.rowid FROM outcome x WHERE x.decision = d.id ORDER BY x.bundle IS NULL, x.rowid DESC LIMIT 1) "
        f"WHERE d.later = 0 AND d.action = 'upload' AND d.result NOT IN ('refused', 'quarantined') ORDER BY d.n {at.order}",
        note="Files that arrive one by one are signed together afterwards: as a whole. What was uploaded after the last signature "
        "is not signed; signatures are looked for up to the time of this report.",
        minor="entry digest bundle id",
        empty="No upload was let through in the period.",
    )  # fmt: skip


def keys(at: Context) -> Section:
    """Signatures, keys, rotation and revocation."""
    ledger = at.ledger
    made = ledger.count(_MADE_COUNT)
    events = query_table(
        ledger,
        "key-events",
        "Keys made, trusted and revoked",
        (
            col.AT, col.ENTRY, Column("period", "When", CellKind.WORD), col.EVENT,
            col.KEY, Column("name", "Owner or name"), col.REASON,
        ),
        "SELECT at, seq, iif(span < 0, 'before the period', 'in the period'), event, json_extract(body, '$.key_id'), "
        "json_extract(body, '$.name'), json_extract(body, '$.reason') FROM event WHERE kind = 'key' AND span <= 0 "
        f"ORDER BY seq {at.order}",
        note="Which keys count, for what and until when is in the trust file, which is versioned where the policies are.",
        empty="No key was made, trusted or revoked up to the end of the period.",
    )  # fmt: skip
    signatures = query_table(
        ledger,
        "signatures",
        "Signatures on record",
        (
            col.AT, col.ENTRY, col.EVENT, col.ARTIFACT,
            col.DIGEST, col.KEY, Column("signer", "Signer"),
            col.REASON, col.BUNDLE,
        ),
        f"SELECT at, seq, event, ref, digest, key_id, signer, reason, bundle FROM ({_SIGNATURES}) ORDER BY seq {at.order}",
        minor="entry digest bundle",
        empty="No signature was made, verified or rejected in the period.",
    )  # fmt: skip
    by_key = query_table(
        ledger,
        "keys-used",
        "Keys by use",
        (
            col.KEY, col.EVENT,
            Column("signatures", "Signatures", CellKind.NUMBER), col.FIRST, col.LAST,
        ),
        f"SELECT key_id, event, count(*), min(at), max(at) FROM ({_SIGNATURES}) GROUP BY 1, 2 ORDER BY 4",
        empty="No key signed anything in the period.",
    )  # fmt: skip
    checks = query_table(
        ledger,
        "signature-checks",
        "Signatures as the gate found them",
        (
            col.ENVIRONMENT, col.ACTION, Column("signature", "Signature", CellKind.WORD),
            col.DECISIONS, col.ARTIFACTS,
            Column("let_through", "Let through", CellKind.NUMBER),
        ),
        "SELECT environment, action, coalesce(signature, 'facts gone'), count(*), count(DISTINCT ref), sum(result NOT IN ('refused', 'quarantined')) "
        "FROM seen JOIN decision USING (n) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        note="From the facts of each decision. `not asked for`: no rule in force asks about signatures.",
        empty=col.NO_DECISION,
    )  # fmt: skip
    return Section(
        name="keys",
        title="Signatures and keys",
        lead=(f"{counted(made, 'signature')} {'was' if made == 1 else 'were'} made in the period.",),
        pairs=(("Signatures made", made),),
        tables=(_uploads(at), checks, by_key, events, signatures),
        selection=at.search(kinds=("signature",)),
    )


_SIGNATURES = (
    "SELECT at, seq, event, subject AS ref, json_extract(body, '$.digest') AS digest, json_extract(body, '$.key_id') AS key_id, "
    "json_extract(body, '$.signer') AS signer, json_extract(body, '$.reason') AS reason, json_extract(body, '$.bundle') AS bundle "
    "FROM event WHERE kind = 'signature' AND span = 0 UNION ALL "
    "SELECT o.at, o.seq, 'made', o.ref, o.digest, o.key_id, NULL, 'with its upload', o.bundle FROM outcome o WHERE o.later = 0 AND o.bundle IS NOT NULL AND o.bundle NOT IN "
    "(SELECT json_extract(m.body, '$.bundle') FROM event m WHERE m.kind = 'signature' AND m.event = 'made' AND m.span = 0 AND json_extract(m.body, '$.bundle') IS NOT NULL)"
)
"""Each signature once: one that was made with an upload has an entry of its own, and the upload's outcome names it too."""
_MADE_COUNT = f"SELECT count(*) FROM ({_SIGNATURES}) WHERE event = 'made'"
