"""`mlgov audit` for those outside: the log's key, its heads sent out, receipts, and a witness."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_pairs, sign, styled
from governance.errors import AuditBrokenError, AuditUnavailableError, SettingsError
from governance.places import open_file

if TYPE_CHECKING:
    from governance.audit.checkpoint import Proof
    from governance.audit.log import AuditLog
    from governance.audit.note import NoteSigner

_MAX_FILE = 64 << 20


def key(
    unencrypted: Annotated[
        bool, typer.Option("--unencrypted", help="Store the key without a passphrase.")
    ] = False,
) -> None:
    """Make the key that signs the log's checkpoints, and print its public half for auditors and witnesses."""
    from governance.audit.note import generate_key, load_signer
    from governance.auditing import checkpoint_passphrase
    from governance.settings import load_settings

    settings = load_settings()
    passphrase = checkpoint_passphrase(settings)
    if passphrase is None and not unencrypted:
        raise SettingsError(
            "a checkpoint key needs a passphrase",
            hint="Name a file with it as `audit_key_passphrase_file` in the settings file, or pass `--unencrypted` if the "
            "disk protects it well enough.",
        )
    if passphrase is not None and unencrypted:
        raise SettingsError("`--unencrypted`, and the settings name a passphrase", hint="Decide for one.")
    path = settings.audit_key or settings.home / "keys" / "audit.pem"
    generate_key(path, passphrase=passphrase)
    made = load_signer(path, name=settings.audit_origin, passphrase=passphrase)
    out().print(sign(Mark.OK), styled(f"`{path}` signs the checkpoints of `{settings.audit_origin}`"))
    print_pairs({"  public key": made.key.vkey})


def checkpoint(
    to: Annotated[
        list[str] | None,
        typer.Option(
            help="Also there: a folder, artifactory://HOST/artifactory/REPOSITORY, a witness https://HOST=PUBLIC-KEY, or "
            "an authority for time stamps tsa+https://HOST/PATH. Several times."
        ),
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="How many places must keep it. Default: `audit_quorum`, or all.")
    ] = None,
    show: Annotated[bool, typer.Option("--print", help="Print the head, and send it nowhere.")] = False,
) -> None:
    """Send the log's head to the places of `audit_anchors`, which whoever rewrites the log cannot reach.

    The governance app of a tracking server does so by itself. Elsewhere run this often, in quiet times too: a head that
    does not come is a finding.
    """
    from governance.audit.anchor import publish_head
    from governance.auditing import parse_anchor, require_distinct
    from governance.cli.audit import open_assembly

    with open_assembly(only_reads=show) as assembly:
        assembly.recall_head()
        if show:
            out().print(styled(assembly.log.checkpoint().to_bytes().decode()), end="", soft_wrap=True)
            return
        more = [parse_anchor(text, assembly.settings, assembly.artifactory) for text in to or []]
        anchors = [*assembly.anchors, *more]
        require_distinct([*assembly.settings.audit_anchors, *(to or [])])
        if not anchors:
            raise SettingsError(
                "the log's head has nowhere to go",
                hint="Name places as `audit_anchors` in the settings file, or with `--to`; `--print` shows the head.",
            )
        wanted = quorum or assembly.settings.audit_quorum or len(anchors)
        if wanted > len(anchors):
            raise SettingsError(f"a quorum of {wanted} among {len(anchors)} place(s)")
        head = publish_head(assembly.log, anchors, quorum=wanted)
    out().print(
        sign(Mark.OK),
        f"the head of {head.size} entries is kept by at least {wanted} of {len(anchors)} place(s)",
    )
    print_pairs({"  tree root": head.root.hex()})


def prove(
    entry: Annotated[str, typer.Argument(help="The entry's id, or its number in the log.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the two files. Must not be there yet, or be empty."),
    ],
    cosigned: Annotated[
        bool, typer.Option("--cosigned", help="Have the witnesses of `audit_anchors` sign the checkpoint.")
    ] = False,
) -> None:
    """Hand out one entry with a receipt that it is in the log (c2sp.org/tlog-proof), to be checked offline."""
    from governance.audit.export import new_folder
    from governance.cli.audit import open_assembly

    with open_assembly(only_reads=True) as assembly:
        assembly.compare_head()
        log = assembly.log
        is_number = entry.isascii() and entry.isdigit() and len(entry) < 16
        index = int(entry) if is_number else _index_of(log, entry)
        rows = list(log.store.rows(index, index + 1))
        if not rows:
            raise SettingsError(
                f"there is no entry {entry}", hint="`mlgov audit tail` shows numbers and ids."
            )
        head = assembly.cosigner()(log.checkpoint()) if cosigned else None
        proof = log.prove(index, head)
        _require_proven(rows[0].data, proof)
        is_signed = log.checkpoint().note is not None
    with new_folder(output) as target:
        (target / "entry.json").write_bytes(rows[0].data)
        (target / "receipt.tlog-proof").write_bytes(proof.to_bytes())
    out().print(sign(Mark.OK), styled(f"entry {index} and its receipt are in `{output}`"))
    if not is_signed:
        err().print(sign(Mark.WARN), "the log has no key, so the receipt says nothing about whose log it is")
        print_pairs({"  make one with": "mlgov audit key"})
        return
    print_pairs({"  check it with": f"mlgov audit receipt {output} --key PUBLIC-KEY"})


