"""The life of a waiver at the command line: people with keys of their own, files in a repository, one embedded server."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import yaml

from governance.settings import load_settings
from governance.wiring import build_assembly
from tests.scenarios.models import VULNERABLE
from tests.scenarios.waiver_team import RULE, SET, Team, log_of


def test_the_life_of_a_waiver(team: Team) -> None:
    name = team.ask(days="10")
    spec = yaml.safe_load((team.waivers / f"{name}.yaml").read_text())["spec"]
    assert (spec["rule"], spec["requestedBy"], spec["author"]) == (RULE, "ann", "admin")
    assert spec["artifact"]["digest"].startswith("dirhash1:")
    assert spec["scope"] == {"environments": ["production"]}
    assert spec["findings"].startswith("sha256:")
    assert "approvedBy" not in spec

    assert team.run("ann", "policy", "check", ".governance").code == 0  # a request is no mistake
    assert team.run("ann", "waiver", "list", "--strict").code == 1  # and no waiver yet
    assert "waiver " + name + " does not apply: 0 of 1 approvals" in team.load()
    own = team.run("ann", "waiver", "approve", "--yes", name)
    assert (own.code, "ann asked for it, and may not approve it as well" in own.err) == (2, True)

    unasked = team.run("bob", "waiver", "approve", name)  # no terminal, and nobody said yes
    assert (unasked.code, "nothing was signed: there is no terminal" in unasked.err) == (2, True)
    assert not list(team.waivers.glob("*.approve.*"))
    assert team.run("bob", "waiver", "approve", "--yes", name).code == 0
    assert "has approved it already" in team.run("bob", "waiver", "approve", "--yes", name).err
    assert team.run("ann", "waiver", "list", "--strict").code == 0
    assert team.load() == "allowed"
    (row,) = team.listed()["waivers"]
    assert (row["state"], row["approvedBy"], row["uses"]) == ("live", ["bob"], 1)
    assert name in team.run("ann", "waiver", "expiring").out
    assert "no waiver in force ends" in team.run("ann", "waiver", "expiring", "--days", "2").err

    assert (
        "a revocation says why" in team.run("carol", "waiver", "revoke", "--yes", name, "--reason", " ").err
    )
    assert team.run("carol", "waiver", "revoke", "--yes", name, "--reason", "mended").code == 0
    assert "it was revoked on" in team.load()
    assert "is revoked and cannot be approved" in team.run("carol", "waiver", "approve", "--yes", name).err
    shown = team.run("ann", "waiver", "show", name).out
    assert "by carol: mended" in shown
    assert "approve by bob" in shown

    for path in team.waivers.glob(f"{name}.*"):
        path.unlink()
    assert "blocked" in team.load()
    (gone,) = team.listed()["removed"]
    assert (gone["waiver"], gone["events"]) == (name, ["requested", "approved", "revoked"])


def test_other_bytes_reopen_the_question(team: Team) -> None:
    name = team.ask()
    team.run("bob", "waiver", "approve", "--yes", name)
    assert team.load() == "allowed"
    repository = team.ref.partition("/")[0]
    team.server.put(repository, "m/MLmodel", b"flavors: {a: {}}\n")
    assert "it is for other bytes" in team.load()


def test_a_running_process_follows_the_trust_file(team: Team, tmp_path: Path) -> None:
    """Who approves with a key that was added later counts without a restart, and a revocation is known as soon."""
    name = team.ask()
    team.run("server", "--version")
    with closing(build_assembly(load_settings())) as assembly:

        def objection() -> str | None:
            time.sleep(1.05)  # files are looked at once a second
            (found,) = assembly.policies.current().bundle.waivers
            return found.void

        team.run("dave", "keys", "init", "--name", "dave", MLGOV_TRUST=str(tmp_path / "dave.json"))
        team.run("dave", "keys", "export", "--output", str(tmp_path / "dave.pem"))
        assert team.run("dave", "waiver", "approve", "--yes", name).code == 2  # nobody trusts the key yet
        assert "0 of 1 approvals" in (objection() or "")
        added = team.run(
            "ann", "trust", "add", str(tmp_path / "dave.pem"), "--name", "dave", "--role", "waiver"
        )
        assert added.code == 0, added.err
        assert team.run("dave", "waiver", "approve", "--yes", name).code == 0
        assert objection() is None

        key_id = next(key.key_id for key in assembly.trust.keys if key.name == "dave")
        assert team.run("ann", "keys", "revoke", key_id[:16], "--compromised").code == 0
        found = assembly.trust.find(key_id)
        assert found is not None
        assert found.grant.revocation is not None


REVIEWED = """
apiVersion: mlgov/v1
kind: Policy
metadata: {name: reviews}
spec:
  default: allow
  rules:
    - id: reviewed
      effect: block
      when: {not: {fact: property.review, is: passed}}
      message: "the review is {property.review}"
