"""MLflow's model registry on the tracking server: what is done to it is on record, and promotions pass the gate.

MLflow's own handlers are wrapped where Flask finds them, by the message that they answer. So every path that leads to one
(`/api`, `/ajax-api`, a prefix of the server's own, any spelling that Flask takes for it) leads through here, after the login
and its rights; and a request is read by MLflow's own reader, so that nothing can be understood in two ways.

1. The request is read, and the registry asked what it is about (`plugin.acts`).
2. Where it is a promotion, the gate is asked (`plugin.promotion`); where that refuses, or anything fails up to here, MLflow's
   handler does not run.
3. MLflow's handler acts.
4. What was done is put on record, as the registry has it now.

Promises: the server does not start where one of these handlers cannot be found, or lets a version of one workspace be made of
another's files. Does not: see who changes the registry's
database without the server.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from packaging.version import Version

from governance.errors import GovernanceError, SettingsError, VerificationError
from governance.model.request import new_id
from governance.permit import Permit
from governance.registrations import RegistryEvent, record_registration
from governance.wiring import Assembly
from plugin.acts import ACTS, Act, Asked, Step
from plugin.assembly import assembly_for
from plugin.context import caller, in_workspace
from plugin.errors import GovernanceUnavailableError, mlflow_error
from plugin.promotion import Promoted, RegistryRefusal, promote
from plugin.versions import artifacts_on_record

logger = logging.getLogger(__name__)

View = Callable[..., Any]
_SEPARATE_SINCE = Version("3.17")
"""The first MLflow that lets a version be made only of the files of its own run or model."""


class HandlerError(Exception):
    """MLflow's own handler raised something; it is the cause, and goes on as it came."""


def guard_registry(flask_app: Any) -> None:
    """Wrap the handlers of `ACTS`. Raises `SettingsError` where this MLflow has another registry than is known here,
    or workspaces that are not kept apart."""
    require_separate_workspaces()
    from mlflow.server import handlers

    for message, act in ACTS.items():
        handler = handlers.HANDLERS.get(message)
        endpoint = getattr(handler, "__name__", "")
        view = flask_app.view_functions.get(endpoint)
        if view is None:
            raise SettingsError(
                f"this version of MLflow has no handler of its own for `{message.DESCRIPTOR.name}`",
                hint="Promotions could not be judged. Use a version of MLflow from 3.14 to 3.18, with which it was tried.",
            )
        flask_app.view_functions[endpoint] = guarded(view, message, act)


def require_separate_workspaces(
    environ: Mapping[str, str] = os.environ, *, version: str | None = None
) -> None:
    """Raise `SettingsError` where this server has workspaces, and its MLflow does not ask whose files a version is made of: it
    would be judged by the good files of another workspace, and loaded from the same path in its own."""
    wanted = environ.get("MLFLOW_ENABLE_WORKSPACES", "").strip().lower() in {"true", "1"}
    version = version or mlflow.__version__
    if wanted and Version(version) < _SEPARATE_SINCE:
        raise SettingsError(
            f"workspaces need MLflow {_SEPARATE_SINCE} or later, and this is {version}: a version in one could be made of another's files",
            hint=f"`pip install 'mlflow>={_SEPARATE_SINCE}'`, or start the server without `--enable-workspaces`.",
        )


def guarded(view: View, message: Any, act: Act) -> View:
    """A handler that acts only as far as the gate allows, and leaves a record."""

    @functools.wraps(view)
    def answer(*args: Any, **kwargs: Any) -> Any:
        from mlflow.server import ARTIFACTS_ONLY_ENV_VAR

        run = functools.partial(view, *args, **kwargs)
        if os.environ.get(ARTIFACTS_ONLY_ENV_VAR):
            return run()  # it says that there is no registry
        try:
            return _carried_out(run, message, act)
        except HandlerError as error:
            raise error.__cause__ or error from None
        except RegistryRefusal as refusal:
            return refusal.response
        except GovernanceError as error:
            logger.warning("a request to the model registry was refused: %s", error.message)
            return _refused(mlflow_error(error))
        except MlflowException as error:
            return _refused(error)
        except Exception:
            logger.exception("a request to the model registry could not be judged")
            return _refused(_unjudged())

    return answer


