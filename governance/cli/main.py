"""The command `mlgov`: its verbs, by what one does with them, and the one place where errors end.

Promises: every error of the tree becomes what, why and what to do on standard error, and an exit code (see `exits`); a
traceback is shown where `MLGOV_DEBUG` is set, and nowhere else. Does not: import MLflow, or any room before the verb
that needs it runs.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn

import typer

from governance import __version__
from governance.cli import (
    audit,
    audit_check,
    audit_notify,
    audit_proof,
    audit_replay,
    audit_retention,
    audit_search,
    audit_show,
    audit_stream,
    audit_tail,
    audit_who,
    check,
    compliance,
    demo,
    doctor,
    evidence,
    keys,
    policy,
    policy_import,
    report,
    serve,
    sign,
    trust,
    verify,
    waiver,
)
from governance.cli.exits import CLOSED_PIPE, INTERRUPTED, OUR_MISTAKE, exit_code
from governance.cli.output import (
    OutputError,
    ReaderGoneError,
    err,
    out,
    print_error,
    print_problem,
    styled,
    writing,
)
from governance.errors import GovernanceError, SettingsError, TransferError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""The base of all usage errors. Typer took click into itself in 0.25, so it is named through a subclass that both have."""

_TRY, _DECIDE, _TRUST, _EVIDENCE, _OPERATE = (
    "Try it out",
    "Decide",
    "Keys and signatures",
    "Evidence",
    "Operate",
)

app = typer.Typer(
    name="mlgov",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Policy gate, signatures and tamper-evident audit trail for MLflow models in Artifactory.",
    epilog="Exit codes: 0 allowed, 1 blocked, 2 usage or settings, 3 could not decide, 4 audit log broken.",
)
app.command("demo", rich_help_panel=_TRY)(demo.demo)
app.add_typer(serve.app, name="serve", rich_help_panel=_TRY)
app.command("check", rich_help_panel=_DECIDE)(check.check)
policy.app.command("import")(policy_import.import_policy)
app.add_typer(policy.app, name="policy", rich_help_panel=_DECIDE)
app.add_typer(waiver.app, name="waiver", rich_help_panel=_DECIDE)
app.add_typer(keys.app, name="keys", rich_help_panel=_TRUST)
app.add_typer(trust.app, name="trust", rich_help_panel=_TRUST)
app.command("sign", rich_help_panel=_TRUST)(sign.sign)
app.command("verify", rich_help_panel=_TRUST)(verify.verify)
audit.app.command("stream")(audit_stream.stream)
audit.app.command("notify")(audit_notify.notify)
for verb in (
    audit_check.verify,
    audit_check.export,
    audit_proof.key,
    audit_proof.checkpoint,
    audit_proof.prove,
    audit_proof.receipt,
    audit_proof.witness,
    audit_retention.hold,
    audit_retention.erase,
):
    audit.app.command(verb.__name__)(verb)
