"""The settings file: where it is, what its keys are called, and what its relative paths are meant from.

Promises: a key that is no setting is refused, with the one that was probably meant. Does not: know what a setting may be; the class whose
fields they are does (`governance.settings`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic_settings import BaseSettings, TomlConfigSettingsSource

from governance.errors import SettingsError
from governance.places import expanded
from governance.policy.mistakes import nearest

PREFIX = "MLGOV_"
PATHS = (
    "home", "policy_path", "audit_path", "audit_key", "audit_key_passphrase_file", "audit_pseudonym_key",
    "audit_tsa_ca", "artifactory_certificate", "artifactory_certificate_key", "key_passphrase_file", "trust", "ca_bundle", "usual_ca_bundle", "streams_path", "notify_path", "metrics_path",
)  # fmt: skip
_PATH_VARIABLES = frozenset({"MLGOV_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"})
"""Of `PATHS`, those that have other names in the environment, under which they come here."""
_PATHS_OR_ADDRESSES = frozenset({"key", "policy_bundle", "audit_anchors"})
_TABLES = frozenset({"streams", "channels"})
_PATHS_IN_TABLES = frozenset({"ca", "certificate", "certificate_key", "secret_file", "password_file"})
FILE_ONLY = "audit_"
"""Settings that begin so are taken from the settings file alone."""


class FileSource(TomlConfigSettingsSource):
    """The settings file. A key that is no setting is refused: misspelt, it would switch off what somebody relies on."""

    def __init__(self, settings_cls: type[BaseSettings], toml_file: Path) -> None:
        self.settings_cls = settings_cls  # the constructor reads the file before it keeps what it was given
        super().__init__(settings_cls, toml_file=toml_file)

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        """The file's keys as pydantic knows them. Raises `SettingsError`."""
        given = super()._read_file(file_path)
        known = file_keys(self.settings_cls)
        strange = [key for key in given if key.lower() not in known]
        if strange:
            listed = "\n".join(
                f"  `{key[:80]}`{f', did you mean `{near}`?' if (near := _near(key, known, self.settings_cls)) else ''}"
                for key in strange[:20]
            )
            raise SettingsError(
                f"{len(strange)} key(s) of the settings file `{file_path}` are no settings:\n{listed}",
                hint="`docs/settings.md` lists them: in the file without `MLGOV_`, in lower case.",
            )
        folder = Path(file_path).parent
        found = {
            known[key.lower()]: _beside(folder, known[key.lower()], value) for key, value in given.items()
        }
        if len(found) < len(given):
            names = [known[key.lower()] for key in given]
            twice = next(name for name in found if names.count(name) > 1)
            raise SettingsError(f"`{variable((twice,))}` is given twice in the settings file `{file_path}`")
        return found


def _beside(folder: Path, name: str, value: Any) -> Any:
    """A value of the settings file with its relative paths as they are meant there: from the file's own folder. From the working
    directory, each process would have a log, a trust file and a policy of its own, wherever it was started."""
    if isinstance(value, Mapping) and name in _TABLES:
        return {key: _beside(folder, key, each) for key, each in value.items()}
    if isinstance(value, list) and name in {*_TABLES, *_PATHS_OR_ADDRESSES}:
        return [_beside(folder, name, each) for each in value]
    is_path = name in {*PATHS, *_PATH_VARIABLES, *_PATHS_IN_TABLES} or (
        name in _PATHS_OR_ADDRESSES and ":" not in str(value)
    )
    if (
        not is_path
        or not isinstance(value, str)
        or value.startswith("~")
        or value != value.strip()
        or not value
    ):
        return value  # what is wrong with it is said where it is checked
    if name == "audit_path" and not Path(value).name:
        return value
    return str(folder / value)


def file_keys(settings: type[BaseSettings]) -> dict[str, str]:
    """What may stand in the settings file, in lower case, and what pydantic calls it: the name without `MLGOV_`, or another
    program's variable as it is."""
    keys: dict[str, str] = {}
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        if alias is None:
            keys[name] = name
            continue
        for each in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            keys[str(each).lower()] = str(each)
            keys[str(each).lower().removeprefix(PREFIX.lower())] = str(each)
    return keys


def _near(key: str, known: Mapping[str, str], settings: type[BaseSettings]) -> str | None:
    """The key that was probably meant: `environment` for `MLGOV_ENVIRONMENT`, `artifactory_auth_token` for `token`."""
    field = settings.model_fields.get(key.lower())
    if field is not None and isinstance(field.validation_alias, str):
        return field.validation_alias.lower()
    return nearest(key.lower().removeprefix(PREFIX.lower()), known)


def settings_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The TOML file that is read, whether or not it exists. Raises `SettingsError`."""
    named = environ.get("MLGOV_CONFIG")
    home = environ.get("MLGOV_HOME") or "~/.mlgov"
    variable = "MLGOV_CONFIG" if named else "MLGOV_HOME"
    try:
        return expanded(named) if named else expanded(home) / "mlgov.toml"
    except ValueError as error:
        raise SettingsError(
            f"`{variable}` {error}",
            hint=f"Set `{variable}` to a folder of yours that exists." if not named else None,
        ) from None


def variable(place: tuple[int | str, ...]) -> str:
    """The environment variable a user would set, and the place inside it, from what pydantic names; for what is taken from
    the settings file alone, the key there."""
    if not place:
        return ""  # of several settings together; the message names them
    location, *inside = [str(each) for each in place]
    if not location.startswith((FILE_ONLY, "ARTIFACTORY_", "MLFLOW_")):
        location = f"{PREFIX}{location.removeprefix(PREFIX).upper()}"
    return ".".join([location, *inside])
