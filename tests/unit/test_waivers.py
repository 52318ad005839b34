"""Waivers at the engine, in files and in the log: what the attacks do not cover."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.errors import ConfigurationError
from governance.model.digest import parse_sha256
from governance.model.facts import Collection
from governance.model.verdict import Effect
from governance.policy.compile import compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import documents_among, load_files, load_policies
from governance.policy.source import PolicySource
from governance.policy.waiver import known_digest
from governance.waivers.files import read_steps, steps_among
from governance.waivers.memory import memory_of, record_step, record_unseen
from governance.waivers.settling import Memory
from governance.waivers.standing import State, state_of, uses_of, view_log
from governance.waivers.steps import Step, as_step_file
from governance.waivers.writing import find_document, waiver_folder, waiver_yaml, write_new
from tests.unit import policy_kit as kit
from tests.waiver_tools import (
    NOW,
    POLICY,
    asked,
    bundle,
    facts,
    register,
    settled,
    step,
    the_waiver,
    trust,
    waiver_text,
)

W = the_waiver()
GOOD = (asked(W), step(W, Step.APPROVE, "bob"))


def log_at(at: object = NOW) -> AuditLog:
    return AuditLog(MemoryStore(), now=lambda: NOW, instance="test")


# -- the engine


def test_a_new_finding_below_the_named_ones_reopens_too() -> None:
    """A result names the worst twenty; the digest is over all."""
    text = kit.policy(kit.rule("{some: vulnerabilities, where: {fact: cvss, gte: 1}}"))
    rows: list[dict[str, Any]] = [
        {"cve": f"CVE-2020-{n:04}", "cvss": 9.0, "component": "a"} for n in range(30)
    ]
    known, more = (
        Collection(tuple(rows)),
        Collection((*rows, {"cve": "CVE-2021-1", "cvss": 1.5, "component": "a"})),
    )
    compiled = kit.compiled(text)

    def digest(values: Collection) -> str:
        (row,) = evaluate(compiled, kit.request(), kit.facts({"vulnerabilities": values})).rules
        return str(
            known_digest(compiled.rules[0], row, kit.facts({"vulnerabilities": values}), compiled.catalogue)
        )

    assert digest(known) == digest(Collection(tuple(reversed(rows))))
    assert digest(known) != digest(more)
    granted = kit.compiled(text, kit.waiver(findings=f'"{digest(known)}"'))
    assert evaluate(granted, kit.request(), kit.facts({"vulnerabilities": known})).decision is Effect.ALLOW
    assert evaluate(granted, kit.request(), kit.facts({"vulnerabilities": more})).decision is Effect.BLOCK


@pytest.mark.parametrize(
    ("approvers", "needed", "maker", "covered"),
    [
        ("[bob]", 1, "bob", False),
        ("[bob, carol]", 1, "bob", True),
        ("[bob, carol]", 2, "BOB", False),
        ("[bob, carol, erin]", 2, "bob", True),
        ("[bob, carol]", 2, "dave", True),
    ],
)
def test_approvals_are_counted_without_the_maker(
    approvers: str, needed: int, maker: str, covered: bool
) -> None:
    compiled = kit.compiled(
        POLICY, kit.policy_set(f"  waivers: {{approvals: {needed}}}\n"), kit.waiver(approvedBy=approvers)
    )
    found = evaluate(compiled, kit.request(), facts(**{"artifact.created_by": maker}))
    assert (found.decision is Effect.ALLOW) is covered


def test_a_void_waiver_and_one_that_nobody_approved_are_not_mistakes_and_cover_nothing() -> None:
    for changes, why in (({"void": "no key"}, "no key"), ({"approvedBy": None}, "nobody has approved it")):
        found = evaluate(kit.compiled(POLICY, kit.waiver(**changes)), kit.request(), facts())
        assert found.decision is Effect.BLOCK
        assert [row.value for row in found.findings[0].evidence if row.fact == "waiver"] == [
            f"W-1 does not apply: {why}"
        ]


# -- owners, thresholds, self-approval


def test_the_owner_must_be_among_the_approvers_of_some_rules() -> None:
    owned = kit.policy(kit.rule("{fact: publisher, is: evil}", more="  waivable: owners\n")).replace(
        "{name: p}", "{name: p, owner: carol}"
    )
    of = kit.bundle(owned, waiver_text())
    waiver = of.waivers[0]
    files = [asked(waiver), step(waiver, Step.APPROVE, "bob")]
    assert "the policy's owner (carol) has not approved it" in str(settled(files, of=of).waiver.void)
    assert settled([*files, step(waiver, Step.APPROVE, "carol")], of=of).waiver.void is None


def test_the_trust_files_threshold_counts_where_it_asks_for_more() -> None:
    from governance.signing.trust import Role

    strict = replace(trust(), thresholds=((Role.WAIVER, 2),))
    assert "1 of 2 approvals" in str(settled(GOOD, trusts=strict).waiver.void)
    assert settled([*GOOD, step(W, Step.APPROVE, "carol")], trusts=strict).waiver.void is None


def test_self_approval_where_the_set_allows_it_but_never_of_ones_own_artifact() -> None:
    of = bundle(waivers="{approvals: 1, selfApproval: true}")
    waiver = of.waivers[0]
    assert settled([asked(waiver), step(waiver, Step.APPROVE, "alice")], of=of).waiver.approved_by == (
        "alice",
    )
    assert settled([asked(waiver), step(waiver, Step.APPROVE, "dave")], of=of).waiver.approved_by == ()


# -- files


def test_only_files_named_as_steps_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "policies" / "waivers"
    write_new(folder / GOOD[0].name, GOOD[0].data)
    write_new(folder / "other.sig.json", b"{}")
    write_new(folder / "W-1.bless.0123456789abcdef.sig.json", b"{}")
    write_new(folder / ".hidden" / GOOD[1].name, GOOD[1].data)
    assert [each.name for each in read_steps([tmp_path / "policies"])] == [GOOD[0].name]
    with pytest.raises(ConfigurationError, match="File exists"):
        write_new(folder / GOOD[0].name, b"")
    assert as_step_file("a/b/W.1.x.approve.0123456789abcdef.sig.json", b"") is not None


def test_documents_and_steps_of_a_bundle_are_told_apart() -> None:
    files = {"p.yaml": POLICY.encode(), "waivers/w.yaml": waiver_text().encode()}
    files |= {f"waivers/{each.name}": each.data for each in GOOD}
    of = load_files(documents_among(files))
    assert register(list(steps_among(files)), of=of).waivers[0].waiver.void is None


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    folder = waiver_folder([tmp_path], tmp_path)
    write_new(folder / "w.yaml", waiver_yaml(W).encode())
    (again,) = load_policies([tmp_path]).waivers
    assert again == replace(W, approved_by=())
    assert find_document([tmp_path], "W-1") == folder / "w.yaml"
    assert find_document([tmp_path], "W-2") is None
    assert waiver_folder([tmp_path / "p.yaml"], Path("x")) == Path("x")


def test_a_new_step_renews_the_policy(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "w.yaml").write_text(waiver_text())
    write_new(tmp_path / GOOD[0].name, GOOD[0].data)

    def load() -> object:
        return register(read_steps([tmp_path]), of=load_policies([tmp_path])).bundle

    source = PolicySource([tmp_path], load=load, every=0)  # type: ignore[arg-type]  # it returns a bundle
    assert source.current().bundle.waivers[0].void == "0 of 1 approvals"
    write_new(tmp_path / GOOD[1].name, GOOD[1].data)
    assert source.current().bundle.waivers[0].void is None


# -- the log


def test_a_step_on_record_is_found_again_with_its_file() -> None:
    log, found = log_at(), register(GOOD)
    record_unseen(log, found, now=NOW)
    assert memory_of(log).seen == {each.sha256: NOW for each in GOOD}
    for stored in log.find(kind=EntryKind.WAIVER):
        envelope = parse_sha256(str(stored.entry.body["envelope"]))
        assert log.evidence(envelope) in [each.data for each in GOOD]


@pytest.mark.parametrize(
    ("files", "hours", "state"),
    [
        (GOOD, 0, State.LIVE),
        (GOOD[:1], 0, State.PENDING),
        ((), 0, State.VOID),
        ((*GOOD, step(W, Step.APPROVE, "alice")), 0, State.LIVE),
        ((GOOD[0], step(W, Step.APPROVE, "alice")), 0, State.VOID),
        (GOOD, 24 * 60, State.EXPIRED),
        ((*GOOD, step(W, Step.REVOKE, "erin")), 0, State.REVOKED),
        ((), 24 * 60, State.EXPIRED),
    ],
    ids=["live", "pending", "unsigned", "one approval too many", "self-approved", "expired", "revoked", "never was"],
)  # fmt: skip
def test_where_a_waiver_stands(files: tuple[object, ...], hours: int, state: State) -> None:
    at = NOW + timedelta(hours=hours)
    assert state_of(settled(files), at) is state  # type: ignore[arg-type]  # step files


def test_a_waiver_that_starts_later_is_scheduled() -> None:
    later = bundle(waiver_text(starts="2026-11-23T00:00:00Z"))
    waiver = later.waivers[0]
    assert (
        state_of(settled([asked(waiver), step(waiver, Step.APPROVE, "bob")], of=later), NOW)
        is State.SCHEDULED
    )


def test_uses_and_what_is_gone() -> None:
    log, found = log_at(), register(GOOD)
    record_step(log, found.waivers[0], found.waivers[0].steps[0], now=NOW)
    assert uses_of(log, found.waivers[0]).count == 0
    assert uses_of(None, found.waivers[0]).last is None
    assert view_log(None, found, trust=trust(), now=NOW).removed == ()
    assert view_log(log, found, trust=trust(), now=NOW).removed == ()
    (gone,) = view_log(log, register([], of=kit.bundle(POLICY)), trust=trust(), now=NOW).removed
    assert (gone.name, gone.rule, gone.events) == ("W-1", "p/r", ("requested",))


def test_without_waivers_settling_changes_nothing() -> None:
    of = kit.bundle(POLICY)
    assert register([], of=of).bundle == of
    assert compile_bundle(register([], of=of).bundle).digest == compile_bundle(of).digest
    orphan = register([GOOD[0]], of=of)
    assert [each.waiver for each in orphan.orphans] == ["W-1"]
    assert settled(GOOD, memory=Memory()).needed == 1
