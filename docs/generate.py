"""Write what is generated: the pages that `pages` names, such as `docs/commands.md`, and the JSON Schemas in `policies/`.

`python docs/generate.py --write` writes them, `--check` fails where one is not what would be written. Both run from
anywhere. What can be read off the code stands here and nowhere else.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

import policies
from governance.cli.main import app
from governance.model.facts import CATALOGUE, FactSpec
from governance.model.request import Action
from governance.policy.docs import generated_files
from governance.policy.lint_rules import LINT_RULES, Level
from governance.policy.load import load_policies
from governance.settings import Settings
from governance.settings_file import FILE_ONLY

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- written by docs/generate.py: change the code, then `make docs` -->"
FACTS_INTRODUCTION = """\
What policies can ask for. A fact that nobody could establish is *unknown*, with a reason; it is never false or zero. A
field of a collection is asked for inside `some` or `every`."""
LINT_INTRODUCTION = """\
Each finding has an id, a level and a place. An error is certainly wrong, a warning probably is, and a note is worth
knowing. `--fail-on` says from which level on the check fails; a comment `# mlgov: accept ID` on the finding's line, or alone on
the line above, accepts it, and stays visible in the JSON and SARIF output. See [policy.md](policy.md)."""
PACKS_INTRODUCTION = """\
Policies to start from, each with cases that reach every outcome of every rule and notice every small change to it. They lie
in [`policies/`](../policies). `baseline` and `strict` each stand alone: one allows by default, the other refuses. The others
add one subject each, and all of them but `strict` or `baseline` may be in force together: the strictest verdict counts. Without
one of these two, or a policy of your own for them, no policy covers uploads and deletions, and production refuses them.

A pack is a starting point. Copy its file, and its cases, to your own repository's `.governance/`, edit the lists marked
*Edit*, and say in a set where it is enforced; a new one is best only observed for a week:

```yaml
apiVersion: mlgov/v1
kind: PolicySet
metadata: {name: acme, revision: 1}
spec:
  bindings:
    - {policies: ["*"], environments: [development, staging], mode: observe}
    - {policies: ["baseline-*", provenance], environments: [production], mode: enforce}
    - {policies: ["*"], environments: [production], mode: warn}
```

`strict` brings a set of its own; where yours is beside it, let yours say `extends: strict`. `mlgov policy test --mutate` then
says which case no longer fits what you decided, and which of your changes no case would notice."""
SETTINGS_INTRODUCTION = """\
Settings are read from the environment, and otherwise from `mlgov.toml` in `MLGOV_HOME` (or the file that `MLGOV_CONFIG` names),
where the keys are the names without `MLGOV_` in lower case. No settings are read from the working directory. Those that start with
`ARTIFACTORY_` are the ones of JFrog's own plugin. Those that start with `audit_` are read from the file alone, so that nobody can
send one process's decisions to another log with a variable. This does not restrain users who start processes of their own, since
they can name another settings file ([threat-model.md](threat-model.md)). A relative path in the file starts from the file's folder,
one in a variable from the working directory.

