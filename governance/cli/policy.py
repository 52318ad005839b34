"""`mlgov policy`: policy files checked, tested and described, without asking any service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from governance.cli import (
    policy_backtest,
    policy_cases,
    policy_check,
    policy_diff,
    policy_explain,
    policy_init,
)
from governance.cli.output import Mark, out, print_json, sign, styled
from governance.errors import SettingsError

app = typer.Typer(no_args_is_help=True, help="Check, test and describe policy files.")


@app.command("schema")
def schema(
    kind: Annotated[str, typer.Argument(help="`Policy`, `PolicySet`, `Waiver` or `PolicyTest`.")] = "Policy",
) -> None:
    """Print the JSON Schema of a kind of document, for editors."""
    from governance.collect.extensions import catalogue
    from governance.policy.schema import kinds
    from governance.policy.schemagen import json_schema

    if kind not in kinds():
        raise SettingsError(f"`{kind}` is not a kind of document", hint=f"There are {', '.join(kinds())}.")
    print_json(json_schema(kind, catalogue()))


@app.command("bundle")
def bundle(
    folder: Annotated[Path, typer.Argument(help="The folder with the policy files.")],
    revision: Annotated[
        int, typer.Option(min=1, help="Must rise with each bundle; a lower one is a rollback.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.")],
    name: Annotated[str, typer.Option(help="The set's name, which clients expect.")],
) -> None:
    """Pack policy files into a bundle signed with the configured key.

    Clients take it with `MLGOV_POLICY_BUNDLE` and `MLGOV_POLICY_BUNDLE_NAME`; their trust file must give the key the
    role `policy`.
    """
    from governance.collect.extensions import catalogue
    from governance.places import read_regular, write_output
    from governance.policy.bundle import PAYLOAD_TYPE, pack_bundle
    from governance.policy.compile import compile_bundle
    from governance.policy.load import load_policies, policy_paths, step_paths
    from governance.settings import load_settings
    from governance.signing.sign import sign_payload
    from governance.wiring import build_assembly

    if not folder.is_dir():
        raise SettingsError(
            f"`{folder}` is not a folder", hint="Name the folder that the policy files are in."
        )
    loaded = compile_bundle(load_policies([folder], catalogue=catalogue()))
    if loaded.revision is not None and loaded.revision != revision:
        raise SettingsError(
            f"the set in `{folder}` is of revision {loaded.revision}, not {revision}",
            hint="Raise the revision in the file, or give the one it has.",
        )
    assembly = build_assembly(load_settings())
    signer = assembly.signer
    if signer is None:
        raise SettingsError(
            "there is no key to sign with", hint="`mlgov keys init` makes one; or set `MLGOV_KEY`."
        )
    paths = (*policy_paths([folder]), *step_paths([folder]))
    files = {file.relative_to(folder).as_posix(): read_regular(file) for file in paths}
    data = pack_bundle(
        files,
        name=name,
        revision=revision,
        made=assembly.now(),
        sign=lambda payload: sign_payload(payload, signers=(signer,), payload_type=PAYLOAD_TYPE),
    )
    try:
        write_output(output, data)
    except OSError as error:
        raise SettingsError(f"`{output}` cannot be written: {error.strerror}") from error
    out().print(sign(Mark.OK), styled(f"{len(files)} files, revision {revision} of {name}: {output}", "bold"))


app.command("init")(policy_init.init)
app.command("check")(policy_check.check)
app.command("test")(policy_cases.run_tests)
app.command("explain")(policy_explain.explain)
app.command("diff")(policy_diff.diff)
app.command("backtest")(policy_backtest.backtest)
