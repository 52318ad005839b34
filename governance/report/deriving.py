"""What a ledger knows only once it is full: policy changes in words, the waiver register, what is in use, verdicts that turned.

Promises: a policy or a document of facts that cannot be read is named as such, with why, and never passes for "no change" or
"nothing found". Does not: judge a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from governance.audit.log import AuditLog
from governance.errors import GovernanceError
from governance.model.digest import parse_sha256
from governance.model.request import parse_utc, utc_text
from governance.policy.compile import CompiledPolicy
from governance.policy.difference import compare
from governance.policy.documents import Waiver
from governance.report.facts_seen import items_of, read_facts
from governance.report.fields import Fields
from governance.report.filling import LATER
from governance.report.ledger import Ledger
from governance.report.recorded import PolicyCache
from governance.waivers.settling import Revoked, Settled, terms_digest
from governance.waivers.standing import State, state_of

IN_USE = (
    "later = 0 AND action IN ('load', 'download') AND result NOT IN ('refused', 'quarantined') AND EXISTS "
    "(SELECT 1 FROM outcome o WHERE o.decision = d.id AND o.status = 'done')"
)
_WHO = "json_extract(body, '$.by') || iif(instr(writer, '/'), ' (by the word of ' || writer || ')', '')"
"""Who took a step of a waiver. A client may write of one that was never signed."""
_RANK = {"allow": 0, "warn": 1, "quarantine": 2, "block": 3}
_MOST_COMPARED = 500


@dataclass(slots=True, kw_only=True)
class Deriver:
    """Fills the tables `policy`, `difference`, `waiver`, `held`, `dependency` and `turned`, and follows renamed models. `now` is the end of the period."""

    log: AuditLog
    ledger: Ledger
    now: datetime

    def derive(self) -> None:
        """All of them."""
        policies = PolicyCache(self.log)
        self._renames()
        self._policies(policies)
        self._waivers(policies)
        self._dependencies()
        self._turned()
        self.ledger.flush()

    def _renames(self) -> None:
        """Give what is on record of registered models the names that these have at the end of the period."""
        found = list(
            self.ledger.rows(
                "SELECT seq, before, name FROM registration WHERE event = 'renamed' ORDER BY seq"
            )
        )
        for seq, before, name in found:
            self.ledger.rows("UPDATE registration SET now = ? WHERE now = ? AND seq < ?", (name, before, seq))

    def _policies(self, policies: PolicyCache) -> None:
        # By writer, since a server and a laptop may each have their own, and by where it comes from, as processes of one host may.
        used: dict[tuple[str, str | None], str] = {}
        newest: str | None = None
        compared: set[tuple[str | None, str]] = set()
        n = 0
        found = self.ledger.rows(
            "SELECT seq, id, at, writer, span, body FROM event WHERE kind = 'policy' AND span <= 0 ORDER BY seq"
        )
        for seq, entry_id, at, writer, span, text in found:
            body = Fields(orjson.loads(text))
            digest = body.word("digest")
            source = body.text("source")
            is_new = not any(known == writer for known, _ in used)
            is_elsewhere = (writer, source) not in used and (writer, None) not in used
            # Entries of earlier versions do not say where a policy comes from.
            before = used.get((writer, source), used.get((writer, None), newest))
            used[writer, source] = newest = digest
            if digest == before:
                continue
            if span == 0:
                n += 1
                state = (
                    "first on record" if before is None else "first of this writer" if is_new
                    else "first from this place" if is_elsewhere else "changed"
                )  # fmt: skip
                if (before, digest) in compared:
                    state += ", as once before"
                elif before is not None and len(compared) < _MOST_COMPARED:
                    self._compare(n, policies, before, digest)
                elif before is not None:
                    state += f"; not compared: more than {_MOST_COMPARED} changes"
                compared.add((before, digest))
                names = ", ".join(body.texts("names"))
                self.ledger.add(
                    "policy", (n, seq, entry_id, at, digest, body.number("revision"), names, writer, state)
                )

    def _compare(self, n: int, policies: PolicyCache, before: str, after: str) -> None:
        try:
            changes = compare(policies.get(parse_sha256(before)), policies.get(parse_sha256(after)))
        except (GovernanceError, ValueError) as error:
            self.ledger.add("difference", (n, "unknown", "(all)", f"could not be compared: {error}", ""))
            return
        for change in changes:
            self.ledger.add(
                "difference", (n, change.direction.value, change.rule, change.words, change.position)
            )

    def _waivers(self, policies: PolicyCache) -> None:
        revoked, newest = self._revocations(), self._newest()
        for digest, policy in self._in_force(policies):
            for waiver in policy.bundle.waivers:
                self._waiver(_with_revocation(waiver, revoked), digest, is_gone=newest not in {None, digest})
        self.ledger.flush()
        self._log_only()
        self.ledger.flush()
        self._used_only()

    def _in_force(self, policies: PolicyCache) -> Iterator[tuple[str, CompiledPolicy]]:
        """The policies of the period and those that its decisions rest on, and the one that was in force when it began; the newest
        on record last, before it the others as they were last used."""
        found = self.ledger.rows(
            "SELECT digest, max(seq) FROM (SELECT json_extract(body, '$.digest') AS digest, seq FROM event WHERE kind = 'policy' AND span = 0 "
            "UNION ALL SELECT policy, seq FROM decision WHERE later = 0 UNION ALL SELECT * FROM (SELECT json_extract(body, '$.digest'), seq "
            "FROM event WHERE kind = 'policy' AND span < 0 ORDER BY seq DESC LIMIT 1)) WHERE digest IS NOT NULL GROUP BY 1 "
            "ORDER BY digest IS ?, 2",
            (self._newest(),),
        )
        for digest, _ in list(found)[-_MOST_COMPARED:]:
            try:
                yield digest, policies.get(parse_sha256(str(digest)))
            except (GovernanceError, ValueError):
                continue  # named in section 8, where the policy itself is

    def _newest(self) -> str | None:
        """The policy that came into force last before the period's end, also where it is not of the selection."""
        found = self.ledger.rows(
            f"SELECT json_extract(body, '$.digest') FROM event WHERE kind = 'policy' AND span <> {LATER} ORDER BY seq DESC LIMIT 1"
        )
        return next((digest for (digest,) in found), None)

    def _revocations(self) -> dict[str, Revoked]:
        """The first revocation on record for each terms, up to the period's end. It holds at once, though the policies on record
        may have been loaded before."""
        found = self.ledger.rows(
            "SELECT json_extract(body, '$.terms'), at, json_extract(body, '$.by'), json_extract(body, '$.reason') FROM event "
            f"WHERE kind = 'waiver' AND event = 'revoked' AND span <> {LATER} ORDER BY seq DESC"
        )
        return {
            str(terms): Revoked(
                at=parse_utc(at), by=str(by or "?"), reason=None if reason is None else str(reason)
            )
            for terms, at, by, reason in found
        }

    def _waiver(self, waiver: Waiver, source: str, *, is_gone: bool) -> None:
        state = state_of(Settled(waiver=waiver), self.now)
        stands = state.value + (f": {waiver.void}" if waiver.void else "")
        if is_gone and state not in {State.REVOKED, State.EXPIRED}:
            stands += "; not in the newest policy"
        revoked = None
        if waiver.revoked_at is not None:
            why = f": {waiver.revoked_reason}" if waiver.revoked_reason else ""
            revoked = f"{utc_text(waiver.revoked_at)} by {waiver.revoked_by or '?'}{why}"
        terms = terms_digest(waiver)
        self.ledger.add("held", (source, terms))
        self.ledger.add("waiver", (
            terms, waiver.name, waiver.rule, waiver.ref, waiver.digest, _listed(waiver.environments),
            _listed(waiver.actors), waiver.findings, waiver.reason, waiver.ticket, waiver.requested_by,
            ", ".join(waiver.approved_by) or None, utc_text(waiver.starts), utc_text(waiver.expires), revoked,
            stands, f"policy {source[:16]}",
        ))  # fmt: skip

    def _log_only(self) -> None:
        """Waivers of which a step is on record, and which no policy of the period holds."""
        found = self.ledger.rows(
            "SELECT json_extract(body, '$.terms'), json_extract(body, '$.waiver'), json_extract(body, '$.rule'), subject, "
            "json_extract(body, '$.digest'), json_extract(body, '$.reason'), json_extract(body, '$.ticket'), "
            f"json_extract(body, '$.expires'), group_concat(iif(event = 'requested', {_WHO}, NULL), ', '), "
            f"group_concat(iif(event = 'approved', {_WHO}, NULL), ', '), "
            "max(iif(event = 'revoked', at || ' by ' || coalesce(json_extract(body, '$.by'), '?'), NULL)) "
            "FROM event WHERE kind = 'waiver' AND span <= 0 AND event IN ('requested', 'approved', 'revoked') "
            "AND coalesce(json_extract(body, '$.terms'), '') NOT IN (SELECT terms FROM waiver) GROUP BY 1, 2, 3, 4"
        )
        for terms, name, rule, ref, digest, reason, ticket, expires, asked, approved, revoked in found:
            state = "revoked" if revoked else "not in a policy of the period"
            self.ledger.add("waiver", (
                terms or f"{name} {rule} {ref}", name, rule, ref, digest, None, None, None, reason, ticket, asked, approved,
                None, expires, revoked, state, "the log alone",
            ))  # fmt: skip

    def _used_only(self) -> None:
        """Waivers that were applied, and of which nothing else could be read."""
        found = self.ledger.rows(
            "SELECT u.waiver, u.rule, d.ref, d.digest FROM waived u JOIN decision d USING (n) WHERE later = 0 AND NOT EXISTS "
            "(SELECT 1 FROM waiver w WHERE w.name = u.waiver AND w.rule = u.rule) GROUP BY 1, 2, 3, 4"
        )
        for name, rule, ref, digest in found:
            self.ledger.add("waiver", (
                f"{name} {rule} {ref} {digest}", name, rule, ref, digest, *[None] * 10,
                "applied, and in no policy that could be read", "its uses alone",
            ))  # fmt: skip

    def _dependencies(self) -> None:
        found = self.ledger.rows(
            f"SELECT environment, ref, digest, id, facts, max(n) FROM decision d WHERE {IN_USE} GROUP BY 1, 2, 3"
        )
        for environment, ref, digest, entry_id, facts, _ in found:
            for item in items_of(read_facts(self.log, facts)[1], "dependencies"):
                name, version = item.text("name"), item.text("version")
                purl = item.text("purl") or (f"{name} {version}" if version else name)
                if purl:
                    self.ledger.add("dependency", (environment, purl, ref, digest, entry_id))

    def _turned(self) -> None:
        """The same bytes, the same act and environment, and another verdict than the time before."""
        found = self.ledger.rows(
            "SELECT * FROM (SELECT n, at, ref, digest, environment, decision, id, rules, facts, "
            "lag(decision) OVER w AS before, lag(at) OVER w AS before_at, lag(id) OVER w AS before_id FROM decision "
            "WHERE later = 0 AND digest IS NOT NULL WINDOW w AS (PARTITION BY ref, digest, environment, action ORDER BY n)) "
            "WHERE before IS NOT NULL AND before <> decision"
        )
        for (
            n,
            at,
            ref,
            digest,
            environment,
            after,
            entry_id,
            rules,
            facts,
            before,
            before_at,
            before_id,
        ) in found:
            worse = _RANK.get(after, 0) > _RANK.get(before, 0)
            news = self._news(facts, before_at) if worse else (None, None, None)
            published = news[1]
            seconds = _between(published, at) if published else None
            self.ledger.add("turned", (
                n, at, ref, digest, environment, before, before_at, before_id, after, entry_id, rules or None, *news, seconds,
            ))  # fmt: skip

    def _news(self, facts: str, before_at: str) -> tuple[str | None, str | None, str | None]:
        """The worst advisory that is newer than the verdict before: its id, when it was published, when it got here."""
        newest: tuple[str | None, str | None, str | None] = (None, None, None)
        for item in items_of(read_facts(self.log, facts)[1], "vulnerabilities"):
            published, seen = item.text("published"), item.text("first_seen")
            if max(published or "", seen or "") > before_at and (published or "") >= (newest[1] or ""):
                newest = (item.text("cve") or item.text("id"), published, seen)
        return newest


def _with_revocation(waiver: Waiver, revoked: Mapping[str, Revoked]) -> Waiver:
    found = revoked.get(terms_digest(waiver))
    if found is None or (waiver.revoked_at is not None and waiver.revoked_at <= found.at):
        return waiver
    return replace(waiver, revoked_at=found.at, revoked_by=found.by, revoked_reason=found.reason)


def _between(first: str, then: str) -> int | None:
    try:
        start = datetime.fromisoformat(first)
        return max(0, int((parse_utc(then) - start).total_seconds()))
    except (ValueError, TypeError):
        return None


def _listed(values: tuple[str, ...] | None) -> str | None:
    return None if values is None else ", ".join(values)
