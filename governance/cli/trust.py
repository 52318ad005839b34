"""`mlgov trust`: the trust file, signed by people who hold root keys, renewed version by version."""

from __future__ import annotations

import enum
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, print_pairs, sign, styled
from governance.cli.stored import read_small
from governance.errors import KeyFileError

if TYPE_CHECKING:
    from governance.signing.roots import SignedTrust

app = typer.Typer(
    no_args_is_help=True,
    help="Trust others' keys; sign the trust file with root keys, and install its versions.",
)

_MAX_KEY = 64 << 10


class TrustedFor(enum.StrEnum):
    """What `Role` has for a key, without its imports."""

    ARTIFACT = "artifact"
    DECISION = "decision"
    CHECKPOINT = "checkpoint"
    WAIVER = "waiver"
    POLICY = "policy"


@app.command("add")
def add(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Somebody's public key (PEM), as `mlgov keys export` prints it."),
    ],
    *,
    name: Annotated[
        str,
        typer.Option(
            help="Whose key it is: people are told apart by this name. Call them as Artifactory does."
        ),
    ],
    role: Annotated[
        list[TrustedFor],
        typer.Option(help="What it may vouch for; may be repeated. What is not said is not allowed."),
    ],
    repository: Annotated[
        list[str] | None,
        typer.Option(
            help="For which repositories, as a shell pattern; may be repeated. Default: every place."
        ),
    ] = None,
) -> None:
    """Trust the public key of somebody else, in a trust file that nobody signed.

    Get the file, or at least the key id that is printed, from its owner by a way that you trust. In a signed trust file a key
    is added where its root keys are: see `mlgov trust sign`.
    """
    from governance.audit.bodies import key_body
    from governance.audit.entry import EntryKind
    from governance.model.request import new_id
    from governance.settings import load_settings
    from governance.signing.keyring import add_key, load_trust, save_trust, trust_turn
    from governance.signing.publickey import parse_public_key
    from governance.signing.trust import Grant, Role, TrustedKey, TrustStore, verifier_id
    from governance.wiring import build_assembly

    data = read_small(file, _MAX_KEY)
    if data is None:
        raise KeyFileError(
            f"there is no public key `{file}`", hint="Its owner's `mlgov keys export` prints it."
        )
    if not name.strip():
        raise KeyFileError("a key needs the name of its owner", hint="`--name`, as Artifactory calls them.")
    unseen = next((sign for sign in name.strip() if sign != " " and not sign.isprintable()), None)
    if unseen is not None:
        raise KeyFileError(
            f"the name of the key's owner holds U+{ord(unseen):04X}, which cannot be seen",
            hint="`--name` as Artifactory calls them, typed by hand: people are told apart by this name.",
        )
    roles = frozenset(Role(each.value) for each in role)
    with closing(build_assembly(load_settings())) as assembly:
        path, now = assembly.settings.trust_file, assembly.now()
        log = assembly.log  # found out to be there before a key is trusted that it does not know
        key = TrustedKey(
            name=name.strip(),
            public=parse_public_key(data),
            grant=Grant(
                roles=roles,
                repositories=tuple(repository or ("*",)),
                not_before=now,
                verifiers=(verifier_id(name.strip()),) if Role.DECISION in roles else (),
            ),
        )
        with trust_turn(path):
            save_trust(path, add_key(load_trust(path) if path.exists() else TrustStore.empty(), key))
        body = key_body(event="trusted", key_id=key.key_id, name=key.name, reason=None)
        log.append(EntryKind.KEY, body, subject=f"key {key.key_id}", correlation=new_id(now))
    out().print(sign(Mark.OK), styled(f"`{path}` trusts the key of `{key.name}`", "bold"))
    print_pairs({
        "  key id": f"{key.key_id} (compare it with its owner)",
        "  roles": ", ".join(sorted(roles)),
        "  repositories": ", ".join(key.grant.repositories),
    })  # fmt: skip


@app.command("root")
def make_root(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="The key file to make. Its public half lies beside it.")
    ],
) -> None:
    """Make an encrypted root key. It vouches for trust files alone, and only for those that name it.

    Keep it off the machines that sign models: who holds a threshold of root keys decides whom everybody believes.
    """
    from governance.cli.keys import known_passphrase
    from governance.settings import load_settings
    from governance.signing.keyring import replace_file
    from governance.signing.keys import generate_key

    public = generate_key(path, known_passphrase(load_settings(), confirm=True))
    replace_file(path.with_suffix(".pub"), public.pem.encode("ascii"))
    out().print(sign(Mark.OK), styled(f"made a root key `{path}`", "bold"))
    print_pairs({"  key id": public.key_id, "  public": str(path.with_suffix(".pub"))})


