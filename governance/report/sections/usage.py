"""Sections 10 and 12: what is in use where, and what was found about it later."""

from __future__ import annotations

from collections.abc import Iterator

from governance.model.digest import Sha256
from governance.report.book import CellKind, Chart, Column, InventoryRow, Section, Table
from governance.report.deriving import IN_USE
from governance.report.ledger import Ledger
from governance.report.sections import columns as col
from governance.report.sections.context import Context, bar_chart, counted, query_table, span_words

_USED = (
    "SELECT environment, ref, kind, name, version, digest, max(size), max(files), count(*) AS uses, min(at) AS first, max(at) AS last, "
    f"max(n) AS newest FROM decision d WHERE {IN_USE} GROUP BY environment, ref, digest"
)
_INVENTORY = f"SELECT u.*, d.id, d.result, d.facts FROM ({_USED}) u JOIN decision d ON d.n = u.newest ORDER BY u.environment, u.ref, u.newest"
_REGISTERED = (
    "(SELECT group_concat(DISTINCT r.now || '/' || r.version) FROM registration r WHERE r.digest = i.digest AND r.event = 'created' "
    "AND NOT EXISTS (SELECT 1 FROM registration x WHERE x.now = r.now AND x.seq > r.seq "
    "AND (x.event = 'removed' OR (x.event = 'deleted' AND x.version = r.version))))"
)
"""Versions of registered models that the bytes of `i` are, by their names at the end of the period."""
_REFUSED_SINCE = (
    "(SELECT count(*) FROM decision r WHERE r.ref = i.ref AND r.digest IS i.digest AND r.environment = i.environment AND r.n > i.newest "
    "AND r.action IN ('load', 'download') AND r.result IN ('refused', 'quarantined'))"
)
_WORSE = "(CASE {} WHEN 'allow' THEN 0 WHEN 'warn' THEN 1 WHEN 'quarantine' THEN 2 ELSE 3 END)"


def inventory_rows(ledger: Ledger) -> Iterator[InventoryRow]:
    """What was used in the period, by environment."""
    for row in ledger.rows(f"SELECT i.*, {_REGISTERED}, {_REFUSED_SINCE} FROM ({_INVENTORY}) i"):
        (
            environment,
            ref,
            kind,
            name,
            version,
            digest,
            size,
            files,
            uses,
            first,
            last,
            _,
            entry_id,
            result,
            facts,
            registered,
            refused_since,
        ) = row
        yield InventoryRow(
            environment=environment, ref=ref, kind=kind, name=name, version=version, digest=digest, size=size, files=files,
            uses=uses, first_used=first, last_used=last, decision=entry_id, result=result,
            facts=None if facts is None else Sha256(facts), registered=registered, refused_since=refused_since,
        )  # fmt: skip


def inventory(at: Context) -> Section:
    """Models and dependencies in use."""
    ledger = at.ledger
    models = query_table(
        ledger,
        "inventory",
        "Models and files in use",
        (
            col.ENVIRONMENT, col.ARTIFACT, col.KIND,
            col.NAME, col.VERSION, col.REGISTERED,
            col.DIGEST,
            col.SIZE, col.FILES, Column("uses", "Uses", CellKind.NUMBER),
            Column("first", "First use", CellKind.TIME), Column("last", "Last use", CellKind.TIME),
            Column("result", "Verdict of the last use", CellKind.WORD), Column("refused", "Refused since", CellKind.NUMBER),
            Column("decision", "Decision of the last use", CellKind.ID),
        ),
        f'SELECT environment, ref, kind, name, version, {_REGISTERED}, digest, "max(size)", "max(files)", uses, first, last, result, '
        f"{_REFUSED_SINCE}, id FROM ({_INVENTORY}) i",
        note="In use: loaded or downloaded within the period, let through, and done. What was loaded before and is still running does not show. "
        "Refused since: loads and downloads of the same bytes there after the last use, up to the time of this report.",
        minor="kind name digest files first decision",
        empty="No load or download of the period is on record as let through and done.",
    )  # fmt: skip
    dependencies = query_table(
        ledger,
        "dependencies",
        "Packages that these declare",
        (
            col.ENVIRONMENT, Column("package", "Package", CellKind.ID),
            Column("models", "Models", CellKind.NUMBER), Column("example", "One of them"),
        ),
        "SELECT environment, purl, count(DISTINCT ref), min(ref) FROM dependency GROUP BY 1, 2 ORDER BY 1, 2",
        note="From the facts of the newest decision about each. The bill of materials (format `cyclonedx`) has them model by model.",
        empty="No dependency is known: nothing was in use, no rule asked for dependencies, or the facts are not kept any more.",
    )  # fmt: skip
    total, objected, refused = ledger.row(
        f"SELECT count(*), sum(result = 'would-block'), sum({_REFUSED_SINCE} > 0) FROM ({_INVENTORY}) i"
    )
    return Section(
        name="inventory",
        title="Inventory in use",
        lead=(
            (
                f"{counted(total, 'artifact')} (by environment and bytes) {'was' if total == 1 else 'were'} in use in the period; of these "
                f"{objected or 0:,} at last although the policy said no (in a trial, or by break-glass). {counted(refused or 0, 'artifact')} "
                f"{'was' if refused == 1 else 'were'} refused after the last use, with the same bytes."
            ),
        ),
        pairs=(
            ("In use", total),
            ("against the verdict", objected or 0),
            ("refused since the last use", refused or 0),
        ),
        tables=(models, dependencies, _registry(ledger), _promotions(ledger)),
        charts=_by_environment(at),
        selection=at.search(kinds=("decision", "registration")),
    )


