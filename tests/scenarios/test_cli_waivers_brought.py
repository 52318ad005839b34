"""What teams have already, brought over into policies and waivers: Xray's rules, and lists of what is ignored."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from governance.devserver import Fault
from tests.scenarios.waiver_team import Team


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

        team.server.faults.add(Fault(path="/xray/api/v2/watches", status=403))
        refused = team.run("ann", "policy", "import", "xray", "--output", "refused")
        assert refused.code == 3
        assert "manage policies and watches" in refused.err

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
    assert (nothing.code, "does not name CVE-2020-14343" in nothing.err) == (1, True), nothing.err
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
