"""Sections 8 and 11: what changed in the policies, and in the keys and signatures."""

from __future__ import annotations

from governance.report.book import CellKind, Column, Section, Table
from governance.report.sections.context import NOT_RECORDED, Context, counted, query_table

_AT = Column("at", "Time", CellKind.TIME)
_ENTRY = Column("entry", "Entry", CellKind.NUMBER)


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
            Column("digest", "Policy", CellKind.DIGEST), Column("revision", "Revision", CellKind.NUMBER),
            Column("decisions", "Decisions", CellKind.NUMBER), Column("first", "First decision", CellKind.TIME),
            Column("last", "Last decision", CellKind.TIME),
        ),
        "SELECT policy, max(revision), count(*), min(at), max(at) FROM decision WHERE later = 0 GROUP BY 1 ORDER BY 4",
        empty="No decision was recorded in the period.",
    )  # fmt: skip
    changes = query_table(
        ledger,
        "policy-changes",
        "Policies as they came into force",
        (
            _AT, _ENTRY, Column("state", "What"), Column("revision", "Revision", CellKind.NUMBER), Column("names", "Policies"),
            Column("digest", "Policy", CellKind.DIGEST), Column("writer", "First used by", CellKind.ID),
            Column("author", "Author"), Column("approver", "Approver"), Column("tests", "Test and backtest"),
        ),
        "SELECT at, seq, state, revision, names, digest, writer, ?, ?, ? FROM policy ORDER BY n",
        values=(NOT_RECORDED, NOT_RECORDED, NOT_RECORDED),
        note="The log records which policy decided, by the digest of its whole text, which is kept as evidence. Who wrote it, who approved "
        "it and what its tests and backtests gave is where the policy's files are versioned (the revision's commit and its review).",
        minor="entry digest approver tests",
        empty="No policy came into force in the period: the one before went on.",
    )  # fmt: skip
    return Section(
        number=8,
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
            _AT,
            Column("revision", "Revision", CellKind.NUMBER),
            Column("direction", "Direction", CellKind.WORD),
            Column("rule", "Rule", CellKind.ID),
            Column("words", "Change"),
            Column("position", "Where", CellKind.ID),
            Column("digest", "Policy", CellKind.DIGEST),
        ),
        "SELECT at, revision, direction, rule, words, nullif(position, ''), digest FROM difference JOIN policy USING (n) "
        "ORDER BY n, difference.rowid",
        minor="position digest",
        empty="No policy of the period differs from the one before it.",
    )


def keys(at: Context) -> Section:
    """Signatures, keys, rotation and revocation."""
    ledger = at.ledger
    made = ledger.count(_MADE_COUNT)
    events = query_table(
        ledger,
        "key-events",
        "Keys made, trusted and revoked",
        (
            _AT, _ENTRY, Column("period", "When", CellKind.WORD), Column("event", "Event", CellKind.WORD),
            Column("key_id", "Key", CellKind.DIGEST), Column("name", "Owner or name"), Column("reason", "Reason"),
        ),
        "SELECT at, seq, iif(span < 0, 'before the period', 'in the period'), event, json_extract(body, '$.key_id'), "
        "json_extract(body, '$.name'), json_extract(body, '$.reason') FROM event WHERE kind = 'key' AND span <= 0 ORDER BY seq",
        note="Which keys count, for what and until when is in the trust file, which is versioned where the policies are.",
        empty="No key was made, trusted or revoked up to the end of the period.",
    )  # fmt: skip
    signatures = query_table(
        ledger,
        "signatures",
        "Signatures on record",
        (
            _AT, _ENTRY, Column("event", "Event", CellKind.WORD), Column("artifact", "Artifact"),
            Column("digest", "Bytes", CellKind.DIGEST), Column("key_id", "Key", CellKind.DIGEST), Column("signer", "Signer"),
            Column("reason", "Reason"), Column("bundle", "Bundle", CellKind.DIGEST),
        ),
        f"SELECT at, seq, event, ref, digest, key_id, signer, reason, bundle FROM ({_SIGNATURES}) ORDER BY seq",
        minor="entry digest bundle",
        empty="No signature was made, verified or rejected in the period.",
    )  # fmt: skip
    by_key = query_table(
        ledger,
        "keys-used",
        "Keys by use",
        (
            Column("key_id", "Key", CellKind.DIGEST), Column("event", "Event", CellKind.WORD),
            Column("signatures", "Signatures", CellKind.NUMBER), Column("first", "First", CellKind.TIME), Column("last", "Last", CellKind.TIME),
        ),
        f"SELECT key_id, event, count(*), min(at), max(at) FROM ({_SIGNATURES}) GROUP BY 1, 2 ORDER BY 4",
        empty="No key signed anything in the period.",
    )  # fmt: skip
    checks = query_table(
        ledger,
        "signature-checks",
        "Signatures as the gate found them",
        (
            Column("environment", "Environment", CellKind.WORD), Column("action", "Action", CellKind.WORD), Column("signature", "Signature", CellKind.WORD),
            Column("decisions", "Decisions", CellKind.NUMBER), Column("artifacts", "Artifacts", CellKind.NUMBER),
            Column("let_through", "Let through", CellKind.NUMBER),
        ),
        "SELECT environment, action, coalesce(signature, 'facts gone'), count(*), count(DISTINCT ref), sum(result NOT IN ('refused', 'quarantined')) "
        "FROM seen JOIN decision USING (n) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        note="From the facts of each decision. `not asked for`: no rule in force asks about signatures.",
        empty="No decision was recorded in the period.",
    )  # fmt: skip
    return Section(
        number=11,
        name="keys",
        title="Signatures and keys",
        lead=(f"{counted(made, 'signature')} {'was' if made == 1 else 'were'} made in the period.",),
        pairs=(("Signatures made", made),),
        tables=(checks, by_key, events, signatures),
        selection=at.search(kinds=("signature",)),
    )


_SIGNATURES = (
    "SELECT at, seq, event, subject AS ref, json_extract(body, '$.digest') AS digest, json_extract(body, '$.key_id') AS key_id, "
    "json_extract(body, '$.signer') AS signer, json_extract(body, '$.reason') AS reason, json_extract(body, '$.bundle') AS bundle "
    "FROM event WHERE kind = 'signature' AND span = 0 UNION ALL "
    "SELECT o.at, o.seq, 'made', d.ref, o.digest, o.key_id, NULL, 'with its upload', o.bundle FROM outcome o "
    "LEFT JOIN decision d ON d.id = o.decision WHERE o.later = 0 AND o.bundle IS NOT NULL"
)
_MADE_COUNT = f"SELECT count(*) FROM ({_SIGNATURES}) WHERE event = 'made'"
