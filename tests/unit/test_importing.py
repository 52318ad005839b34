"""What comes over from Xray, osv-scanner and pip-audit: each criterion, what has no equal, and lists that end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml

from governance.errors import ConfigurationError
from governance.importing.ignorelists import Ignored, Spoken, read_osv, read_pip_audit, speak
from governance.importing.xray import Imported, document_text, set_tree, translate
from governance.model.facts import Collection, FactValue, Item
from governance.model.request import Action
from governance.model.verdict import Effect, Mode, Verdict
from governance.policy.compile import compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.load import load_files
from governance.xray.rules import XrayPolicy, XrayResource, XrayRule, XrayWatch
from tests.unit.policy_kit import NOON, facts, request

BLOCK = {"block_download": {"active": True, "unscanned": False}}
ADVISORY: dict[str, Any] = {
    "id": "XRAY-1", "cve": "CVE-2020-1", "severity": "high", "cvss": 7.5, "component": "a", "ecosystem": "pypi",
    "component_version": "1.0", "fix_available": True, "applicable": True,
}  # fmt: skip
WATCH = XrayWatch(
    name="w", active=True, resources=(XrayResource(type="repository", name="models-local"),), policies=("P",)
)


def policy(
    criteria: dict[str, Any], *, kind: str = "security", actions: dict[str, Any] | None = None
) -> XrayPolicy:
    rule = XrayRule(name="R 1", priority=1, criteria=criteria, actions=BLOCK if actions is None else actions)
    return XrayPolicy(name="P", type=kind, description="", rules=(rule,))


def brought(
    criteria: dict[str, Any], *, kind: str = "security", actions: dict[str, Any] | None = None
) -> Imported:
    (one,) = translate([policy(criteria, kind=kind, actions=actions)], [WATCH])
    return one


def verdict(imported: Imported, values: dict[str, FactValue]) -> Verdict:
    """What the files say together, as they are written."""
    files = {
        "p.yaml": document_text(imported).encode(),
        "s.yaml": yaml.safe_dump(set_tree([imported])).encode(),
    }
    compiled = compile_bundle(load_files(files))
    found = evaluate(compiled, request(action=Action.LOAD), facts(values))
    assert compiled.mode_for(request(), found) is Mode.OBSERVE
    return found


def advisories(**changes: Any) -> dict[str, FactValue]:
    return {"vulnerabilities": Collection((ADVISORY | changes,))}


@pytest.mark.parametrize(
    ("criteria", "hit", "miss"),
    [
        ({"min_severity": "High"}, {}, {"severity": "medium"}),
        ({"min_severity": "All Severities"}, {"severity": "low"}, None),
        ({"cvss_range": {"from": 7, "to": 8}}, {}, {"cvss": 9.0}),
        ({"vulnerability_ids": ["CVE-2020-1"]}, {}, {"cve": "CVE-2020-2"}),
        ({"vulnerability_ids": ["XRAY-1"]}, {}, {"id": "XRAY-2"}),
        ({"min_severity": "Low", "fix_version_dependant": True}, {}, {"fix_available": False}),
        ({"min_severity": "Low", "applicable_cves_only": True}, {}, {"applicable": False}),
    ],
    ids=str,
)
def test_advisories_are_judged_as_xray_does(
    criteria: dict[str, Any], hit: dict[str, Any], miss: dict[str, Any] | None
) -> None:
    imported = brought(criteria)
    assert verdict(imported, advisories(**hit)).decision is Effect.BLOCK
    if miss is not None:
        assert verdict(imported, advisories(**miss)).decision is Effect.ALLOW
    assert verdict(imported, {}).decision is Effect.BLOCK  # never milder: what is not known matches


def dependency(name: str, version: str) -> dict[str, FactValue]:
    row = {"purl": f"pkg:pypi/{name}@{version}", "name": name, "ecosystem": "pypi", "version": version}
    return {"dependencies": Collection((row,))}


@pytest.mark.parametrize(
    ("versions", "hit", "miss"),
    [
        ([], "9.9", None),
        (["[1.0]"], "1.0", "1.1"),
        (["[1.0,2.0)"], "1.5", "2.0"),
        (["(,2.0]", "[3.0,)"], "3.1", "2.5"),
    ],
)
def test_packages(versions: list[str], hit: str, miss: str | None) -> None:
    criteria = {"package_name": "Evil_Pkg", "package_type": "PyPI", "package_versions": versions}
    imported = brought(criteria)
    assert verdict(imported, dependency("evil-pkg", hit)).decision is Effect.BLOCK
    assert verdict(imported, dependency("good", hit)).decision is Effect.ALLOW
    if miss is not None:
        assert verdict(imported, dependency("evil-pkg", miss)).decision is Effect.ALLOW


@pytest.mark.parametrize(
    ("kind", "name", "purl", "ecosystem", "hit", "miss"),
    [
        ("npm", "@acme/tool", "pkg:npm/%40acme/tool", "npm", "1.5.0", "2.0.0"),
        ("Maven", "org.acme:tool", "pkg:maven/org.acme/tool", "maven", "1.5.Final", "2.0.GA"),
        ("Go", "github.com/Acme/tool", "pkg:golang/github.com/acme/tool", "golang", "v1.5.0", "v2.0.0"),
        ("Cargo", "tool_kit", "pkg:cargo/tool-kit", "cargo", "1.5.0", "2.0.0"),
        ("NuGet", "Acme.Tool", "pkg:nuget/acme.tool", "nuget", "1.5.0.1", "2.0.0.0"),
    ],
)
def test_packages_of_other_ecosystems(
    kind: str, name: str, purl: str, ecosystem: str, hit: str, miss: str
) -> None:
    criteria = {"package_name": name, "package_type": kind, "package_versions": ["[1.0,2.0)"]}
    imported = brought(criteria)
    for version, effect in ((hit, Effect.BLOCK), (miss, Effect.ALLOW)):
        row: Item = {"purl": f"{purl}@{version}", "ecosystem": ecosystem, "version": version}
        assert verdict(imported, {"dependencies": Collection((row,))}).decision is effect
    whole = brought({**criteria, "package_versions": ["(,)"]})
    row = {"purl": f"{purl}@{miss}", "ecosystem": ecosystem, "version": miss}
    assert verdict(whole, {"dependencies": Collection((row,))}).decision is Effect.BLOCK


def test_what_is_left_out_of_a_rule_is_said_and_the_rest_kept() -> None:
    banned = brought(
        {"banned_licenses": ["Public Domain", "AGPL-3.0"], "multi_license_permissive": True}, kind="license"
    )
    assert verdict(banned, licence("AGPL-3.0-only")).decision is Effect.BLOCK
    assert verdict(banned, licence("Public Domain")).decision is Effect.BLOCK, "it may be any"
    assert verdict(banned, licence("MIT")).decision is Effect.ALLOW
    notes = [note for note in banned.notes if note.startswith("rule")]
    assert notes == [
        "rule 'R 1': licence 'Public Domain' is none of SPDX, and is left out of the list",
        "rule 'R 1': criterion 'multi_license_permissive' has no equal here: the rule holds without it",
    ]
    graced = brought(
        {"malicious_package": True}, actions={"block_download": {"active": True, "grace_period_days": 7}}
    )
    assert verdict(graced, {"xray.malicious": True}).decision is Effect.BLOCK
    assert any("a grace period has no equal here but for advisories" in note for note in graced.notes)


def licence(spdx: str) -> dict[str, FactValue]:
    return {"licences": Collection(({"spdx": spdx, "component": "a"},))}


def test_licences_risk_and_malice() -> None:
    banned = brought({"banned_licenses": ["AGPL-3.0-only"]}, kind="license")
    assert verdict(banned, licence("AGPL-3.0-only")).decision is Effect.BLOCK
    assert verdict(banned, licence("MIT")).decision is Effect.ALLOW
    allowed = brought({"allowed_licenses": ["MIT"], "allow_unknown": True}, kind="license")
    assert verdict(allowed, licence("Apache-2.0")).decision is Effect.BLOCK
    assert verdict(allowed, {}).decision is Effect.ALLOW  # it says so itself
    risk = brought({"op_risk_min_risk": "Medium"}, kind="operational_risk")
    assert verdict(risk, {"operational_risk": "high"}).decision is Effect.BLOCK
    assert verdict(brought({"malicious_package": True}), {"xray.malicious": True}).decision is Effect.BLOCK


def test_actions() -> None:
    warns = brought({"min_severity": "High"}, actions={"fail_build": True, "mails": ["a@b"]})
    assert verdict(warns, advisories()).decision is Effect.WARN
    assert [note for note in warns.notes if note.startswith("rule")] == [
        "rule 'R 1' blocks no download in Xray, so it warns here",
        "rule 'R 1': failing builds has no equal here",
        "rule 'R 1': mail has no equal here",
    ]
    unscanned = brought(
        {"min_severity": "High"}, actions={"block_download": {"active": True, "unscanned": True}}
    )
    none: dict[str, FactValue] = {"vulnerabilities": Collection(())}
    assert verdict(unscanned, none | {"scan.complete": False}).decision is Effect.QUARANTINE
    graced = brought(
        {"min_severity": "High"}, actions={"block_download": {"active": True, "grace_period_days": 7}}
    )
    seen = (NOON - timedelta(days=3)).isoformat()
    assert verdict(graced, advisories(first_seen=seen)).decision is Effect.WARN


@pytest.mark.parametrize(
    ("criteria", "kind", "note"),
    [
        ({"exposures": {"secrets": True}}, "security", "rule 'R 1' has no equal here: criterion 'exposures'"),
        ({"op_risk_custom": {"is_eol": True}}, "operational_risk", "custom operational risk"),
        ({"min_severity": "Dire"}, "security", "severity 'Dire'"),
        ({"package_name": "a", "package_type": "rpm"}, "security", "packages of type 'rpm'"),
        ({}, "security", "criteria (none)"),
        ({}, "curation", "policies of type 'curation'"),
        ({"banned_licenses": ["Not A Licence!"]}, "license", "rule 'R 1' has no equal here"),
        ({"banned_licenses": "MIT"}, "license", "criterion 'banned_licenses' that is not a list"),
        ({"cvss_range": {"from": "high"}}, "security", "CVSS score 'high'"),
        ({"cvss_range": {"to": [7]}}, "security", "CVSS score [7]"),
        ({"vulnerability_ids": "CVE-2020-1"}, "security", "criterion 'vulnerability_ids' that is not a list"),
        (
            {"package_name": "a", "package_type": "pypi", "package_versions": "(,1)"},
            "security",
            "criterion 'package_versions' that is not a list",
        ),
    ],
    ids=str,
)
def test_what_has_no_equal_is_said_and_left_out(criteria: dict[str, Any], kind: str, note: str) -> None:
    imported = brought(criteria, kind=kind)
    assert imported.tree is None
    assert any(note in line for line in imported.notes), imported.notes


def test_a_rule_that_just_blocks_downloads_blocks_here() -> None:
    imported = brought({"min_severity": "High"}, actions={"block_download": True})
    assert verdict(imported, advisories()).decision is Effect.BLOCK


def test_a_rule_about_a_package_says_which_packages_it_sees() -> None:
    imported = brought({"package_name": "pyyaml", "package_type": "pypi"})
    assert any("not those inside a file that it brings" in note for note in imported.notes)


def test_watches() -> None:
    watches = [
        XrayWatch(
            name="narrow",
            active=True,
            resources=(
                XrayResource(
                    type="repository", name="hf-remote", filters=({"type": "regex", "value": ".*"},)
                ),
                XrayResource(type="all-builds", name=""),
            ),
            policies=("P",),
        ),
        XrayWatch(
            name="off", active=False, resources=(XrayResource(type="all-repos", name=""),), policies=("P",)
        ),
    ]
    (one,) = translate([policy({"min_severity": "High"})], watches)
    assert one.tree is not None
    assert one.tree["spec"]["match"]["repositories"] == ["hf-remote"]
    text = document_text(one)
    for note in (
        "# NOTE: watch 'narrow' narrows hf-remote by 'regex', which has no equal here: the policy holds for all of it",
        "# NOTE: watch 'narrow': resources of type 'all-builds' have no equal here",
        "# NOTE: watch 'off' is not active, so its repositories are left out",
        "# NOTE: its repositories are meant by these keys alone, where Xray stops the files whatever key they are asked for by",
    ):
        assert note in text
    everywhere = XrayWatch(
        name="all", active=True, resources=(XrayResource(type="all-repos", name=""),), policies=("P",)
    )
    (wide,) = translate([policy({"min_severity": "High"})], [everywhere])
    assert not any("by these keys alone" in note for note in wide.notes)
    (unbound,) = translate([policy({"min_severity": "High"})], [])
    assert not unbound.is_bound
    assert set_tree([unbound])["spec"] == {}


def test_hostile_names_stay_inside_comments_and_names() -> None:
    rule = XrayRule(name="../x\n- id: y", priority=1, criteria={"min_severity": "High"}, actions=BLOCK)
    hostile = XrayPolicy(
        name="a\nspec: {default: allow}", type="security", description="d\n---\n", rules=(rule, rule)
    )
    (one,) = translate([hostile], [])
    bundle = load_files({"p.yaml": document_text(one).encode()})
    assert [policy.name for policy in bundle.policies] == ["a-spec-default-allow"]
    assert [each.id for each in bundle.policies[0].rules] == ["x-id-y", "x-id-y-2"]


# -- ignore lists

OSV = b"""
[[IgnoredVulns]]
id = "CVE-2020-1"
ignoreUntil = 2026-12-01
reason = "not reachable"