def receipt(
    folder: Annotated[Path, typer.Argument(help="What `mlgov audit prove` wrote.")],
    key: Annotated[str, typer.Option(help="The log's public key, as you were given it.")],
    witness: Annotated[
        list[str] | None,
        typer.Option(help="Public key of a witness that must have cosigned the checkpoint. Several times."),
    ] = None,
) -> None:
    """Check a receipt, without the log and without a network. Exits with 4 where it proves nothing."""
    from governance.audit.checkpoint import parse_proof, require_witnesses
    from governance.audit.entry import parse_entry
    from governance.auditing import public_key, witness_key

    entry, proof = (_read(folder / name) for name in ("entry.json", "receipt.tlog-proof"))
    vkey = public_key(key)
    witnesses = [witness_key(text) for text in witness or []]
    found = parse_proof(proof)
    head = found.verify(entry, [vkey], origin=vkey.name)
    require_witnesses(found.checkpoint, witnesses)
    out().print(
        sign(Mark.OK),
        styled(f"the entry is number {found.index} of the {head.size} in the log `{head.origin}`"),
    )
    said = parse_entry(entry)
    print_pairs({
        "  it says": f"{said.kind} about {said.subject}, {said.at:%Y-%m-%d %H:%M:%S} UTC, by {said.writer.instance}",
        "  tree root": head.root.hex(),
        "  cosigned by": ", ".join(each.name for each in witnesses) or None,
    })  # fmt: skip


def witness(
    folder: Annotated[
        Path, typer.Argument(help="Where the witness keeps its key and the heads it has seen.")
    ],
    log: Annotated[list[str], typer.Option(help="Public key of a log to watch. May be given several times.")],
    name: Annotated[str, typer.Option(help="The witness's name in its signatures, such as a host name.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8084,
) -> None:
    """Watch other machines' logs: cosign heads that continue the last one seen, refuse all others (c2sp.org/tlog-witness).

    Ends with Ctrl-C. Run it where the logs' owners have no say.
    """
    from governance.audit.witness import Witness, make_server
    from governance.auditing import public_key

    keys = [public_key(text) for text in log]
    signer = _witness_signer(folder / "witness.pem", name)
    watched = {each.name: [other for other in keys if other.name == each.name] for each in keys}
    try:
        server = make_server(Witness(folder / "heads", signer, watched), host=host, port=port)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on `{host}:{port}`: {error.strerror}", hint="`--port 0` takes a free port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="witness", daemon=True)
    thread.start()
    out().print(sign(Mark.OK), styled(f"`{name}` watches {', '.join(sorted(watched))}"))
    print_pairs({
        "  address": f"http://{host}:{server.server_address[1]}",
        "  public key": signer.key.vkey,
    })  # fmt: skip
    try:
        while thread.is_alive():
            thread.join(1)
    finally:
        server.shutdown()
        server.server_close()


def _require_proven(data: bytes, proof: Proof) -> None:
    """Check the receipt before it is handed out: whoever gets one for bytes that were changed could not tell the keeper of the
    log from a forger. Raises `AuditBrokenError`."""
    from governance.audit.checkpoint import read_checkpoint
    from governance.audit.merkle import leaf_hash, verify_inclusion

    head = read_checkpoint(proof.checkpoint)
    try:
        verify_inclusion(
            index=proof.index, size=head.size, leaf=leaf_hash(data), proof=proof.hashes, root=head.root
        )
    except AuditBrokenError as error:
        raise AuditBrokenError(
            f"entry {proof.index} cannot be proven: its bytes are not those that were recorded",
            index=proof.index,
            hint="`mlgov audit verify` shows all that is wrong; keep the log as it is.",
        ) from error


def _index_of(log: AuditLog, entry_id: str) -> int:
    stored = log.get(entry_id)
    if stored is None:
        raise SettingsError(
            f"there is no entry {entry_id[:80]}", hint="`mlgov audit tail` shows numbers and ids."
        )
    if stored.index is None:
        raise AuditUnavailableError(
            f"entry {entry_id} is durable and has no place in the tree yet", hint="Try again in a second."
        )
    return stored.index


def _witness_signer(path: Path, name: str) -> NoteSigner:
    import time

    from governance.audit.note import generate_key, load_signer

    if not path.exists():
        generate_key(path, passphrase=None)
    try:
        return load_signer(path, name=name, clock=lambda: int(time.time()))
    except ValueError as error:
        raise SettingsError(str(error), hint="`--name` is such as a host name.") from error


def _read(path: Path) -> bytes:
    try:
        with open_file(path, may_be_piped=True) as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise SettingsError(f"`{path}` cannot be read: {error.strerror}") from error
