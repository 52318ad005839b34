"""The digests that passed through us, read back from the audit log.

Files sent through a tracking server arrive one request each, in any order, perhaps at several workers, perhaps before a
restart; the signature over the whole is made when the model is complete. What it covers is what was seen at those
requests, as the log recorded it then, and never what is found in storage later.

Promises: the last upload of a path counts, and a deleted path is gone; an outcome counts only with the decision that it
rests on, about this very place on this very host, and only if a gate of this log's own wrote both. What a client sent to the
log is no upload that passed here. A list of files that was erased after its time, or that another machine keeps, is not known
any more: what it named counts as never seen, which is told. Does not: look at storage.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from governance.artifactory.address import Address
from governance.audit.bodies import moved_files
from governance.audit.entry import Entry, EntryKind
from governance.audit.log import AuditLog
from governance.audit.store import KeptElsewhere, kept_of
from governance.errors import AuditBrokenError
from governance.model.artifact import FOLDER_SIGNATURE, FileEntry
from governance.model.digest import Sha256
from governance.model.request import Action

logger = logging.getLogger(__name__)


def uploaded(log: AuditLog, root: Address) -> tuple[FileEntry, ...]:
    """The files of the artifact at `root` that were uploaded and not deleted since, as far as this log knows.

    Files of an upload that failed later count too: they were stored, and hashed on the way. Raises `AuditBrokenError`, also where a list
    of files is gone and no erasure took it.
    """
    ref = f"{root.repository}/{root.path}".rstrip("/")
    decided = {
        (stored.entry.id, stored.entry.body["action"])
        for stored in log.witnessed(kind=EntryKind.DECISION, subject=ref)
        if _host(stored.entry) == root.host
    }
    known: dict[str, FileEntry] = {}
    for stored in log.witnessed(kind=EntryKind.OUTCOME, subject=ref):
        body = stored.entry.body
        if (body["decision"], body["action"]) not in decided:
            continue
        if body["action"] == Action.UPLOAD:
            known |= {str(entry.path): entry for entry in _moved(log, stored.entry)}
        elif body["action"] == Action.DELETE:
            for entry in _moved(log, stored.entry):
                known.pop(str(entry.path), None)
    known.pop(FOLDER_SIGNATURE, None)
    return tuple(known[path] for path in sorted(known))


def _host(entry: Entry) -> object:
    artifact = entry.body["artifact"]
    return artifact.get("host") if isinstance(artifact, Mapping) else None


def _moved(log: AuditLog, outcome: Entry) -> tuple[FileEntry, ...]:
    try:
        return moved_files(outcome.body, lambda digest: _evidence(log, digest))
    except _NotKnownError:
        logger.warning(
            "the files of an earlier %s of `%s` are not known here any more, and no signature made now covers them; `mlgov sign` signs "
            "what is stored",
            outcome.body["action"],
            outcome.subject,
        )
        return ()


class _NotKnownError(Exception):
    """A list of files that was erased, or that another machine keeps."""


def _evidence(log: AuditLog, digest: Sha256) -> bytes:
    if isinstance(log.store, KeptElsewhere):
        raise _NotKnownError
    document = log.evidence(digest)
    if document is None and kept_of(log.store, [digest]):
        raise _NotKnownError
    if document is None:
        raise AuditBrokenError(f"the list of moved files {digest} is not kept with the log any more")
    return document
