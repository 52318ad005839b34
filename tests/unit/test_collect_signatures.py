"""What a signature is worth, as the collector hands it on."""

from __future__ import annotations

import io

from governance.model.artifact import (
    FOLDER_SIGNATURE,
    Artifact,
    Kind,
    parse_repository_key,
)
from governance.model.facts import Unknown
from governance.model.request import Action
from governance.signing.manifest import Manifest
from governance.signing.sign import sign_manifest
from tests.unit.collect_kit import CLEAN, Edge, asking
from tests.unit.signing_kit import signer

# signature


def sign(edge: Edge, name: str = "alice") -> None:
    manifest = Manifest.of(edge.request().artifact.files)
    bundle = sign_manifest(manifest, name="m", signer=signer(name))
    edge.artifactory.upload(edge.repo, f"m/{FOLDER_SIGNATURE}", io.BytesIO(bundle), size=len(bundle))


def test_a_good_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge)
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (True, True)
    assert (found["signature.signer"], found["signature.reason"]) == ("alice", None)
    assert found["manifest.unsigned_files"] == ()


def test_no_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, False)
    assert found["signature.reason"] == "missing"
    assert isinstance(found["manifest.changed_files"], Unknown)


def test_a_stranger_signature(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge, "mallory")
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, True)
    assert found["signature.signer"] is None


def test_files_that_differ_from_the_signed_ones(edge: Edge) -> None:
    edge.put(CLEAN)
    sign(edge)
    edge.put({"model.pkl": b"other", "new.bin": b"new"})
    edge.artifactory.delete(edge.repo, "m/requirements.txt")
    found = edge.facts("signature")
    assert found["signature.valid"] is False
    assert found["manifest.changed_files"] == ("model.pkl",)
    assert found["manifest.unsigned_files"] == ("new.bin",)
    assert found["manifest.missing_files"] == ("requirements.txt",)


def test_a_file_logged_alone_has_its_signature_beside_it(edge: Edge) -> None:
    edge.put({"x.bin": b"123"})
    (entry,) = edge.request().artifact.files
    artifact = Artifact(
        kind=Kind.FILE,
        host=edge.server.host,
        repository=parse_repository_key(edge.repo),
        path="m",
        name="x.bin",
        files=(entry,),
    )
    bundle = sign_manifest(Manifest.of([entry]), name="x.bin", signer=signer())
    edge.artifactory.upload(edge.repo, "m/x.bin.mlgov.sig", io.BytesIO(bundle), size=len(bundle))
    found = edge.collectors()["signature"].collect(asking(artifact, Action.DOWNLOAD))
    assert found["signature.valid"] is True


def test_junk_in_place_of_a_signature(edge: Edge) -> None:
    edge.put({**CLEAN, FOLDER_SIGNATURE: b"\x00junk"})
    found = edge.facts("signature")
    assert (found["signature.valid"], found["signature.present"]) == (False, True)
    assert found["signature.reason"]
