"""Deploy, checksum deploy, download, delete: the quirks on which clients depend."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import pytest
import requests

from governance.devserver import DevServer


class Client:
    """Requests of one user to one repository."""

    def __init__(self, server: DevServer, repo: str, user: str) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {server.token(user)}"
        self.base, self.repo = server.artifactory_url, repo

    def __call__(
        self, method: str, path: str, *, data: bytes | io.BytesIO | None = None, **headers: str
    ) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.base}/{self.repo}/{path}"
        return self.session.request(method, url, data=data, headers=named, timeout=10, allow_redirects=False)

    def info(self, path: str) -> requests.Response:
        return self.session.get(f"{self.base}/api/storage/{self.repo}/{path}", timeout=10)


@pytest.fixture
def alice(devserver: DevServer, repo: str) -> Iterator[Client]:
    client = Client(devserver, repo, "alice")
    yield client
    client.session.close()


@pytest.fixture
def ci(devserver: DevServer, repo: str) -> Iterator[Client]:
    client = Client(devserver, repo, "ci")
    yield client
    client.session.close()


def message(response: requests.Response) -> str:
    return str(response.json()["errors"][0]["message"])


# -- shapes


def test_deploy_answers_as_a_real_server(alice: Client) -> None:
    answer = alice("PUT", "a/m.bin", data=b"hello", X_Checksum_Sha256=hashlib.sha256(b"hello").hexdigest())
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/vnd.org.jfrog.artifactory.storage.ItemCreated+json"
    assert (body["path"], body["size"], body["createdBy"]) == ("/a/m.bin", "5", "alice")
    assert body["checksums"]["sha1"] == hashlib.sha1(b"hello").hexdigest()
    assert body["originalChecksums"] == {"sha256": hashlib.sha256(b"hello").hexdigest()}
    assert answer.headers["Location"] == body["uri"] == f"{alice.base}/{alice.repo}/a/m.bin"


def test_chunked_bodies_are_taken(alice: Client) -> None:
    url = f"{alice.base}/{alice.repo}/chunked"
    assert alice.session.put(url, data=iter([b"one", b"two"]), timeout=10).status_code == 201
    assert alice("GET", "chunked").content == b"onetwo"


def test_folders_have_children_and_no_size_and_files_the_reverse(alice: Client) -> None:
    alice("PUT", "a/m.bin", data=b"x")
    folder, file, root = alice.info("a").json(), alice.info("a/m.bin").json(), alice.info("").json()
    assert folder["children"] == [{"uri": "/m.bin", "folder": False}]
    assert "size" not in folder
    assert file["size"] == "1"
    assert "children" not in file
    assert "createdBy" not in root


def test_download_headers(alice: Client) -> None:
    alice("PUT", "a b+c.bin", data=b"hello")
    headers = alice("GET", "a%20b+c.bin").headers
    assert headers["ETag"] == hashlib.sha1(b"hello").hexdigest()
    assert headers["X-Checksum-Sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert headers["X-Checksum-Md5"] == hashlib.md5(b"hello").hexdigest()
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Artifactory-Filename"] == "a%20b%2Bc.bin"
    head = alice("HEAD", "a%20b+c.bin")
    assert (head.headers["Content-Length"], head.content) == ("5", b"")


@pytest.mark.parametrize(
    ("wanted", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-2", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(alice: Client, wanted: str, status: int, body: bytes, content_range: str | None) -> None:
    alice("PUT", "ten", data=b"0123456789")
    answer = alice("GET", "ten", Range=wanted)
    assert (answer.status_code, answer.content, answer.headers.get("Content-Range")) == (
        status,
        body,
        content_range,
    )


def test_ranges_of_a_long_file_go_through_sendfile(alice: Client) -> None:
    data = bytes(range(256)) * 8192
    alice("PUT", "long", data=data)
    assert alice("GET", "long").content == data
    assert alice("GET", "long", Range="bytes=1000-1999999").content == data[1000:2000000]


def test_conditions(alice: Client) -> None:
    alice("PUT", "a", data=b"x")
    sha1 = hashlib.sha1(b"x").hexdigest()
    assert alice("GET", "a", If_None_Match=sha1).status_code == 304
    assert alice("GET", "a", If_None_Match="other").status_code == 200
    assert alice("GET", "a", If_Modified_Since="Fri, 01 Jan 2100 00:00:00 GMT").status_code == 304
    assert (
        alice("GET", "a", If_None_Match=sha1, If_Modified_Since="Mon, 01 Jan 2001 00:00:00 GMT").status_code
        == 200
    )
    assert alice("GET", "a", Range="bytes=0-0", If_Range=sha1).status_code == 206
    assert alice("GET", "a", Range="bytes=0-0", If_Range="other").status_code == 200


def test_a_folder_redirects_to_its_listing(alice: Client) -> None:
    alice("PUT", "a/<b>.bin", data=b"x")
    answer = alice("GET", "a")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/artifactory/{alice.repo}/a/")
    listing = alice("GET", "a/")
    assert listing.headers["Content-Type"].startswith("text/html")
    assert "&lt;b&gt;.bin" in listing.text


def test_folders_are_made_and_deleted(alice: Client) -> None:
    made = alice("PUT", "empty/")
    assert (made.status_code, made.json()["path"]) == (201, "/empty/")
    assert "size" not in made.json()
    assert alice("DELETE", "empty/").status_code == 204
    gone = alice("DELETE", "empty")
    assert gone.status_code == 404
    assert "Nothing to delete" in message(gone)


def test_checksum_files_are_no_files(alice: Client) -> None:
    alice("PUT", "m.bin", data=b"x")
    right = hashlib.sha256(b"x").hexdigest()
    assert alice("PUT", "m.bin.sha256", data=right.encode()).status_code == 201
    assert alice("GET", "m.bin.sha256").text == right
    assert alice("PUT", "m.bin.sha1", data=b"0" * 40).status_code == 409
    assert alice("PUT", "none.md5", data=b"0" * 32).status_code == 404
    assert alice("PUT", "m.bin.md5", data=b"0" * 2000).status_code == 409
    assert alice.info("m.bin.sha256").status_code == 404


# -- checksums and rights


def test_a_wrong_checksum_is_refused_and_nothing_is_stored(devserver: DevServer, alice: Client) -> None:
    answer = alice("PUT", "m.bin", data=b"x", X_Checksum_Sha1="0" * 40)
    assert answer.status_code == 409
    assert f"rejected the artifact '{alice.repo}:m.bin'" in message(answer)
    assert f"actual='{hashlib.sha1(b'x').hexdigest()}'" in message(answer)
    assert devserver.paths(alice.repo) == ()


def test_checksum_deploy(alice: Client) -> None:
    alice("PUT", "one", data=b"known")
    digest = hashlib.sha256(b"known").hexdigest()
    assert alice("PUT", "two", X_Checksum_Sha256=digest, X_Checksum_Deploy="true").status_code == 201
    assert alice("PUT", "three", X_Checksum=digest, X_Checksum_Deploy="true").status_code == 201
    assert alice("GET", "three").content == b"known"
    unknown = alice("PUT", "four", X_Checksum_Sha256="0" * 64, X_Checksum_Deploy="true")
    assert unknown.status_code == 404
    assert alice("PUT", "five", X_Checksum_Deploy="true").status_code == 400


def test_checksum_deploy_does_not_tell_what_others_store(devserver: DevServer, repo: str) -> None:
    """A user who may deploy but read nothing with that content must not learn that it exists."""
    devserver.put(repo, "secret", b"a secret of others")
    elsewhere = devserver.create_repository(f"{repo}-elsewhere")
    devserver.add_user("prober", "x", rights={elsewhere: "rw"})
    prober = Client(devserver, elsewhere, "prober")
    digest = hashlib.sha256(b"a secret of others").hexdigest()
    assert prober("PUT", "guess", X_Checksum_Sha256=digest, X_Checksum_Deploy="true").status_code == 404
    devserver.grant("prober", repo, "r")
    assert prober("PUT", "guess", X_Checksum_Sha256=digest, X_Checksum_Deploy="true").status_code == 201
    prober.session.close()


def test_overwriting_needs_the_right_to_delete_unless_the_content_is_the_same(
    alice: Client, ci: Client
) -> None:
    alice("PUT", "m.bin", data=b"one")
    refused = ci("PUT", "m.bin", data=b"two")
    assert refused.status_code == 403
    assert "needs DELETE permission" in message(refused)
    assert ci("PUT", "m.bin", data=b"one").status_code == 403
    same = ci("PUT", "m.bin", data=b"one", X_Checksum_Sha256=hashlib.sha256(b"one").hexdigest())
    assert same.status_code == 201
    assert alice("PUT", "m.bin", data=b"two").status_code == 201


def test_rights_are_checked_before_anything_is_told(devserver: DevServer, repo: str) -> None:
    devserver.put(repo, "m.bin", b"x")
    devserver.add_user("nobody", "x")
    nobody = Client(devserver, repo, "nobody")
    answers = [
        nobody("GET", "m.bin"),
        nobody("GET", "missing"),
        nobody("PUT", "n", data=b"x"),
        nobody("DELETE", "m.bin"),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403, 403]
    assert "not permitted to deploy" in message(answers[2])
    assert [nobody.info(path).status_code for path in ("m.bin", "missing")] == [403, 403]
    nobody.session.close()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_anonymous_callers_get_a_challenge(devserver: DevServer, repo: str, method: str) -> None:
    answer = requests.request(method, f"{devserver.artifactory_url}/{repo}/a", data=b"x", timeout=10)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Artifactory Realm"'


def test_matrix_properties_need_the_right_to_annotate(devserver: DevServer, repo: str, alice: Client) -> None:
    devserver.add_user("dropper", "x", rights={repo: "rw"})
    dropper = Client(devserver, repo, "dropper")
    assert dropper("PUT", "a;k=v", data=b"x").status_code == 201
    assert devserver.item(repo, "a").properties == {}
    assert alice("PUT", "b;k=v;k=w", data=b"x").status_code == 201
    assert devserver.item(repo, "b").properties == {"k": ("v", "w")}
    assert alice("PUT", "c;1k=v", data=b"x").status_code == 400
    dropper.session.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("a/%2e%2e/b", 400),
        ("a%5Cb", 400),
        ("a%7Cb", 400),
        ("%20a", 400),
        ("m.bin/below", 409),
        ("folder", 409),
    ],
)
def test_deploys_to_impossible_places(alice: Client, path: str, status: int) -> None:
    alice("PUT", "m.bin", data=b"x")
    alice("PUT", "folder/")
    assert alice("PUT", path, data=b"x").status_code == status


def test_unknown_and_virtual_repositories(devserver: DevServer, alice: Client) -> None:
    alice.repo = "missing-local"
    answer = alice("PUT", "a", data=b"x")
    assert (answer.status_code, "missing-local" in message(answer)) == (404, True)
    devserver.create_repository("v-empty", origin="virtual")
    alice.repo = "v-empty"
    answer = alice("PUT", "a", data=b"x")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


# -- tampering


@pytest.mark.parametrize("keep", [False, True])
def test_bytes_changed_behind_the_scenes(devserver: DevServer, alice: Client, keep: bool) -> None:
    alice("PUT", "m.bin;k=v", data=b"good")
    before = alice.info("m.bin").json()
    devserver.put_bytes_behind_the_scenes(alice.repo, "m.bin", b"evil!", keep_checksums=keep)
    answer, after = alice("GET", "m.bin"), alice.info("m.bin").json()
    assert answer.content == b"evil!"
    told = hashlib.sha256(b"good" if keep else b"evil!").hexdigest()
    assert answer.headers["X-Checksum-Sha256"] == after["checksums"]["sha256"] == told
    assert (after["lastModified"], after["modifiedBy"]) == (before["lastModified"], before["modifiedBy"])
    assert devserver.item(alice.repo, "m.bin").properties == {"k": ("v",)}
