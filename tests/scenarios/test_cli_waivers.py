"""The life of a waiver at the command line: people with keys of their own, files in a repository, one embedded server."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import policies as packs
from governance.cli.main import main
from governance.cli.reference import locate, parse_reference
from governance.devserver import DevServer
from governance.errors import RefusedError
from governance.model.request import Action, Actor, Request, new_id
from governance.settings import load_settings
from governance.wiring import build_assembly
from tests.scenarios.cli import Done, clean

VULNERABLE = {
    "MLmodel": b"flavors: {}\n",
    "requirements.txt": b"PyYAML==5.3\n",
    "weights.safetensors": b"\x02\0\0\0\0\0\0\0{}",
}
RULE = "baseline-models/critical-vulnerability"
SET = (
    "apiVersion: mlgov/v1\nkind: PolicySet\nmetadata: {name: acme, revision: 1}\nspec:\n"
    "  waivers: {maxDays: 60, approvals: 2}\n"
)


@dataclass
class Team:
    """People at one repository. `run` is `mlgov` in this process, as one of them."""

    run: Callable[..., Done]
    folder: Path
    ref: str
    server: DevServer

    @property
    def waivers(self) -> Path:
        return self.folder / ".governance" / "waivers"

    def load(self, who: str = "server", actor: str = "zoe", **variables: str) -> str:
        """Ask the gate for the model, on record: `allowed`, or the refusal's text."""
        self.run(who, "--version", **variables)  # leaves this process's environment as that of `who`
        settings = load_settings()
        assembly = build_assembly(settings)
        place = parse_reference(self.ref, settings)
        (part,) = locate(assembly.artifactory(place.host), place)
        at = assembly.now()
        request = Request(
            action=Action.LOAD, artifact=part.artifact, actor=Actor(name=actor), environment=settings.environment,
            at=at, correlation=new_id(at),
        )  # fmt: skip
        try:
            with assembly.gate.admit(request) as permit:
                for entry in part.artifact.files:
                    assert entry.sha256 is not None
                    permit.moved(str(entry.path), entry.sha256)
        except RefusedError as error:
            return str(error)
        finally:
            assembly.close()
        return "allowed"

    def decision(self) -> str:
        """The id of the newest decision on record."""
        line = self.run("server", "audit", "tail", "--kind", "decision", "-n", "1", "--json").out
        return str(json.loads(line)["id"])

    def ask(self, who: str = "ann", **options: str) -> str:
        """Have the model refused and a waiver asked for; its name."""
        if self.load() == "allowed":
            raise AssertionError("nothing to ask for")
        given = {"reason": "sandbox only", "ticket": "SEC-1", **options}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        done = self.run(who, "waiver", "request", "--decision", self.decision(), *words)
        assert done.code == 0, done.err
        return max(self.waivers.glob("*.yaml"), key=lambda path: path.stat().st_mtime_ns).stem

    def listed(self, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("ann", "waiver", "list", "--json", *options).out)
        return found


def log_of(folder: Path, name: str) -> str:
    """A settings file that names a log of its own."""
    file = folder / f"{name}.toml"
    file.write_text(f'audit_path = "{folder / name}.sqlite"\n')
    return str(file)


@pytest.fixture
def team(
    tmp_path: Path,
    devserver: DevServer,
    repo: str,
    alice_token: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Team:
    """Ann, Bob and Carol with keys in one trust file, the baseline policies in a repository, and a vulnerable model."""
    folder = tmp_path / "repository"
    (folder / ".governance").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".governance" / "baseline.yaml").write_text(packs.read("baseline"))
    for name, data in VULNERABLE.items():
        devserver.put(repo, f"m/{name}", data)
    monkeypatch.chdir(folder)

    def run(who: str, *arguments: str, **variables: str) -> Done:
        settings = {
            "MLGOV_HOME": str(tmp_path / who),
            "MLGOV_KEY_PASSPHRASE": "correct horse",
            "MLGOV_TRUST": str(tmp_path / "trust.json"),
            "MLGOV_CONFIG": log_of(tmp_path, "audit"),
            "MLGOV_ENVIRONMENT": "production",
            "MLGOV_ARTIFACTORY_URL": devserver.artifactory_url,
            "ARTIFACTORY_AUTH_TOKEN": alice_token,
        }
        environment = clean(**(settings | variables))
        for name in set(os.environ) - set(environment):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(list(arguments))
        printed = capsys.readouterr()
        return Done(code=code, out=printed.out, err=printed.err)

    for who in ("ann", "bob", "carol"):
        assert run(who, "keys", "init", "--name", who).code == 0
    return Team(run=run, folder=folder, ref=f"{repo}/m", server=devserver)


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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "a waiver needs a reason"),
        (("--reason", "r"), "a waiver needs a ticket"),
        (("--reason", "r" * 2001, "--ticket", "t"), "at most 2000 characters"),
        (
            ("--reason", "r", "--ticket", "t", "--days", "91"),
            "91 days are asked for, and the policy set allows 90",
        ),
        (
            ("--reason", "r", "--ticket", "t", "--author", "zoe"),
            "the record says that `admin` made the artifact",
        ),
    ],
    ids=["no reason", "no ticket", "too much", "too long", "another author"],
)
def test_what_a_request_must_say(team: Team, options: tuple[str, ...], says: str) -> None:
    team.load()
    done = team.run("ann", "waiver", "request", "--decision", team.decision(), *options)
    assert (done.code, says in done.err) == (2, True), done.err
    assert not team.waivers.exists()


