"""What users catch, and that nothing of it is lost between processes."""

from __future__ import annotations

import json
import pickle
import traceback

import pytest
from mlflow.exceptions import MlflowException

from governance import errors
from governance.model.problem import problem_of, refusal_of
from governance.model.verdict import Effect, Evidence, Finding, Refusal, Severity
from plugin.context import DESTINATION_VARIABLE
from plugin.errors import (
    BlockedModelError,
    BlockedPackageError,
    GovernanceUnavailableError,
    GovernedError,
    GovernedStorageError,
    ModelVerificationError,
    QuarantinedModelError,
    RefusalError,
    as_mlflow,
    from_json,
    mlflow_error,
)


def refusal(decision: Effect = Effect.BLOCK, kind: str = "model", retry_after: int | None = None) -> Refusal:
    return Refusal(
        decision_id="01890000-0000-7000-8000-000000000000",
        decision=decision,
        action="load",
        artifact_kind=kind,
        artifact_ref="models-local/1/models/m-1/artifacts",
        artifact_digest="dirhash1:" + "a" * 64,
        environment="production",
        policies=("baseline",),
        policy_digest="b" * 64,
        policy_revision=3,
        findings=(
            Finding(
                rule="baseline/no-malware",
                effect=decision,
                severity=Severity.CRITICAL,
                message="`model.pkl` runs `os.system` when loaded",
                remediation="train it again from trusted code",
                waivable=False,
                evidence=(Evidence(fact="content.unsafe_imports", value="os.system", source="contents"),),
            ),
        ),
        retry_after=retry_after,
    )


def remote(kind: type[errors.RemoteError]) -> errors.RemoteError:
    return kind("it failed", service="Artifactory", method="GET", path="x", status=500, hint="look at it")


@pytest.mark.parametrize(
    ("ours", "kind", "status"),
    [
        (errors.BlockedError(refusal()), BlockedModelError, 403),
        (errors.BlockedError(refusal(kind="package")), BlockedPackageError, 403),
        (errors.QuarantinedError(refusal(Effect.QUARANTINE, retry_after=30)), QuarantinedModelError, 403),
        (errors.DigestMismatchError("a", expected="x", actual="y"), ModelVerificationError, 403),
        (errors.SignatureError("no", reason="bad-signature"), ModelVerificationError, 403),
        (remote(errors.NotFoundError), GovernedStorageError, 404),
        (remote(errors.UnauthenticatedError), GovernedStorageError, 401),
        (remote(errors.ForbiddenError), GovernedStorageError, 403),
        (remote(errors.ConflictError), GovernedStorageError, 409),
        (remote(errors.RateLimitedError), GovernedStorageError, 429),
        (remote(errors.UnavailableError), GovernedStorageError, 503),
        (
            errors.UnavailableError("full", service="Artifactory", method="PUT", path="x", status=507),
            GovernedStorageError,
            409,
        ),
        (remote(errors.UnreachableError), GovernedStorageError, 503),
        (remote(errors.TlsError), GovernedStorageError, 409),
        (remote(errors.ProtocolError), GovernedStorageError, 409),
        (errors.UnsafePathError("x"), GovernedStorageError, 400),
        (errors.StorageFullError("x"), GovernedStorageError, 429),
        (errors.TransferError("x"), GovernedStorageError, 409),
        (errors.AuditUnavailableError("x"), GovernanceUnavailableError, 503),
        (errors.AuditBrokenError("x"), GovernanceUnavailableError, 409),
        (errors.SettingsError("x"), GovernanceUnavailableError, 409),
        (errors.PolicyInvalidError(["p.yaml:1:1 x"]), GovernanceUnavailableError, 409),
    ],
)
def test_each_of_our_errors_becomes_one_of_mlflows(
    ours: errors.GovernanceError, kind: type[GovernedError], status: int
) -> None:
    raised = mlflow_error(ours)
    assert type(raised) is kind
    assert raised.get_http_status_code() == status
    assert ours.message in raised.message
    for copy in (pickle.loads(pickle.dumps(raised)), from_json(json.loads(raised.serialize_as_json()))):
        assert type(copy) is kind
        assert (copy.to_json(), copy.message, copy.hint) == (raised.to_json(), raised.message, raised.hint)


