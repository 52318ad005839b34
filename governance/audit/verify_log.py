"""Check an exported audit log. One file; needs Python 3.11 and, for signatures, the package `cryptography`.

    python verify_log.py FOLDER [--key VKEY] [--earlier CHECKPOINT] [--witness VKEY ...]

What an export holds, and what is checked here:

    entries.jsonl     one entry a line: canonical JSON, the bytes that were hashed (without the newline)
    leaves.txt        the hash of each entry in hex, so that a bad entry can be named
    checkpoint        the log's name, number of entries, root hash; signed, if the log has a key
    log.vkey          the log's public key, if it has one. COMPARE IT with the one you were given otherwise (`--key`)
    evidence.jsonl    the documents kept beside the log, by SHA-256, and whether they were erased
    evidence/HASH     these documents

1. Every line is one entry in canonical form, and its hash is the one in `leaves.txt`.
2. The entries, put in a Merkle tree (RFC 6962: leaf = SHA-256(0x00 entry), node = SHA-256(0x01 left right)), give the
   root hash in `checkpoint`, and there are as many as it says.
3. The checkpoint is signed by the log's key; with `--witness`, also by each of these, who sign only what continues the last
   head of this log that they signed (c2sp.org/tlog-cosignature).
4. Each writer's entries are numbered 1, 2, 3, ... without a gap: nothing was lost before it reached the log. A client (a writer named
   after its sender and a slash) counts as it likes: where it has a gap, that is told, and is no break.
5. Every document is what its name says; a missing one is listed as erased, and an entry in the log says that it was. The
   facts of every decision, the files of every outcome and every policy are listed.
6. With `--earlier`: the log begins with all the entries that the earlier checkpoint stood for.

The folder of a report holds a part of the log, and more:

    range.json        which part, from entry `start` up to and without `stop`, whether every entry between is here, and the
                      hashes of the complete subtrees before, within and after it
    checkpoint.first  the log before the part; checkpoint.last: the log after it
    receipts/N.tlog-proof   shows that the entry in records/N.json is entry N of the log (c2sp.org/tlog-proof)

There, step 2 puts together the subtrees before, the entries (or, where they are not here, the subtrees within) and those
after: the roots on the way have to be the ones in `checkpoint.first` and `checkpoint.last`, and the last one that in the
signed `checkpoint`. So nothing was left out between the two. Step 4 needs the whole log, and is not done. Then:

7. Each record has a receipt, which leads from it to the root of the signed checkpoint.

An entry that a newer program wrote, of a kind or version that this one does not know, is checked as far as it goes: its hash and its
place. Then the whole could not be checked to the end, and this says so.

What this cannot show: that the log you hold is the newest one, or the only one. For that, compare its checkpoint with
one that somebody else kept (`--earlier`). Ends with 0 if all is well, 1 if not, 2 if it could not be checked.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class BadLogError(Exception):
    """The log does not prove itself. The message says where and why."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry, RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees, RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class TooOldError(Exception):
    """Nothing was found wrong, but this program does not know everything in the log."""


VERSION = 1
KINDS = frozenset({
    "start", "decision", "outcome", "signature", "policy", "key", "waiver", "advisory", "registration", "checkpoint", "export",
    "recovery", "erasure", "hold",
})  # fmt: skip
"""What this program knows to read."""

RESTS_ON = {"decision": ("facts",), "outcome": ("moved", "manifest"), "policy": ("digest",)}
"""Where an entry names the document that it rests on."""