def test_a_request_is_printed_unsigned_and_never_written_over(team: Team) -> None:
    name = team.ask()
    words = ("waiver", "request", "--decision", team.decision(), "--reason", "r", "--ticket", "t")
    printed = team.run("ann", *words, "--output", "-")
    assert yaml.safe_load(printed.out)["metadata"]["name"] == name
    assert team.run("ann", *words).code == 2  # it is there already


def test_a_request_that_was_drafted_elsewhere_is_signed_by_whom_it_names(team: Team) -> None:
    team.load()
    words = (
        "waiver",
        "request",
        "--decision",
        team.decision(),
        "--reason",
        "r",
        "--ticket",
        "t",
        "--output",
        "-",
    )
    tree = yaml.safe_load(team.run("server", *words).out)
    tree["spec"]["requestedBy"] = "ann"
    name = tree["metadata"]["name"]
    team.waivers.mkdir()
    (team.waivers / "brought.yaml").write_text(yaml.safe_dump(tree))
    assert "no good signature of ann under the request" in team.load()
    other = team.run("bob", "waiver", "request", "--waiver", name)
    assert (other.code, "it is by bob, and ann is to have asked" in other.err) == (2, True)
    assert team.run("ann", "waiver", "request", "--waiver", name).code == 0
    assert "is signed by ann already" in team.run("ann", "waiver", "request", "--waiver", name).err
    assert team.run("bob", "waiver", "approve", "--yes", name).code == 0
    assert team.load() == "allowed"
    assert team.run("ann", "waiver", "request").code == 2


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
    assert (own.code, "somebody else reviews it" in own.err) == (2, True)
    assert "a review says what came of it" in team.run("ann", "waiver", "review", "--all").err
    assert team.run("ann", "waiver", "review", "0000", "--reason", "r").code == 2
    assert why in team.run("ann", "waiver", "review").out
    assert team.run("ann", "waiver", "review", "--all", "--reason", "INC-7 closed").code == 0
    assert team.listed()["breakGlass"] == []


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


# -- what teams have already


