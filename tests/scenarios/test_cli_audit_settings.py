"""What the settings say of the log, and what becomes of it where they changed or make no sense."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from governance.audit.pseudonyms import Pseudonyms
from governance.audit.sqlite import SqliteStore
from governance.cli.checkup.local import local_checks
from governance.cli.output import Mark
from governance.settings import load_settings
from governance.wiring import build_assembly
from tests.audit_tools import Clock, fill, make_log
from tests.postgres_server import PostgresServer, why_not
from tests.report_tools import decide
from tests.scenarios.audit_keeper import ORIGIN, Keeper


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_what_killed_processes_left_without_a_place_is_given_it_by_who_reads_or_told_of(
    keeper: Keeper, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was said to prove itself, and to hold nothing, until somebody wrote to it again."""
    from governance.audit.postgres import PostgresStore

    dsn = postgres.new_database()
    role, database = f"auditor_{dsn.rsplit('/', 1)[1]}", dsn.rsplit("/", 1)[1]
    log = make_log(store := PostgresStore(dsn), origin=ORIGIN)
    store._sequencer.start = lambda: None  # type: ignore[method-assign]  # killed before it leads
    (left,) = fill(log, 1)
    log.close()
    postgres.run(f"CREATE ROLE {role} LOGIN")
    postgres.run(f"GRANT USAGE ON SCHEMA mlgov_audit TO {role}", database)
    postgres.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA mlgov_audit TO {role}", database)

    keeper.settings(f'audit_dsn = "{dsn.replace("postgres@", f"{role}@")}"')
    monkeypatch.setattr("governance.cli.audit._SETTLE_SECONDS", 0.1)
    told = keeper.run("verify")
    assert (told.code, "0 entries" in told.out, "no search, report or verification" in told.err) == (
        0,
        True,
        True,
    )
    assert "permission" not in told.err
    with closing(build_assembly(load_settings())) as assembly:
        (check,) = (check for check in local_checks(assembly) if check.subject == "audit log")
        (line, *_) = check.look()
    assert (line.mark, "no search, report or verification" in line.seen) == (Mark.WARN, True)

    monkeypatch.setattr("governance.cli.audit._SETTLE_SECONDS", 30.0)
    keeper.settings(f'audit_dsn = "{dsn}"')
    found = keeper.run("search", "--json")
    assert (found.code, found.err, left in found.out) == (0, "", True)


@pytest.mark.parametrize("name", ["MLGOV_AUDIT_DSN", "mlgov_audit_path", "MLGOV_AUDIT_ANCHORS"])
def test_no_variable_leads_the_log_elsewhere(keeper: Keeper, name: str) -> None:
    keeper.fill(1)
    done = keeper.run("verify", **{name: "postgresql://someone:s3cret@example/other"})
    assert (done.code, "settings file alone" in done.err, "s3cret" in done.err) == (2, True, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('audit_path = ""', "audit_path: is empty"),
        ('audit_dsn = ""', "audit_dsn"),
        ('audit_path = "a"\naudit_dsn = "postgresql://x"', "more than one audit log"),
        ('audit_anchors = ["heads"]\naudit_quorum = 2', "a quorum of 2 among 1"),
        ('audit_anchors = ["ftp://example/heads"]', "cannot be sent to `ftp:`"),
        ('audit_anchors = ["https://witness.example"]', "public key"),
        ('audit_pseudonym_key = "short"', "pseudonym key"),
    ],
)
def test_settings_without_sense_are_refused(keeper: Keeper, text: str, said: str, tmp_path: Path) -> None:
    keeper.fill(1)
    (tmp_path / "a").touch()
    (tmp_path / "short").write_bytes(b"x" * 31)
    keeper.settings(text)
    done = keeper.run("checkpoint")
    assert (done.code, said in done.err) == (2, True), done.err


def test_somebody_is_found_under_name_and_pseudonym_and_no_record_joins_the_two(
    keeper: Keeper, tmp_path: Path
) -> None:
    """The key came in later, so that what one person did stands under two names."""
    key = bytes(range(32))
    (tmp_path / "key").write_bytes(key)
    names = Pseudonyms(key)
    database = keeper.home / "audit.sqlite"
    for more in ({}, {"pseudonyms": names}):
        log = make_log(SqliteStore(database), origin=ORIGIN, now=Clock(), **more)
        for actor in ("zoe", "eve"):
            decide(log, actor=actor)
        log.close()
    assert len(keeper.run("search", "kind:decision", "--actor", "zoe", "--json").out.splitlines()) == 1
    keeper.settings(f'audit_pseudonym_key = "{tmp_path}/key"')
    for words in ((), ("--scan",)):
        done = keeper.run("search", "kind:decision", "--actor", "zoe", "--json", *words)
        found = [json.loads(line)["entry"]["body"]["actor"]["name"] for line in done.out.splitlines()]
        assert found == [names.of("zoe"), "zoe"]
    assert len(keeper.run("tail", "kind:decision", "actor:zoe", "--json").out.splitlines()) == 2
    assert (
        len(keeper.run("search", "kind:decision", f"actor:{names.of('eve')}", "--json").out.splitlines()) == 1
    )
    done = keeper.cli("report", "compliance", "--filter", "actor:zoe", "-o", "r", "--format", "jsonl")
    assert (done.code, "2 decisions" in done.out) == (0, True), done.err
    (line,) = keeper.run("search", "kind:export", "--json").out.splitlines()
    body = json.loads(line)["entry"]["body"]
    assert (body["filter"], body["by"][:2]) == (f"actor:{names.of('zoe')}", "p:")
    assert "zoe" not in line