def _carried_out(run: View, message: Any, act: Act) -> Any:
    from mlflow.server import handlers

    assembly = assembly_for()
    asked = Asked(
        message=handlers._get_request_message(message()),  # noqa: SLF001 - the reader that the handler itself uses
        registry=handlers._get_model_registry_store(),  # noqa: SLF001 - MLflow has no public name for its stores
        tracking=handlers._get_tracking_store,  # noqa: SLF001 - the same
        table=assembly.settings.promotion_table,
    )
    plan = act(asked)  # 1
    done: list[Any] = []

    def carry_out(promoted: Promoted) -> None:
        response = _run(run)  # 3
        done.append(response)
        correlation = promoted.correlation or new_id(assembly.now())
        for step in plan.steps(response.get_json(silent=True)):
            _record(assembly, step, promoted, correlation)  # 4

    try:
        if plan.promotion is None:
            carry_out(Promoted())
        else:
            promote(assembly, plan.promotion, carry_out)  # 2
    except (HandlerError, RegistryRefusal, VerificationError):
        raise
    except Exception as error:
        if not done:
            raise
        logger.exception("what was done to the model registry is not on record")
        raise _unrecorded(error) from error
    return done[0]


def _run(run: View) -> Any:
    from flask import make_response

    try:
        response = make_response(run())
    except Exception as error:
        raise HandlerError from error
    if not 200 <= response.status_code < 300:
        raise RegistryRefusal(response)
    return response


def _record(assembly: Assembly, step: Step, promoted: Promoted, correlation: str) -> None:
    """One entry for each whole that the version's files belong to, and one where nothing is known of them."""
    number = step.version.number if step.version is not None else None
    words = step.words()
    if step.event == "renamed":
        words["before"] = in_workspace(str(words["before"]))
    name = in_workspace(step.name)
    plain = RegistryEvent(event=step.event, name=name, version=number, actor=caller(), more=words)
    rows = [_judged(plain, permit) for permit in promoted.of(step.judged)]
    if not rows and step.version is not None:
        found = artifacts_on_record(step.version, assembly, ask=step.event == "created")
        rows = [replace(plain, artifact=artifact) for artifact in found]
    for row in rows or [plain]:
        record_registration(assembly.log, row, correlation=correlation)


def _judged(event: RegistryEvent, permit: Permit) -> RegistryEvent:
    request = permit.request
    more = {**event.more, "decision": permit.decision.id}
    return replace(
        event, artifact=request.artifact, version=event.version or request.mlflow.model_version, more=more
    )


def _refused(error: MlflowException) -> Any:
    from flask import Response

    document = error.serialize_as_json()
    return Response(document, status=error.get_http_status_code(), mimetype="application/json")


def _unjudged() -> GovernanceUnavailableError:
    hint = "Try again, and look into the server's log."
    return GovernanceUnavailableError(
        f"the request could not be judged, and was not carried out; the server's log says why\n  what to do: {hint}",
        code="ABORTED",
        hint=hint,
    )


def _unrecorded(error: Exception) -> GovernanceUnavailableError:
    """Not a status that MLflow's client repeats: to register once more would make another version."""
    why = (
        error.message
        if isinstance(error, GovernanceError)
        else f"{type(error).__name__}, see the server's log"
    )
    hint = "Fix the audit log, then look at the registry before you try again: it was changed."
    return GovernanceUnavailableError(
        f"the model registry did what was asked, and that could not be put on record: {why}\n  what to do: {hint}",
        code="ABORTED",
        hint=hint,
    )
