"""Which acts on a model registry are promotions, and towards which environment.

A table of names, each with an environment:

| key | stands for |
| --- | --- |
| `champion` | setting this alias on a version |
| `stage:Production` | moving a version to this stage |
| `models:/prod.fraud`, `models:/prod.*` | making a version in this registered model, or in those whose names begin so |

Promises: names are compared as a database may compare them that knows no difference between `Champion`, `champion` and
`chámpion`; of the rows that fit a model, the most exact one counts, whatever their order. Does not: know what a registry holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from governance.policy.environments import normal_environment

STAGE, MODEL = "stage:", "models:/"
MOST_ROWS = 200
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]{0,31}")
_ALIAS = re.compile(r"[\w-]{1,255}")
_STAGE = re.compile(r"stage:[A-Za-z]{1,32}")
_MODEL = re.compile(r"models:/(?:[^/:*\x00-\x1f\x7f]{1,255}\*?|\*)")


@dataclass(frozen=True, slots=True)
class Promotions:
    """The table. Rows are names as above, and environments."""

    rows: tuple[tuple[str, str], ...]

    def of_alias(self, alias: str) -> str | None:
        """The environment that setting an alias promotes to, or None where that is no promotion."""
        return self._exact(alias)

    def of_stage(self, stage: str) -> str | None:
        """The same for a stage."""
        return self._exact(f"{STAGE}{stage}")

    def of_model(self, name: str) -> str | None:
        """The same for a new version of a registered model."""
        wanted = fold(f"{MODEL}{name}")
        fitting = [
            (not key.endswith("*"), len(key), environment)
            for key, environment in self.rows
            if key.startswith(MODEL) and _fits(wanted, fold(key))
        ]
        return max(fitting)[2] if fitting else None

    def _exact(self, key: str) -> str | None:
        wanted = fold(key)
        return next((environment for name, environment in self.rows if fold(name) == wanted), None)


def parse_promotions(rows: Iterable[tuple[str, str]]) -> Promotions:
    """Check a table. Raises `ValueError` naming the row."""
    checked = tuple((_checked(key), _environment(key, environment)) for key, environment in rows)
    if len(checked) > MOST_ROWS:
        raise ValueError(f"at most {MOST_ROWS} promotions can be listed")
    seen: dict[str, str] = {}
    for key, _ in checked:
        other = seen.setdefault(fold(key), key)
        if other is not key:
            raise ValueError(f"`{key}` and `{other}` are one name")
    return Promotions(checked)


def fold(name: str) -> str:
    """A name without case, accents, compatibility forms and outer space: what some collation takes for equal has the same fold."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(each for each in decomposed if not unicodedata.combining(each))
    return unicodedata.normalize("NFKC", plain.casefold()).strip()


def _fits(wanted: str, key: str) -> bool:
    return wanted.startswith(key[:-1]) if key.endswith("*") else wanted == key


def _checked(key: str) -> str:
    key = key.strip()
    if not any(form.fullmatch(key) for form in (_ALIAS, _STAGE, _MODEL)):
        raise ValueError(
            f"`{key[:80]}` is neither an alias, nor `stage:NAME`, nor `models:/NAME` with or without a final `*`"
        )
    return key


def _environment(key: str, environment: object) -> str:
    if not isinstance(environment, str) or not _ENVIRONMENT.fullmatch(environment.strip()):
        raise ValueError(f"`{key[:80]}` is given no environment such as `production`")
    return normal_environment(environment.strip())
