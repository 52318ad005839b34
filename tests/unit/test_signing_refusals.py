"""One test per refusal: each bad signature is refused, and for its own reason."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from governance.errors import SignatureError
from governance.signing import verify
from governance.signing.bundle import MAX_BUNDLE
from governance.signing.publickey import Algorithm
from governance.signing.reason import STEPS, Reason, step_of
from governance.signing.report import SignatureReport
from governance.signing.sign import sign_manifest, sign_payload
from governance.signing.statement import MAX_RESOURCES
from governance.signing.trust import Revocation, Role, TrustStore
from governance.signing.verify import require_valid, verify_bundle
from tests.unit.signing_kit import (
    FILES,
    NOW,
    closed,
    manifest_of,
    opened,
    resource,
    resources,
    seal,
    signed,
    signer,
    statement_of,
    trust,
    trusted,
)

DAY = timedelta(days=1)


def check(bundle: bytes | None, store: TrustStore | None = None, **more: Any) -> SignatureReport:
    report = verify_bundle(bundle, manifest_of(), store or trust(), at=NOW, **more)
    assert not report.valid
    assert report.detail
    with pytest.raises(SignatureError) as caught:
        require_valid(report)
    assert caught.value.reason == report.reason
    return report


def good() -> bytes:
    return sign_manifest(manifest_of(), name="model", signer=signer())


# The file, steps 1 to 3 -----------------------------------------------------------------------------------------------


def bundle_with(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = opened(good())
    change(document)
    return closed(document)


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


SIG = ("dsseEnvelope", "signatures", 0)
FILE_MISTAKES = {
    "no such file": (None, Reason.MISSING),
    "over 16 MiB": (b" " * (MAX_BUNDLE + 1), Reason.TOO_LARGE),
    "empty": (b"", Reason.NOT_JSON),
    "truncated": (good()[:-40], Reason.NOT_JSON),
    "not an object": (b"[]", Reason.NOT_JSON),
    "not UTF-8": (b'{"mediaType":"\xff"}', Reason.NOT_JSON),
    "a key twice": (good().replace(b'{"mediaType"', b'{"mediaType":"x","mediaType"'), Reason.NOT_JSON),
    "NaN": (b'{"mediaType":NaN}', Reason.NOT_JSON),
    "nested without end": (b'{"a":' + b"[" * 100_000, Reason.NOT_JSON),
    "number without end": (b'{"a":' + b"9" * 10_000 + b"}", Reason.NOT_JSON),
    "no media type": (bundle_with(lambda d: d.pop("mediaType")), Reason.BUNDLE),
    "another media type": (bundle_with(put("mediaType", value="application/json")), Reason.MEDIA_TYPE),
    "a stray member": (bundle_with(put("messageSignature", value={})), Reason.BUNDLE),
    "no material": (bundle_with(lambda d: d.pop("verificationMaterial")), Reason.MATERIAL),
    "two materials": (
        bundle_with(put("verificationMaterial", "certificate", value={"rawBytes": ""})),
        Reason.MATERIAL,
    ),
    "empty material": (bundle_with(put("verificationMaterial", value={"tlogEntries": []})), Reason.MATERIAL),
    "key without hint": (bundle_with(put("verificationMaterial", "publicKey", value={})), Reason.MATERIAL),
    "sigstore without log": (
        bundle_with(put("verificationMaterial", value={"certificate": {"rawBytes": ""}})),
        Reason.MATERIAL,
    ),
    "no envelope": (bundle_with(lambda d: d.pop("dsseEnvelope")), Reason.ENVELOPE),
    "truncated envelope": (bundle_with(lambda d: d["dsseEnvelope"].pop("payload")), Reason.ENVELOPE),
    "empty payload": (bundle_with(put("dsseEnvelope", "payload", value="")), Reason.ENVELOPE),
    "no signatures": (bundle_with(put("dsseEnvelope", "signatures", value=[])), Reason.ENVELOPE),
    "signature that is text": (bundle_with(put(*SIG, value="x")), Reason.ENVELOPE),
    "empty signature": (bundle_with(put(*SIG, "sig", value="")), Reason.ENVELOPE),
    "seventeen signatures": (
        bundle_with(lambda d: d["dsseEnvelope"].update(signatures=d["dsseEnvelope"]["signatures"] * 17)),
        Reason.TOO_MANY_SIGNATURES,
    ),
    "payload type swapped": (
        bundle_with(put("dsseEnvelope", "payloadType", value="text/plain")),
        Reason.PAYLOAD_TYPE,
    ),
    "payload not base64": (bundle_with(put("dsseEnvelope", "payload", value="{}")), Reason.BASE64),
    "two alphabets": (bundle_with(put(*SIG, "sig", value="+_==")), Reason.BASE64),
    "base64 without padding": (bundle_with(put(*SIG, "sig", value="QQ")), Reason.BASE64),
    "base64 with bits after the end": (bundle_with(put(*SIG, "sig", value="QR==")), Reason.BASE64),
    "base64 with a newline": (bundle_with(put(*SIG, "sig", value="QQ==\n")), Reason.BASE64),
}


@pytest.mark.parametrize("case", FILE_MISTAKES)
def test_a_damaged_signature_file_is_refused_for_its_own_reason(case: str) -> None:
    bundle, reason = FILE_MISTAKES[case]
    report = check(bundle)
    assert report.reason is reason
    assert report.signer is None
    assert not report.compared


# Signatures and signers, steps 4 to 7 ---------------------------------------------------------------------------------


def test_a_payload_type_swapped_before_signing_is_refused_too() -> None:
    payload = json.dumps(statement_of()).encode()
    bundle = sign_payload(payload, signers=(signer(),), payload_type="application/json")
    assert check(bundle).reason is Reason.PAYLOAD_TYPE


def test_a_flipped_bit_of_the_payload_is_a_bad_signature() -> None:
    payload = bytearray(json.dumps(statement_of()).encode())
    payload[40] ^= 1
    change = put("dsseEnvelope", "payload", value=base64.b64encode(payload).decode())
    assert check(bundle_with(change)).reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_every_flipped_byte_of_a_signature_is_refused(algorithm: Algorithm) -> None:
    made = signer("of-" + algorithm.value, algorithm)
    bundle = sign_manifest(manifest_of(), name="m", signer=made)
    value = base64.b64decode(opened(bundle)["dsseEnvelope"]["signatures"][0]["sig"])
    for index in range(0, len(value), 7):
        spoiled = bytearray(value)
        spoiled[index] ^= 0x10
        document = opened(bundle)
        put(*SIG, "sig", value=base64.b64encode(spoiled).decode())(document)
        check(closed(document), TrustStore.of_key(made.public))


def test_an_unknown_key_is_refused_even_where_it_names_a_trusted_one() -> None:
    by_mallory = sign_manifest(manifest_of(), name="m", signer=signer("mallory"))
    assert check(by_mallory).reason is Reason.UNKNOWN_KEY
    document = opened(by_mallory)
    put("verificationMaterial", "publicKey", "hint", value=signer().key_id)(document)
    put(*SIG, "keyid", value=signer().key_id)(document)
    assert check(closed(document)).reason is Reason.BAD_SIGNATURE


def test_the_key_inside_an_old_bundle_is_not_believed() -> None:
    document = opened(sign_manifest(manifest_of(), name="m", signer=signer("mallory")))
    der = base64.b64encode(signer("mallory").public_pem.encode()).decode()
    put("verificationMaterial", "publicKey", value={"rawBytes": der, "keyDetails": "x"})(document)
    assert check(closed(document)).reason is Reason.UNKNOWN_KEY


def test_nobody_is_trusted_by_an_empty_store_or_in_another_role() -> None:
    assert check(good(), TrustStore.empty()).reason is Reason.NO_TRUST
    store = trust(trusted(roles=frozenset({Role.DECISION})))
    assert check(good(), store).reason is Reason.NO_TRUST


GRANTS: dict[str, tuple[dict[str, Any], dict[str, Any], Reason]] = {
    "role": ({"roles": frozenset({Role.WAIVER})}, {}, Reason.ROLE),
    "scope": ({"repositories": ("dev-*",)}, {"repository": "prod-models"}, Reason.SCOPE),
    "scope, and no repository": ({"repositories": ("dev-*",)}, {}, Reason.SCOPE),
    "not yet valid": ({"not_before": NOW + DAY}, {}, Reason.NOT_YET_VALID),
    "expired": ({"not_after": NOW - DAY}, {}, Reason.EXPIRED),
    "expired when it was signed": (
        {"not_after": NOW - 3 * DAY},
        {"signed_at": NOW - 2 * DAY},
        Reason.EXPIRED,
    ),
    "superseded, no trusted time": (
        {"revoked_at": NOW - DAY, "revocation": Revocation.SUPERSEDED},
        {},
        Reason.SUPERSEDED,
    ),
    "superseded before signing": (
        {"revoked_at": NOW - 2 * DAY, "revocation": Revocation.SUPERSEDED},
        {"signed_at": NOW - DAY},
        Reason.SUPERSEDED,
    ),
    "compromised, no trusted time": (
        {"revoked_at": NOW + DAY, "revocation": Revocation.COMPROMISED},
        {},
        Reason.COMPROMISED,
    ),
    "compromised before signing": (
        {"revoked_at": NOW - 2 * DAY, "revocation": Revocation.COMPROMISED},
        {"signed_at": NOW - DAY},
        Reason.COMPROMISED,
    ),
    "signed in the future": ({}, {"signed_at": NOW + DAY}, Reason.FUTURE),
}


@pytest.mark.parametrize("case", GRANTS)
def test_a_signer_outside_its_grant_is_refused_for_its_own_reason(case: str) -> None:
    grant, asked, reason = GRANTS[case]
    store = trust(trusted(**grant), trusted("someone-else"))
    report = check(good(), store, **asked)
    assert report.reason is reason
    assert report.signer is None


def test_an_expired_trust_file_vouches_for_nobody() -> None:
    assert check(good(), trust(expires=NOW - DAY)).reason is Reason.TRUST_EXPIRED


def test_one_key_that_signs_twice_counts_once() -> None:
    store = trust(trusted(), trusted("bob"), thresholds=((Role.ARTIFACT, 2),))
    twice = sign_manifest(manifest_of(), name="m", signer=signer(), also=(signer(),))
    assert check(twice, store).reason is Reason.THRESHOLD
    both = sign_manifest(manifest_of(), name="m", signer=signer(), also=(signer("bob"),))
    report = verify_bundle(both, manifest_of(), store, at=NOW)
    assert report.valid
    assert report.signers == ("alice", "bob")


def test_one_person_with_an_old_key_and_a_new_one_counts_once() -> None:
    """The old key stays trusted after `mlgov keys rotate`, under the same name."""
    old, new, bob = trusted(), replace(trusted("next"), name="Alice "), trusted("bob")
    store = trust(old, new, bob, thresholds=((Role.ARTIFACT, 2),))
    alone = sign_manifest(manifest_of(), name="m", signer=signer(), also=(signer("next"),))
    report = check(alone, store)
    assert report.reason is Reason.THRESHOLD
    assert report.detail == "1 trusted signer(s) of 2 that `artifact` needs"
    three = sign_manifest(manifest_of(), name="m", signer=signer(), also=(signer("next"), signer("bob")))
    assert verify_bundle(three, manifest_of(), store, at=NOW).valid


def test_of_several_signatures_the_trusted_one_is_found() -> None:
    bundle = sign_manifest(manifest_of(), name="m", signer=signer("mallory"), also=(signer("x"), signer()))
    assert verify_bundle(bundle, manifest_of(), trust(), at=NOW).signer == "alice"


# The statement, steps 8 and 9 -----------------------------------------------------------------------------------------


def statement_with(change: Callable[[dict[str, Any]], object], *, reseal: bool = False) -> bytes:
    document = statement_of()
    change(document)
    return signed(seal(document) if reseal else document)


def listing(*rows: Any) -> bytes:
    return statement_with(put("predicate", "resources", value=list(rows)), reseal=True)


SERIAL = ("predicate", "serialization")
STATEMENT_MISTAKES = {
    "not JSON": (signed(b"{"), Reason.NOT_JSON),
    "another type": (
        statement_with(put("_type", value="https://in-toto.io/Statement/v0.1")),
        Reason.STATEMENT,
    ),
    "another predicate": (
        statement_with(put("predicateType", value="https://example.com/x")),
        Reason.PREDICATE_TYPE,
    ),
    "no subject": (statement_with(put("subject", value=[])), Reason.STATEMENT),
    "two subjects": (statement_with(lambda d: d["subject"].append(d["subject"][0])), Reason.STATEMENT),
    "a stray member": (statement_with(put("predicate", "extra", value=1)), Reason.STATEMENT),
    "annotations that are a list": (
        statement_with(put("subject", 0, "annotations", value=[])),
        Reason.STATEMENT,
    ),
    "100,001 resources": (
        statement_with(put("predicate", "resources", value=[{}] * (MAX_RESOURCES + 1))),
        Reason.TOO_MANY_RESOURCES,
    ),
    "no files": (statement_with(put("predicate", "resources", value=[])), Reason.EMPTY),
    "a name twice": (listing(*resources("a", "a")), Reason.DUPLICATE_NAME),
    "an absolute name": (listing(*resources("/etc/passwd")), Reason.UNSAFE_NAME),
    "a drive letter": (listing(*resources("C:/x")), Reason.UNSAFE_NAME),
    "a name with ..": (listing(*resources("a/../../b")), Reason.UNSAFE_NAME),
    "a backslash": (listing(*resources("a\\b")), Reason.UNSAFE_NAME),
    "NUL": (listing(*resources("a\0b")), Reason.UNSAFE_NAME),
    "a newline": (listing(*resources("a\nb")), Reason.UNSAFE_NAME),
    "a lone surrogate": (listing(*resources("a\ud800")), Reason.UNSAFE_NAME),
    "an endless name": (listing(*resources("a" * 5000)), Reason.UNSAFE_NAME),
    "the whole folder beside files": (listing(*resources(".", "a")), Reason.UNSAFE_NAME),
    "a resource that is text": (statement_with(put("predicate", "resources", value=["a"])), Reason.STATEMENT),
    "a digest in upper case": (
        listing(resource("a") | {"digest": "AB" * 32}),
        Reason.STATEMENT,
    ),
    "a short digest": (listing(resource("a") | {"digest": "ab"}), Reason.STATEMENT),
    "a negative size": (listing(resource("a", size=-1)), Reason.STATEMENT),
    "another hash for one file": (listing(resource("a", algorithm="md5")), Reason.HASH),
    "a hash that is a list": (listing(resource("a", algorithm=["sha256"])), Reason.HASH),
    "an unknown hash": (statement_with(put(*SERIAL, "hash_type", value="md5")), Reason.HASH),
    "an unknown method": (statement_with(put(*SERIAL, "method", value="tar")), Reason.STATEMENT),
    "symbolic links": (statement_with(put(*SERIAL, "allow_symlinks", value=True)), Reason.SYMLINKS),
    "shard size without shards": (statement_with(put(*SERIAL, "shard_size", value=1)), Reason.STATEMENT),
    "shards without size": (statement_with(put(*SERIAL, "method", value="shards")), Reason.SHARDS),
    "an ignore list that hides files": (
        statement_with(put(*SERIAL, "ignore_paths", value=["model.sig", "sub"])),
        Reason.IGNORE_LIST,
    ),
    "an ignore list of numbers": (statement_with(put(*SERIAL, "ignore_paths", value=[1])), Reason.STATEMENT),
    "a wrong root digest": (
        statement_with(put("subject", 0, "digest", "sha256", value="0" * 64)),
        Reason.INCONSISTENT,
    ),
    "a wrong dirHash1": (
        statement_with(put("subject", 0, "digest", "dirHash1", value="0" * 64)),
        Reason.INCONSISTENT,
    ),
    "renamed under the same root digest": (
        statement_with(put("predicate", "resources", 3, "name", value="sub/b.pkl")),
        Reason.INCONSISTENT,
    ),
}


@pytest.mark.parametrize("case", STATEMENT_MISTAKES)
def test_a_bad_statement_is_refused_for_its_own_reason_though_well_signed(case: str) -> None:
    bundle, reason = STATEMENT_MISTAKES[case]
    report = check(bundle)
    assert report.reason is reason
    assert report.signer == "alice"
    assert report.manifest is None


def shards(size: int, *names: str) -> bytes:
    document = statement_of()
    document["predicate"]["serialization"] |= {"method": "shards", "shard_size": size}
    document["predicate"]["resources"] = resources(*names)
    return signed(seal(document))


@pytest.mark.parametrize(
    "names",
    [
        ("a",),
        ("a:0",),
        ("a:0:x",),
        ("a:5:5",),
        ("a:01:10",),
        ("a:10:20",),
        ("a:0:10", "a:20:30"),
        ("a:0:10", "a:5:15"),
        ("a:0:11",),
        ("a:0:5", "a:5:10"),
    ],
)
def test_shards_with_gaps_overlaps_or_wrong_lengths_are_refused(names: tuple[str, ...]) -> None:
    assert check(shards(10, *names)).reason is Reason.SHARDS


def test_shards_cannot_be_compared_with_checksums_alone() -> None:
    assert check(shards(10, "a:0:10", "a:10:12")).reason is Reason.NOT_COMPARABLE


# The files, step 10 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (FILES | {"evil.pkl": b"x"}, {"unsigned": ("evil.pkl",)}),
        (FILES | {"__init__.py": b""}, {"unsigned": ("__init__.py",)}),
        (FILES | {".git/hooks/evil": b""}, {"unsigned": (".git/hooks/evil",)}),
        ({"MLmodel": FILES["MLmodel"]}, {"missing": ("empty", "sub-x", "sub/b.bin")}),
        (FILES | {"sub-x": b"2"}, {"changed": ("sub-x",)}),
        (FILES | {"sub-x": b"22", "sub/b.bin": b"1"}, {"changed": ("sub-x", "sub/b.bin")}),
        ({}, {"missing": tuple(sorted(FILES))}),
    ],
)
def test_missing_added_and_changed_files_are_told_apart(
    files: dict[str, bytes], found: dict[str, tuple[str, ...]]
) -> None:
    report = verify_bundle(good(), manifest_of(files), trust(), at=NOW)
    assert not report.valid
    assert report.compared
    assert report.reason is Reason.FILES
    assert report.signer == "alice"
    seen = {"missing": report.missing, "unsigned": report.unsigned, "changed": report.changed}
    assert {key: value for key, value in seen.items() if value} == found


def test_a_message_shows_no_control_characters_of_a_stranger() -> None:
    document = opened(sign_manifest(manifest_of(), name="m", signer=signer("mallory")))
    put("verificationMaterial", "publicKey", "hint", value="\x1b[2J\nall is well")(document)
    assert check(closed(document)).detail.isprintable()


def test_each_reason_is_refused_at_one_step_of_the_procedure() -> None:
    own_of_summaries = {
        Reason.VSA, Reason.SUBJECT, Reason.VERIFIER, Reason.RESOURCE, Reason.FAILED, Reason.LEVELS, Reason.POLICY,
    }  # fmt: skip
    without = {reason for reason in Reason if step_of(reason) is None}
    assert without == own_of_summaries | {Reason.MISSING}
    assert {step_of(reason) for reason in set(Reason) - without} == set(range(1, len(STEPS) + 1))
    procedure = verify.__doc__ or ""
    assert re.findall(r"^ ?(\d+)\. ", procedure, re.MULTILINE) == [str(n) for n in range(1, len(STEPS) + 1)]
