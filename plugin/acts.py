"""What requests to MLflow's model registry do: which are promotions, and what is to be put on record of each.

| request | is recorded as | is a promotion where |
| --- | --- | --- |
| create a version, also by copying | `created` | the model's name is in the table |
| set an alias | `alias-set` | the alias is in the table |
| move to a stage | `stage-set` | the stage is in the table |
| rename a model | `renamed` | the new name is in the table, and the old one is not, or for another environment |
| remove an alias, a version, a model | `alias-removed`, `deleted`, `removed` | never |

Promises: reads the registry and changes nothing. What is recorded is what the registry holds, never what a client claims. Does
not: ask the gate (see `plugin.promotion`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos import model_registry_pb2 as wire

from governance.errors import VerificationError
from governance.policy.promotion import Promotions
from plugin.promotion import MOST_VERSIONS, Promotion
from plugin.versions import Version, future_version, registered_version, version_of, without_secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request's message, the server's own stores, and the table of promotions."""

    message: Any
    registry: Any
    tracking: Callable[[], Any]
    table: Promotions


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something to be put on record. `version` is None where all are meant; `judged` is the version as it was known to the
    gate, where that is another value."""

    event: str
    name: str
    version: Version | None = None
    judged: Version | None = None
    more: Mapping[str, str | None] = field(default_factory=dict)

    def words(self) -> dict[str, str | None]:
        """What the entry says beside name and version."""
        version = self.version
        own = (
            {}
            if version is None
            else {
                "source": without_secrets(version.source),
                "run_id": version.run_id,
                "model_id": version.model_id,
            }
        )
        return {**own, **self.more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request does. `steps` takes the handler's answer, and says what was done."""

    promotion: Promotion | None
    steps: Callable[[Any], Iterable[Step]]


Act = Callable[[Asked], Plan]


def create_version(asked: Asked) -> Plan:
    """A new version. Where it is a promotion it is judged by its source, and held against what was made of that."""
    environment = asked.table.of_model(asked.message.name)
    judged = None
    if environment is not None:
        judged = future_version(asked.registry, asked.tracking(), asked.message)

    def steps(answer: Any) -> Iterable[Step]:
        made = _made(asked, answer)
        if judged is not None and made.location != judged.location:
            asked.registry.delete_model_version(made.name, made.number)
            raise VerificationError(
                f"version {made.number} of `{made.name}` came to lie elsewhere than what was judged, and was deleted again",
                hint="Register it by `models:/` or by its artifact location.",
            )
        yield Step(event="created", name=made.name, version=made, judged=judged)

    promotion = None
    if environment is not None and judged is not None:
        promotion = Promotion(environment=environment, versions=(judged,))
    return Plan(promotion=promotion, steps=steps)


def set_alias(asked: Asked) -> Plan:
    """An alias on a version, whether new or moved."""
    message = asked.message
    version = registered_version(asked.registry, message.name, message.version)
    environment = asked.table.of_alias(message.alias)
    before = _bearer(asked)
    more = {"alias": message.alias, "before": None if before is None else before.number}
    promotion = None
    if environment is not None:
        promotion = Promotion(environment=environment, versions=(version,), alias=message.alias)
    step = Step(event="alias-set", name=version.name, version=version, judged=version, more=more)
    return Plan(promotion=promotion, steps=lambda _: (step,))


def set_stage(asked: Asked) -> Plan:
    """A stage of a version."""
    message = asked.message
    version = registered_version(asked.registry, message.name, message.version)
    environment = asked.table.of_stage(message.stage)
    promotion = None if environment is None else Promotion(environment=environment, versions=(version,))
    step = Step(
        event="stage-set", name=version.name, version=version, judged=version, more={"stage": message.stage}
    )
    return Plan(promotion=promotion, steps=lambda _: (step,))


def rename_model(asked: Asked) -> Plan:
    """Another name for a model, under which all its versions are loaded from then on."""
    old, new = asked.message.name, asked.message.new_name
    environment = asked.table.of_model(new)
    promotion = None
    if environment is not None and environment != asked.table.of_model(old):
        promotion = Promotion(environment=environment, versions=_versions(asked, old))
    step = Step(event="renamed", name=new, more={"before": old})
    return Plan(promotion=promotion, steps=lambda _: (step,))


def remove_alias(asked: Asked) -> Plan:
    """An alias that is set no more."""
    more = {"alias": asked.message.alias}
    step = Step(event="alias-removed", name=asked.message.name, version=_bearer(asked), more=more)
    return Plan(promotion=None, steps=lambda _: (step,))


def delete_version(asked: Asked) -> Plan:
    """A version that is no more."""
    version = registered_version(asked.registry, asked.message.name, asked.message.version)
    return Plan(promotion=None, steps=lambda _: (Step(event="deleted", name=version.name, version=version),))


def remove_model(asked: Asked) -> Plan:
    """A model with all of its versions."""
    return Plan(promotion=None, steps=lambda _: (Step(event="removed", name=asked.message.name),))


ACTS: Mapping[Any, Act] = {
    wire.CreateModelVersion: create_version,
    wire.SetRegisteredModelAlias: set_alias,
    wire.TransitionModelVersionStage: set_stage,
    wire.RenameRegisteredModel: rename_model,
    wire.DeleteRegisteredModelAlias: remove_alias,
    wire.DeleteModelVersion: delete_version,
    wire.DeleteRegisteredModel: remove_model,
}


def _made(asked: Asked, answer: Any) -> Version:
    """The version that an answer tells of, as the registry has it."""
    found = answer.get("model_version", {}) if isinstance(answer, dict) else {}
    name, number = found.get("name"), found.get("version")
    return registered_version(asked.registry, name or asked.message.name, str(number))


def _bearer(asked: Asked) -> Version | None:
    """The version that bears the alias now."""
    with suppress(MlflowException):
        found = asked.registry.get_model_version_by_alias(asked.message.name, asked.message.alias)
        return version_of(asked.registry, found)
    return None


def _versions(asked: Asked, name: str) -> tuple[Version, ...]:
    """All versions of a model, and one more than can be judged where there are so many."""
    quote = '"' if "'" in name else "'"
    found = asked.registry.search_model_versions(
        f"name = {quote}{name}{quote}", max_results=MOST_VERSIONS + 1
    )
    return tuple(version_of(asked.registry, each) for each in found)
