"""Running the server: in a background thread for tests and the demo, or in the foreground for `mlgov serve dev`.

Promises that `start` returns only when requests are answered, and `stop` only when the port is free again. What tests and
the demo need beyond HTTP (tampering, held scans, faults, tokens) are methods of the handle, so that there is no back door
on the network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Self

from aiohttp import web

from governance.devserver.app import build_app
from governance.devserver.config import DevServerConfig, Origin, RepositorySpec, UserSpec
from governance.devserver.faults import Faults
from governance.devserver.huggingface import commit_of
from governance.devserver.items import Item, iso
from governance.devserver.platform import LOGGER, Platform
from governance.devserver.repositories import config_of
from governance.devserver.scans import Status
from governance.devserver.tokens import USER_SCOPE

BANNER = "embedded Artifactory + Xray server for trial and tests at {url}: not a production store"
WARNING = "the embedded server listens on {host}, which others can reach: its accounts are public knowledge"
_START_TIMEOUT = 30.0
_BUFFER = 1 << 20


class DevServer:
    """A running server. Use `start`, as a context manager or with `stop`."""

    def __init__(self, platform: Platform, host: str, port: int) -> None:
        self._platform = platform
        self._host = host
        self.port = port
        self._thread: threading.Thread | None = None
        self._halt: Callable[[], None] = lambda: None

    @classmethod
    def start(cls, config: DevServerConfig | None = None) -> DevServer:
        """Start a server in a thread of its own."""
        config = config or DevServerConfig()
        platform = Platform(config)
        server = cls(platform, config.host, 0)
        ready: Future[tuple[int, Callable[[], None]]] = Future()
        server._thread = threading.Thread(
            target=_run_thread, args=(platform, config, ready), name="devserver", daemon=True
        )
        server._thread.start()
        try:
            server.port, server._halt = ready.result(timeout=_START_TIMEOUT)
        except BaseException:
            platform.close()
            raise
        LOGGER.info(BANNER.format(url=server.url))
        return server

    def stop(self) -> None:
        """Stop listening, end connections and remove temporary files. Harmless when called again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._halt()
            thread.join(timeout=_START_TIMEOUT)
            self._platform.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- addresses and credentials

    @property
    def host(self) -> str:
        """Host and port, as they stand in an `artifactory://` URI."""
        shown = f"[{self._host}]" if ":" in self._host else self._host
        return f"{shown}:{self.port}"

    @property
    def url(self) -> str:
        """The platform's root; `/artifactory` and `/xray` lie below it."""
        return f"http://{self.host}"

    @property
    def artifactory_url(self) -> str:
        """The URL of Artifactory."""
        return f"{self.url}/artifactory"

    @property
    def xray_url(self) -> str:
        """The URL of Xray."""
        return f"{self.url}/xray"

    def token(self, user: str, *, expires_in: int = 0, scope: str = USER_SCOPE) -> str:
        """A fresh access token. `expires_in` 0 never expires, a negative number has expired already."""
        with self._platform.store.lock:
            return self._platform.security.tokens.issue(user, scope=scope, expires_in=expires_in).access_token

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        with self._platform.store.lock:
            tokens = self._platform.security.tokens
            tokens.revoke(tokens.check(token).token_id)

    # -- accounts and repositories

    def add_user(
        self, name: str, password: str, *, admin: bool = False, rights: Mapping[str, str] | None = None
    ) -> str:
        """Create a user and give out a token of theirs."""
        spec = UserSpec(name=name, password=password, admin=admin, rights=dict(rights or {}))
        with self._platform.store.lock:
            self._platform.seed_user(spec)
        return self.token(name)

    def grant(self, user: str, repo: str, letters: str) -> None:
        """Set a user's rights on a repository: letters of `rwndm`, the empty text takes them away."""
        with self._platform.store.lock:
            self._platform.grant(user, repo, letters)

    def create_repository(
        self, key: str, *, package_type: str = "generic", origin: Origin = "local", xray_index: bool = True
    ) -> str:
        """Create a repository and return its key."""
        spec = RepositorySpec(key=key, package_type=package_type, origin=origin, xray_index=xray_index)
        self._platform.store.create_repository(key, config_of(spec))
        return key

    def remove_repository(self, key: str) -> None:
        """Remove a repository with all that it holds."""
        self._platform.store.remove_repository(key)

    # -- contents, behind everybody's back

    def put(self, repo: str, path: str, data: bytes, *, by: str = "admin") -> Item:
        """Store a file without HTTP and without a question about rights, also in a remote repository."""
        store = self._platform.store
        with store.receive() as incoming:
            incoming.write(data)
            return store.put_upload(repo, path, incoming, by=by, claimed={})

    def add_model(self, repo: str, model: str, files: Mapping[str, bytes], *, revision: str = "main") -> str:
        """Store a model (`org/name`) in a Hugging Face repository, also in a remote one, as if it had been fetched.
        Returns the commit id of that revision."""
        folder = f"models/{model}/{revision}_{iso(self._platform.now())}"
        for path, data in files.items():
            self.put(repo, f"{folder}/files/{path}", data)
        return commit_of(self.item(repo, folder))

    def put_bytes_behind_the_scenes(
        self, repo: str, path: str, data: bytes, *, keep_checksums: bool = False
    ) -> Item:
        """Change a stored file's bytes; its dates, author and properties stay. With `keep_checksums` the server goes
        on telling the old checksums, as after a broken disk or a skilled intruder."""
        store = self._platform.store
        with store.lock, store.receive() as incoming:
            incoming.write(data)
            return store.substitute(self.item(repo, path), incoming, keep_checksums=keep_checksums)

    def item(self, repo: str, path: str) -> Item:
        """A stored item. `KeyError` where there is none."""
        item = self._platform.store.find(repo, path)
        if item is None:
            raise KeyError(f"{repo}/{path}")
        return item

    def read(self, repo: str, path: str) -> bytes:
        """The bytes that are served for a file."""
        return self._platform.store.content_path(self.item(repo, path)).read_bytes()

    def paths(self, repo: str) -> tuple[str, ...]:
        """All files of a repository, sorted."""
        return tuple(sorted(item.path for item in self._platform.store.everything(repo) if not item.folder))

    # -- scans and faults

    @property
    def faults(self) -> Faults:
        """Faults in force; add to them."""
        return self._platform.faults

    def hold_scans(self, repo: str, path: str = "", *, status: Status = Status.PENDING) -> None:
        """Keep what lies at or below `path` from being scanned: its status stays `status` and it has no summary."""
        self._platform.scans.hold(repo, path, status)

    def release_scans(self, repo: str | None = None) -> None:
        """Let held scans end."""
        self._platform.scans.release(repo)