class Tree:
    """Grows leaf by leaf; keeps only the roots of its complete subtrees, as (number of leaves, hash)."""

    def __init__(self) -> None:
        self.size = 0
        self.parts: list[tuple[int, bytes]] = []

    def add(self, value: bytes, count: int = 1) -> None:
        """Append a leaf hash, or the hash of a complete subtree of `count` leaves."""
        if count < 1 or count & (count - 1) or self.size % count:
            raise BadLogError(f"range.json: no subtree of {count} entries begins at entry {self.size}")
        self.size += count
        while self.parts and self.parts[-1][0] == count:
            count, value = count * 2, node_hash(self.parts.pop()[1], value)
        self.parts.append((count, value))

    def root(self) -> bytes:
        """Root hash of all leaves so far."""
        if not self.parts:
            return hashlib.sha256(b"").digest()
        value = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            value = node_hash(left, value)
        return value


def read_checkpoint(data: bytes) -> tuple[str, str, int, bytes]:
    """Its text, origin, size and root. The text is what stands above the signatures."""
    whole = data.decode()
    text = whole.rpartition("\n\n")[0] + "\n" if "\n\n" in whole else whole
    lines = text.split("\n")
    if len(lines) < 4 or not lines[1].isdigit():
        raise BadLogError("checkpoint: not of the form origin, size, root")
    return text, lines[0], int(lines[1]), unbase64(lines[2])


def unbase64(text: str) -> bytes:
    """Base64, accepting only what an encoder prints, so that no character can be changed without notice."""
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise BadLogError("checkpoint: malformed base64")
    return raw


def signatures(below: str) -> Iterator[tuple[str, bytes]]:
    """Name and blob (key id and signature) of each line under the text (c2sp.org/signed-note)."""
    if not below.startswith("\n") or not below.endswith("\n"):
        raise BadLogError("checkpoint: malformed signatures")
    for line in below[1:-1].split("\n"):
        mark, _, rest = line.partition(" ")
        name, _, packed = rest.partition(" ")
        if mark != "—":
            raise BadLogError("checkpoint: stray text below the signature")
        yield name, unbase64(packed)


def read_key(vkey: str, kind: int = 1) -> tuple[str, bytes, bytes]:
    """The name, id and bytes of a public key (c2sp.org/signed-note), of a log (kind 1) or a witness (4)."""
    try:
        name, key_id, packed = vkey.removesuffix("\n").split("+", 2)
        raw = unbase64(packed)
    except ValueError:
        raise BadLogError(f"`{vkey}`: not a key, which has the form name+id+base64") from None
    computed = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if computed.hex() != key_id or len(raw) != 33 or raw[0] != kind:
        raise BadLogError(f"`{vkey}`: not the key of a {'log' if kind == 1 else 'witness'}")
    return name, computed, raw


def check_signature(data: bytes, vkey: str, kind: int = 1) -> str:
    """Demand the key's Ed25519 signature on the checkpoint: the log's own (kind 1), or a witness's (4), which signs the time
    too. Returns the key's name."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    name, computed, raw = read_key(vkey, kind)
    text = read_checkpoint(data)[0]
    mine = [
        blob[4:]
        for signer, blob in signatures(data.decode()[len(text) :])
        if (signer, blob[:4]) == (name, computed)
    ]
    if not mine:
        raise BadLogError(f"checkpoint: not signed by {name}")
    for blob in mine:
        message, signature = text.encode(), blob
        if kind == 4:
            message = f"cosignature/v1\ntime {int.from_bytes(blob[:8])}\n{text}".encode()
            signature = blob[8:]
        try:
            Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signature, message)
        except InvalidSignature:
            raise BadLogError(f"checkpoint: the signature by {name} is wrong") from None
    return name


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key stands twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def read_entry(number: int, line: bytes) -> dict[str, Any]:
    """An entry, which must be in canonical form: sorted keys, no spaces, whole numbers, UTF-8."""
    try:
        entry: dict[str, Any] = json.loads(line.decode(), object_pairs_hook=unique)
        if entry["v"] != VERSION:
            return entry
        again = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        writer = entry["writer"]
        wanted = (
            entry["id"],
            entry["kind"],
            entry["subject"],
            writer["instance"],
            writer["boot"],
            int(writer["n"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise BadLogError(f"entry {number}: cannot be read: {error}") from None
    if again != line or not all(wanted):
        raise BadLogError(f"entry {number}: not in canonical form")
    return entry


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, the last of which must be ended too."""
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                raise BadLogError(f"{path.name}: the last line is cut short")
            yield line[:-1]