def _registry(ledger: Ledger) -> Table:
    return query_table(
        ledger,
        "registrations",
        "What became of registered models",
        (
            col.AT, col.EVENT, Column("name", "Model"),
            col.VERSION, Column("alias", "Alias", CellKind.ID), Column("stage", "Stage", CellKind.NAME), Column("before", "Called before"),
            col.ACTOR, Column("vouched", "Proven", CellKind.WORD), col.ARTIFACT,
            col.DIGEST, Column("decision", "Decision", CellKind.ID), Column("entry", "Entry", CellKind.ID),
        ),
        "SELECT at, event, name, version, alias, stage, before, actor, CASE vouched WHEN 1 THEN 'yes' ELSE 'claimed' END, ref, digest, decision, id "
        "FROM registration WHERE span = 0 ORDER BY seq",
        note="As tracking servers with the `governance` app saw it. Who changes MLflow's database by itself is not seen.",
        minor="artifact digest decision entry",
        empty="No model version was registered, promoted or removed through a tracking server with the `governance` app in the period.",
    )  # fmt: skip


def _promotions(ledger: Ledger) -> Table:
    return query_table(
        ledger,
        "promotions",
        "Promotions that were asked for",
        (
            col.AT, Column("environment", "To", CellKind.NAME), col.ARTIFACT,
            col.REGISTERED, Column("result", "Verdict", CellKind.WORD), Column("ended", "Ended", CellKind.WORD),
            col.ACTOR, col.RULES, col.DIGEST,
            Column("decision", "Decision", CellKind.ID),
        ),
        "SELECT at, environment, ref, coalesce((SELECT r.name || '/' || r.version FROM registration r WHERE r.decision = d.id), "
        f"{_REGISTERED.replace('i.digest', 'd.digest')}), result, (SELECT group_concat(DISTINCT o.status) FROM outcome o WHERE o.decision = d.id), "
        "actor, rules, digest, id FROM decision d WHERE later = 0 AND action = 'promote' ORDER BY n",
        minor="digest decision",
        empty="No promotion was asked for in the period.",
    )  # fmt: skip


def _by_environment(at: Context) -> tuple[Chart, ...]:
    found = list(
        at.ledger.rows(f"SELECT environment, count(*) FROM ({_USED}) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20")
    )
    return bar_chart("inventory", "In use by environment", found, unit="artifacts", series="in use", fewest=2)


def reevaluation(at: Context) -> Section:
    """The same bytes, and another verdict than before."""
    ledger = at.ledger
    before, after = _WORSE.format("before"), _WORSE.format("after")
    worse, told, slowest = ledger.row(
        f"SELECT count(*), count(seconds), max(seconds) FROM turned WHERE {after} > {before}"
    )
    better = ledger.count(f"SELECT count(*) FROM turned WHERE {after} < {before}")
    lead = [
        f"The same bytes got a harder verdict than the time before {counted(worse, 'time')}, and a milder one {counted(better, 'time')}.",
        (
            "Time to flag is from the publication of the newest advisory that is newer than the verdict before, to the harder verdict. What made "
            "it harder is in its objections (section 4): the policy may be another one, or a waiver may have ended. A verdict is renewed when "
            "somebody asks for the artifact: bytes that nobody asks for are not judged again."
        ),
    ]
    if told:
        lead.append(
            f"Of {counted(told, 'harder verdict')} after a dated advisory the slowest came {span_words(slowest)} after its publication."
        )
    lead.append("Who was notified is not in this log.")
    table = query_table(
        ledger,
        "turned",
        "Verdicts that turned",
        (
            col.AT, col.ARTIFACT, col.DIGEST,
            col.ENVIRONMENT, Column("before", "Before", CellKind.WORD),
            Column("before_at", "Decided", CellKind.TIME), Column("after", "After", CellKind.WORD),
            Column("policy", "By another policy", CellKind.WORD), col.RULES,
            Column("advisory", "Newest advisory", CellKind.ID), Column("published", "Published", CellKind.TIME),
            Column("first_seen", "Reached this log", CellKind.TIME), Column("seconds", "Time to flag (s)", CellKind.NUMBER),
            Column("before_id", "Decision before", CellKind.ID), Column("after_id", "Decision", CellKind.ID),
        ),
        "SELECT t.at, t.ref, t.digest, t.environment, t.before, t.before_at, t.after, iif(b.policy IS d.policy, 'no', 'yes'), t.rules, "
        "t.advisory, t.published, t.first_seen, t.seconds, t.before_id, t.after_id FROM turned t JOIN decision d USING (n) "
        "JOIN decision b ON b.id = t.before_id ORDER BY t.n",
        note="Compared with the decision before it about the same bytes, act and environment within the period.",
        minor="digest before_at published first_seen before_id after_id",
        empty="No verdict about the same bytes changed within the period.",
    )  # fmt: skip
    return Section(
        name="reevaluation",
        title="Re-evaluation",
        lead=tuple(lead),
        pairs=(
            ("Harder than before", worse),
            ("Milder than before", better),
            ("Longest time to flag (s)", slowest),
        ),
        tables=(table,),
        selection=at.search(kinds=("decision",)),
    )
