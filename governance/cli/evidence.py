"""`mlgov evidence`: recorded decisions as signed attestations that others can check without us."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, out, print_pairs, sign, styled
from governance.errors import (
    AuditUnavailableError,
    ForbiddenError,
    KeyFileError,
    NotFoundError,
    SignatureError,
    TransferError,
)
from governance.places import write_output

if TYPE_CHECKING:
    from governance.model.digest import Sha256
    from governance.report.attesting import Attestable
    from governance.signing.keyholder import Signer
    from governance.signing.vsa import Subject
    from governance.wiring import Assembly

app = typer.Typer(no_args_is_help=True, help="Hand out recorded decisions as signed attestations.")

Identity = Annotated[str, typer.Argument(metavar="DECISION", help="The id or number of a recorded decision.")]


@app.command("export")
def export(
    decision: Identity,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. Default: standard output.")
    ] = None,
) -> None:
    """Write a decision as a signed verification summary (SLSA VSA, version 1, in an in-toto statement).

    It is signed with the configured key, to which the trust file must give the role `decision`. `mlgov verify --vsa`
    checks it, as does everything that reads DSSE and in-toto.
    """
    with _opened() as assembly:
        found, signer, verifier = _attestable(assembly, decision)
        bundle = _sign(assembly, found, signer, verifier, subject=None)
    if output is None:
        out().print(styled(bundle.decode("ascii")), soft_wrap=True)
        return
    try:
        write_output(output, bundle)
    except OSError as error:
        raise TransferError(f"`{output}` cannot be written: {error.strerror}") from error
    _tell(found, f"wrote `{output}`", signer, verifier)


@app.command("upload")
def upload(
    decision: Identity,
    alias: Annotated[
        str, typer.Option(help="The alias under which JFrog knows the public key. Without: filed unverified.")
    ] = "",
) -> None:
    """File a decision as JFrog Evidence beside the artifact, one DSSE envelope. The copy of record stays in the log.

    Evidence is about a file, so that of a model is about its `model.sig`, which binds every file of it.
    """
    from governance.artifactory.address import Address
    from governance.signing.vsa import evidence_envelope

    with _opened() as assembly:
        found, signer, verifier = _attestable(assembly, decision)
        artifact = found.request.artifact
        subject = _subject(assembly, found)
        bundle = _sign(assembly, found, signer, verifier, subject=subject)
        place = Address(host=artifact.host, repository=artifact.repository, path=artifact.path)
        path = artifact.ref.removeprefix(f"{artifact.repository}/") if subject is None else subject.name
        with closing(assembly.connections.evidence(artifact.host)) as client:
            try:
                filed = client.attach(place.repository, path, evidence_envelope(bundle, alias=alias))
            except (NotFoundError, ForbiddenError) as error:
                error.hint = (
                    "The file must be there, the user must be able to read and annotate it, and the server must have "
                    "the Evidence service (Enterprise+). `mlgov evidence export` needs none of this."
                )
                raise
    _tell(found, f"filed `{filed.uri}`", signer, verifier)
    words = {
        True: "the server verified it",
        False: "the server could NOT verify it; is the key's alias right?",
    }
    print_pairs({"  verified": words.get(filed.verified) if filed.verified is not None else None})


@contextmanager
def _opened() -> Iterator[Assembly]:
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    with closing(build_assembly(load_settings())) as assembly:
        if not assembly.has_log:
            raise AuditUnavailableError(
                f"there is no audit log at `{assembly.settings.audit_file}`",
                hint="Decisions are handed out where their log lies: see `audit_path` in the settings file.",
            )
        yield assembly


def _attestable(assembly: Assembly, decision: str) -> tuple[Attestable, Signer, str]:
    from governance.cli.audit import decision_entry
    from governance.report.attesting import attestable, attesting_key
    from governance.report.recorded import PolicyCache

    signer = assembly.signer
    if signer is None:
        raise KeyFileError("there is no signing key", hint="`mlgov keys init` makes one.")
    _, verifier = attesting_key(assembly.trust, signer.key_id)
    entry = decision_entry(assembly.log, decision)
    found = attestable(assembly.log, entry, policies=PolicyCache(assembly.log))
    if found.digest is None:
        raise TransferError(
            f"the digest of `{found.request.artifact.ref}` was not known when it was judged",
            hint="A summary is about bytes; there is nothing to attest.",
        )
    return found, signer, verifier


def _sign(
    assembly: Assembly, found: Attestable, signer: Signer, verifier: str, *, subject: Subject | None
) -> bytes:
    """The signed summary, which is on record before it is handed out."""
    from governance import __version__
    from governance.audit.bodies import signature_body
    from governance.audit.entry import EntryKind
    from governance.model.request import new_id
    from governance.signing.vsa import sign_summary

    payload = found.statement(verifier=verifier, version=__version__, subject=subject)
    bundle = sign_summary(payload, signer=signer)
    assembly.log.append(
        EntryKind.SIGNATURE,
        signature_body(
            event="attested",
            digest=str(found.digest),
            key_id=signer.key_id,
            bundle=_sha256(bundle),
            decision=found.id,
        ),
        subject=found.request.artifact.ref,
        correlation=new_id(assembly.now()),
        evidence=(bundle,),
    )
    return bundle


def _subject(assembly: Assembly, found: Attestable) -> Subject | None:
    """The file that stands for a folder: its signature, if it binds the very files that were judged. None for what is a
    file itself."""
    from governance.model.artifact import FOLDER_SIGNATURE
    from governance.signing.bundle import MAX_BUNDLE
    from governance.signing.verify import open_bundle
    from governance.signing.vsa import Subject

    artifact, digest = found.request.artifact, str(found.digest)
    if digest.startswith("sha256:"):
        return None
    path = f"{artifact.path}/{FOLDER_SIGNATURE}".lstrip("/")
    client = assembly.artifactory(artifact.host)
    bundle = client.read_small(artifact.repository, path, limit=MAX_BUNDLE)
    sha256, at = _sha256(bundle), assembly.now()
    report, _ = open_bundle(
        bundle,
        assembly.trust,
        at=at,
        repository=artifact.repository,
        signed_at=assembly.signing_time(artifact.ref, sha256, at),
    )
    if report.manifest is None or report.manifest.dirhash1 != digest:
        raise SignatureError(
            f"the signature of `{artifact.ref}` does not bind the files that were judged",
            reason=report.reason.value if report.reason else "subject-differs",
            hint=report.detail or "The model was changed since. Export the decision instead.",
        )
    return Subject(name=path, sha256=sha256)


def _sha256(data: bytes) -> Sha256:
    from governance.model.digest import Sha256

    return Sha256(hashlib.sha256(data).hexdigest())


def _tell(found: Attestable, done: str, signer: Signer, verifier: str) -> None:
    verdict = found.verdict.decision
    out().print(sign(Mark.OK), styled(f"decision {found.id}: {done}", "bold"))
    print_pairs({
        "  says": f"{verdict.word} for `{found.request.artifact.ref}`",
        "  digest": str(found.digest),
        "  verifier": verifier,
        "  key": signer.key_id,
    })  # fmt: skip
