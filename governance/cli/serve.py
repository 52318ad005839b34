"""`mlgov serve`: servers to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from governance.cli.output import err, out, print_pairs, styled
from governance.errors import SettingsError

app = typer.Typer(no_args_is_help=True, help="Run a server in the foreground.")


@app.callback()
def _root() -> None:
    """Keeps `dev` a verb of its own while it is the only one."""


@app.command("dev")
def dev(
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than loopback are warned about.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8081,
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep its state. Default: nowhere, it goes with the server.")
    ] = None,
    scan_delay: Annotated[
        float, typer.Option(min=0, max=3600, help="Seconds between an upload and its finished scan.")
    ] = 0.0,
) -> None:
    """Run the embedded Artifactory and Xray compatible server, for trial and tests. Ends with Ctrl-C.

    Its accounts are public knowledge: admin/password, alice/alice, ci/ci.
    """
    try:
        from governance.devserver import DevServerConfig, serve
    except ImportError as error:
        raise missing_extra(error) from error

    config = DevServerConfig(root=folder, host=host, port=port, scan_delay=scan_delay)
    print_pairs({
        "repositories": ", ".join(repository.key for repository in config.repositories),
        "accounts": ", ".join(f"{user.name}/{user.password}" for user in config.users),
        "a token": "curl -u admin:password -X POST URL/access/api/v1/tokens",
        "state": f"`{folder}`" if folder else "in memory and a temporary folder",
    })  # fmt: skip
    try:
        serve(config, lambda line: err().print(styled(line)))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on `{host}:{port}`: {error.strerror}", hint="`--port 0` takes a free port."
        ) from error
    out().print("stopped")


def missing_extra(error: ImportError) -> SettingsError:
    """What to say where the packages of the extra `demo` are not installed."""
    return SettingsError(
        f"the embedded server needs a package that is not installed: {error.name}",
        hint="`pip install 'mlflow-governance[demo]'`",
    )