def serve(config: DevServerConfig, announce: Callable[[str], None]) -> None:
    """Run in the foreground until SIGINT or SIGTERM. `announce` gets the lines that a user should see."""
    platform = Platform(config)
    try:
        asyncio.run(_serve(platform, config, announce))
    finally:
        platform.close()


async def _serve(platform: Platform, config: DevServerConfig, announce: Callable[[str], None]) -> None:
    runner, port = await _listen(platform, config)
    try:
        if not is_loopback(config.host):
            announce(WARNING.format(host=config.host))
        announce(BANNER.format(url=f"http://{config.host}:{port}"))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await stop.wait()
    finally:
        await _close(runner)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address. A name other than `localhost` counts as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _run_thread(
    platform: Platform, config: DevServerConfig, ready: Future[tuple[int, Callable[[], None]]]
) -> None:
    asyncio.run(_until_halted(platform, config, ready))


async def _until_halted(
    platform: Platform, config: DevServerConfig, ready: Future[tuple[int, Callable[[], None]]]
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    try:
        runner, port = await _listen(platform, config)
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in `start`
        ready.set_exception(error)
        return
    if not is_loopback(config.host):
        LOGGER.warning(WARNING.format(host=config.host))

    def halt() -> None:
        loop.call_soon_threadsafe(stop.set)

    ready.set_result((port, halt))
    try:
        await stop.wait()
    finally:
        await _close(runner)


async def _close(runner: web.AppRunner) -> None:
    """Stop listening, let connections that were just accepted show themselves, end them all, and let their sockets
    close, which they do in a later turn of the loop."""
    for site in list(runner.sites):
        await site.stop()
    await asyncio.sleep(0.01)
    await runner.cleanup()
    await asyncio.sleep(0.01)


async def _listen(platform: Platform, config: DevServerConfig) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(
        build_app(platform),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=1.0,
        read_bufsize=_BUFFER,
        auto_decompress=False,  # what was sent is what is stored
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port, backlog=512).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])
