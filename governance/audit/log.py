"""The audit log: what the gate, the signer and the reports write to and read from.

Promises, which everything above rests on:

1. `append` returns when the entry is durable, and not before. Otherwise it raises `AuditUnavailableError`, and whoever
   appended must not act. After that error it is unknown whether the entry is in the log.
2. So an entry in doubt keeps its id and its bytes, and goes in front of the next append, together with a `recovery`
   entry that names it. Stores know ids, hence it is there once. The log may hold a decision that was never acted upon;
   it never lacks one that was.
3. Nothing is dropped. When the store is behind, or too much is in doubt, `append` refuses.
4. Each writer numbers its entries from 1 without holes.

It does not decide anything, and does not keep a person who owns the file from rewriting it; `verify`, and checkpoints
kept elsewhere, show that it was done.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from governance.audit.checkpoint import Checkpoint, Proof, read_checkpoint
from governance.audit.entry import Entry, EntryKind, Writer, evidence_digest, parse_entry
from governance.audit.export import Export, export_log, require_free
from governance.audit.merkle import consistency_proof, inclusion_proof, leaf_hash, verify_inclusion
from governance.audit.note import NoteKey, NoteSigner, sign_note
from governance.audit.pseudonyms import Pseudonyms
from governance.audit.stamp import is_stamped
from governance.audit.store import MAX_EVIDENCE, AuditStore, Draft, KeptElsewhere, Query, Row, draft_of
from governance.audit.verification import Verification
from governance.audit.verify import verify_range, verify_store
from governance.audit.verify_evidence import NamedDocuments, verify_evidence
from governance.errors import AuditBrokenError, AuditConflictError, AuditUnavailableError, SettingsError
from governance.forking import call_after_fork
from governance.model.canonical import Json, canonical_bytes
from governance.model.digest import Sha256
from governance.model.request import Actor, new_id, utc_text

_NODES = 4_096  # hashes remembered for proofs, half a megabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The entry `id` is durable. `index` is its place in the tree, or None while a store has yet to give it one."""

    id: str
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An entry as read back, with the bytes that were hashed."""

    index: int | None
    entry: Entry
    data: bytes


class AuditLog:
    """Writes to one store. Safe to share between threads; a forked child counts as a new boot of the writer.

    `instance` names the writer (host and role), `origin` the log in checkpoints, `software` what wrote it; `signers`
    sign checkpoints; `pseudonyms` stand in for the names of actors. At most `doubt_bound` entries may be in doubt before `append` refuses without making a new one.
    """

    def __init__(
        self,
        store: AuditStore,
        *,
        now: Callable[[], datetime],
        instance: str,
        origin: str = "mlgov.local/audit",
        software: str = "mlflow-governance",
        signers: Sequence[NoteSigner] = (),
        pseudonyms: Pseudonyms | None = None,
        doubt_bound: int = 1_024,
    ) -> None:
        self._store = store
        # Complete subtrees never change. The upper ones are in every proof, and the highest are made of many hashes.
        self._node = functools.lru_cache(maxsize=_NODES)(store.node)
        self._now = now
        self._instance = instance
        self._software = software
        self._signers = tuple(signers)
        self._pseudonyms = pseudonyms
        self._doubt_bound = doubt_bound
        self._broken: AuditBrokenError | None = None
        self.origin = origin
        self._is_named = isinstance(store, KeptElsewhere)  # its server knows what it is called
        self._begin()
        call_after_fork(self._begin)

    def _begin(self) -> None:
        """A new boot: numbers start at 1, and nothing is in doubt (a forked child's parent sees to its own)."""
        self._lock = threading.Lock()
        self._boot = new_id(self._now())
        self._next = itertools.count(1).__next__
        self._is_begun = False
        self._unconfirmed: list[Draft] = []

    @property
    def store(self) -> AuditStore:
        """What the entries are kept in, for proofs and exports."""
        return self._store

    def now(self) -> datetime:
        """What the clock of this log says."""
        return self._now()

    @property
    def pseudonyms(self) -> Pseudonyms | None:
        """What stands in for the names of actors, for entries that come from elsewhere."""
        return self._pseudonyms

    def on_record(self, actor: Actor) -> Actor:
        """The actor as entries of this log name it, for documents that are kept beside them: the same, or under a pseudonym and
        without groups. Of a log that another machine keeps this is known once it acknowledged something."""
        if self._pseudonyms is not None:
            return replace(actor, name=self._pseudonyms.of(actor.name), groups=())
        stamp = self._store.stamp() if isinstance(self._store, KeptElsewhere) else None
        if stamp is None or stamp.has_claims or stamp.name is None:
            return actor
        return replace(actor, name=stamp.name, groups=())

    @property
    def key(self) -> NoteKey | None:
        """The public half of the key that signs checkpoints, where the log has one."""
        return self._signers[0].key if self._signers else None

    def append(
        self,
        kind: EntryKind,
        body: Mapping[str, Json],
        *,
        subject: str,
        correlation: str,
        id: str | None = None,  # noqa: A002 - the word of the record
        evidence: Sequence[bytes] = (),
    ) -> Receipt:
        """Write one entry, and the documents it names. Durable on return, or `AuditUnavailableError`.

        `id` may be given to repeat an append, of this process or an earlier one, that was not confirmed: an entry with
        that id and the same content is found rather than written twice; other content raises `AuditConflictError`.
        Raises `ValueError` for a body that does not fit its kind, and `SettingsError` where the log goes by another name
        than `origin`, before anything is written.
        """
        self.require_sound()
        if not self._is_named:
            self._require_name()
        if self._pseudonyms is not None:
            body, evidence = self._pseudonyms.apply(body, evidence)
        documents = tuple(_named(document) for document in evidence)
        if len(self._unconfirmed) >= self._doubt_bound:
            self._settle_doubts()
        before = self._take_unconfirmed() if self._unconfirmed or not self._is_begun else []
        try:
            draft = self._draft(
                kind, body, subject=subject, correlation=correlation, entry_id=id, evidence=documents
            )
        except ValueError:
            self._put_back(before)
            raise
        pending = [*before, draft]
        try:
            indexes = self._store.append(pending)
        except AuditConflictError:
            return self._resolve_conflict(pending, kind, body, subject)
        except BaseException as error:
            self._put_back(pending)
            if isinstance(error, AuditUnavailableError):
                raise AuditUnavailableError(error.message, entry_id=draft.id, hint=error.hint) from error
            raise
        return Receipt(id=draft.id, index=indexes[-1])

    def find(
        self,
        *,
        kind: EntryKind | None = None,
        subject: str | None = None,
        correlation: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[Stored]:
        """The entries that match, oldest first, each checked against its hash. `since` is about the writers' clocks."""
        query = Query(
            kind=kind,
            subject=subject,
            correlation=correlation,
            since=None if since is None else utc_text(since),
        )
        return map(checked, self._store.find(query))

    def witnessed(
        self, *, kind: EntryKind, subject: str | None = None, since: datetime | None = None
    ) -> Iterator[Stored]:
        """Those entries of `find` that say what the keepers of this log did and saw themselves. What a client sent over the
        network is that client's word, and nothing may rest on it but what it says about itself: whoever can write to the log
        could else have seen a file pass, or a model be allowed. Of a log that another machine keeps one finds one's own."""
        found = self.find(kind=kind, subject=subject, since=since)
        if isinstance(self._store, KeptElsewhere):
            return found
        return (stored for stored in found if not is_stamped(stored.entry))

    def get(self, entry_id: str) -> Stored | None:
        """One entry by its id."""
        row = self._store.get(entry_id)
        return None if row is None else checked(row)

    def evidence(self, sha256: Sha256) -> bytes | None:
        """A document kept with the log. None where there is none, or its body was erased. Raises `AuditBrokenError`
        when the body is not what its digest says."""
        document = self._store.evidence(sha256)
        if document is not None and evidence_digest(document) != sha256:
            raise AuditBrokenError(f"the evidence {sha256} was changed")
        return document

    def verify(self, roots: Mapping[int, bytes] | None = None) -> Verification:
        """Walk over the whole log and what is kept beside it; see `governance.audit.verify` and `verify_evidence`. `roots` are
        remembered roots by tree size."""
        named = NamedDocuments(self._store)
        found = verify_store(self._store, roots, passing=named.look)
        return replace(found, problems=(*found.problems, *verify_evidence(self._store, named=named)))

    def verify_range(self, start: int, stop: int) -> Verification:
        """Check some entries against the tree without reading the others; see `governance.audit.verify`."""
        return verify_range(self._store, start, stop)

    def checkpoint(self) -> Checkpoint:
        """The tree as it is now, signed if the log has a key."""
        head = self._store.frontier()
        bare = Checkpoint(origin=self.origin, size=head.size, root=head.root())
        return replace(bare, note=sign_note(bare.text, self._signers).encode()) if self._signers else bare

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of `new` entries begins with that of `old`. Reads a few hashes, and no entry."""
        return consistency_proof(self._node, old, new) if 0 < old < new else []

    def head_since(self, size: int) -> tuple[Checkpoint, list[bytes]]:
        """The log's head, as its keeper signs it, and the proof that it continues the one of `size` entries. Nothing is
        verified here; see `governance.audit.anchor.require_continuation`."""
        if isinstance(self._store, KeptElsewhere):
            note, proof = self._store.head_since(size)
            return read_checkpoint(note), proof
        head = self.checkpoint()
        return head, self.consistency(size, head.size)

    def condemn(self, error: AuditBrokenError) -> None:
        """Refuse every append from now on: somebody found that this log is not the one it was."""
        self._broken = error

    def require_sound(self) -> None:
        """Raise what the log was condemned for, if it was. For whoever appends to its store directly."""
        if self._broken is not None:
            raise self._broken

    def prove(self, index: int, checkpoint: Checkpoint | None = None) -> Proof:
        """A receipt for entry `index`, which anybody can check offline. It was checked here first: a store that lost a
        hash shows now, and not in an auditor's hands. Raises `AuditBrokenError` or, without such an entry, `ValueError`."""
        checkpoint = checkpoint or self.checkpoint()
        hashes = inclusion_proof(self._node, index, checkpoint.size)
        leaf = self._store.node(0, index)
        verify_inclusion(index=index, size=checkpoint.size, leaf=leaf, proof=hashes, root=checkpoint.root)
        return Proof(index=index, hashes=tuple(hashes), checkpoint=checkpoint.to_bytes())

    def export(
        self,
        folder: Path,
        *,
        with_tiles: bool = False,
        cosign: Callable[[Checkpoint], Checkpoint] | None = None,
    ) -> Export:
        """Hand out the whole log as a folder that proves itself; see `governance.audit.export`. The log's last exported
        entry says that it was. `cosign` adds the signatures of witnesses to the head; it is asked before anything is recorded too,
        so that a witness who does not sign leaves no trace of an export that never was, and so does a folder that is taken."""
        require_free(folder)
        if cosign is not None:
            cosign(self.checkpoint())
        head = self._store.frontier()
        body: dict[str, Json] = {"size": head.size, "root": head.root().hex()}
        self.append(EntryKind.EXPORT, body, subject=self.origin, correlation=self._boot)
        checkpoint = self.checkpoint()
        if cosign is not None:
            checkpoint = cosign(checkpoint)
        return export_log(self._store, folder, checkpoint=checkpoint, key=self.key, with_tiles=with_tiles)

    def close(self) -> None:
        """Give back what the store holds."""
        self._store.close()

    def _draft(
        self,
        kind: EntryKind,
        body: Mapping[str, Json],
        *,
        subject: str,
        correlation: str,
        entry_id: str | None = None,
        evidence: tuple[tuple[Sha256, bytes], ...] = (),
    ) -> Draft:
        """The next entry of this writer. The number is spent only once the entry is known to be well formed."""
        at = self._now()
        entry = Entry(
            id=entry_id or new_id(at),
            at=at,
            kind=kind,
            writer=Writer(instance=self._instance, boot=self._boot, n=0),
            correlation=correlation,
            subject=subject,
            body=body,
        )
        return draft_of(entry, evidence, self._next)

    def _require_name(self) -> None:
        """A log keeps the name it began with: checkpoints of two names prove neither, and entries cannot be taken back."""
        try:
            first = next(iter(self._store.rows(0, 1)), None)
            entry = None if first is None else parse_entry(first.data)
        except (AuditUnavailableError, AuditBrokenError):
            return  # it will take no entry either, or is for `verify` to judge
        if entry is not None and entry.kind is EntryKind.START and not is_stamped(entry):
            name = entry.body.get("origin")
            if name != self.origin:
                raise SettingsError(
                    f"the audit log is called `{str(name)[:128]}`, and `audit_origin` says `{self.origin}`",
                    hint="Give `audit_origin` the log's name, which stays; a log of another name is another file or database.",
                )
        self._is_named = True

    def _take_unconfirmed(self) -> list[Draft]:
        """What has to go in front of the next entry, and the entry that names those in doubt. In front of the first it is the
        writer's start, so that a process which only reads writes nothing, and one that waited was not late."""
        with self._lock:
            taken, self._unconfirmed = self._unconfirmed, []
            if not self._is_begun:
                start = {"origin": self.origin, "version": self._software}
                taken.append(
                    self._draft(EntryKind.START, start, subject=self._instance, correlation=self._boot)
                )
                self._is_begun = True
        unnamed: list[Json] = []
        for draft in taken:
            if draft.kind == EntryKind.RECOVERY:
                unnamed = []
            elif draft.kind != EntryKind.START:
                unnamed.append(draft.id)
        if unnamed:
            taken.append(
                self._draft(
                    EntryKind.RECOVERY, {"ids": unnamed}, subject=self._instance, correlation=self._boot
                )
            )
        return taken

    def _settle_doubts(self) -> None:
        """So much is in doubt that nothing new is begun before the old is written."""
        pending = self._take_unconfirmed()
        try:
            self._store.append(pending)
        except BaseException as error:
            self._put_back(pending)
            if isinstance(error, AuditUnavailableError):
                raise AuditUnavailableError(
                    f"the audit log has not confirmed {len(pending)} entries, and still cannot: {error.message}",
                    hint="Fix the store under the audit log; nothing is let through until then.",
                ) from error
            raise

    def _put_back(self, drafts: Sequence[Draft]) -> None:
        with self._lock:
            self._unconfirmed = [*drafts, *self._unconfirmed]

    def _resolve_conflict(
        self, pending: Sequence[Draft], kind: EntryKind, body: Mapping[str, Json], subject: str
    ) -> Receipt:
        """The id of the last draft is in the log with other bytes: a repeat from an earlier process, or a mistake.

        Its number is spent, so a recovery entry takes the number's place.
        """
        draft = pending[-1]
        spent = parse_entry(draft.data)
        filler = Entry(
            id=new_id(spent.at), at=spent.at, kind=EntryKind.RECOVERY, writer=spent.writer,
            correlation=self._boot, subject=self._instance, body={"ids": [draft.id]},
        )  # fmt: skip
        self._put_back([*pending[:-1], draft_of(filler)])
        found = self.get(draft.id)
        if found is None:
            raise AuditUnavailableError("the audit log gave two answers about one entry", entry_id=draft.id)
        known = found.entry
        if (known.kind, known.subject) != (kind, subject) or canonical_bytes(known.body) != canonical_bytes(
            body
        ):
            raise AuditConflictError(f"entry id {draft.id} is already used for another entry")
        return Receipt(id=draft.id, index=found.index)


def _named(document: bytes) -> tuple[Sha256, bytes]:
    if len(document) > MAX_EVIDENCE:
        raise ValueError(f"a document of {len(document)} bytes: at most {MAX_EVIDENCE} are kept as evidence")
    return evidence_digest(document), document


def checked(row: Row) -> Stored:
    """An entry as its bytes say, after a look that they are the bytes which were hashed and filed. Raises `AuditBrokenError`."""
    if leaf_hash(row.data) != row.leaf:
        raise AuditBrokenError("the entry was changed after it was recorded", index=row.seq)
    entry = parse_entry(row.data)
    if (entry.id, entry.kind, entry.subject) != (row.id, row.kind, row.subject):
        raise AuditBrokenError("the entry was changed after it was recorded", index=row.seq)
    return Stored(index=row.seq, entry=entry, data=row.data)