class Part:
    """What `range.json` says: which entries are here, and the subtrees around them."""

    def __init__(self, data: bytes) -> None:
        row = json.loads(data, object_pairs_hook=unique)
        self.start, self.stop, self.is_whole = int(row["start"]), int(row["stop"]), row["whole"] is True
        self.before, self.within, self.after = (
            [(bytes.fromhex(value), int(count)) for count, value in row[name]]
            for name in ("before", "within", "after")
        )


def check_receipt(folder: Path, receipt: Path) -> None:
    """Step 7, by RFC 9162 section 2.1.3.2."""
    head, _, checkpoint = receipt.read_bytes().partition(b"\n\n")
    lines = head.decode().split("\n")
    if len(lines) < 2:
        raise BadLogError(f"{receipt.name}: not a receipt")
    index, proof = int(lines[1].removeprefix("index ")), [unbase64(line) for line in lines[2:]]
    _, _, size, root = read_checkpoint((folder / "checkpoint").read_bytes())
    value = leaf_hash((folder / "records" / f"{index}.json").read_bytes())
    node, last = index, size - 1
    for other in proof:
        if last == 0:
            raise BadLogError(f"{receipt.name}: its proof is too long")
        if node % 2 or node == last:
            value = node_hash(other, value)
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        else:
            value = node_hash(value, other)
        node, last = node // 2, last // 2
    good = lines[0] == "c2sp.org/tlog-proof@v1" and receipt.name == f"{index}.tlog-proof" and index < size
    if not good or last != 0 or value != root or checkpoint != (folder / "checkpoint").read_bytes():
        raise BadLogError(f"{receipt.name}: it does not lead from its record to the root of the checkpoint")


