"""`mlgov policy import`: what a team has in Xray, osv-scanner or pip-audit, brought over."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from governance.cli.output import Mark, err, out, print_pairs, sign, styled
from governance.errors import ConfigurationError, ForbiddenError, SettingsError
from governance.places import open_file

if TYPE_CHECKING:
    from governance.cli.waiver_people import Desk
    from governance.importing.ignorelists import Ignored
    from governance.importing.xray import Imported
    from governance.policy.documents import Waiver
    from governance.waivers.drafting import Refused
    from governance.wiring import Assembly
    from governance.xray.rules import XrayIgnoreRule

_SOURCES = ("xray", "osv-scanner", "pip-audit")


def import_policy(
    source: Annotated[str, typer.Argument(help="`xray`, `osv-scanner` or `pip-audit`.")],
    file: Annotated[
        Path | None, typer.Argument(help="The ignore list, for osv-scanner and pip-audit.")
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to. Default: `xray-import`; for waiver requests beside the policies."
        ),
    ] = None,
    decision: Annotated[
        str | None,
        typer.Option(help="The refusal that an ignore list is about: waivers are asked for that."),
    ] = None,
    ignore_rules_only: Annotated[
        bool, typer.Option("--ignore-rules-only", help="Only copy Xray's ignore rules, as a daily job does.")
    ] = False,
    ticket: Annotated[str | None, typer.Option(help="Where the waivers are being discussed.")] = None,
    author: Annotated[
        str | None, typer.Option(help="Who made the artifact, where Artifactory did not say.")
    ] = None,
) -> None:
    """Bring over Xray's policies and watches, or turn a scanner's ignore list into requests for waivers.

    What has no equal here is said, as a note in the file and on standard error. Xray's ignore rules are copied into the
    audit log, since they delete themselves when they expire; run it regularly to see each of them.
    """
    if source == "xray":
        if file is not None:
            raise SettingsError(
                f"Xray is asked by REST, and `{file}` is not read",
                hint="Leave the file out; `--output` names the folder to write to.",
            )
        _import_xray(None if ignore_rules_only else output or Path("xray-import"))
    elif source in _SOURCES:
        if file is None or decision is None:
            raise SettingsError(
                f"an ignore list of {source} is read from a file, for one refusal",
                hint=f"`mlgov policy import {source} FILE --decision ID --ticket TICKET`; the refusal names its id.",
            )
        _import_list(source, file, decision, ticket=ticket, author=author, output=output)
    else:
        raise SettingsError(f"`{source}` is not known here", hint=f"There are {', '.join(_SOURCES)}.")


# -- Xray


def _import_xray(folder: Path | None) -> None:
    from contextlib import closing

    from governance.importing.xray import translate
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    if settings.artifactory_url is None:
        raise SettingsError(
            "Xray's address is not set", hint="Set `MLGOV_ARTIFACTORY_URL` (and `MLGOV_XRAY_URL`)."
        )
    (host,) = build_hosts(settings.artifactory_url)
    with closing(build_assembly(settings)) as assembly:
        client = assembly.xray(host)
        try:
            imported = translate(client.policies(), client.watches()) if folder is not None else ()
            rules = client.ignore_rules()
        except ForbiddenError as error:
            error.hint = "Reading them takes Xray's own roles: the token's user must be allowed to manage policies and watches there."
            raise
        _copy_ignore_rules(assembly, rules)
    if folder is None:
        return
    if not imported:
        err().print("Xray has no policy")
        return
    _write(folder, imported)


def build_hosts(url: str) -> tuple[str]:
    """The host of the configured Artifactory, which Xray is beside."""
    from urllib.parse import urlsplit

    return (urlsplit(url).netloc,)


def _write(folder: Path, imported: Sequence[Imported]) -> None:
    """All documents, checked as a whole before the first is written."""
    import yaml

    from governance.importing.xray import document_text, set_tree
    from governance.policy.load import load_files
    from governance.waivers.writing import write_new

    files = {
        f"xray-{each.name}.yaml": document_text(each).encode() for each in imported if each.tree is not None
    }
    if files:
        head = "# What came from Xray only observes; see `docs/policy.md`, and change `mode` when it is to hold.\n"
        files["xray-set.yaml"] = (head + yaml.safe_dump(set_tree(imported), sort_keys=False)).encode()
        load_files(files)
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        raise ConfigurationError(
            f"`{folder / taken[0]}` exists, and nothing is written over",
            hint="`--output` names another folder; `--ignore-rules-only` copies the ignore rules alone.",
        )
    for name, data in files.items():
        write_new(folder / name, data)
    for each in imported:
        made = each.tree is not None
        rules = f"{len(each.tree['spec']['rules'])} rule(s)" if each.tree is not None else "left out"
        out().print(sign(Mark.OK if made else Mark.WARN), styled(f"{each.source}: {rules}"))
        for note in each.notes:
            err().print(styled(f"note on {each.source}: {note}"))
    out().print(
        styled(f"wrote {len(files)} files to `{folder}`, in observe mode; `mlgov policy check {folder}`")
    )


def _copy_ignore_rules(assembly: Assembly, rules: Sequence[XrayIgnoreRule]) -> None:
    """Each ignore rule as Xray shows it, once: the log keeps what Xray forgets."""
    from governance.audit.bodies import waiver_body
    from governance.audit.entry import EntryKind, evidence_digest
    from governance.model.request import new_id
    from governance.waivers.memory import COPIED

    known = {
        str(each.entry.body.get("envelope")): str(each.entry.body["waiver"])
        for each in assembly.log.find(kind=EntryKind.WAIVER)
        if each.entry.body["event"] == COPIED
    }
    new = [rule for rule in rules if evidence_digest(rule.document) not in known]
    for rule in new:
        body = waiver_body(
            event=COPIED,
            waiver=f"xray:{rule.id}",
            envelope=evidence_digest(rule.document),
            more={"by": rule.author, "reason": rule.notes, "expires": rule.expires},
        )
        subject = f"xray ignore rule {re.sub(r'[^A-Za-z0-9-]', '', rule.id) or '-'}"
        assembly.log.append(
            EntryKind.WAIVER,
            body,
            subject=subject,
            correlation=new_id(assembly.now()),
            evidence=(rule.document,),
        )
    gone = set(known.values()) - {f"xray:{rule.id}" for rule in rules}
    print_pairs({
        "  ignore rules in Xray": str(len(rules)),
        "  copied to the log now": str(len(new)),
        "  gone from Xray since": str(len(gone)) if gone else None,
    })  # fmt: skip


# -- ignore lists


def _import_list(
    source: str, file: Path, decision: str, *, ticket: str | None, author: str | None, output: Path | None
) -> None:
    from governance.cli.audit import entry_id, open_log
    from governance.cli.waiver import ask
    from governance.cli.waiver_people import desk
    from governance.importing.ignorelists import MAX_LIST, READERS
    from governance.waivers.drafting import read_refused
    from governance.waivers.writing import waiver_folder

    try:
        with open_file(file, may_be_piped=True) as stream:
            entries: tuple[Ignored, ...] = READERS[source](stream.read(MAX_LIST + 1))
    except OSError as error:
        raise ConfigurationError(f"the ignore list `{file}` cannot be read: {error.strerror}") from error
    with open_log() as log:
        refused = read_refused(log, entry_id(log, decision))
    with desk() as at:
        _, by = at.signer()
        written = 0
        for rule in dict.fromkeys(str(row["rule"]) for row in refused.objections()):
            drafted = _requests(at, refused, rule, entries, file=file, ticket=ticket, author=author, by=by)
            for path in ask(at, drafted, output or waiver_folder(at.paths, Path.cwd())):
                out().print(sign(Mark.OK), styled(f"wrote `{path}`, signed by {by}, for others to approve"))
                written += 1
    if not written:
        err().print("the list covers no objection completely, so no waiver was asked for")
        raise typer.Exit(1)


def _requests(
    at: Desk,
    refused: Refused,
    rule: str,
    entries: Sequence[Ignored],
    *,
    file: Path,
    ticket: str | None,
    author: str | None,
    by: str,
) -> list[Waiver]:
    from governance.cli.waiver import Wanted, drafts
    from governance.importing.ignorelists import speak

    spoken = speak(refused.matched(rule), entries, now=at.now)
    if not spoken.is_whole:
        missing = ", ".join(spoken.missing[:5]) or "what it objects to, which is no advisory"
        err().print(sign(Mark.SKIP), styled(f"{rule}: the list does not name {missing}"))
        return []
    days = _days(spoken.until, at.now, refused.rules.max_days)
    wanted = Wanted(reason=spoken.reason(file.name), ticket=ticket, days=days, author=author)
    return drafts(at, refused, wanted, by=by, only=[rule])


def _days(until: datetime | None, now: datetime, most: int) -> int:
    """As long as the list says and the set allows; 30 days where the list has no end."""
    return min(30 if until is None else max(1, (until - now).days), most)