[[IgnoredVulns]]
id = "CVE-2020-2"
ignoreUntil = 2026-01-01

[[PackageOverrides]]
name = "PyYAML"
ecosystem = "PyPI"
version = "5.3"
vulnerability.ignore = true

[[PackageOverrides]]
name = "other"
license.override = ["MIT"]
"""


def test_an_osv_scanner_list_speaks_of_what_it_names() -> None:
    entries = read_osv(OSV)
    assert [each.label for each in entries] == ["CVE-2020-1", "CVE-2020-2", "PyYAML 5.3"]
    known = {"id": "XRAY-1", "cve": "CVE-2020-1"}
    yaml_bug = {"id": "XRAY-9", "cve": "CVE-2020-9", "component": "pyyaml", "component_version": "5.3"}
    both = speak([known, yaml_bug], entries, now=NOON)
    assert both.is_whole
    assert both.until is not None
    assert both.until.isoformat() == "2026-12-01T00:00:00+00:00"
    assert both.reason("osv-scanner.toml") == (
        "imported from osv-scanner.toml. CVE-2020-1: not reachable; PyYAML 5.3: no reason was given"
    )
    ended = speak([known, {"cve": "CVE-2020-2"}], entries, now=NOON)
    assert (ended.is_whole, ended.missing) == (False, ("CVE-2020-2",))
    assert speak([{**yaml_bug, "component_version": "5.4"}], entries, now=NOON).missing == ("CVE-2020-9",)
    assert speak([], entries, now=NOON) == Spoken(entries=(), missing=())


def test_a_pip_audit_list() -> None:
    text = b"pip-audit --ignore-vuln PYSEC-2024-1 \\\n  --ignore-vuln ghsa-abcd-1234-efgh  # only in tests\nCVE-2020-14343\n"
    assert read_pip_audit(text) == (
        Ignored(advisory="PYSEC-2024-1"),
        Ignored(advisory="GHSA-ABCD-1234-EFGH", reason="only in tests"),
        Ignored(advisory="CVE-2020-14343"),
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"= no", "the ignore list is not TOML"),
        (b"\xff", "the ignore list is not TOML"),
        (b"[[IgnoredVulns]]\nreason = 'x'", "without an `id`"),
        (b"IgnoredVulns = 3", "is not a list of tables"),
        (b" " * ((1 << 20) + 1), "more than 1048576 bytes"),
    ],
    ids=["no toml", "no text", "no id", "no list", "large"],
)
def test_a_list_that_is_none(data: bytes, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_osv(data)


def test_a_pip_audit_list_without_ids() -> None:
    with pytest.raises(ConfigurationError, match="names no advisory"):
        read_pip_audit(b"hello")
