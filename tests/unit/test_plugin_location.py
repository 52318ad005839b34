"""Which whole a path belongs to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from governance.artifactory.address import Address, parse_uri
from governance.artifactory.items import StoredFile, Tree
from governance.errors import NotFoundError, UnsafePathError
from governance.model.artifact import Kind, parse_relative_path
from governance.model.digest import Sha256
from plugin.location import (
    candidates,
    experiment_id,
    folder_kind,
    logged_model_id,
    logged_model_root,
    resolve,
    run_id,
    select,
    split,
    whole,
)

MODEL = "m-" + "0123456789abcdef" * 2
RUN = "0123456789abcdef" * 2
ROOT = parse_uri("artifactory://host:8081/artifactory/models-local/ml")


def tree(*names: str, folders: tuple[str, ...] = ()) -> Tree:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    files = tuple(
        StoredFile(path=parse_relative_path(name), size=1, sha256=Sha256("a" * 64), modified=at)
        for name in sorted(names)
    )
    return Tree(files=files, folders=tuple(parse_relative_path(name) for name in folders))


def test_one_model_reached_by_different_pairs_is_one_place() -> None:
    base = f"artifactory://host/artifactory/repo/7/models/{MODEL}"
    pairs = [
        (f"{base}/artifacts", ""),
        (f"{base}/artifacts", None),
        (base, "artifacts"),
        (base, "artifacts/"),
        ("artifactory://host/artifactory/repo", f"7/models/{MODEL}/artifacts"),
        (f"{base}//artifacts/", "."),
    ]
    assert len({resolve(parse_uri(root), path) for root, path in pairs}) == 1


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../b", "a//b", "./a", "a\\..\\b", "C:/x", "a/\x00b", "/"]
)
def test_a_path_that_would_leave_its_root_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError):
        resolve(ROOT, path)


@pytest.mark.parametrize(
    ("path", "root", "model", "run", "experiment"),
    [
        (f"7/models/{MODEL}/artifacts/a/b", f"7/models/{MODEL}/artifacts", MODEL, None, "7"),
        (f"x/7/models/{MODEL}/artifacts", f"x/7/models/{MODEL}/artifacts", MODEL, None, "7"),
        (f"models/{MODEL}/artifacts", f"models/{MODEL}/artifacts", MODEL, None, None),
        (f"7/models/{MODEL}", None, None, None, None),
        (f"7/models/{MODEL}/artifactsX/a", None, None, None, None),
        (f"7/models/{MODEL}0/artifacts/a", None, None, None, None),
        (f"7/{RUN}/artifacts/model/MLmodel", None, None, RUN, "7"),
        (f"{RUN}/artifacts", None, None, RUN, None),
        ("plots/a.png", None, None, None, None),
    ],
)
def test_ids_are_read_from_the_path(
    path: str, root: str | None, model: str | None, run: str | None, experiment: str | None
) -> None:
    found = (logged_model_root(path), logged_model_id(path), run_id(path), experiment_id(path))
    assert found == (root, model, run, experiment)


def test_the_outermost_logged_model_counts() -> None:
    inner = "m-" + "f" * 32
    outer = f"1/models/{MODEL}/artifacts"
    assert logged_model_root(f"{outer}/models/{inner}/artifacts/model.pkl") == outer


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b/c", ["a", "a/b", "a/b/c"]),
        (
            f"7/{RUN}/artifacts/model/x",
            [f"7/{RUN}/artifacts", f"7/{RUN}/artifacts/model", f"7/{RUN}/artifacts/model/x"],
        ),
        (f"7/{RUN}/artifacts", [f"7/{RUN}/artifacts"]),
        ("", []),
    ],
)
def test_candidates_go_from_the_outside_in_and_never_name_the_repository(
    path: str, expected: list[str]
) -> None:
    assert list(candidates(path)) == expected


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["MLmodel", "model.pkl"], Kind.MODEL),
        (["inner/MLmodel"], Kind.MODEL),
        (["NotMLmodel", "MLmodel.txt"], Kind.FOLDER),
        (["mlmodel"], Kind.MODEL),
        ([], Kind.FOLDER),
    ],
)
def test_a_folder_with_an_mlmodel_anywhere_is_a_model(names: list[str], kind: Kind) -> None:
    assert folder_kind("a/b", names) is kind


def test_a_logged_model_is_a_model_whatever_it_holds() -> None:
    assert folder_kind(f"1/models/{MODEL}/artifacts", []) is Kind.MODEL


def test_the_signature_is_no_part_of_the_identity() -> None:
    root = ROOT / "model"
    signed, unsigned = whole(root, tree("MLmodel", "model.sig")), whole(root, tree("MLmodel"))
    assert signed.digest == unsigned.digest
    assert signed.signature is not None
    assert signed.signature.path == "model.sig"


def test_selection_takes_whole_names_only() -> None:
    root = ROOT / "model"
    listed = tree("foo/a", "foobar", "foo.txt", folders=("empty", "foo"))
    assert select(root, root, listed) is None
    assert select(root / "foo", root, listed) == ("foo/a",)
    assert select(root / "foobar", root, listed) == ("foobar",)
    assert select(root / "empty", root, listed) == ()
    with pytest.raises(NotFoundError):
        select(root / "fo", root, listed)


def test_a_folder_with_models_is_judged_model_by_model() -> None:
    place = ROOT / "run"
    listed = tree(
        "a/MLmodel", "a/model.pkl", "b/MLmodel", "b/inner/MLmodel", "notes.txt", "notes.txt.mlgov.sig", "b2/x"
    )
    parts = {part.root.name: part.artifact for part in split(place, listed)}
    assert {name: [str(entry.path) for entry in artifact.files] for name, artifact in parts.items()} == {
        "a": ["MLmodel", "model.pkl"],
        "b": ["MLmodel", "inner/MLmodel"],
        "run": ["b2/x", "notes.txt"],
    }
    assert {name: artifact.kind for name, artifact in parts.items()} == {
        "a": Kind.MODEL,
        "b": Kind.MODEL,
        "run": Kind.FOLDER,
    }


def test_logged_models_below_an_experiment_are_found_by_their_path() -> None:
    place = parse_uri("artifactory://host/artifactory/repo/7")
    (part,) = split(place, tree(f"models/{MODEL}/artifacts/weights.bin"))
    assert part.root == Address(host="host", repository=place.repository, path=f"7/models/{MODEL}/artifacts")
    assert part.artifact.kind is Kind.MODEL
    assert part.artifact.name == MODEL


def test_an_empty_folder_is_judged_as_itself() -> None:
    (part,) = split(ROOT / "empty", Tree())
    assert part.artifact.files == ()
    assert part.moving == ()
