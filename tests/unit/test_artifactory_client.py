"""The client against the embedded server, which shares no code with it."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

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
from tests.rawserver import answer
from tests.unit.artifactory_kit import answering, put, sha256_of


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


def test_parts_of_a_file(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "x.bin", b"0123456789")
    put(client, repo, "empty.bin", b"")
    assert client.read_part(repo, "x.bin", size=4) == b"0123"
    assert client.read_part(repo, "x.bin", size=4000) == b"0123456789"
    assert client.read_part(repo, "empty.bin", size=4) == b""
    assert client.read_part(repo, "x.bin", start=6, size=2) == b"67"
    assert client.read_part(repo, "x.bin", start=6, size=20) == b"6789"


def test_a_folder_is_not_downloaded_as_a_page(client: ArtifactoryClient, repo: str) -> None:
    put(client, repo, "m/x.bin")
    with pytest.raises(ProtocolError, match="folder"):
        client.read_small(repo, "m", limit=1000)
    page = answer(body=b"<html>Index of m</html>", headers={"Content-Type": "text/html;charset=utf-8"})
    with answering(page) as other, pytest.raises(ProtocolError, match="page"), other.download("r", "m"):
        pass


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