In addition, `MLGOV_DEBUG=1` makes `mlgov` show where an error arose. `mlgov doctor` names variables that begin with `MLGOV_` and are
not settings."""
MEANINGS = {
    "environment": "decides which bindings of the policy apply",
    "home": "keys, trust file and audit log, unless said otherwise",
    "policy_path": "policy file or folder, or a signed bundle; else `.governance/` or `policies/` upwards from here, else the shipped `baseline`",
    "policy_bundle": "a signed policy bundle in place of files: a file, an `artifactory://` location or the tracking server's URL",
    "policy_bundle_name": "the set that must be in the bundle",
    "policy_bundle_max_age": "seconds for which the last good bundle stands when no new one can be had",
    "tracking_username": "login for the tracking server that hands out the policy bundle",
    "tracking_password": "its password",
    "tracking_token": "or a token",
    "audit_path": "audit log; default `audit.sqlite` in the home",
    "audit_url": "address of a tracking server whose `governance` app keeps the audit log, instead of a file here; the login is MLflow's (`MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_PASSWORD` or `MLFLOW_TRACKING_TOKEN`)",
    "audit_dsn": "PostgreSQL database that keeps the audit log, instead of a file here: `postgresql://USER:PASSWORD@HOST/DATABASE`",
    "audit_origin": "name of the log in its checkpoints; give each log its own",
    "audit_key": "key that signs checkpoints (`mlgov audit key` makes it); default `keys/audit.pem` in the home, where there is one",
    "audit_key_passphrase_file": "file with its passphrase, where it has one",
    "audit_pseudonym_key": "file of at least 32 random bytes; actors then stand in the log under pseudonyms that only it can join to names",
    "audit_anchors": "places that keep the log's heads, a list: folders, `artifactory://HOST/artifactory/REPOSITORY/PATH`, witnesses `https://HOST=PUBLIC-KEY`, time stamp authorities `tsa+https://HOST/PATH`",
    "audit_quorum": "how many of them must keep a head; default: all",
    "audit_quorum_unmet": "`alarm` (in the server's log and in `mlgov doctor`), or `refuse`: no act is permitted while the last head that enough of them kept is older than `audit_quorum_max_age`",
    "audit_quorum_max_age": "seconds, at least twice `audit_heartbeat`; demanded by `refuse`",
    "audit_heartbeat": "seconds after which the governance app of a tracking server sends out a head, also where nothing happened",
    "audit_tsa_ca": "certificate (PEM) of the authority whose time stamps count",
    "key": "path or address of the signing key; default `keys/signing.pem` in the home, where there is one",
    "key_passphrase": "its passphrase; a file is safer",
    "key_passphrase_keyring": "entry `SERVICE/NAME` of the operating system's keyring with its passphrase; extra `keyring`",
    "key_passphrase_file": "file with its passphrase",
    "trust": "trust file; default `trust.json` in the home",
    "signing": "`required` refuses uploads without a key, `when-key` does not; default: required in production",
    "artifactory_url": "the Artifactory whose host may be given the token",
    "server_repositories": "repositories that a tracking server may use for `artifactory://` locations, beside those of its own "
    "command line, with commas between them",
    "artifactory_hosts": "further such hosts, as `host[:port]`, with commas between them",
    "artifactory_certificate": "our certificate (PEM, with those that lead to its authority), where Artifactory or Xray asks who connects",
    "artifactory_certificate_key": "its key (PEM), without a passphrase",
    "xray_url": "where Xray is, unless beside Artifactory",
    "ca_bundle": "certificate authorities (PEM) to trust in place of the usual ones",
    "usual_ca_bundle": "the same, where `MLGOV_CA_BUNDLE` or its line in the settings file says nothing",
    "gather_seconds": "how long all facts together may take",
    "gather_all": "gather also the facts that cost a request per file and that no rule reads, so that later policies can be tried on the log",
    "reuse_seconds": "how long a decision stands for the same bytes and actor",
    "break_glass": "justification for overriding refusals where the policy set allows break-glass; every decision is listed for review",
    "streams": "destinations of `mlgov audit stream`, as tables `[[streams]]` in the settings file ([streaming.md](streaming.md)); in the environment JSON",
    "streams_path": "where the cursors of streams and notifications lie; default `streams` in the home",
    "channels": "where notifications go, as tables `[[channels]]` ([streaming.md](streaming.md#notifications))",
    "notify_path": "the rules of `mlgov audit notify`, a YAML file",
    "metrics": "serve Prometheus metrics at the tracking server's `gov/metrics`",
    "metrics_path": "folder in which the workers of a server keep their metrics together; default below the home",
    "transfer_workers": "simultaneous transfers",
    "promotions": "acts on MLflow's registry that are promotions, and to which environment ([promotion.md](promotion.md)): a table `[promotions]`, or `NAME=ENVIRONMENT` with commas between them; a name is an alias, `stage:NAME`, or `models:/NAME`",
    "server_auth": "`basic-auth` puts MLflow's login below the governance app",
    "token": "access token for Artifactory and Xray",
    "no_ssl": "`http` for every host; for servers on loopback",
    "debug": "log more",
    "delete_skip": "let MLflow delete nothing in Artifactory",
}


def commands() -> str:
    """Every verb with its arguments and options. Not the rendered help, which differs between versions of Typer."""
    blocks = [verb_text(line, function) for line, function in verbs()]
    return "\n\n".join(["# Commands", NOTE, str(app.info.epilog), *blocks]) + "\n"


def verbs() -> Iterator[tuple[str, Callable[..., None]]]:
    """Every verb and sub-verb with its function, in the order of the top-level help."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield f"mlgov {command.name}", command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            yield f"mlgov {group.name} {command.name}", command.callback


def verb_text(line: str, function: Callable[..., None]) -> str:
    """One verb: what it does, then what it takes."""
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    rows = [parameter_row(each, *get_args(hints[each.name])) for each in parameters]
    table = "\n".join(["| takes | default | meaning |", "| --- | --- | --- |", *rows])
    return "\n\n".join((f"## `{line}`", str(inspect.getdoc(function)), *((table,) if rows else ())))


def parameter_row(parameter: inspect.Parameter, kind: object, info: OptionInfo | ArgumentInfo) -> str:
    """One argument or option. An argument's metavar stands for it, in brackets where it may be left out."""
    if isinstance(info, OptionInfo):
        # Typer keeps the first name of an annotated option as its default.
        names = [each for each in map(str, (info.default, *(info.param_decls or ()))) if each.startswith("-")]
        name = ", ".join(names or [f"--{parameter.name.replace('_', '-')}"])
        named = name if kind is bool else f"{name} {info.metavar or parameter.name.upper()}"
    else:
        optional = parameter.default is not inspect.Parameter.empty
        named = info.metavar or (f"[{parameter.name.upper()}]" if optional else parameter.name.upper())
    nothing = (None, False, inspect.Parameter.empty)
    default = "" if parameter.default in nothing else f"`{parameter.default}`"
    return f"| `{escaped(named)}` | {default} | {escaped(info.help or '')} |"


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def facts() -> str:
    """The catalogue of facts as tables."""
    rows = [
        "# Facts",
        NOTE,
        FACTS_INTRODUCTION,
        "\n".join(
            [
                "| fact | type | from | meaning |",
                "| --- | --- | --- | --- |",
                *map(row_of, CATALOGUE.values()),
            ]
        ),
    ]
    for spec in CATALOGUE.values():
        if spec.fields:
            rows.append(f"## Items of `{spec.name}`")
            rows.append(
                "\n".join(
                    [
                        "| field | type | from | meaning |",
                        "| --- | --- | --- | --- |",
                        *map(row_of, spec.fields),
                    ]
                )
            )
    return "\n\n".join(rows) + "\n"


