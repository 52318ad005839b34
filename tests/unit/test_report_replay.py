"""Recorded decisions judged once more: same bytes, and its own word for each way in which it cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from governance.audit.entry import Entry, EntryKind
from governance.errors import AuditBrokenError, RefusedError
from governance.model.canonical import Json
from governance.model.digest import Sha256, parse_sha256
from governance.model.facts import FactValue, Unknown
from governance.model.request import Actor
from governance.report.recorded import NotReplayableError
from governance.report.replay import PolicyCache, replay
from tests.unit import gate_kit as gate


def story(tmp_path: Path) -> gate.Bench:
    """Allowed, blocked, quarantined, unknown, in an outage with and without a verdict to fall back on, and after a refusal, hostile names."""
    b = gate.bench(tmp_path)
    hostile = Actor(name="mal\u202eory<script>", groups=("g" * 400,))
    worlds: tuple[dict[str, FactValue], ...] = (
        {"xray.malicious": False, "scan.complete": True},
        {"xray.malicious": True, "scan.complete": True},
        {"xray.malicious": False, "scan.complete": False},
        {"xray.malicious": Unknown("Xray is down"), "scan.complete": True},
    )
    for place, facts in enumerate(worlds):
        b.world.facts = facts
        for environment in ("development", "production"):
            b.clock[0] += 100.0
            _ask(b, environment=environment, at=gate.NOON.replace(minute=place))
            _ask(b, environment=environment, at=gate.NOON.replace(minute=place), actor=hostile)
    b.clock[0] += 100.0
    b.world.facts = worlds[0]
    _ask(b, at=gate.NOON.replace(minute=30))
    b.clock[0] += 100.0
    gate.silence(b)
    _ask(b, at=gate.NOON.replace(hour=13))
    _ask(b, at=gate.NOON.replace(day=24))
    b.clock[0] += 100.0
    b.world.error, b.world.facts = None, worlds[1]
    _ask(b, at=gate.NOON.replace(hour=14))
    b.clock[0] += 100.0
    gate.silence(b)
    _ask(b, at=gate.NOON.replace(hour=15))  # falls back on a refusal
    return b


def _ask(b: gate.Bench, **more: object) -> None:
    try:
        with b.gate.admit(gate.request(**more)) as permit:  # type: ignore[arg-type]
            permit.moved("model.pkl", gate.ONE)
    except RefusedError:
        pass


def decisions(b: gate.Bench) -> list[Entry]:
    return [stored.entry for stored in b.entries(EntryKind.DECISION)]


def test_every_decision_comes_out_with_the_same_bytes(tmp_path: Path) -> None:
    b = story(tmp_path)
    policies = PolicyCache(b.log)
    entries = decisions(b)
    for entry in entries:
        done = replay(b.log, entry, policies=policies)
        assert done.got == done.recorded
        assert done.is_same
    assert len(entries) >= 14
    verdicts = [entry.body["verdict"] for entry in entries]
    degraded = [str(one["degraded"]) for one in verdicts if isinstance(one, Mapping) and one["degraded"]]
    assert [text.rpartition(" ")[2] for text in degraded] == ["stands", "on", "refused"]


def test_a_verdict_in_grace_comes_out_with_the_same_bytes_also_where_its_entry_is_older(
    tmp_path: Path,
) -> None:
    b = gate.bench(tmp_path, policy=gate.graced(tmp_path))
    gate.advise(b)
    _ask(b)
    (entry,) = decisions(b)
    assert replay(b.log, entry, policies=PolicyCache(b.log)).is_same
    older = {name: value for name, value in _verdict(entry).items() if name != "grace_until"}
    assert len(older) < len(_verdict(entry))
    assert replay(
        b.log, replace(entry, body={**entry.body, "verdict": older}), policies=PolicyCache(b.log)
    ).is_same
    wrong = {**older, "grace_until": "2026-11-22T12:00:06.000000Z"}
    forged = replace(entry, body={**entry.body, "verdict": wrong})
    assert not replay(b.log, forged, policies=PolicyCache(b.log)).is_same


def test_an_older_verdict_that_stood_in_an_outage_comes_out_with_the_same_bytes(tmp_path: Path) -> None:
    """Entries from before the facts said which of them are out of reach let it stand beside any other unknown, too."""
    b = gate.bench(tmp_path)
    gate.load(b, gate.request())
    b.clock[0] = 100.0
    b.world.facts = {
        "xray.malicious": Unknown("no answer", out_of_reach=True),
        "scan.complete": Unknown("torn"),
    }
    _ask(b, at=gate.NOON.replace(hour=13))
    first, now = decisions(b)
    assert (_verdict(now)["decision"], _verdict(now)["degraded"]) == ("block", None)
    assert replay(b.log, now, policies=PolicyCache(b.log)).is_same
    facts = orjson.loads(b.kept(parse_sha256(str(now.body["facts"]))))
    assert facts.pop("sources.out_of_reach")["value"] == ["xray.malicious"]
    document = orjson.dumps(facts)
    stood = {**_verdict(now), "decision": "allow", "refused": False, "would_block": False, "retry_after": None,
             "degraded": f"no answer from world; the verdict of decision {first.id}, 3600 s ago, stands"}  # fmt: skip
    digest = sha256(document).hexdigest()
    older = replace(now, body={**now.body, "facts": digest, "verdict": stood})
    log = Without(b, digest, document)
    assert replay(log, older, policies=PolicyCache(log)).is_same
    forged = replace(older, body={**older.body, "verdict": _verdict(now)})
    assert not replay(log, forged, policies=PolicyCache(log)).is_same


def test_a_changed_verdict_shows(tmp_path: Path) -> None:
    b = story(tmp_path)
    entry = next(one for one in decisions(b) if _verdict(one)["decision"] == "block")
    forged = replace(entry, body={**entry.body, "verdict": {**_verdict(entry), "decision": "allow"}})
    assert not replay(b.log, forged, policies=PolicyCache(b.log)).is_same


class Without:
    """A log that lost one document, or has it changed."""

    def __init__(self, b: gate.Bench, digest: str, document: bytes | None = None) -> None:
        self._log, self._digest, self._document = b.log, digest, document
        self.get = b.log.get

    def evidence(self, sha256: Sha256) -> bytes | None:
        return self._document if sha256 == self._digest else self._log.evidence(sha256)


def test_gone_evidence_has_its_own_word(tmp_path: Path) -> None:
    b = story(tmp_path)
    entry = decisions(b)[0]
    policy = entry.body["policy"]
    assert isinstance(policy, Mapping)
    for digest, what in ((entry.body["facts"], "the facts"), (policy["digest"], "the policy")):
        log = Without(b, str(digest))
        with pytest.raises(NotReplayableError, match=f"{what} {digest} is not in the evidence"):
            replay(log, entry, policies=PolicyCache(log))


def test_a_policy_that_is_no_longer_taken_has_its_own_word(tmp_path: Path) -> None:
    b = story(tmp_path)
    entry = decisions(b)[0]
    log = Without(b, str(_policy(entry)["digest"]), b'{"documents":[],"facts":[{"name":"x"}]}')
    with pytest.raises(NotReplayableError, match="no longer taken by this program"):
        replay(log, entry, policies=PolicyCache(log))


@pytest.mark.parametrize("document", [b"[]", b"{", b"{}", b'{"environment": 1}'])
def test_facts_of_another_shape_have_their_own_word(tmp_path: Path, document: bytes) -> None:
    b = story(tmp_path)
    entry = decisions(b)[0]
    log = Without(b, str(entry.body["facts"]), document)
    with pytest.raises(AuditBrokenError, match="cannot be read"):
        replay(log, entry, policies=PolicyCache(log))


@pytest.mark.parametrize("gone", ["policy", "verdict", "facts", "artifact"])
def test_a_decision_that_lacks_something_has_its_own_word(tmp_path: Path, gone: str) -> None:
    b = story(tmp_path)
    entry = decisions(b)[0]
    body = {key: value for key, value in entry.body.items() if key != gone}
    with pytest.raises(AuditBrokenError, match="lacks what a decision has"):
        replay(b.log, replace(entry, body=body), policies=PolicyCache(b.log))


def test_other_entries_are_no_decisions(tmp_path: Path) -> None:
    b = story(tmp_path)
    outcome = b.entries(EntryKind.OUTCOME)[0].entry
    with pytest.raises(NotReplayableError, match="records `outcome`, not a decision"):
        replay(b.log, outcome, policies=PolicyCache(b.log))


def test_policies_are_compiled_once(tmp_path: Path) -> None:
    b = story(tmp_path)
    policies = PolicyCache(b.log, most=1)
    digest = parse_sha256(str(_policy(decisions(b)[0])["digest"]))
    assert policies.get(digest) is policies.get(digest)


def _verdict(entry: Entry) -> Mapping[str, Json]:
    found = entry.body["verdict"]
    assert isinstance(found, Mapping)
    return found


def _policy(entry: Entry) -> Mapping[str, Json]:
    found = entry.body["policy"]
    assert isinstance(found, Mapping)
    return found
