"""The environment and the settings file, read once into one frozen value.

Precedence: constructor arguments, then environment variables, then the TOML file named by `MLGOV_CONFIG` (default
`mlgov.toml` in `MLGOV_HOME`). A settings file is never looked for in the working directory: a cloned repository must
not be able to say where the token goes. What concerns the audit log is read from the file alone, and a variable for it is
an error: whoever starts one process must not lead its decisions elsewhere by one variable. Another file is another log.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from governance.errors import SettingsError
from governance.model.artifact import parse_repository_key
from governance.places import expanded, read_bounded
from governance.policy.environments import normal_environment
from governance.policy.mistakes import nearest
from governance.policy.promotion import Promotions, parse_promotions
from governance.settings_file import FILE_ONLY, PATHS, PREFIX, FileSource, file_keys, settings_file, variable
from governance.stream.channel import Channel
from governance.stream.destination import Destination, refuse_boolean

if TYPE_CHECKING:
    from governance.transport import ClientCertificate

DEFAULT_PROMOTIONS = (
    ("champion", "production"),
    ("production", "production"),
    ("stage:Production", "production"),
    ("stage:Staging", "staging"),
)
_NUMBERS = (
    "policy_bundle_max_age", "audit_quorum", "audit_quorum_max_age", "audit_heartbeat", "gather_seconds", "reuse_seconds",
    "transfer_workers",
)  # fmt: skip
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")


class Settings(BaseSettings):
    """Everything that is chosen outside the code. Paths left empty lie below `home`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    environment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = "development"
    home: Path = Path("~/.mlgov")
    policy_path: Path | None = None
    policy_bundle: str | None = None
    policy_bundle_name: str | None = None
    policy_bundle_max_age: float = Field(default=86_400.0, gt=0, le=31_536_000)
    audit_path: Path | None = None
    audit_url: str | None = None
    audit_dsn: SecretStr | None = Field(default=None, min_length=1)
    audit_origin: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")] = "mlgov.local/audit"
    audit_key: Path | None = None
    audit_key_passphrase_file: Path | None = None
    audit_pseudonym_key: Path | None = None
    audit_anchors: tuple[str, ...] = ()
    audit_quorum: int | None = Field(default=None, ge=1, le=32)
    audit_quorum_unmet: Literal["alarm", "refuse"] = "alarm"
    audit_quorum_max_age: float | None = Field(default=None, gt=0, le=31_536_000)
    audit_heartbeat: float = Field(default=3_600.0, ge=1, le=86_400)
    audit_tsa_ca: Path | None = None
    key: str | None = None
    key_passphrase: SecretStr | None = None
    key_passphrase_file: Path | None = None
    key_passphrase_keyring: str | None = None
    trust: Path | None = None
    signing: Literal["required", "when-key"] | None = None
    artifactory_url: str | None = None
    artifactory_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    artifactory_certificate: Path | None = None
    artifactory_certificate_key: Path | None = None
    xray_url: str | None = None
    gather_seconds: float = Field(default=30.0, gt=0, le=600)
    gather_all: bool = False
    reuse_seconds: float = Field(default=30.0, ge=0, le=300)
    break_glass: str | None = Field(default=None, min_length=10, max_length=1000)
    streams: tuple[Destination, ...] = ()
    streams_path: Path | None = None
    channels: tuple[Channel, ...] = ()
    notify_path: Path | None = None
    metrics: bool = False
    metrics_path: Path | None = None
    transfer_workers: int = Field(default=8, ge=1, le=64)
    promotions: Annotated[tuple[tuple[str, str], ...], NoDecode] = DEFAULT_PROMOTIONS
    server_repositories: Annotated[tuple[str, ...], NoDecode] = ()
    server_auth: Literal["none", "basic-auth"] = "none"
    tracking_username: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_USERNAME")
    tracking_password: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_PASSWORD")
    tracking_token: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_TOKEN")
    token: SecretStr | None = Field(
        default=None,
        validation_alias="ARTIFACTORY_AUTH_TOKEN",
    )
    ca_bundle: Path | None = Field(default=None, validation_alias="MLGOV_CA_BUNDLE")
    usual_ca_bundle: Path | None = Field(
        default=None, validation_alias=AliasChoices("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
    )
    no_ssl: bool = Field(default=False, validation_alias="ARTIFACTORY_NO_SSL")
    debug: bool = Field(default=False, validation_alias="ARTIFACTORY_DEBUG")
    delete_skip: bool = Field(default=False, validation_alias="ARTIFACTORY_ARTIFACTS_DELETE_SKIP")

    @field_validator("environment", mode="before")
    @classmethod
    def _one_spelling(cls, value: object) -> object:
        """What holds in production holds in `prod` as well."""
        return normal_environment(value) if isinstance(value, str) else value

    @field_validator(*PATHS, mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        """Before pydantic makes a path of it: `""` would be the working directory, which is asked for nothing."""
        return expanded(value) if isinstance(value, str | Path) else value

    @field_validator(*_NUMBERS, mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return refuse_boolean(value)

    @field_validator("audit_path", mode="after")
    @classmethod
    def _check_log(cls, path: Path | None) -> Path | None:
        if path is not None and not path.name:  # the root, or the working directory
            raise ValueError("names no file, and nothing is let through without an audit log")
        return path

    @field_validator("key", "policy_bundle", mode="after")
    @classmethod
    def _check_place(cls, value: str | None) -> str | None:
        """A path or an address: of the one what can be none, of the other that it is something."""
        if value is not None and (":" not in value or value.startswith("~")):
            expanded(value)
        return value

    @field_validator("audit_anchors", mode="after")
    @classmethod
    def _check_anchors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for place in value:
            if place.strip() and ":" not in place:
                expanded(place)
        return value

    @field_validator("artifactory_hosts", "server_repositories", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("artifactory_hosts", mode="after")
    @classmethod
    def _check_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _HOST.fullmatch(host):
                raise ValueError(
                    f"`{host[:80]}` is no `HOST` or `HOST:PORT`; an address or a pattern never fits one"
                )
        return value

    @field_validator("server_repositories", mode="after")
    @classmethod
    def _check_repositories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(parse_repository_key(key) for key in value)

    @field_validator("promotions", mode="before")
    @classmethod
    def _rows(cls, value: object) -> object:
        """A table of TOML; or, in the environment, `champion=production, stage:Staging=staging`."""
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",") if part.strip()]
            value = dict(_row(part) for part in parts)
            if not value:
                raise ValueError(
                    "names nothing; an empty table `[promotions]` in the settings file takes all away"
                )
            if len(value) < len(parts):
                raise ValueError("a name is given twice")
        return parse_promotions(value.items()).rows if isinstance(value, Mapping) else value

    @field_validator("artifactory_url", "xray_url", "audit_url", mode="after")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        _ = parts.port  # raises `ValueError` for one that is none
        if parts.scheme not in {"https", "http"} or not parts.hostname or _NOT_IN_URL.search(value):
            raise ValueError("expected a URL such as `https://acme.jfrog.io`")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "expected a URL without credentials, query or fragment; the token has a variable of its own"
            )
        return value.rstrip("/")

    @field_validator("streams", "channels", mode="after")
    @classmethod
    def _check_names(cls, value: tuple[Destination | Channel, ...]) -> tuple[Destination | Channel, ...]:
        names = [each.name for each in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name `{twice[0]}` is given twice")
        return value

    @model_validator(mode="after")
    def _check_pair(self) -> Self:
        if (self.artifactory_certificate is None) != (self.artifactory_certificate_key is None):
            raise ValueError(
                "MLGOV_ARTIFACTORY_CERTIFICATE and MLGOV_ARTIFACTORY_CERTIFICATE_KEY are given together"
            )
        return self

    @model_validator(mode="after")
    def _check_quorum(self) -> Self:
        """A refusal that could never end, or never come, is not what anybody meant."""
        age, least = self.audit_quorum_max_age, 2 * self.audit_heartbeat
        if self.audit_quorum_unmet == "alarm":
            if age is not None:
                raise ValueError(
                    '`audit_quorum_max_age` needs `audit_quorum_unmet = "refuse"`: an alarm has no age'
                )
            return self
        if self.audit_url is not None:
            raise ValueError(
                "`audit_quorum_unmet`: heads of a log that a server keeps leave there, so it is said there"
            )
        if not self.audit_anchors:
            raise ValueError(
                "`audit_quorum_unmet`: without `audit_anchors` no head is ever kept, and nothing would be let through"
            )
        if age is None:
            raise ValueError(
                "`audit_quorum_unmet`: say with `audit_quorum_max_age` after how many seconds nothing is let through"
            )
        if age < least:
            raise ValueError(
                f"`audit_quorum_max_age` is at least {least:g}, twice `audit_heartbeat`: one head that is late must not stop all"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Constructor, then environment, then the TOML file; no `.env` in the working directory."""
        return init_settings, env_settings, FileSource(settings_cls, toml_file=settings_file())

    @property
    def promotion_table(self) -> Promotions:
        """Which acts on a model registry are promotions."""
        return Promotions(self.promotions)

    @property
    def audit_file(self) -> Path:
        """Where the embedded audit log lies."""
        return self.audit_path or self.home / "audit.sqlite"

    @property
    def cursors(self) -> Path:
        """Where it is kept how far streams and notifications have come."""
        return self.streams_path or self.home / "streams"

    @property
    def has_log_file(self) -> bool:
        """Whether the log is a file here, rather than a database's or a server's."""
        return self.audit_url is None and self.audit_dsn is None

    @property
    def checkpoint_key(self) -> Path | None:
        """The key that signs checkpoints; the one in `home` where there is one and nothing else is said."""
        own = self.home / "keys" / "audit.pem"
        return self.audit_key or (own if own.exists() else None)

    @property
    def trust_file(self) -> Path:
        """Where the trusted keys are listed."""
        return self.trust or self.home / "trust.json"

    @property
    def key_location(self) -> str | None:
        """Path or URI of the signing key; the one in `home` where there is one and nothing else is said."""
        if self.key:
            return self.key
        own = self.home / "keys" / "signing.pem"
        return str(own) if own.exists() else None

    @property
    def is_signing_required(self) -> bool:
        """Whether an upload without a signing key is refused. Unless said otherwise: in production."""
        return self.signing == "required" if self.signing else self.environment == "production"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """`host[:port]` of every Artifactory that may be given the token."""
        own = (urlsplit(self.artifactory_url).netloc,) if self.artifactory_url else ()
        return frozenset(host.lower() for host in (*own, *self.artifactory_hosts))

    @property
    def authorities(self) -> Path | None:
        """Where the trusted certificate authorities are listed, if not the usual ones. What the settings file says goes before
        the variables of other programs, which conda for one sets without being asked."""
        return self.ca_bundle or self.usual_ca_bundle

    @property
    def certificates(self) -> str | bool:
        """The same, as `requests` wants it: True for the usual ones."""
        return str(self.authorities) if self.authorities else True

    @property
    def own_certificate(self) -> ClientCertificate | None:
        """What Artifactory and Xray are shown where they ask who connects."""
        if self.artifactory_certificate is None or self.artifactory_certificate_key is None:
            return None
        from governance.transport import ClientCertificate

        return ClientCertificate(self.artifactory_certificate, self.artifactory_certificate_key)

    @staticmethod
    def proxies_for(url: str) -> dict[str, str]:
        """The proxies that the environment names for an address (`HTTPS_PROXY`, `NO_PROXY` and their like); none for
        this machine's own.
        """
        from requests.utils import get_environ_proxies

        own = urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
        return {} if own else dict(get_environ_proxies(url))

    def passphrase(self) -> bytes | None:
        """The signing key's passphrase, from the environment, or its file (one final newline is dropped), or the keyring.

        Raises `SettingsError` when the file cannot be read, `KeyFileError` when the keyring cannot.
        """
        if self.key_passphrase is not None:
            return self.key_passphrase.get_secret_value().encode()
        if self.key_passphrase_file is None:
            return self._passphrase_in_keyring()
        try:
            return read_bounded(self.key_passphrase_file).removesuffix(b"\n")
        except OSError as error:
            raise SettingsError(
                f"the passphrase file `{self.key_passphrase_file}` cannot be read: {error.strerror}",
                hint="Fix `MLGOV_KEY_PASSPHRASE_FILE`, or set `MLGOV_KEY_PASSPHRASE`.",
            ) from error

    def _passphrase_in_keyring(self) -> bytes | None:
        if self.key_passphrase_keyring is None:
            return None
        from governance.signing.desktop import read_passphrase

        return read_passphrase(self.key_passphrase_keyring)


def strange_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Variables that begin like ours and are none, each with the one that was probably meant."""
    ours = {f"{PREFIX}CONFIG", f"{PREFIX}DEBUG", *file_keys(Settings).values()}
    for name, field in Settings.model_fields.items():
        if field.validation_alias is None:
            ours.add(f"{PREFIX}{name}".upper())
    return {
        name: nearest(name.upper(), ours)
        for name in sorted(environ)
        if name.upper().startswith(PREFIX) and name.upper() not in ours
    }


def states_secret(file: Path) -> bool:
    """Whether a settings file that can be read states a secret itself, such as a token."""
    known = file_keys(Settings)
    secret = {
        str(field.validation_alias or name)
        for name, field in Settings.model_fields.items()
        if SecretStr in get_args(field.annotation)
    }
    return any(known.get(key.lower()) in secret for key in tomllib.loads(read_bounded(file).decode()))


def load_settings(**overrides: object) -> Settings:
    """Read environment and file. Raises `SettingsError` with every mistake, and never a value that could be secret."""
    path = settings_file()
    if os.environ.get("MLGOV_CONFIG") and not path.is_file():
        raise SettingsError(
            f"the settings file `{path}` does not exist",
            hint="Fix or unset the environment variable `MLGOV_CONFIG`.",
        )
    _refuse_variables(os.environ, path)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        found = [
            f"  {variable(item['loc'])}{': ' if item['loc'] else ''}{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        message = f"{len(found)} setting(s) are wrong:\n" + "\n".join(found)
        raise SettingsError(message, hint="Fix what is named above; `mlgov doctor` checks again.") from None
    except SourceError as error:
        field = re.search(r'field "(\w+)"', str(error))
        named = f"`{variable((field[1],))}`" if field else "a list"
        raise SettingsError(
            f"{named} in the environment is not JSON", hint="Lists of tables are easier in the settings file."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"the settings file `{path}` cannot be read: {error}",
            hint="It is TOML; correct the place named above.",
        ) from None


def _refuse_variables(environ: Mapping[str, str], path: Path) -> None:
    """Raise `SettingsError` for a variable in place of a line of the settings file. Their letters' case does not count."""
    start = f"{PREFIX}{FILE_ONLY}".lower()
    found = sorted(name for name, value in environ.items() if name.lower().startswith(start) and value)
    if found:
        key = found[0].lower().removeprefix(PREFIX.lower())
        raise SettingsError(
            f"`{found[0]}` is set: which log is written, and who watches it, is said in the settings file alone",
            hint=f"Unset the variable, and write `{key} = ...` to `{path}`.",
        )


def _row(text: str) -> tuple[str, str]:
    key, equals, environment = text.rpartition("=")
    if not equals:
        raise ValueError(f"`{text[:80]}` is not of the form `NAME=ENVIRONMENT`")
    return key.strip(), environment.strip()
