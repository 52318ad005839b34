"""A log that may be read and not written to, by a process without root's rights: an auditor's disk, a mount, another user's folder."""

from __future__ import annotations

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from governance.audit.log import AuditLog
from governance.audit.sqlite import SqliteStore
from governance.cli.main import main
from governance.errors import AuditBrokenError, AuditUnavailableError
from tests.audit_tools import fill, make_log
from tests.scenarios.cli import be

NOBODY = 65534
ORIGIN = "mlgov.local/audit"


def log_at(path: Path, *, only_reads: bool = False) -> AuditLog:
    return make_log(SqliteStore(path, only_reads=only_reads), origin=ORIGIN)


def without_rights(folder: Path, act: Callable[[], None]) -> None:
    """Run `act` in a child that may read `folder` and write nothing there."""
    for each in (*folder.parents, folder):
        if each.stat().st_mode & 0o005 != 0o005:
            each.chmod(0o755)
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            act()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    folder.chmod(0o755)
    for each in folder.iterdir():
        each.chmod(0o644)
    assert status == 0


@pytest.fixture(name="media")
def make_media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


def test_a_log_that_stands_still_is_read_in_place(media: Path) -> None:
    path = media / "audit.sqlite"
    log = log_at(path)
    fill(log, 600)
    log.close()
    (media / "audit.sqlite.lock").unlink()

    def act() -> None:
        log = log_at(path, only_reads=True)
        assert (log.verify().size, log.verify().problems) == (601, ())
        with pytest.raises(AuditUnavailableError, match="cannot be used"):
            fill(log, 1)
        with pytest.raises(AuditUnavailableError) as caught:
            log_at(path)
        assert "copy the file" in str(caught.value.hint)
        with pytest.raises(AuditUnavailableError):
            log_at(media / "nothing", only_reads=True)

    without_rights(media, act)
    assert sorted(each.name for each in media.iterdir()) == ["audit.sqlite"]


def test_the_verbs_that_read_work_there_and_those_that_write_say_why_not(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media / "audit.sqlite"
    log = log_at(path)
    fill(log, 5)
    log.close()
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    (home / "mlgov.toml").write_text(f'audit_path = "{path}"\n')
    be(monkeypatch, MLGOV_HOME=str(home))
    monkeypatch.chdir(home)

    def act() -> None:
        for words in (
            "audit verify", "audit verify --entries 1:3", "audit search", "audit search --scan", "audit tail", "audit show 3",
            "audit who-loaded x", "audit prove 3 -o proof", "audit checkpoint --print", "audit replay --all", "report -o plain",
        ):  # fmt: skip
            assert main(words.split()) == 0, words
        for words in ("audit export out", "audit hold a --reason b", "report compliance -o whole"):
            assert main(words.split()) == 4, words

    without_rights(media, act)
    assert not (home / "out").exists()
    assert not (home / "whole").exists()


def test_what_somebody_writes_at_this_moment_is_read(media: Path) -> None:
    path = media / "audit.sqlite"
    log = log_at(path)
    for count in (4, 300):
        fill(log, count)
        size = log.store.frontier().size

        def act(size: int = size) -> None:
            assert log_at(path, only_reads=True).verify().size == size

        without_rights(media, act)
    log.close()


def test_a_journal_that_cannot_be_read_is_an_error_and_no_shorter_log(media: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    log = log_at(tmp_path / "home" / "audit.sqlite")
    fill(log, 4)
    for name in ("audit.sqlite", "audit.sqlite-wal"):
        shutil.copy(tmp_path / "home" / name, media / name)
    assert (media / "audit.sqlite-wal").stat().st_size > 0
    log.close()

    def act() -> None:
        with pytest.raises(
            AuditUnavailableError, match=r"the newest entries .* are in its journal"
        ) as caught:
            log_at(media / "audit.sqlite", only_reads=True)
        assert "copy the file, with the `-wal` beside it" in str(caught.value.hint)

    without_rights(media, act)


def test_a_file_that_moves_while_it_is_read_as_one_that_stands_still_is_an_error(media: Path) -> None:
    path = media / "audit.sqlite"
    log_at(path).close()
    log = log_at(path)
    fill(log, 4)
    log.close()
    ready, told = os.pipe(), os.pipe()

    def act() -> None:
        log = log_at(path, only_reads=True)
        assert log.verify().size == 5
        os.write(ready[1], b"x")
        os.read(told[0], 1)
        with pytest.raises(AuditUnavailableError, match="is written to"):
            log.verify()
        with pytest.raises(AuditUnavailableError, match="is written to"):
            list(log.find())

    writer = os.fork()
    if writer == 0:
        code = 1
        try:
            os.read(ready[0], 1)
            media.chmod(0o755)
            path.chmod(0o644)
            fill(log_at(path), 1)
            os.write(told[1], b"x")
            code = 0
        finally:
            os._exit(code)
    without_rights(media, act)
    assert os.waitpid(writer, 0)[1] == 0


def test_what_is_no_log_is_refused_there_too(media: Path) -> None:
    (media / "text").write_text("a text " * 1_000)
    (media / "empty").write_text("")

    def act() -> None:
        for name in ("text", "empty"):
            with pytest.raises((AuditBrokenError, AuditUnavailableError)):
                log_at(media / name, only_reads=True)

    without_rights(media, act)