audit.app.command("search")(audit_search.search)
audit.app.command("who-loaded")(audit_who.who_loaded)
audit.app.command("replay")(audit_replay.replay)
audit.app.command("show")(audit_show.show)
audit.app.command("tail")(audit_tail.tail)
audit.app.command("words")(audit_search.words)
app.add_typer(audit.app, name="audit", rich_help_panel=_EVIDENCE)
app.add_typer(evidence.app, name="evidence", rich_help_panel=_EVIDENCE)
report.app.command("compliance")(compliance.compliance)
app.add_typer(report.app, name="report", rich_help_panel=_EVIDENCE)
app.command("doctor", rich_help_panel=_OPERATE)(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        out().print(f"mlgov {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str], *, environ: Mapping[str, str] = os.environ) -> int:
    """Run one command line and return its exit code. Raises nothing of the error tree."""
    try:
        code = _run(arguments, environ)
        with writing():
            sys.stdout.flush()  # a full disk is found out here, and not while Python shuts down
    except ReaderGoneError:
        # The reader of a pipe went away, as `head` does. Nobody read to the end, so nothing is said to be in order.
        _drop_output()
        return CLOSED_PIPE
    except OutputError as error:
        _drop_output()
        print_error(error)
        return exit_code(error)
    return code


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        _require_text(arguments)
        code = app(args=list(arguments), standalone_mode=False, prog_name="mlgov")
    except OutputError:
        raise
    except SystemExit as error:
        # Without its standalone mode click exits by itself in one case: the help's reader went away.
        raise ReaderGoneError("the reader of the output went away") from error
    except GovernanceError as error:
        print_error(error)
        _explain(error, environ)
        return exit_code(error)
    except (KeyboardInterrupt, typer.Abort):
        err().print("\ninterrupted")
        return INTERRUPTED
    except _USAGE_ERROR as error:
        return _usage(error)
    except PermissionError as error:
        # Settings name files and folders in a hundred places; where one may not even be looked at, no step before said so.
        print_problem(
            f"`{error.filename or 'a file'}` cannot be looked at: {error.strerror}",
            hint="Give this user the right to enter its folders and to read it, or correct the setting that names it.",
        )
        _explain(error, environ)
        return exit_code(SettingsError(""))
    except Exception as error:  # noqa: BLE001 - the outermost handler
        return _unexpected(error, environ)
    return code if isinstance(code, int) else 0


def _unexpected(error: Exception, environ: Mapping[str, str]) -> int:
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = f"`{error.filename}`" if error.filename else "the output, or a file,"
        print_problem(f"{where} cannot be written: {error.strerror}", hint="Free space on the disk.")
        _explain(error, environ)
        return exit_code(TransferError(""))
    if isinstance(error, FileNotFoundError) and _is_here_gone():
        print_problem("the working directory was removed", hint="`cd` to a folder that is there.")
        _explain(error, environ)
        return exit_code(SettingsError(""))
    print_problem(
        f"unexpected {type(error).__name__}",  # its text may hold anything, so only a debugger sees it
        hint="This is a mistake in the program. `MLGOV_DEBUG=1` shows where; please report it.",
    )
    _explain(error, environ)
    return OUR_MISTAKE


def _is_here_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - `Path.cwd()` is the same with a detour
    except FileNotFoundError:
        return True
    return False


def _require_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are not UTF-8, which Python hands over as lone surrogates: no entry, and no database, holds them."""
    for each in arguments:
        try:
            each.encode()
        except UnicodeEncodeError as error:
            raise SettingsError(
                f"the argument `{each[:200]}` is not UTF-8",
                hint="Write it in UTF-8 (`locale` shows what the terminal sends), or rename the file.",
            ) from error


def _drop_output() -> None:
    """Send what is left in Python's buffer nowhere: Python would write it when it ends, and complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: BaseException, environ: Mapping[str, str]) -> None:
    if environ.get("MLGOV_DEBUG"):
        import traceback

        err().print(styled("".join(traceback.format_exception(error))))


def _usage(error: Exception) -> int:
    """Print a wrong command line the way all errors are printed."""
    message = str(getattr(error, "format_message", lambda: error)())
    context = getattr(error, "ctx", None)
    if message:  # a bare `mlgov` has printed its help already and says nothing more
        named = f"{context.command_path} --help" if context is not None else "mlgov --help"
        text = message[:1].lower() + message[1:].rstrip(".").replace("'", "`").replace(
            ": Value error, ", ": "
        )
        print_problem(text, hint=f"`{named}` lists what is possible.")
    return 2


def _open_standard_streams() -> None:
    """Give a process that was started without a standard stream (`>&-`) one that leads nowhere. Otherwise the first file that
    is opened, such as the audit log, would get its number, and what others print there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for the process's life
    codecs.register_error("mlgov-escape", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mlgov-escape")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def run() -> NoReturn:
    """The console script."""
    _open_standard_streams()
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
