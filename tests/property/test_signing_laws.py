"""Laws of signing: what holds for every manifest, every damage, and every byte string a stranger may send."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import KeyFileError, UnsafePathError
from governance.model.artifact import parse_relative_path
from governance.model.digest import parse_digest, parse_sha256
from governance.signing.bundle import parse_bundle
from governance.signing.manifest import Manifest, ManifestEntry
from governance.signing.predicate import parse_statement
from governance.signing.reason import Reason
from governance.signing.roots import open_signed_trust
from governance.signing.sign import sign_manifest
from governance.signing.statement import build_statement
from governance.signing.trust import TrustStore
from governance.signing.trustfile import TrustDocument, parse_trust, render_trust
from governance.signing.verify import verify_bundle
from governance.signing.vsa import parse_summary, verify_summary
from tests.unit.signing_kit import NOW, closed, manifest_of, opened, signed, signer, statement_of, trust


def is_safe(name: str) -> bool:
    try:
        parse_relative_path(name)
    except UnsafePathError:
        return False
    return name != "model.sig"


names = st.text(min_size=1, max_size=30).filter(is_safe)
hashes = st.binary(min_size=32, max_size=32).map(lambda raw: parse_sha256(raw.hex()))
entries = st.builds(
    lambda name, sha256, size, carried: ManifestEntry(
        name=parse_relative_path(name), sha256=sha256, size=size, carried=carried
    ),
    names, hashes, st.none() | st.integers(0, 2**53 - 1), st.booleans(),
)  # fmt: skip
manifests = st.lists(entries, min_size=1, max_size=12, unique_by=lambda entry: entry.name).map(
    lambda rows: Manifest(tuple(rows))
)


@given(manifests, st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
def test_what_is_signed_is_what_is_read(manifest: Manifest, name: str) -> None:
    statement = parse_statement(build_statement(manifest, name=name))
    assert statement.manifest == manifest
    assert statement.name == name


@given(manifests, st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(manifest: Manifest, random: Any) -> None:
    rows = list(manifest.entries)
    random.shuffle(rows)
    assert build_statement(Manifest(tuple(rows)), name="m") == build_statement(manifest, name="m")


@given(manifests, manifests)
def test_a_signature_fits_its_own_files_and_no_others(signed_files: Manifest, actual: Manifest) -> None:
    bundle = sign_manifest(signed_files, name="m", signer=signer())
    report = verify_bundle(bundle, actual, trust(), at=NOW)
    assert report.valid == (signed_files.digests() == actual.digests())
    names_signed, names_actual = set(signed_files.digests()), set(actual.digests())
    assert set(report.missing) == names_signed - names_actual
    assert set(report.unsigned) == names_actual - names_signed
    assert not set(report.changed) & (set(report.missing) | set(report.unsigned))


@given(manifests, st.data())
def test_two_manifests_with_one_identity_are_one(manifest: Manifest, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(manifest.entries) - 1))
    renamed = data.draw(names)
    rows = list(manifest.entries)
    rows[index] = replace(rows[index], name=parse_relative_path(renamed))
    if len({row.name for row in rows}) == len(rows):
        other = Manifest(tuple(rows))
        assert (other.dirhash1 == manifest.dirhash1) == (other.digests() == manifest.digests())


GOOD = sign_manifest(manifest_of(), name="m", signer=signer())


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_no_changed_byte_passes_unless_it_was_not_signed(index: int, mask: int) -> None:
    spoiled = bytearray(GOOD)
    spoiled[index] ^= mask
    report = verify_bundle(bytes(spoiled), manifest_of(), trust(), at=NOW)
    if report.valid:
        # Only the unsigned hint may differ: the payload and its signature are the same.
        before, after = opened(GOOD), opened(bytes(spoiled))
        assert parse_bundle(bytes(spoiled)).envelope.message == parse_bundle(GOOD).envelope.message
        assert before["dsseEnvelope"]["signatures"][0]["sig"] == after["dsseEnvelope"]["signatures"][0]["sig"]


@given(st.integers(0, len(GOOD) - 1))
def test_no_truncated_file_passes(length: int) -> None:
    assert verify_bundle(GOOD[:length], manifest_of(), trust(), at=NOW).reason is Reason.NOT_JSON


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path]
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for key, child in children:
        found += places(child, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """A document with one to three places replaced or removed."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)[1:] or [()]))
        if not path:
            return draw(json_values)
        target = document
        for step in path[:-1]:
            target = target[step]
        if draw(st.booleans()):
            target[path[-1]] = draw(json_values)
        else:
            del target[path[-1]]
    return document


def ends_in_a_report(data: bytes) -> None:
    report = verify_bundle(data, manifest_of(), trust(), at=NOW)
    assert report.valid or (report.reason in set(Reason) and report.detail)
    assert report.detail.isprintable()


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200)
def test_any_bytes_at_all_end_in_a_report_or_an_error_of_ours(data: bytes) -> None:
    ends_in_a_report(data)
    ends_in_a_report(signed(data) if data else GOOD)
    for parse in (parse_trust, open_signed_trust):
        with suppress(KeyFileError):
            parse(data)


@given(mutated(opened(GOOD)))
@settings(max_examples=150)
def test_a_bundle_with_members_replaced_ends_in_a_report(document: Any) -> None:
    ends_in_a_report(closed(document))


@given(mutated(statement_of()))
@settings(max_examples=150)
def test_a_signed_statement_with_members_replaced_ends_in_a_report(document: Any) -> None:
    bundle = signed(document)
    report = verify_bundle(bundle, manifest_of(), trust(), at=NOW)
    if report.valid:
        # Whatever was replaced, what counts is still there.
        assert report.manifest is not None
        assert report.manifest.digests() == manifest_of().digests()
        assert document["predicate"]["serialization"]["allow_symlinks"] is False


SUMMARY = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "m", "digest": {"sha256": "1" * 64}}],
    "predicateType": "https://slsa.dev/verification_summary/v1",
    "predicate": {
        "verifier": {"id": "urn:v"},
        "timeVerified": "2026-01-01T00:00:00Z",
        "resourceUri": "r",
        "policy": {"uri": "p", "digest": {"sha256": "2" * 64}},
        "inputAttestations": [{"digest": {"sha256": "3" * 64}}],
        "verificationResult": "PASSED",
        "verifiedLevels": ["MLGOV_ALLOWED"],
    },
}
SUBJECT = parse_digest("sha256:" + "1" * 64)


@given(mutated(SUMMARY) | st.just(SUMMARY))
@settings(max_examples=200)
def test_a_summary_with_members_replaced_ends_in_a_report(document: Any) -> None:
    store = TrustStore.of_key(signer().public)
    report = verify_summary(signed(document), store, at=NOW, digest=SUBJECT, resource="r")
    assert report.valid or report.reason in set(Reason)
    if report.valid:
        assert parse_summary(json.dumps(document).encode(), digest=SUBJECT).passed


TRUST = json.loads(render_trust(TrustDocument(store=trust(), roots=None)))


@given(mutated(TRUST))
@settings(max_examples=150)
def test_a_trust_file_with_members_replaced_is_read_or_refused_in_words(document: Any) -> None:
    with suppress(KeyFileError):
        parsed = parse_trust(json.dumps(document).encode())
        assert parse_trust(render_trust(parsed)) == parsed


@given(manifests)
def test_the_root_digest_is_that_of_the_raw_digests(manifest: Manifest) -> None:
    raw = b"".join(
        bytes.fromhex(entry.sha256) for entry in sorted(manifest.entries, key=lambda row: row.name)
    )
    assert manifest.root_digest == hashlib.sha256(raw).hexdigest()