class Checker:
    """Walks over the entries once."""

    def __init__(self, folder: Path, earlier: bytes | None) -> None:
        self.folder = folder
        self.tree = Tree()
        self.numbers: dict[tuple[str, str], set[int]] = {}
        self.remarks: list[str] = []
        self.ids: set[str] = set()
        self.erased: set[str] = set()
        self.needed: dict[str, int] = {}
        self.origins: set[str] = set()
        self.earlier = read_checkpoint(earlier) if earlier is not None else None
        part = folder / "range.json"
        self.part = Part(part.read_bytes()) if part.exists() else None
        self.here = 0
        self.newer: list[str] = []
        self.is_blind = False

    def read(self) -> None:
        """Steps 1, 2 and 6, of the whole log or of a part of it."""
        part = self.part
        if part is None:
            for name in ("checkpoint.first", "checkpoint.last", "records", "receipts"):
                if (self.folder / name).exists():
                    raise BadLogError(
                        f"range.json: missing, though `{name}` says that this is a report's folder"
                    )
            self.entries()
            self.here = self.tree.size
            return
        for value, count in part.before:
            self.tree.add(value, count)
        self.expect("checkpoint.first", part.start)
        beside = Tree()
        for value, count in part.before + part.within:
            beside.add(value, count)
        if part.is_whole or (self.folder / "entries.jsonl").exists():
            self.some(part)
        else:
            self.tree = beside
        self.expect("checkpoint.last", part.stop)
        if beside.root() != self.tree.root():
            raise BadLogError("range.json: its subtrees are not those of the entries here")
        for value, count in part.after:
            self.tree.add(value, count)

    def expect(self, name: str, size: int) -> None:
        """Demand that the tree is now the one of a checkpoint beside it."""
        _, origin, found, root = read_checkpoint((self.folder / name).read_bytes())
        self.origins.add(origin)
        if (found, root) != (size, self.tree.root()) or size != self.tree.size:
            raise BadLogError(f"{name}: the hashes here give {self.tree.size} entries with another root")

    def some(self, part: Part) -> None:
        """Step 1 for the entries of a part: in the order of `leaves.txt`, which has the hashes of all of them."""
        lines = lines_of(self.folder / "entries.jsonl")
        line = next(lines, None)
        for text in lines_of(self.folder / "leaves.txt"):
            number, leaf = self.tree.size, bytes.fromhex(text.decode())
            if line is not None and leaf_hash(line) == leaf:
                self.one(number, read_entry(number, line))
                self.here += 1
                line = next(lines, None)
            elif part.is_whole:
                raise BadLogError(
                    f"entry {number}: it is missing, or its bytes were changed after it was recorded"
                )
            self.tree.add(leaf)
        if line is not None:
            raise BadLogError(
                f"entries.jsonl: line {self.here + 1} is not an entry of this part: it was added, moved, or its bytes were changed"
            )

    def receipts(self) -> int:
        """Step 7. Returns how many receipts there are."""
        found = sorted((self.folder / "receipts").glob("*"))
        for receipt in found:
            check_receipt(self.folder, receipt)
        proven = {receipt.name.replace(".tlog-proof", ".json") for receipt in found}
        for record in sorted((self.folder / "records").glob("*")):
            if record.name not in proven:
                raise BadLogError(f"records/{record.name}: no receipt shows that it is an entry of the log")
        return len(found)

    def entries(self) -> None:
        """Steps 1 and 6, and the numbers for step 4."""
        leaves = lines_of(self.folder / "leaves.txt")
        for number, line in enumerate(lines_of(self.folder / "entries.jsonl")):
            recorded = next(leaves, None)
            leaf = leaf_hash(line)
            if recorded is None or leaf.hex().encode() != recorded:
                why = self.blame(number, line)
                raise BadLogError(f"entry {number}: {why}")
            self.one(number, read_entry(number, line))
            self.tree.add(leaf)
            if self.earlier and self.tree.size == self.earlier[2] and self.tree.root() != self.earlier[3]:
                raise BadLogError(f"entry {number}: up to here this is not the log of the earlier checkpoint")
        if next(leaves, None) is not None:
            raise BadLogError(f"entry {self.tree.size}: missing, as are all after it; leaves.txt goes on")
        if self.earlier and self.earlier[2] > self.tree.size:
            raise BadLogError(
                f"entry {self.tree.size}: missing; the earlier checkpoint had {self.earlier[2]} entries"
            )

    def blame(self, number: int, line: bytes) -> str:
        """What is wrong where entry and recorded hash differ: is the entry another one, or is the hash?"""
        known = [
            bytes.fromhex(text.decode()) for text in lines_of(self.folder / "leaves.txt") if len(text) == 64
        ]
        tree = Tree()
        for leaf in known:
            tree.add(leaf)
        if tree.root() != read_checkpoint((self.folder / "checkpoint").read_bytes())[3]:
            return "it is not the one recorded in leaves.txt, and leaves.txt does not give the checkpoint's root either"
        leaf = leaf_hash(line)
        if leaf in known[:number]:
            return f"it is entry {known.index(leaf)} again"
        if leaf in known:
            return f"it is missing; entry {known.index(leaf)} stands in its place"
        following = next(
            (text for at, text in enumerate(lines_of(self.folder / "entries.jsonl")) if at == number + 1), b""
        )
        if number < len(known) and leaf_hash(following) == known[number]:
            return "it was inserted; the recorded one follows it"
        return "its bytes were changed after it was recorded, or it was added"

    def one(self, number: int, entry: dict[str, Any]) -> None:
        """Note an entry's id and its writer's number."""
        if entry["v"] != VERSION:
            self.newer.append(f"entry {number} is of version {entry['v']}")
            self.is_blind = True
            return
        if entry["kind"] not in KINDS:
            self.newer.append(f"entry {number} is of the kind `{entry['kind']}`")
        if entry["id"] in self.ids:
            raise BadLogError(f"entry {number}: its id was used before")
        self.ids.add(entry["id"])
        writer = entry["writer"]
        seen = self.numbers.setdefault((writer["instance"], writer["boot"]), set())
        if writer["n"] in seen:
            self.about_numbers(
                writer["instance"], f"entry {number}: its writer used the number {writer['n']} twice"
            )
        seen.add(writer["n"])
        if entry["kind"] == "erasure":
            self.erased.update(entry["body"]["digests"])
        rests_on = entry["body"]
        for name in RESTS_ON.get(entry["kind"], ()):
            rests_on = rests_on.get(name) if isinstance(rests_on, dict) else None
        if isinstance(rests_on, str):
            self.needed.setdefault(rests_on, number)
        if entry["kind"] == "start" and "/" not in writer["instance"]:
            # What came over the network, from a writer named after its sender and a slash, is its sender's word.
            self.origins.add(entry["body"]["origin"])

    def writers(self) -> None:
        """Step 4."""
        for (instance, _), seen in self.numbers.items():
            gap = next((n for n in range(1, len(seen) + 1) if n not in seen), None)
            if gap is not None:
                self.about_numbers(instance, f"writer {instance}: its entry number {gap} is not in the log")

    def about_numbers(self, instance: str, what: str) -> None:
        """A break, or a remark about a client."""
        if "/" not in instance:
            raise BadLogError(what)
        self.remarks.append(what)

    def kept_whole(self) -> tuple[int, int]:
        """Steps 4, of the whole log, and 5. Neither can be done where entries are of another version."""
        if self.is_blind:
            return 0, 0
        if self.part is None:
            self.writers()
        return self.documents()

    def require_known(self) -> None:
        """Once all else is checked: say so where a newer program wrote what this one does not know."""
        if self.newer:
            more = f" (and {len(self.newer) - 1} more)" if len(self.newer) > 1 else ""
            undone = ", but for steps 4 and 5," if self.is_blind else ""
            raise TooOldError(
                f"{self.newer[0]}{more}, which this program does not know: a newer one may have written it. "
                f"Everything else{undone} is in order. Use the verify_log.py of the newest version"
            )

    def documents(self) -> tuple[int, int]:
        """Step 5. Returns how many documents there are, and how many more were erased."""
        listed: dict[str, bool] = {}
        for line in lines_of(self.folder / "evidence.jsonl"):
            row = json.loads(line, object_pairs_hook=unique)
            listed[row["sha256"]] = row["erased"]
            if json.dumps(row, sort_keys=True).encode() != line or set(row) != {"sha256", "erased"}:
                raise BadLogError("evidence.jsonl: malformed")
        present = {path.name: path for path in (self.folder / "evidence").glob("*")}
        for name, path in present.items():
            if listed.get(name) is not False or hashlib.sha256(path.read_bytes()).hexdigest() != name:
                raise BadLogError(f"evidence/{name}: not the document that was recorded under this hash")
        for name, is_erased in listed.items():
            if name not in present and not is_erased:
                raise BadLogError(f"evidence/{name}: missing")
            if is_erased and name not in self.erased and self.part is None:
                raise BadLogError(f"evidence/{name}: erased, and no entry in the log says so")
        for name, number in self.needed.items():
            if name not in listed and self.part is None:
                raise BadLogError(
                    f"entry {number}: the document {name} that it rests on is not in evidence.jsonl"
                )
        return len(present), len(listed) - len(present)


