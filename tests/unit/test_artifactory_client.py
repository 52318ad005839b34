"""The client against the embedded server, which shares no code with it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from governance.artifactory import wire
from governance.artifactory.client import ArtifactoryClient
from governance.artifactory.items import Deployed
from governance.devserver import DevServer, Fault, hostile_listing, too_many, unavailable, wrong_checksums
from governance.errors import (
    ConflictError,
    DigestMismatchError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    RemoteError,
    TransferError,
    UnauthenticatedError,
    UnavailableError,
    UnsafePathError,
)
from governance.model.digest import parse_sha256
from governance.transport import Credentials, Transport
from governance.xray import wire as xray_wire
from tests.rawserver import answer, raw_server


def client_of(server: DevServer, token: str | None) -> ArtifactoryClient:
    credentials = Credentials(token=token) if token else None
    return ArtifactoryClient(
        Transport(
            base_url=server.artifactory_url,
            service="Artifactory",
            credentials=credentials,
            sleep=lambda _: None,
        )
    )


@pytest.fixture(scope="module")
def client(devserver: DevServer, alice_token: str) -> Iterator[ArtifactoryClient]:
    made = client_of(devserver, alice_token)
    yield made
    made.close()


def put(client: ArtifactoryClient, repo: str, path: str, data: bytes = b"bytes") -> Deployed:
    return client.upload(repo, path, io.BytesIO(data), size=len(data))


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


NAMES = [
    "plain.bin",
    "with space.bin",
    "a;k=v.bin",
    "100%.bin",
    "a%20b.bin",
    "a#b.bin",
    "a+b.bin",
    "a&b=c.bin",
    "größe.bin",
    "模型.bin",
    "🙂.bin",
    "..hidden.bin",
    "quote'.bin",
    "[x]{y}~^`$@!,.bin",
    "deep/er/and/deeper.bin",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_goes_up_is_listed_and_comes_down(client: ArtifactoryClient, repo: str, name: str) -> None:
    data = name.encode() * 1000
    deployed = put(client, repo, f"root/{name}", data)
    assert deployed == Deployed(sha256=parse_sha256(sha256_of(data)), size=len(data))
    (file,) = client.tree(repo, "root").files
    assert (file.path, file.size, file.sha256) == (name, len(data), sha256_of(data))
    with client.download(repo, f"root/{name}") as download:
        assert b"".join(download.chunks(1000)) == data
        assert (download.start, download.size, download.sha256) == (0, len(data), sha256_of(data))
    assert client.read_small(repo, f"root/{name}", limit=len(data)) == data
    assert client.properties(repo, f"root/{name}") == {}
    client.delete(repo, f"root/{name}")
    with pytest.raises(NotFoundError):
        client.info(repo, f"root/{name}")


def test_a_tree_has_files_and_folders(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/MLmodel")
    put(client, repo, "m/data/x.bin")
    client.make_folder(repo, "m/empty")
    tree = client.tree(repo, "m")
    assert [file.path for file in tree.files] == ["MLmodel", "data/x.bin"]
    assert tree.folders == ("data", "empty")
    children = client.children(repo, "m")
    assert [file.path for file in children.files] == ["MLmodel"]
    assert children.folders == ("data", "empty")
    assert not tree.is_file
    assert client.tree(repo, "").folders == ("m", "m/data", "m/empty")
    assert client.info(repo, "m").children == ("MLmodel", "data/", "empty/")


def test_a_tree_of_a_file_is_that_file(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin", b"123")
    tree = client.tree(repo, "m/x.bin")
    assert tree.is_file
    assert [(file.path, file.size) for file in tree.files] == [("x.bin", 3)]


def test_info_of_file_folder_and_root(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin", b"123")
    file = client.info(repo, "m/x.bin")
    assert (file.is_folder, file.size, file.sha256, file.created_by) == (False, 3, sha256_of(b"123"), "alice")
    assert file.modified is not None
    assert client.info(repo, "m").is_folder
    assert client.info(repo, "").created_by is None


def test_a_download_can_start_later(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "x.bin", b"0123456789")
    with client.download(repo, "x.bin", start=4) as download:
        assert (download.start, download.size) == (4, 10)
        assert b"".join(download.chunks(3)) == b"456789"


def test_a_server_may_ignore_where_to_start(
    client: ArtifactoryClient, devserver: DevServer, repo: str
) -> None:
    whole = answer(body=b"0123456789", headers={"X-Checksum-Sha256": "0" * 64})
    with raw_server(whole) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with other.download("r", "x.bin", start=4) as download:
            assert (download.start, download.size) == (0, 10)
        other.close()


@pytest.mark.parametrize(
    "claimed", ["bytes 0-5/10", "bytes 4-8/10", "bytes 2-9/10", "bytes 4-9/*", "4-9/10", ""]
)
def test_another_range_than_asked_for_is_refused(claimed: str) -> None:
    part = answer(206, b"456789", headers={"Content-Range": claimed})
    with raw_server(part) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError, match="range"), other.download("r", "x.bin", start=4):
            pass
        other.close()


def test_parts_of_a_file(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "x.bin", b"0123456789")
    put(client, repo, "empty.bin", b"")
    assert client.read_part(repo, "x.bin", size=4) == b"0123"
    assert client.read_part(repo, "x.bin", size=4000) == b"0123456789"
    assert client.read_part(repo, "empty.bin", size=4) == b""
    assert client.read_part(repo, "x.bin", start=6, size=2) == b"67"
    assert client.read_part(repo, "x.bin", start=6, size=20) == b"6789"


@pytest.mark.parametrize("start", [0, 4])
@pytest.mark.parametrize("status", [200, 206])
def test_other_bytes_than_the_part_asked_for_are_refused(start: int, status: int) -> None:
    headers = {"Content-Range": f"bytes {start + 1}-9/10"} if status == 206 else {}
    with raw_server(answer(status, b"56789", headers=headers)) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        if status == 200 and start == 0:
            assert other.read_part("r", "x.bin", size=2) == b"56"
        else:
            with pytest.raises(ProtocolError, match="range"):
                other.read_part("r", "x.bin", start=start, size=2)
        other.close()


def test_a_folder_is_not_downloaded_as_a_page(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin")
    with pytest.raises(ProtocolError, match="folder"):
        client.read_small(repo, "m", limit=1000)
    page = answer(body=b"<html>Index of m</html>", headers={"Content-Type": "text/html;charset=utf-8"})
    with raw_server(page) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError, match="page"), other.download("r", "m"):
            pass
        other.close()


def test_a_small_file_over_its_limit_is_refused(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "x.txt", b"12345")
    with pytest.raises(ProtocolError, match="limit is 4"):
        client.read_small(repo, "x.txt", limit=4)


def test_small_reads_are_checked(client: ArtifactoryClient, devserver: DevServer, repo: str) -> None:
    put(client, repo, "x.txt", b"12345")
    devserver.faults.add(Fault(method="GET", path=f"/artifactory/{repo}/x.txt", corrupt_at=2))
    with pytest.raises(DigestMismatchError):
        client.read_small(repo, "x.txt", limit=100)
    devserver.faults.add(Fault(method="GET", path=f"/artifactory/{repo}/x.txt", truncate_at=2))
    with pytest.raises(ProtocolError):
        client.read_small(repo, "x.txt", limit=100)
    devserver.put_bytes_behind_the_scenes(repo, "x.txt", b"evil!", keep_checksums=True)
    with pytest.raises(DigestMismatchError):
        client.read_small(repo, "x.txt", limit=100)


def test_a_truncated_download_is_noticed(client: ArtifactoryClient, devserver: DevServer, repo: str) -> None:
    put(client, repo, "x.bin", b"x" * 100_000)
    devserver.faults.add(Fault(method="GET", path=f"/artifactory/{repo}/x.bin", truncate_at=50_000))
    with client.download(repo, "x.bin") as download, pytest.raises(ProtocolError):
        list(download.chunks(1 << 16))


STORED = [
    (b'{"size": "5", "checksums": {"sha256": "%s"}}' % (b"0" * 64), ConflictError),
    (b'{"size": "4", "checksums": {"sha256": "%s"}}' % sha256_of(b"bytes").encode(), ConflictError),
    (b'{"size": "5", "checksums": {"sha256": "short"}}', ProtocolError),
    (b'{"size": "5"}', ProtocolError),
    (b"", ProtocolError),
    (b"<html>", ProtocolError),
]


@pytest.mark.parametrize(("body", "kind"), STORED)
def test_a_server_that_does_not_confirm_the_bytes_is_an_error(body: bytes, kind: type[RemoteError]) -> None:
    with raw_server(
        answer(201, body), answer(200, b'{"repo": "r", "path": "/x.bin", "size": "5"}')
    ) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(kind):
            put(other, "r", "x.bin")
        other.close()


def test_a_known_checksum_that_does_not_fit_is_refused(client: ArtifactoryClient, repo: str) -> None:
    with pytest.raises(ConflictError) as caught:
        client.upload(repo, "x.bin", io.BytesIO(b"abc"), size=3, sha256=parse_sha256("0" * 64))
    assert caught.value.status == 409
    with pytest.raises(NotFoundError):
        client.info(repo, "x.bin")


def test_a_wrong_checksum_header_on_a_download_is_shown(
    client: ArtifactoryClient, devserver: DevServer, repo: str
) -> None:
    put(client, repo, "x.bin")
    devserver.faults.add(wrong_checksums(f"/artifactory/{repo}/x.bin"))
    with pytest.raises(DigestMismatchError):
        client.read_small(repo, "x.bin", limit=100)


def test_the_same_bytes_again_need_no_right_to_overwrite(
    devserver: DevServer, repo: str, ci_token: str
) -> None:
    ci = client_of(devserver, ci_token)
    known = parse_sha256(sha256_of(b"bytes"))
    for _ in range(2):
        ci.upload(repo, "x.bin", io.BytesIO(b"bytes"), size=5, sha256=known)
    with pytest.raises(ForbiddenError) as caught:
        put(ci, repo, "x.bin", b"other")
    assert "overwrite" in (caught.value.hint or "")
    ci.close()


def test_checksum_deploy(client: ArtifactoryClient, repo: str) -> None:
    known = put(client, repo, "x.bin")
    copy = client.deploy_by_checksum(repo, "copy.bin", sha256=known.sha256, size=known.size)
    assert copy == known
    assert client.read_small(repo, "copy.bin", limit=100) == b"bytes"
    assert client.deploy_by_checksum(repo, "y.bin", sha256=parse_sha256("1" * 64), size=1) is None


@pytest.mark.parametrize("name", ["weights.sha256", "a.SHA1", "x.md5"])
def test_names_that_artifactory_takes_for_checksums_are_refused(
    client: ArtifactoryClient, repo: str, name: str
) -> None:
    with pytest.raises(TransferError, match="checksum"):
        put(client, repo, name)
    with pytest.raises(TransferError, match="checksum"):
        client.deploy_by_checksum(repo, name, sha256=parse_sha256("1" * 64), size=1)


HOSTILE = [
    "../evil",
    "a/../../evil",
    "/etc/passwd",
    "//etc/passwd",
    "C:/evil",
    "a\\evil",
    "a\nb",
    "a//b",
    "./a",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_in_a_listing_are_refused(
    client: ArtifactoryClient, devserver: DevServer, repo: str, name: str
) -> None:
    put(client, repo, "m/x.bin")
    shown = f"/{name}" if name.startswith("/") else name
    devserver.faults.add(hostile_listing(shown))
    for ask in (client.tree, client.children, client.info):
        with pytest.raises(UnsafePathError):
            ask(repo, "m")


def test_a_hostile_repository_key_is_refused(
    devserver: DevServer, client: ArtifactoryClient, repo: str
) -> None:
    client.upload(repo, "a.txt", io.BytesIO(b"a"), size=1)
    devserver.faults.add(
        Fault(
            path=f"*/api/storage/{repo}/a.txt",
            rewrite=lambda body: body.replace(f'"{repo}"'.encode(), b'"../other"'),
        )
    )
    with pytest.raises(ProtocolError, match="repository key"):
        client.info(repo, "a.txt")


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a/./b", "a\\b", "a\x00"])
def test_hostile_names_are_not_sent(client: ArtifactoryClient, repo: str, path: str) -> None:
    with pytest.raises(UnsafePathError):
        client.delete(repo, path)
    with pytest.raises(UnsafePathError):
        put(client, repo, path)


VALUES = ["a;evil=1", "a,b", "k=v", "a|b", "a\\b", "ü + % # ?", "x" * 2000, "line\nbreak", '{"json": [1]}']


@pytest.mark.parametrize("value", VALUES)
def test_no_value_becomes_another_property(client: ArtifactoryClient, repo: str, value: str) -> None:
    put(client, repo, "x.bin")
    client.set_properties(repo, "x.bin", {"mlgov.note": value, "mlgov.list": ["b", "a"]})
    assert client.properties(repo, "x.bin") == {"mlgov.note": (value,), "mlgov.list": ("a", "b")}
    client.set_properties(repo, "x.bin", {"mlgov.note": None})
    assert client.properties(repo, "x.bin") == {"mlgov.list": ("a", "b")}


@pytest.mark.parametrize("key", ["", "1a", "a b", "a;b", "a=b", "é;", "a/b", "a" * 300])
def test_keys_that_artifactory_does_not_take_are_not_sent(
    client: ArtifactoryClient, repo: str, key: str
) -> None:
    with pytest.raises(TransferError, match="property key"):
        client.set_properties(repo, "", {key: "x"})


def test_properties_of_nothing(client: ArtifactoryClient, repo: str) -> None:
    with pytest.raises(NotFoundError):
        client.properties(repo, "nothing")
    with pytest.raises(NotFoundError):
        client.set_properties(repo, "nothing", {"a": "b"})


def test_properties_on_a_folder_stay_on_it(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin")
    client.set_properties(repo, "m", {"a": "b"})
    assert client.properties(repo, "m") == {"a": ("b",)}
    assert client.properties(repo, "m/x.bin") == {}
    client.set_properties(repo, "m", {"a": "c"}, recursive=True)
    assert client.properties(repo, "m/x.bin") == {"a": ("c",)}


def test_copy_and_move(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "a b/x;y.bin")
    client.copy(repo, "a b", to_repository=repo, to_path="c d;e")
    client.move(repo, "a b", to_repository=repo, to_path="f+g")
    assert [file.path for file in client.tree(repo, "").files] == ["c d;e/x;y.bin", "f+g/x;y.bin"]
    with pytest.raises(RemoteError):
        client.copy(repo, "nothing", to_repository=repo, to_path="x")


def test_aql(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin")
    rows = client.aql(f'items.find({{"repo":"{repo}"}}).include("repo","path","name")')
    assert rows == [{"repo": repo, "path": "m", "name": "x.bin"}]
    with pytest.raises(RemoteError, match="parse"):
        client.aql("nonsense")


def test_a_trimmed_search_is_an_error() -> None:
    trimmed = b'{"results": [], "range": {"notification": "AQL query reached the search hard limit"}}'
    with raw_server(answer(body=trimmed)) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError, match="trimmed"):
            other.aql("items.find({})")
        other.close()


def test_repositories(client: ArtifactoryClient, devserver: DevServer, repo: str) -> None:
    info = client.repository_info(repo)
    assert (info.key, info.origin, info.package_type, info.xray_index) == (repo, "local", "generic", True)
    assert client.repository_info("hf-remote").origin == "remote"
    with pytest.raises(NotFoundError):
        client.repository_info("no-such-repository")


def test_the_server_and_the_user(client: ArtifactoryClient, devserver: DevServer, repo: str) -> None:
    client.ping()
    assert client.version().version.startswith("7.")
    assert client.host == devserver.host
    user = client.current_user()
    assert (user.name, user.expires) == ("alice", None)
    assert {"r", "w"} <= client.permissions(repo, "")
    assert client_of(devserver, None).current_user().name is None


def test_a_ping_that_something_else_answers() -> None:
    with raw_server(answer(body=b"<html>Welcome to nginx!</html>")) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError, match="not Artifactory"):
            other.ping()
        other.close()


@pytest.mark.parametrize(("kind", "words"), [("wrong", ""), ("expired", "expired"), ("none", "")])
def test_tokens_that_are_not_good(devserver: DevServer, repo: str, kind: str, words: str) -> None:
    token = {"wrong": "nonsense", "expired": devserver.token("alice", expires_in=-60), "none": None}[kind]
    bad = client_of(devserver, token)
    with pytest.raises(UnauthenticatedError) as caught:
        put(bad, repo, "x.bin")
    assert words in str(caught.value)
    assert "ARTIFACTORY_AUTH_TOKEN" in (caught.value.hint or "")
    bad.close()


def test_a_token_without_rights(devserver: DevServer, repo: str) -> None:
    nobody = client_of(devserver, devserver.add_user(f"nobody-{repo}", "x", rights={repo: ""}))
    for act in (
        lambda: put(nobody, repo, "x.bin"),
        lambda: nobody.tree(repo, ""),
        lambda: nobody.delete(repo, ""),
    ):
        with pytest.raises((ForbiddenError, NotFoundError)):
            act()
    nobody.close()


def test_a_repository_that_is_not_there(client: ArtifactoryClient) -> None:
    with pytest.raises(NotFoundError) as caught:
        put(client, "no-such-repository", "x.bin")
    assert "No such repository" in (caught.value.hint or "")
    with pytest.raises(NotFoundError):
        client.tree("no-such-repository", "m")


def test_a_busy_server_is_waited_for(client: ArtifactoryClient, devserver: DevServer, repo: str) -> None:
    for fault in (too_many(f"*{repo}*", times=2), unavailable(f"*{repo}*", times=2)):
        devserver.faults.add(fault)
        put(client, repo, "x.bin")
        assert fault.hits == 2
    devserver.faults.add(Fault(method="PUT", path=f"*{repo}*", drop_after=10))
    put(client, repo, "y.bin", b"y" * 300_000)
    assert client.read_small(repo, "y.bin", limit=1 << 20) == b"y" * 300_000
    devserver.faults.add(too_many(f"*{repo}*", times=None))
    with pytest.raises(RateLimitedError):
        client.info(repo, "x.bin")
    devserver.faults.clear()
    devserver.faults.add(unavailable(f"*{repo}*", times=None))
    with pytest.raises(UnavailableError):
        put(client, repo, "x.bin")


ODD_ANSWERS = [
    b"[]",
    b"{}",
    b'{"files": 1}',
    b'{"files": [{"uri": "/x", "folder": false, "size": "many", "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": -1, "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "sha2": "xyz", "lastModified": "2026-01-01T00:00:00Z"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "lastModified": "yesterday"}]}',
    b'{"files": [{"uri": "/x", "folder": false, "size": 1, "lastModified": "2026-01-01T00:00:00"}]}',
]


@pytest.mark.parametrize("body", ODD_ANSWERS)
def test_listings_of_another_form_are_refused(body: bytes) -> None:
    with raw_server(answer(body=body)) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError):
            other.tree("r", "m")
        other.close()


def test_sizes_may_be_texts_and_times_may_have_zones() -> None:
    body = b"""{"uri": "x", "new-field": {}, "files": [{"uri": "/x", "folder": false, "size": "7", "sha2": "%s",
        "lastModified": "2026-01-01T02:00:00.500+02:00", "mdTimestamps": {"properties": "x"}}]}""" % (
        b"AB" * 32
    )
    with raw_server(answer(body=body)) as server:
        other = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        (file,) = other.tree("r", "m").files
        other.close()
    assert (file.size, file.sha256, file.modified.isoformat()) == (
        7,
        "ab" * 32,
        "2026-01-01T00:00:00.500000+00:00",
    )


_SHA = "0" * 64


def _row(uri: str, size: int = 1, *, folder: bool = False) -> dict[str, object]:
    row: dict[str, object] = {"uri": uri, "folder": folder, "lastModified": "2026-01-01T00:00:00.000Z"}
    return row if folder else row | {"size": size, "sha2": _SHA}


@pytest.mark.parametrize(
    "rows",
    [
        [_row("/a"), _row("/a")],
        [_row("/a"), _row("/a", folder=True)],
        [_row("/a"), _row("/a/b")],
        [_row("/a"), _row("/a/b/c", folder=True)],
    ],
    ids=["file twice", "file and folder", "file below a file", "folder below a file"],
)
def test_a_listing_that_names_one_place_twice_is_refused(rows: list[object]) -> None:
    with raw_server(answer(body=json.dumps({"files": rows}).encode())) as server:
        client = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError, match="one place twice"):
            client.tree("repo", "f")


@pytest.mark.parametrize("rows", [[_row("/a", 1 << 53)], [_row("/a", 1 << 52), _row("/b", 1 << 52)]])
def test_sizes_that_no_record_can_hold_are_refused(rows: list[object]) -> None:
    with raw_server(answer(body=json.dumps({"files": rows}).encode())) as server:
        client = ArtifactoryClient(Transport(base_url=server.url, service="Artifactory", credentials=None))
        with pytest.raises(ProtocolError):
            client.tree("repo", "f")


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (wire.FileList, b'{"files": [%s]}'),
        (wire.Item, b'{"repo": "r", "path": "p", "children": [%s]}'),
        (wire.AqlResult, b'{"results": [%s]}'),
        (wire.Messages, b'{"messages": [%s]}'),
        (wire.Properties, b'{"properties": {"a": [%s]}}'),
        (wire.Permissions, b'{"principals": {"users": {"a": [%s]}}}'),
        (xray_wire.SummaryAnswer, b'{"artifacts": [%s], "errors": []}'),
        (xray_wire.ViolationsAnswer, b'{"total_violations": 1, "violations": [%s]}'),
        (xray_wire.PoliciesAnswer, b"[%s]"),
        (xray_wire.WatchesAnswer, b"[%s]"),
        (xray_wire.IgnoreRulesAnswer, b'{"total_count": 1, "data": [%s]}'),
    ],
)
def test_of_many_wrong_rows_the_first_is_told_of(form: type[BaseModel], body: bytes) -> None:
    """To tell of millions takes minutes and gigabytes: a few megabytes of an answer would stop a client."""
    with pytest.raises(ValidationError) as caught:
        form.model_validate_json(body % b",".join([b"7"] * 1000))
    assert caught.value.error_count() == 1


def test_more_properties_than_anything_has_are_refused() -> None:
    names = ",".join(f'"a{number}": 1' for number in range(10_001))
    with pytest.raises(ValidationError, match="more than 10000") as caught:
        wire.Properties.model_validate_json(f'{{"properties": {{{names}}}}}')
    assert caught.value.error_count() == 1