def test_every_error_class_is_mapped() -> None:
    def below(kind: type[errors.GovernanceError]) -> set[type[errors.GovernanceError]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    for kind in below(errors.GovernanceError):
        blank = kind.__new__(kind)
        blank.__dict__.update({"message": "m", "hint": None, "status": 500, "refusal": refusal()})
        assert mlflow_error(blank).error_class.startswith("GOVERNANCE_")


def test_a_refusal_carries_everything() -> None:
    error = mlflow_error(errors.BlockedError(refusal()))
    assert isinstance(error, BlockedModelError)
    assert isinstance(error, MlflowException)
    assert error.error_class == "GOVERNANCE_BLOCKED"
    assert error.error_code == "PERMISSION_DENIED"
    assert error.decision_id == refusal().decision_id
    assert error.findings[0].evidence[0].value == "os.system"
    assert error.waiver_command is None
    assert error.retry_after is None
    assert error.problem()["status"] == 403
    assert pickle.loads(pickle.dumps(error)).refusal == refusal()


def test_a_quarantine_says_when_to_come_back() -> None:
    error = mlflow_error(errors.QuarantinedError(refusal(Effect.QUARANTINE, retry_after=30)))
    assert isinstance(error, QuarantinedModelError)
    assert (error.retry_after, error.problem()["retryable"]) == (30, True)


@pytest.mark.parametrize(
    "document", [None, [], {}, {"error_class": "SOMETHING"}, {"error_class": "GOVERNANCE_BLOCKED"}]
)
def test_a_foreign_document_is_not_taken_for_ours(document: object) -> None:
    with pytest.raises(ValueError):
        from_json(document)


def test_a_problem_reads_back_to_the_same_refusal() -> None:
    problem = problem_of(refusal(Effect.QUARANTINE, retry_after=5))
    assert refusal_of(json.loads(json.dumps(problem))) == refusal(Effect.QUARANTINE, retry_after=5)


@pytest.mark.parametrize(
    "change",
    [
        {"artifact": "x"}, {"findings": 3}, {"findings": ["x"]}, {"decision": "perhaps"}, {"policy_revision": "3"},
        {"policies": "baseline"}, {"findings": [{"rule": "r"}]},
    ],
)  # fmt: skip
def test_a_malformed_problem_is_refused(change: dict[str, object]) -> None:
    document = json.loads(json.dumps(problem_of(refusal()))) | change
    with pytest.raises(ValueError):
        refusal_of(document)


def test_the_cause_stays_attached() -> None:
    cause = errors.SettingsError("wrong")
    with pytest.raises(GovernanceUnavailableError) as caught, as_mlflow():
        raise cause
    assert caught.value.__cause__ is cause


def test_a_refusal_is_told_once() -> None:
    with pytest.raises(RefusalError) as caught, as_mlflow():
        raise errors.BlockedError(refusal())
    told = "".join(traceback.format_exception(caught.value))
    assert told.count(caught.value.findings[0].message) == 1


def test_what_a_remote_service_says_is_told_once() -> None:
    with pytest.raises(GovernedStorageError) as caught, as_mlflow():
        raise remote(errors.UnauthenticatedError)
    told = "".join(traceback.format_exception(caught.value))
    assert told.count(remote(errors.UnauthenticatedError).message) == 1


@pytest.mark.parametrize(
    ("error", "is_theirs"),
    [
        (remote(errors.UnauthenticatedError), True),
        (errors.SettingsError("x", hint="Set it."), True),
        (errors.StorageFullError("x"), True),
        (remote(errors.NotFoundError), False),
        (errors.UnsafePathError("x"), False),
        (errors.DigestMismatchError("a", expected="x", actual="y"), False),
    ],
)
def test_what_the_operator_of_a_tracking_server_has_to_do_is_not_asked_of_its_users(
    monkeypatch: pytest.MonkeyPatch, error: errors.GovernanceError, is_theirs: bool
) -> None:
    told = "This is for whoever runs the tracking server"
    assert told not in mlflow_error(error).message
    monkeypatch.setenv(DESTINATION_VARIABLE, "artifactory://a.example/artifactory/r")
    here = mlflow_error(error)
    assert (told in here.message, told in (here.hint or "")) == (is_theirs, is_theirs)