def check(
    folder: Path, key: str | None = None, earlier: bytes | None = None, witnesses: Sequence[str] = ()
) -> str:
    """All steps. Returns the sentence to print. Raises `BadLogError`, or `TooOldError`."""
    checker = Checker(folder, earlier)
    checker.read()
    data = (folder / "checkpoint").read_bytes()
    text, origin, size, root = read_checkpoint(data)
    if (checker.tree.size, checker.tree.root()) != (size, root):
        raise BadLogError(
            f"entry {min(size, checker.tree.size)}: the checkpoint names {size} entries with root {root.hex()}; "
            f"here are {checker.tree.size} with root {checker.tree.root().hex()}"
        )
    if checker.origins - {origin}:
        raise BadLogError(
            f"checkpoint: it is about the log `{origin}`, the entries about {sorted(checker.origins)}"
        )
    own = folder / "log.vkey"
    signed = "The checkpoint is not signed: whoever holds the log could have rewritten it as a whole."
    if key is not None or own.exists():
        name = check_signature(data, own.read_text() if key is None else key)
        signed = f"The checkpoint is signed by {name}."
        if key is None:
            signed += f" Its key came with the export: compare {own.read_text().strip()}"
    elif data.decode() != text:
        raise BadLogError("log.vkey: missing, though the checkpoint is signed")
    for name in [check_signature(data, each, kind=4) for each in witnesses]:
        signed += f" It is cosigned by {name}."
    part = checker.part
    receipts, (documents, gone) = checker.receipts(), checker.kept_whole()
    checker.require_known()
    told_by = "as its entries say" if part is None else "as it is listed"
    erased = f" Of {gone} more the bytes were erased, {told_by}." if gone else ""
    if checker.remarks:
        more = f" (and {len(checker.remarks) - 1} more)" if len(checker.remarks) > 1 else ""
        signed += f"\nNo break, but odd: {checker.remarks[0]}{more}: a client's entry was lost before it reached the log, or never was."
    if part is None:
        return f"Good: {size} entries and {documents} documents of the log `{origin}`, root {root.hex()}.{erased}\n{signed}"
    told = "all" if part.is_whole and checker.here == part.stop - part.start else f"{checker.here}"
    return (
        f"Good: {told} of the {part.stop - part.start} entries from {part.start} to {part.stop} (exclusive), {receipts} receipts and "
        f"{documents} documents of the log `{origin}`, which has {size} entries, root {root.hex()}.{erased}\n{signed}"
    )


