"""The vocabulary: digests, names, artifacts, canonical JSON, facts, refusals."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import BlockedError, NotFoundError, UnsafePathError
from governance.model.artifact import Artifact, FileEntry, Kind, parse_relative_path, parse_repository_key
from governance.model.canonical import CanonicalError, canonical_bytes, parse_canonical
from governance.model.digest import file_digest, parse_digest, parse_sha256, tree_digest
from governance.model.facts import CATALOGUE, Collection, Facts, Origin, Unknown, find_spec
from governance.model.recorded_facts import facts_from_json
from governance.model.request import Action, Actor, Request, new_id, parse_utc, utc_text
from governance.model.verdict import Effect, Finding, Refusal, Severity

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EMPTY = parse_sha256(hashlib.sha256(b"").hexdigest())


@pytest.mark.parametrize(
    "name", ["a", "a/b.bin", "with space", "semi;colon", "100%", "a#b", "a+b", "ü/日本.txt", "...a"]
)
def test_ordinary_names_pass(name: str) -> None:
    assert parse_relative_path(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "C:/x",
        "c:x",
        "a\\b",
        "a\x00b",
        "a\nb",
        "x" * 4097,
        "模" * 1366,  # 4,098 bytes
    ],
)
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(UnsafePathError):
        parse_relative_path(name)


@pytest.mark.parametrize("key", ["", "-a", "a/b", "a b", "x" * 65, ".."])
def test_bad_repository_keys_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="repository key"):
        parse_repository_key(key)


def test_tree_digest_is_what_sha256sum_and_sort_give() -> None:
    lines = f"{EMPTY}  a\n{EMPTY}  b/c\n".encode()
    assert tree_digest([("b/c", EMPTY), ("a", EMPTY)]) == f"dirhash1:{hashlib.sha256(lines).hexdigest()}"


def test_digest_texts_are_checked() -> None:
    assert parse_digest(file_digest(EMPTY)) == f"sha256:{EMPTY}"
    assert parse_sha256(EMPTY.upper()) == EMPTY
    for text in ("md5:00", "sha256:00", EMPTY):
        with pytest.raises(ValueError, match=r"."):
            parse_digest(text)


def artifact(*names: str, known: bool = True) -> Artifact:
    return Artifact(
        kind=Kind.MODEL,
        host="127.0.0.1",
        repository=parse_repository_key("models"),
        path="1/m",
        name="m",
        files=tuple(
            FileEntry(path=parse_relative_path(name), size=0, sha256=EMPTY if known else None)
            for name in names
        ),
    )


def test_an_artifact_has_a_digest_only_when_every_file_has() -> None:
    assert artifact("a", "b").digest == artifact("b", "a").digest
    assert artifact("a").digest != artifact("b").digest
    assert artifact("a", known=False).digest is None
    assert artifact().digest is None


def test_a_signature_does_not_change_the_identity() -> None:
    signed = Artifact(
        kind=Kind.MODEL,
        host="127.0.0.1",
        repository=parse_repository_key("models"),
        path="1/m",
        name="m",
        files=artifact("a").files,
        signature=FileEntry(path=parse_relative_path("model.sig"), sha256=EMPTY),
    )
    assert signed.digest == artifact("a").digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_inside_the_subset_the_bytes_are_those_of_rfc_8785(value: object) -> None:
    data = canonical_bytes(value)  # type: ignore[arg-type]
    assert data == rfc8785.dumps(value)
    assert parse_canonical(data) == value


@pytest.mark.parametrize(
    "value",
    [1.5, float("nan"), 2**53, b"x", {1: 2}, {"ü": 1}, {"a": object()}, "\ud800", {"a": [{"b": 0.0}]}],
)
def test_outside_the_subset_is_refused(value: object) -> None:
    with pytest.raises(CanonicalError):
        canonical_bytes(value)  # type: ignore[arg-type]


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(70):
        value = [value]
    with pytest.raises(CanonicalError, match="nested"):
        canonical_bytes(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ['{"a":1,"a":2}', '{"a": 1}', '{"b":1,"a":2}', "1.0", "NaN", "{", "[" * 100_000, "\ufeff1"]
)
def test_bytes_that_are_not_canonical_are_refused(text: str) -> None:
    with pytest.raises(CanonicalError):
        parse_canonical(text.encode())


members = (
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(0, 10) | st.text(max_size=5).map(str)
)
fact_values = (
    members
    | st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3).map(tuple)
    | st.text(st.characters(codec="utf-8"), max_size=5).map(Unknown)
    | st.builds(
        lambda items, missing: Collection(tuple(items), missing),
        st.lists(st.dictionaries(st.sampled_from(["id", "cvss"]), members, max_size=2), max_size=3),
        st.none() | st.just("cut short"),
    )
)


@given(st.dictionaries(st.sampled_from(sorted(CATALOGUE)), fact_values, max_size=5))
def test_facts_survive_their_record(values: dict[str, object]) -> None:
    facts = Facts(values, {name: Origin(source="s", observed_at="t") for name in values})  # type: ignore[arg-type]
    record = json.loads(facts.document())
    assert facts_from_json(record) == facts
    assert facts_from_json(record).digest() == facts.digest()


def test_a_fact_nobody_supplies_is_unknown() -> None:
    assert isinstance(Facts({}).get("xray.malicious"), Unknown)
    assert isinstance(Facts({}).get("property.team"), Unknown)
    assert isinstance(Facts({"property.*": Unknown("down")}).get("property.team"), Unknown)
    assert Facts({"property.*": True}).get("property.team") is None
    assert Facts({"property.*": True, "property.team": "a"}).get("property.team") == "a"


def test_the_catalogue_knows_properties_by_any_key() -> None:
    assert find_spec("property.team") is CATALOGUE["property.*"]
    assert find_spec("property.") is None
    assert find_spec("xray.malicous") is None


def test_times_have_one_form() -> None:
    assert utc_text(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-11-22T12:00:00.000000Z"
    assert parse_utc(utc_text(NOON)) == NOON
    with pytest.raises(ValueError, match=r"."):
        parse_utc("2026-11-22T12:00:00Z")


def test_ids_are_uuids_of_version_7_and_sort_by_time() -> None:
    first, second = new_id(NOON), new_id(NOON + timedelta(milliseconds=1))
    assert first < second
    assert first[14] == "7"
    assert first[19] in "89ab"


def test_a_request_in_local_time_is_refused() -> None:
    with pytest.raises(ValueError, match="UTC"):
        Request(
            action=Action.LOAD,
            artifact=artifact("a"),
            actor=Actor(name="alice"),
            environment="development",
            at=NOON.replace(tzinfo=None),
            correlation="c",
        )


def refusal(*findings: Finding, retry_after: int | None = None) -> Refusal:
    return Refusal(
        decision_id="d1",
        decision=Effect.QUARANTINE if retry_after else Effect.BLOCK,
        action="load",
        artifact_kind="model",
        artifact_ref="models/1/m",
        artifact_digest=file_digest(parse_sha256("0" * 64)),
        environment="production",
        policies=("baseline",),
        policy_digest="0" * 64,
        policy_revision=None,
        findings=findings,
        retry_after=retry_after,
    )


def finding(*, waivable: bool) -> Finding:
    return Finding(
        rule="baseline/malicious",
        effect=Effect.BLOCK,
        severity=Severity.CRITICAL,
        message="it is malicious",
        remediation="do not load it",
        waivable=waivable,
    )


def test_a_refusal_says_which_rule_why_and_what_to_do() -> None:
    text = refusal(finding(waivable=True)).text()
    for part in (
        "models/1/m",
        "blocked",
        "baseline/malicious",
        "it is malicious",
        "do not load it",
        "--decision d1",
    ):
        assert part in text


def test_a_waiver_is_offered_only_where_every_rule_may_be_waived() -> None:
    assert refusal(finding(waivable=True), finding(waivable=False)).waiver_command is None
    assert refusal().waiver_command is None


def test_a_warning_is_not_taken_for_the_grounds_of_a_refusal() -> None:
    warning = finding(waivable=True)._replace(effect=Effect.WARN, remediation="sign it")
    by_default = refusal(warning)
    assert "no rule allows it, and the policy's default is to refuse" in by_default.text()
    assert by_default.waiver_command is None, "a default cannot be waived"
    assert by_default.next_step() == "use another artifact"
    beside = refusal(warning._replace(waivable=False), finding(waivable=True))
    assert "no rule allows it" not in beside.text()
    assert beside.waiver_command is not None, "what only warns needs no waiver"
    assert beside.next_step() == "do not load it"


def test_no_waiver_is_offered_for_bytes_that_are_not_known() -> None:
    known = refusal(finding(waivable=True))
    assert known.waiver_command is not None
    assert replace(known, artifact_digest=None).waiver_command is None


def test_a_quarantine_says_when_to_come_back() -> None:
    assert "try again in 60 s" in refusal(finding(waivable=True), retry_after=60).text()


@pytest.mark.parametrize(
    "error",
    [
        BlockedError(refusal(finding(waivable=True))),
        NotFoundError(
            "no such item", service="Artifactory", method="GET", path="/a", status=404, hint="look again"
        ),
        UnsafePathError("no"),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