@app.command("sign")
def sign_document(
    document: Annotated[
        Path, typer.Argument(help="A trust document that names its roots, or one that others signed already.")
    ],
    root: Annotated[str, typer.Option(help="Path or address of your root key.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The signed file to write.")],
) -> None:
    """Add a root key's signature to the next version of the trust file. Look at what it says before you sign.

    The document is the trust file's JSON with `roots` in place of `unsigned`, an `expires`, and the next `version`. One
    person after the other signs what the one before wrote, until thresholds are reached; `mlgov trust install` says.
    """
    import os

    from governance.cli.keys import known_passphrase
    from governance.cli.sign_places import alone_with
    from governance.settings import load_settings
    from governance.signing.keyring import replace_file
    from governance.signing.keys import load_signer
    from governance.signing.roots import add_signature

    data = _document(document)
    signer = load_signer(root, known_passphrase(load_settings(), confirm=False), environment=os.environ)
    place = document.resolve()
    is_replaced = place == output.resolve()
    with alone_with(place) if is_replaced else nullcontext():
        if is_replaced:
            data = _document(document)  # again: others may have signed it meanwhile
        signed, count, needed = add_signature(data, signer)
        replace_file(output, signed)
    out().print(sign(Mark.OK), styled(f"signed `{output}` with root key {signer.key_id[:16]}", "bold"))
    print_pairs({"  signatures": f"{count} of its own roots', of which it needs {needed}"})


def _document(document: Path) -> bytes:
    from governance.signing.trustfile import MAX_TRUST_FILE

    data = read_small(document, 2 * MAX_TRUST_FILE)
    if data is None:
        raise KeyFileError(f"there is no trust document `{document}`", hint="See `docs/signatures.md`.")
    return data


@app.command("install")
def install(
    files: Annotated[list[Path], typer.Argument(help="Signed versions, in order.")],
) -> None:
    """Take the next signed versions of the trust file into use.

    Each must follow the one before, signed by a threshold of both versions' root keys. An older one, a skipped one and
    an unsigned one after a signed one are refused. The first signed file is taken as it is: compare its root keys.
    """
    from governance.audit.bodies import key_body
    from governance.audit.entry import EntryKind
    from governance.model.request import new_id
    from governance.settings import load_settings
    from governance.signing.keyring import install_trust, read_signed_trust
    from governance.signing.trustfile import MAX_TRUST_FILE
    from governance.wiring import build_assembly

    with closing(build_assembly(load_settings())) as assembly:
        path = assembly.settings.trust_file
        for file in files:
            data = read_small(file, 2 * MAX_TRUST_FILE)
            if data is None:
                raise KeyFileError(f"there is no trust file `{file}`")
            install_trust(path, [data])
            found = read_signed_trust(path)
            body = key_body(
                event="trust-installed",
                key_id=found.sha256,
                name=f"trust file version {found.version}",
                reason=f"roots {', '.join(key.key_id[:16] for key in found.roots.keys)}",
            )
            assembly.log.append(EntryKind.KEY, body, subject="trust", correlation=new_id(assembly.now()))
            out().print(sign(Mark.OK), styled(f"trust file version {found.version} is in use", "bold"))
    _tell(found)


@app.command("show")
def show() -> None:
    """Show the trust file's version, expiry, root keys and thresholds. `mlgov keys list` shows the keys it lists."""
    from governance.settings import load_settings
    from governance.signing.keyring import load_trust, read_signed_trust

    path = load_settings().trust_file
    store = load_trust(path)
    if store.is_signed:
        _tell(read_signed_trust(path))
        return
    out().print(
        sign(Mark.WARN),
        styled(f"`{path}`, version {store.version}: nobody signed it, so whoever may write it decides"),
    )


def _tell(found: SignedTrust) -> None:
    store = found.document.store
    print_pairs({
        "  version": str(found.version),
        "  expires": f"{store.expires:%Y-%m-%d %H:%M} UTC" if store.expires else None,
        "  roots": f"{found.roots.threshold} of {', '.join(key.key_id[:16] for key in found.roots.keys)}",
        "  thresholds": ", ".join(f"{role.value} {count}" for role, count in store.thresholds) or None,
        "  keys": str(len(store.keys)),
        "  digest": found.sha256,
    })  # fmt: skip