"""


def test_a_new_finding_about_the_same_bytes_reopens_the_question(team: Team) -> None:
    (team.folder / ".governance" / "baseline.yaml").write_text(REVIEWED)
    repository = team.ref.partition("/")[0]
    client = build_assembly(load_settings()).artifactory(team.server.host)
    client.set_properties(repository, "m", {"review": "open"})
    name = team.ask()
    team.run("bob", "waiver", "approve", "--yes", name)
    assert team.load() == "allowed"
    assert team.listed()["waivers"][0]["state"] == "live"
    client.set_properties(repository, "m", {"review": "failed"})
    assert "what is found now is not what was known when it was granted" in team.load()
    assert team.listed()["waivers"][0]["state"] == "reopened"
    assert "reopened" in team.run("ann", "waiver", "show", name).out


def test_a_revoked_waiver_stands_in_the_way_of_no_stricter_policy(team: Team) -> None:
    """A rule that was waived is made one that nobody may waive: the waiver has to go, and says by which command."""
    name = team.ask()
    assert team.run("bob", "waiver", "approve", name, "--yes").code == 0
    assert team.load() == "allowed"
    file = team.folder / ".governance" / "baseline.yaml"
    head = "    - id: critical-vulnerability\n"
    assert head in file.read_text()
    file.write_text(file.read_text().replace(head, f"{head}      waivable: never\n"))
    refused = team.run("bob", "policy", "check")
    assert (refused.code, f"`mlgov waiver revoke {name}`" in refused.out) == (2, True), refused.out
    revoked = team.run("bob", "waiver", "revoke", name, "--reason", "exploited", "--yes")
    assert revoked.code == 0, revoked.err
    assert team.run("bob", "policy", "check").code == 0
    assert "critical-vulnerability" in team.load()
    assert team.run("server", "audit", "replay", team.decision()).code == 0
    (row,) = team.listed("--strict")["waivers"]
    assert row["state"] == "revoked"


def test_a_backtest_counts_the_waivers_that_were_in_force(team: Team) -> None:
    name = team.ask()
    assert team.run("bob", "waiver", "approve", name, "--yes").code == 0
    since = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    assert team.load() == "allowed"
    entries = team.run("ann", "audit", "tail", "-n", "1", "--json").out
    for policy in ((), (".governance",)):
        done = team.run("ann", "policy", "backtest", *policy, "--since", since)
        assert (done.code, "as recorded: 1" in done.out) == (0, True), done.out + done.err
    assert team.run("ann", "audit", "tail", "-n", "1", "--json").out == entries
    nobody = team.run("ann", "policy", "backtest", "--since", since, MLGOV_TRUST="/nonexistent/trust.json")
    assert (nobody.code, "newly blocked: 1" in nobody.out) == (1, True), nobody.out + nobody.err


def test_two_approvals_and_the_cap_of_the_set(team: Team) -> None:
    (team.folder / ".governance" / "set.yaml").write_text(SET)
    name = team.ask(days="60")
    long = ("--reason", "r", "--ticket", "t", "--days", "61")
    done = team.run("ann", "waiver", "request", "--decision", team.decision(), *long)
    assert "61 days are asked for, and the policy set allows 60" in done.err
    assert "1 of 2: 1 more needed" in team.run("bob", "waiver", "approve", "--yes", name).out
    assert "1 of 2 approvals" in team.load()
    assert "2 of 2" in team.run("carol", "waiver", "approve", "--yes", name).out
    assert team.load() == "allowed"


def test_without_a_trusted_key_nobody_signs(team: Team) -> None:
    name = team.ask()
    assert "there is no key to sign with" in team.run("dan", "waiver", "approve", "--yes", name).err
    team.run("dan", "keys", "init", MLGOV_TRUST=str(team.folder / "other.json"))
    done = team.run("dan", "waiver", "approve", "--yes", name)
    assert (done.code, "is not in the trust file" in done.err) == (2, True)
    assert team.run("bob", "waiver", "approve", "--yes", "WVR-0").code == 2


def test_each_with_a_log_of_their_own(team: Team, tmp_path: Path) -> None:
    """People write to their logs; the deciding side records what it sees, and remembers what is deleted."""

    def own(who: str) -> dict[str, str]:
        return {"MLGOV_CONFIG": log_of(tmp_path, who)}

    name = team.ask()
    team.run("bob", "waiver", "approve", "--yes", name, **own("bob"))
    assert team.load() == "allowed"
    rows = team.run("server", "audit", "tail", "--kind", "waiver", "--json").out.splitlines()
    events = [json.loads(row)["body"]["event"] for row in rows]
    assert events == ["requested", "approved"]
    team.run("carol", "waiver", "revoke", "--yes", name, "--reason", "mended", **own("carol"))
    assert "it was revoked on" in team.load()
    for path in team.waivers.glob("*.revoke.*"):
        path.unlink()
    assert "it was revoked on" in team.load()  # the log of the deciding side has seen it
    assert team.load(**own("elsewhere")) == "allowed"  # another log has not
    assert team.listed()["waivers"][0]["revoked"].endswith("by carol: mended")


def test_a_trust_file_that_cannot_be_read_ends_waivers_and_nothing_else(team: Team, tmp_path: Path) -> None:
    name = team.ask()
    team.run("bob", "waiver", "approve", "--yes", name)
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert "no good signature of ann under the request" in team.load(MLGOV_TRUST=str(bad))
    team.server.put(team.ref.partition("/")[0], "m/requirements.txt", b"")
    assert team.load(MLGOV_TRUST=str(bad)) == "allowed"


def test_break_glass(team: Team) -> None:
    why = "prod is down, INC-7"
    refused = team.load(MLGOV_BREAK_GLASS=why)
    assert "break-glass does not help: the policy set allows no break-glass in production" in refused
    (team.folder / ".governance" / "set.yaml").write_text(SET + "  breakGlass: {environments: [prod]}\n")
    assert "blocked" in team.load()
    dry = team.run("zoe", "check", team.ref, MLGOV_BREAK_GLASS=why)
    assert (dry.code, f"opened by break-glass: {why}" in dry.out) == (0, True)
    assert team.load(actor="bob", MLGOV_BREAK_GLASS=why) == "allowed"
    repository = team.ref.partition("/")[0]
    for name in VULNERABLE:
        team.server.put(repository, f"m/{name}", b"flavors: {}\n" if name == "MLmodel" else b"")
    team.run("ann", "sign", team.ref)
    assert team.load(MLGOV_BREAK_GLASS=why) == "allowed"  # nothing stood against it

    uses = team.listed()["breakGlass"]
    assert [(row["needed"], row["opened"], row["by"]) for row in uses] == [
        (True, False, "zoe"),
        (True, True, "bob"),
        (False, False, "zoe"),
    ]
    assert {row["justification"] for row in uses} == {why}
    own = team.run("bob", "waiver", "review", uses[1]["waiver"], "--reason", "all well")
    assert (own.code, "somebody else must review it" in own.err) == (2, True)
    assert "a review says what came of it" in team.run("ann", "waiver", "review", "--all").err
    assert team.run("ann", "waiver", "review", "0000", "--reason", "r").code == 2
    assert why in team.run("ann", "waiver", "review").out
    assert team.run("ann", "waiver", "review", "--all", "--reason", "INC-7 closed").code == 0
    assert team.listed()["breakGlass"] == []


def test_nobody_reviews_his_own_break_glass_under_a_pseudonym(team: Team) -> None:
    (team.folder / ".governance" / "set.yaml").write_text(SET + "  breakGlass: {environments: [prod]}\n")
    config = team.folder / "pseudonyms.toml"
    key = team.folder / "pseudonyms.key"
    key.write_bytes(b"k" * 32)
    config.write_text(f'audit_path = "{team.folder}/own.sqlite"\naudit_pseudonym_key = "{key}"\n')
    under = {"MLGOV_CONFIG": str(config)}
    assert team.load(actor="Bob", MLGOV_BREAK_GLASS="prod is down, INC-7", **under) == "allowed"

    def listed() -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads(team.run("ann", "waiver", "list", "--json", **under).out)[
            "breakGlass"
        ]
        return found

    (use,) = listed()
    words = ("waiver", "review", use["waiver"], "--reason", "all well")
    own = team.run("bob", *words, **under)
    assert (own.code, "somebody else must review it" in own.err) == (2, True)
    config.write_text(f'audit_path = "{team.folder}/own.sqlite"\n')
    without = team.run("bob", *words, **under)
    assert (without.code, "cannot be told: one of the two names is a pseudonym" in without.err) == (2, True)
    config.write_text(f'audit_path = "{team.folder}/own.sqlite"\naudit_pseudonym_key = "{key}"\n')
    assert len(listed()) == 1
    assert team.run("ann", *words, **under).code == 0
    assert listed() == []
    config.write_text(f'audit_path = "{team.folder}/own.sqlite"\n')  # whoever lacks the key sees the same
    assert listed() == []
    # The signed review is erased after its time, which makes no difference either.
    assert (
        team.run("ann", "audit", "erase", "waiver", "--older-than", "0s", "--reason", "over", **under).code
        == 0
    )
    assert listed() == []


def test_break_glass_never_opens_what_can_never_be_waived(team: Team) -> None:
    (team.folder / ".governance" / "set.yaml").write_text(
        SET + "  breakGlass: {environments: [production]}\n"
    )
    team.server.put(team.ref.partition("/")[0], "m/model.pkl", b"cposix\nsystem\n(S'true'\ntR.")
    refused = team.load(MLGOV_BREAK_GLASS="prod is down, INC-7")
    assert "baseline-models/malicious can never be waived" in refused


def test_doctor_tells_of_both(team: Team) -> None:
    name = team.ask()
    told = team.run("ann", "doctor", MLGOV_BREAK_GLASS="prod is down, INC-7").out
    assert f"1 of 1 do not count, the first is {name}: 0 of 1 approvals" in told
    assert "Unset `MLGOV_BREAK_GLASS`" in told
    team.run("bob", "waiver", "approve", "--yes", name)
    told = team.run("ann", "doctor").out
    assert "do not count" not in told
    assert "break-glass" not in told


def test_waivers_of_a_signed_bundle_are_checked_where_it_is_used(team: Team, tmp_path: Path) -> None:
    name = team.ask()
    bundle = tmp_path / "policy.tar"
    words = ("policy", "bundle", ".governance", "--name", "acme", "--output", str(bundle), "--revision")
    taken = {"MLGOV_POLICY_BUNDLE": str(bundle), "MLGOV_POLICY_BUNDLE_NAME": "acme"}
    assert team.run("ann", *words, "1").code == 0
    assert "0 of 1 approvals" in team.load(**taken)
    team.run("bob", "waiver", "approve", "--yes", name)
    assert team.run("ann", *words, "2").code == 0
    assert team.load(**taken) == "allowed"
