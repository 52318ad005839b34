"""Streams to files: whole lines, rotation, and files of somebody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from governance.audit.log import AuditLog
from governance.errors import SettingsError, TransferError
from governance.stream.sink import Message
from governance.stream.to_file import FileSink
from tests.audit_tools import fill, make_log


def messages(count: int, log: AuditLog | None = None) -> list[Message]:
    log = log or make_log()
    fill(log, count - 1)
    return [Message(stored=stored, line=stored.data) for stored in log.find()]


def test_a_line_that_a_crash_cut_short_is_taken_away(tmp_path: Path) -> None:
    path, lines = tmp_path / "out", messages(4)
    whole = b"".join(each.line + b"\n" for each in lines)
    for torn in (b"", b'{"at', whole[:-3], whole[:-1], whole + bytes(5_000), bytes(3)):
        path.write_bytes(torn)
        sink = FileSink(path)
        sink.send(lines)
        sink.close(gracefully=True)
        assert path.read_bytes() == torn[: torn.rfind(b"\n") + 1] + whole


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    path, lines = tmp_path / "out", messages(2)
    sink = FileSink(path)
    sink.send(lines[:1])
    path.rename(tmp_path / "out.1")
    sink.send(lines[1:])
    sink.close(gracefully=True)
    assert path.read_bytes() == lines[1].line + b"\n"
    assert (tmp_path / "out.1").read_bytes() == lines[0].line + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"SQLite format 3\0 and pages\n{ of the log itself",
        b"a letter, without an end of line",
        b"first\nsecond\n",
        b'{"id":1}\nnotes of somebody',
        b"\0" * 9 + b"\1",
        b'{"id":1}\n{' + b"x" * (1 << 20),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="something else than lines of entries"):
        FileSink(path).send(messages(2))
    assert path.read_bytes() == content


@pytest.mark.parametrize("rotated", ["moved", "cut"])
def test_a_file_that_is_rotated_while_it_is_written_gets_the_batch_again(
    tmp_path: Path, rotated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines may have come too late for whoever packed the old file."""
    path, lines = tmp_path / "out", messages(3)
    sink = FileSink(path)
    sink.send(lines[:1])
    flush = os.fsync

    def rotate(descriptor: int) -> None:
        flush(descriptor)
        if rotated == "moved":
            path.rename(tmp_path / "out.1")
        else:
            os.truncate(path, 0)

    monkeypatch.setattr(os, "fsync", rotate)
    with pytest.raises(TransferError, match="moved or cut"):
        sink.send(lines[1:])
    monkeypatch.undo()
    sink.send(lines[1:])
    sink.close(gracefully=True)
    assert path.read_bytes() == b"".join(each.line + b"\n" for each in lines[1:])


def test_only_regular_files_of_ones_own(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, error in (("pipe", SettingsError), ("folder", TransferError), ("none/out", TransferError)):
        with pytest.raises(error):
            FileSink(tmp_path / name).send(messages(1))
    first = FileSink(tmp_path / "out")
    first.send(messages(1))
    with pytest.raises(SettingsError, match="another process"):
        FileSink(tmp_path / "out").send(messages(1))
    first.close(gracefully=True)
