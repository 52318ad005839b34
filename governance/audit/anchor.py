"""Anchors: the log's head, remembered where whoever rewrites the log cannot reach it.

A log that was rewritten from some entry on, or cut short, is consistent with itself. Only somebody's memory of an earlier
head shows it. From cheap to strong: `HeadMemory`, a file of this client; `FolderAnchor`, a mount of another machine;
`ArtifactoryAnchor`, a repository where the writer may deploy and not delete; an authority's time stamp
(`governance.audit.tsa`); a witness (`governance.audit.witness`).

Promises: a head is remembered only after it was shown to continue the one before; a fork and a rollback are errors that
carry both heads. Does not: notice what happened since the last head left, so heads go out often, in quiet times too.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from governance.audit.checkpoint import Checkpoint, read_checkpoint
from governance.audit.log import AuditLog
from governance.audit.merkle import verify_consistency
from governance.audit.quorum import record_attempt
from governance.errors import AuditBrokenError, AuditUnavailableError, GovernanceError
from governance.forking import file_lock
from governance.places import make_private, write_whole

_MAX_HEAD = 1 << 20

logger = logging.getLogger(__name__)


class HeadMemory:
    """The last head this client saw, in a file. Several processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self) -> Checkpoint | None:
        """The head in the file, or None where there is none yet. Raises `AuditBrokenError` for a file that is not one."""
        try:
            return _head_in(self._path)
        except FileNotFoundError:
            return None

    def compare(self, log: AuditLog) -> None:
        """Demand that the log continues the remembered head, and remember nothing: for those who only read. Raises as
        `check` does."""
        known = self.recall()  # first, or another process could remember a newer one in between
        if known is not None:
            require_continuation(known, *log.head_since(known.size), memory=self._path)

    def check(self, log: AuditLog) -> Checkpoint:
        """Demand that the log continues the remembered head, and remember the new one. Returns the new one.

        Raises `AuditBrokenError` for a log that was rolled back or rewritten.
        """
        with self._locked():
            known = self.recall()
            current, proof = log.head_since(0 if known is None else known.size)
            if known is not None:
                require_continuation(known, current, proof, memory=self._path)
            if known is None or current.to_bytes() != known.to_bytes():
                write_whole(self._path, current.to_bytes())
            return current

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Compare and remember in one step, or an older head could replace a newer one in between."""
        try:
            make_private(self._path.parent)
            with file_lock(self._path.with_name(self._path.name + ".lock")):
                yield
        except OSError as error:
            raise AuditUnavailableError(
                f"the head cannot be remembered in `{self._path}`: {error}"
            ) from error


def require_continuation(
    known: Checkpoint, current: Checkpoint, proof: Sequence[bytes], *, memory: Path
) -> None:
    """Demand that `current` is of the same log as `known` and begins with all its entries, as `proof` shows. `memory` is
    where the known one is remembered. Raises `AuditBrokenError`."""
    what = None
    if known.origin != current.origin:
        what = f"it is another log: `{current.origin}`, not `{known.origin}`"
    elif current.size < known.size:
        what = f"it was rolled back: it had {known.size} entries and has {current.size}"
    elif known.size > 0:
        try:
            verify_consistency(
                old=known.size, new=current.size, old_root=known.root, new_root=current.root, proof=proof
            )
        except AuditBrokenError as error:
            what = f"its first {known.size} entries are not those seen before ({error.message})"
    if what is not None:
        raise AuditBrokenError(
            f"the audit log is not the one seen before: {what}\n"
            f"seen before:\n{_indented(known)}\nnow:\n{_indented(current)}",
            hint="Keep both heads and the log as they are: somebody replaced the log, or restored an old copy. If a new log "
            f"was begun on purpose, put `{memory}` away first.",
        )


def head_beyond(log: AuditLog, checkpoint: Checkpoint, size: int) -> Checkpoint:
    """The head, or the one of this moment where a place knows more already: another process was quicker, with the same log.
    The one of a log that ends before `size` is handed back as it is."""
    return checkpoint if checkpoint.size >= size else log.checkpoint()


class Anchor(Protocol):
    """A place outside for heads.

    | member | meaning |
    | --- | --- |
    | `name` | for records and errors |
    | `publish(log, checkpoint)` | keep the head there; returns it, with what the place added (a cosignature) |
    """

    @property
    def name(self) -> str:
        """For records and errors."""
        ...

    def publish(self, log: AuditLog, checkpoint: Checkpoint) -> Checkpoint:
        """Keep the head."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderAnchor:
    """A folder, best on another machine's disk: one file a head, never overwritten."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder."""
        return f"folder {self.folder}"

    def publish(self, log: AuditLog, checkpoint: Checkpoint) -> Checkpoint:
        """See `Anchor.publish`. Raises `AuditBrokenError` where the log does not continue the newest head there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            newest = max(self._files(), default=None, key=lambda path: path.name)
            if newest is not None:
                known = _head_in(newest)
                checkpoint = head_beyond(log, checkpoint, known.size)
                proof = log.consistency(known.size, checkpoint.size)
                require_continuation(known, checkpoint, proof, memory=newest)
            write_whole(self.folder / head_name(checkpoint), checkpoint.to_bytes())
        except OSError as error:
            raise AuditUnavailableError(f"the head cannot be kept in `{self.folder}`: {error}") from error
        return checkpoint

    def heads(self) -> Iterator[Checkpoint]:
        """What is kept there, the smallest first. Raises `AuditBrokenError` that names the file which is no head."""
        for path in sorted(self._files()):
            yield _head_in(path)

    def _files(self) -> Iterator[Path]:
        return self.folder.glob("[0-9]*.checkpoint")


class Uploads(Protocol):
    """The one thing an `ArtifactoryAnchor` needs of a client."""

    def upload(self, repository: str, path: str, body: BinaryIO, *, size: int) -> object:
        """Store a file. Raises `RemoteError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactoryAnchor:
    """A repository of its own, in which the writer's token may deploy and not overwrite or delete."""

    client: Uploads
    repository: str
    path: str = "audit-heads"

    @property
    def name(self) -> str:
        """The repository."""
        return f"repository {self.repository}"

    def publish(self, log: AuditLog, checkpoint: Checkpoint) -> Checkpoint:  # noqa: ARG002 - the contract's
        """See `Anchor.publish`."""
        data = checkpoint.to_bytes()
        where = f"{self.path}/{head_name(checkpoint)}"
        self.client.upload(self.repository, where, io.BytesIO(data), size=len(data))
        return checkpoint


def publish_head(
    log: AuditLog, anchors: Sequence[Anchor], *, quorum: int = 1, is_routine: bool = False
) -> Checkpoint:
    """Send the log's head out; also the heartbeat of quiet times, since the absence of a head is then a finding.

    Every anchor is tried, and the log then records which of them kept the head; `is_routine` as in `record_attempt`.
    Raises `AuditUnavailableError` where fewer than `quorum` did, `AuditBrokenError` where one of them says that the log
    is not the one it knows.
    """
    if not 0 < quorum <= len(anchors):
        raise ValueError(f"a quorum of {quorum} among {len(anchors)} anchors")
    if log.store.frontier().size == 0:
        record_head(log)  # the head of nothing shows nothing
    checkpoint = log.checkpoint()
    kept, failed, said = [], {}, []
    for anchor in anchors:
        try:
            checkpoint = anchor.publish(log, checkpoint)
        except AuditBrokenError:
            raise
        except GovernanceError as error:
            failed[anchor.name] = type(error).__name__
            said.append(f"{anchor.name}: {error.message}")
            logger.warning("a head of the audit log was not kept by %s: %s", anchor.name, error.message)
        else:
            kept.append(anchor.name)
    record_attempt(log, checkpoint, kept=kept, failed=failed, quorum=quorum, is_routine=is_routine)
    if len(kept) < quorum:
        raise AuditUnavailableError(
            f"the log's head was kept by {len(kept)} of {len(anchors)} anchors, {quorum} are demanded: "
            + "; ".join(said)
        )
    return checkpoint


def record_head(log: AuditLog) -> None:
    """Record the head in the log itself, which goes nowhere: that its keeper was there, if nothing else happened."""
    record_attempt(log, log.checkpoint(), kept=(), failed={}, quorum=0)


def head_name(checkpoint: Checkpoint) -> str:
    """A file name that sorts by size; the root in it keeps two heads of one size apart."""
    return f"{checkpoint.size:015d}-{checkpoint.root.hex()[:16]}.checkpoint"


def _head_in(path: Path) -> Checkpoint:
    try:
        with path.open("rb") as file:
            return read_checkpoint(file.read(_MAX_HEAD))
    except AuditBrokenError as error:
        raise AuditBrokenError(
            f"the kept head `{path}` is damaged: {error.message}",
            hint="Nobody but this program should write there. Keep the file, look at who did, and put it away to go on "
            "without it.",
        ) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise AuditUnavailableError(
            f"the kept head `{path}` cannot be read: {error.strerror}", hint="Fix its rights, or its disk."
        ) from error


def _indented(checkpoint: Checkpoint) -> str:
    return "\n".join(f"    {line}" for line in checkpoint.to_bytes().decode().splitlines())