def main() -> int:
    """Parse arguments, print, return the exit code."""
    parser = argparse.ArgumentParser(description="Check an exported audit log.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", help="the log's public key (name+id+base64), as you were given it")
    parser.add_argument("--earlier", type=Path, help="a checkpoint of this log that you kept from before")
    parser.add_argument(
        "--witness", action="append", default=[], help="key of a witness that must have cosigned"
    )
    options = parser.parse_args()
    if options.earlier and (options.folder / "range.json").exists():
        print("Could not be checked: --earlier needs an export of the whole log, and this is a part of it")  # noqa: T201 - a program's output
        return 2
    try:
        earlier = options.earlier.read_bytes() if options.earlier else None
        if options.key is not None:
            read_key(options.key)
        for each in options.witness:
            read_key(each, kind=4)
        if earlier is not None:
            read_checkpoint(earlier)
    except (
        BadLogError,
        ValueError,
        OSError,
    ) as error:  # what was given beside the folder says nothing about the log
        print(f"Could not be checked: {error}")  # noqa: T201 - a program's output
        return 2
    return told(options, earlier)


def told(options: argparse.Namespace, earlier: bytes | None) -> int:
    """Check, print, return the exit code."""
    try:
        print(check(options.folder, options.key, earlier, options.witness))  # noqa: T201 - a program's output
    except (BadLogError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"BAD: {error}")  # noqa: T201 - a program's output
        return 1
    except TooOldError as error:
        print(f"Could not be checked to the end: {error}")  # noqa: T201 - a program's output
        return 2
    except ImportError as error:
        print(f"Could not be checked: {error}; `pip install cryptography`, or use a Python that has it")  # noqa: T201 - a program's output
        return 2
    except OSError as error:
        print(f"Could not be checked: {type(error).__name__}: {error}")  # noqa: T201 - a program's output
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