def row_of(spec: FactSpec) -> str:
    """One row of the catalogue."""
    unit = f", in {spec.unit}" if spec.unit else ""
    values = f": {', '.join(f'`{value}`' for value in spec.values)}" if spec.values else ""
    return f"| `{spec.name}` | {spec.type.value}{unit} | {spec.source} | {spec.meaning}{values} |"


def packs() -> str:
    """The shipped packs with their rules."""
    blocks = ["# Packs", NOTE, PACKS_INTRODUCTION]
    for name in policies.names():
        blocks.append(f"## `{name}`")
        blocks.append(f"[policy](../policies/{name}.yaml), [cases](../policies/{name}.cases.yaml)")
        blocks.append(opening_words(policies.read(name)))
        for policy in load_policies([policies.path(name)]).policies:
            title = f"**{policy.title}** (`{policy.name}`"
            rows = ["| rule | effect | waiver | says |", "| --- | --- | --- | --- |"]
            for rule in policy.rules:
                waiver = "never" if rule.waivable.value == "never" else "may be asked for"
                waiver = waiver if rule.effect.word in {"block", "quarantine"} else ""
                cells = (f"`{rule.id}`", rule.effect.word, waiver, escaped(rule.message or ""))
                rows.append(f"| {' | '.join(cells)} |")
            bound = [
                each.value for each in Action if not policy.match.actions or each in policy.match.actions
            ]
            facts = f"; by default {policy.default.word}; {', '.join(bound)}; "
            blocks.append(f"{title}{facts}controls: {', '.join(policy.controls)})")
            blocks.append("\n".join(rows))
    return "\n\n".join(blocks) + "\n"


def opening_words(text: str) -> str:
    """The first paragraph of the comment at the head of a policy file."""
    head, _, _ = text.partition("\napiVersion:")
    lines = [line.removeprefix("#").strip() for line in head.splitlines() if line.startswith("#")]
    start = next(place for place, line in enumerate(lines) if line.startswith("Pack "))
    end = next((place for place in range(start, len(lines)) if not lines[place]), len(lines))
    words = " ".join(lines[start:end]).partition(": ")[2]
    return words[:1].upper() + words[1:]


def settings() -> str:
    """Every setting with its variable and default."""
    head = [
        "# Settings",
        NOTE,
        SETTINGS_INTRODUCTION,
    ]
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    unsaid = set(Settings.model_fields) ^ set(MEANINGS)
    if unsaid:
        sys.exit(f"docs/generate.py: MEANINGS and Settings differ in {', '.join(sorted(unsaid))}")
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        own = name if name.startswith(FILE_ONLY) else f"MLGOV_{name.upper()}"
        names = [alias] if isinstance(alias, str) else getattr(alias, "choices", [own])
        variable = ", ".join(f"`{each}`" for each in names)
        default = "" if field.default in (None, ()) else f"`{_default(field.default)}`"
        lines.append(f"| {variable} | {default} | {MEANINGS[name]} |")
    return "\n\n".join([*head, "\n".join(lines)]) + "\n"


def _default(value: object) -> object:
    """A default as it would be written in the environment."""
    return ", ".join("=".join(row) for row in value) if isinstance(value, tuple) else value


def lint() -> str:
    """What `mlgov policy check` looks for, most grave first."""
    blocks = []
    for level in reversed(Level):
        blocks.append(f"## {level.word.capitalize()}s")
        for rule in LINT_RULES.values():
            if rule.level is level:
                meaning = f"{rule.meaning[0].upper()}{rule.meaning[1:]}."
                blocks.append(f"### `{rule.id}`\n{meaning} {rule.why}\n\n*What to do:* {rule.mend}")
    return "\n\n".join(["# What `mlgov policy check` looks for", NOTE, LINT_INTRODUCTION, *blocks]) + "\n"


def pages() -> dict[str, str]:
    """The pages by their name below the checkout."""
    return {
        "docs/commands.md": commands(),
        "docs/facts.md": facts(),
        "docs/policy-lint.md": lint(),
        "docs/packs.md": packs(),
        "docs/settings.md": settings(),
    }


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--check", action="store_true")
    write = parser.parse_args().write
    stale = []
    for name, text in (pages() | generated_files()).items():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if write:
            path.write_text(text, encoding="utf-8")
        stale.append(name)
    if stale:
        done = "wrote" if write else "not up to date"
        sys.stdout.write(f"{done}: {', '.join(stale)}\n")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