def xray(team: Team, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A request to the embedded Xray, as its administrator."""
    base = team.server.artifactory_url.removesuffix("/artifactory")
    answer = requests.request(
        method,
        f"{base}/xray/api/{path}",
        json=body,
        headers={"Authorization": f"Bearer {team.server.token('admin')}"},
        timeout=10,
    )
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


@contextmanager
def xray_policy(team: Team) -> Iterator[str]:
    """A policy of Xray's own with a watch on the team's repository, for as long as it is needed; its name."""
    repository = team.ref.partition("/")[0]
    criteria = {"min_severity": "Critical"}
    rule = {"name": "crit", "priority": 1, "criteria": criteria, "actions": {"fail_build": True}}
    secrets = {"name": "secrets", "priority": 2, "criteria": {"exposures": {"secrets": True}}, "actions": {}}
    name = f"block-{repository}"
    xray(team, "POST", "v2/policies", {"name": name, "type": "security", "rules": [rule, secrets]})
    resources = [{"type": "repository", "name": repository, "bin_mgr_id": "default"}]
    watch = {
        "general_data": {"name": f"watch-{repository}", "active": True},
        "project_resources": {"resources": resources},
        "assigned_policies": [{"name": name, "type": "security"}],
    }
    xray(team, "POST", "v2/watches", watch)
    try:
        yield name
    finally:
        xray(team, "DELETE", f"v2/watches/watch-{repository}")
        xray(team, "DELETE", f"v2/policies/{name}")


def test_xrays_policies_and_ignore_rules_are_brought_over(team: Team) -> None:
    repository = team.ref.partition("/")[0]
    for left in xray(team, "GET", "v1/ignore_rules")[
        "data"
    ]:  # by other tests: ignore rules belong to a whole server
        xray(team, "DELETE", f"v1/ignore_rules/{left['id']}")
    ignore = {
        "notes": "not reachable",
        "expires_at": "2099-01-01T00:00:00Z",
        "ignore_filters": {"cves": ["CVE-2020-1"]},
    }
    xray(team, "POST", "v1/ignore_rules", ignore)
    with xray_policy(team) as name:
        done = team.run("ann", "policy", "import", "xray", "--output", "brought")
        assert done.code == 0, done.err
        assert f"{name}: 1 rule(s)" in done.out
        assert "rule 'secrets' has no equal here: criterion 'exposures'" in done.err
        spec = yaml.safe_load(Path(f"brought/xray-{name}.yaml").read_text())["spec"]
        assert spec["match"] == {"actions": ["download", "load"], "repositories": [repository]}
        assert (spec["rules"][0]["id"], spec["rules"][0]["effect"]) == ("crit", "warn")
        assert team.run("ann", "policy", "check", "brought").code == 0

        (rule_row,) = xray(team, "GET", "v1/ignore_rules")["data"]
        again = team.run("ann", "policy", "import", "xray", "--output", "again")
        assert [line.split() for line in again.out.splitlines()[:2]] == [
            ["ignore", "rules", "in", "Xray", "1"],
            ["copied", "to", "the", "log", "now", "0"],
        ]
        xray(team, "DELETE", f"v1/ignore_rules/{rule_row['id']}")
        gone = team.run("ann", "policy", "import", "xray", "--ignore-rules-only").out
        assert not Path("xray-import").exists()
        assert ["gone", "from", "Xray", "since", "1"] in [line.split() for line in gone.splitlines()]
        (copied,) = team.listed()["copied"]
        assert (copied["waiver"], copied["reason"]) == (f"xray:{rule_row['id']}", "not reachable")
        assert (
            f"xray:{rule_row['id']}: copied from Xray until 2099-01-01"
            in team.run("ann", "waiver", "list").out
        )
        assert (
            team.run("ann", "policy", "import", "xray", "--output", "brought").code == 2
        )  # never written over


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "osv-scanner",
            '[[PackageOverrides]]\nname = "PyYAML"\necosystem = "PyPI"\nignore = true\nreason = "sandbox only"\n',
        ),
        (
            "pip-audit",
            "--ignore-vuln CVE-2020-14343  # sandbox only\n--ignore-vuln CVE-2020-1747 # sandbox only\n",
        ),
    ],
    ids=["osv-scanner", "pip-audit"],
)
def test_an_ignore_list_becomes_requests_for_waivers(team: Team, source: str, text: str) -> None:
    team.load()
    decision = team.decision()
    ignored = team.folder / "ignored"
    ignored.write_text(
        "--ignore-vuln CVE-1999-0001" if source == "pip-audit" else '[[IgnoredVulns]]\nid = "CVE-1999-0001"\n'
    )
    words = ("policy", "import", source, "ignored", "--decision", decision, "--ticket", "SEC-2")
    nothing = team.run("ann", *words)
    assert (nothing.code, "does not speak of CVE-2020-14343" in nothing.err) == (1, True), nothing.err
    assert not team.waivers.exists()

    ignored.write_text(text)
    done = team.run("ann", *words)
    assert done.code == 0, done.err
    (path,) = team.waivers.glob("*.yaml")
    spec = yaml.safe_load(path.read_text())["spec"]
    assert spec["reason"].startswith("imported from ignored. ")
    assert "sandbox only" in spec["reason"]
    assert "0 of 1 approvals" in team.load()
    assert team.run("bob", "waiver", "approve", "--yes", path.stem).code == 0
    assert team.load() == "allowed"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("grype",), "`grype` is not known here"),
        (("osv-scanner",), "is read from a file, for one refusal"),
        (("pip-audit", "nowhere", "--decision", "0"), "cannot be read"),
    ],
    ids=["unknown", "no file", "no such file"],
)
def test_imports_that_cannot_be(team: Team, words: tuple[str, ...], says: str) -> None:
    done = team.run("ann", "policy", "import", *words)
    assert (done.code, says in done.err) == (2, True), done.err


# -- the page


PAGE = Path(__file__).resolve().parents[2] / "docs" / "waivers.md"


def page_lines() -> list[tuple[str, list[str]]]:
    """The command lines of the page, each with who runs it."""
    found, who = [], ""
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("# as "):
                who = re.split(r"[ ,]", line.removeprefix("# as "))[0]
            else:
                found.append((who, shlex.split(line, comments=True)[1:]))
    return found


def test_the_page_is_true(team: Team) -> None:
    """Every command of `docs/waivers.md`, in its order, by whom it says."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (team.folder / ".governance" / "set.yaml").write_text(example.replace("approvals: 2", "approvals: 1"))
    team.load()
    values = {"$DECISION": team.decision()}
    codes = []
    for who, words in page_lines():
        if words[:2] == ["waiver", "review"] and len(words) == 2:
            assert team.load(MLGOV_BREAK_GLASS="production is down, INC-7") == "allowed"
        with xray_policy(team) if words[:2] == ["policy", "import"] else nullcontext():
            # On the page a person is asked, on a terminal that a test has not.
            yes = ["--yes"] if words[:2] in (["waiver", "approve"], ["waiver", "revoke"]) else []
            done = team.run(who, *(values.get(word, word) for word in words), *yes)
        codes.append((" ".join(words[:2]), done.code))
        assert done.code in {0, 1}, done.err
        if words[:2] == ["waiver", "request"]:
            (path,) = team.waivers.glob("*.yaml")
            values["$WAIVER"] = path.stem
        if words[:2] == ["waiver", "approve"]:
            assert team.load() == "allowed"
    assert [verb for verb, code in codes if code] == ["waiver list"]  # the one that says so
    assert len(codes) == 15
    assert team.listed()["waivers"][0]["state"] == "revoked"
    assert team.listed()["breakGlass"] == []


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
