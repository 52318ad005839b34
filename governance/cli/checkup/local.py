"""The files of this machine: settings, policy, key, trust file, audit log, and who may read and write them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from governance.cli.audit import unplaced
from governance.cli.checkup.check import Check, fail, ok, skip, warn
from governance.cli.output import Line
from governance.model.request import Action
from governance.model.verdict import Mode
from governance.places import is_readable_by_others, is_writable_by_others
from governance.policy.compile import CompiledPolicy
from governance.policy.environments import meant_environment
from governance.policy_wiring import policy_bundle, policy_files
from governance.settings import Settings, states_secret, strange_variables
from governance.settings_file import settings_file
from governance.wiring import Assembly

_LONG_LOG = 200_000
"""Entries above which a whole walk takes too long for a quick look."""


def local_checks(assembly: Assembly) -> tuple[Check, ...]:
    """All checks of this module."""
    settings = assembly.settings
    return (
        Check(subject="settings", look=lambda: _settings(settings)),
        Check(subject="policy", look=lambda: _policy(assembly)),
        Check(subject="signing key", look=lambda: _key(assembly)),
        Check(subject="trust file", look=lambda: _trust(assembly)),
        Check(subject="audit log", look=lambda: _audit(assembly), code=4),
        Check(subject="file rights", look=lambda: _rights(settings)),
    )


def _settings(settings: Settings) -> Iterator[Line]:
    file = settings_file()
    source = f"`{file}` and the environment" if file.is_file() else "the environment"
    yield ok("settings", f"environment `{settings.environment}`, read from {source}")
    for name, meant in strange_variables(os.environ).items():
        yield warn(
            "settings",
            f"`{name}` is set, and there is no such setting"
            + (f"; did you mean `{meant}`?" if meant else ""),
            "Correct its name, or unset it; `docs/settings.md` lists all variables.",
        )
    for name, environment in (("environment", settings.environment), *settings.promotions):
        meant = meant_environment(environment)
        if meant is not None:
            yield warn(
                "settings",
                f"the environment `{environment}` (of `{name}`) is none of the usual ones; did you mean `{meant}`?",
                f"What is required in `{meant}` is not required there. Correct the spelling, unless it is meant.",
            )
    if settings.token is None:
        yield warn(
            "settings",
            "no token",
            "Set `ARTIFACTORY_AUTH_TOKEN` to an access token with read, annotate and deploy.",
        )
    if not settings.allowed_hosts:
        yield warn(
            "settings",
            "no Artifactory is named, so none gets the token",
            "Set `MLGOV_ARTIFACTORY_URL=https://HOST`.",
        )
    if settings.no_ssl:
        yield warn(
            "settings",
            "TLS is off for every host",
            "Unset `ARTIFACTORY_NO_SSL`, but for servers on loopback.",
        )
    if settings.break_glass is not None:
        yield warn(
            "break-glass",
            "refusals are overridden where the policy set allows it, and every decision waits for a review",
            "Unset `MLGOV_BREAK_GLASS` once the emergency is over.",
        )


def _policy(assembly: Assembly) -> Iterator[Line]:
    policy, settings = assembly.policies.current(), assembly.settings
    yield _in_force(policy, settings)
    yield from _outage(policy, settings)
    yield from _waivers(policy, assembly.now())
    yield from _found_upwards(settings)


def _in_force(policy: CompiledPolicy, settings: Settings) -> Line:
    """Which policy it is, and whether it is enforced where it should be."""
    from governance.cli.checkup.probe import strictest_mode

    bundle = policy_bundle(settings)
    places = policy_files(settings) if bundle is None else (bundle,)
    files = ("" if bundle is None else "signed bundle ") + ", ".join(f"`{path}`" for path in places)
    modes = {
        action: strictest_mode(policy, action, settings.environment)
        for action in (Action.LOAD, Action.UPLOAD, Action.DELETE)
    }
    shown = ", ".join(f"{action.value} {mode.value if mode else 'unbound'}" for action, mode in modes.items())
    seen = f"{policy.digest[:12]} from {files}; {shown}"
    is_production = settings.environment == "production"
    if is_production and None in modes.values():
        return warn(
            "policy",
            f"{seen}: production refuses what no policy is bound to",
            "Bind a policy to such requests, one that allows by default if need be.",
        )
    if is_production and any(mode is not Mode.ENFORCE for mode in modes.values()):
        return warn(
            "policy",
            f"{seen}: in production and not enforced",
            "Bind the policies to `production` with `mode: enforce` once the reports of observe mode are clean.",
        )
    return ok("policy", seen)


def _outage(policy: CompiledPolicy, settings: Settings) -> Iterator[Line]:
    fallback = policy.outage_rule(settings.environment).max_age
    if fallback is not None and settings.audit_url is not None:
        yield warn(
            "outage",
            f"in an outage the policy lets the last verdict of {fallback} s stand, and none ever will: the server that keeps the log "
            "hands out no facts",
            "Have each client keep a log of its own (`audit_path`), or expect refusals: `outage: {... action: block}` says so.",
        )


def _waivers(policy: CompiledPolicy, at: datetime) -> Iterator[Line]:
    waivers = policy.bundle.waivers
    void = [each for each in waivers if each.void is not None and each.expires > at]
    if void:
        seen = f"{len(void)} of {len(waivers)} do not count, the first is {void[0].name}: {void[0].void}"
        yield warn("waivers", seen, "`mlgov waiver list` shows what each of them lacks.")


def _found_upwards(settings: Settings) -> Iterator[Line]:
    if (
        policy_bundle(settings) is None
        and settings.policy_path is None
        and Path.cwd() not in (path.parent for path in policy_files(settings))
    ):
        yield skip(
            "policy",
            "`MLGOV_POLICY_PATH` is not set; files found upwards from here, else the shipped ones, count",
        )


def _key(assembly: Assembly) -> Iterator[Line]:
    settings = assembly.settings
    signer = assembly.signer
    if signer is None:
        remedy = "`mlgov keys init` makes one."
        if settings.is_signing_required:
            yield fail("signing key", "there is none, and uploads must be signed", remedy)
        else:
            yield warn("signing key", "there is none: uploads are not signed", remedy)
        return
    trusted = assembly.trust.find(signer.key_id)
    seen = f"{signer.key_id[:16]} ({signer.algorithm.value})"
    if trusted is None:
        yield fail(
            "signing key",
            f"{seen} is not in the trust file, so what it signs is refused",
            "`mlgov keys list` shows whom it names; add this key where the trust file is kept.",
        )
        return
    place = trusted.grant.repositories[0]  # some place will do: a key for some repositories is in order
    futile = assembly.futility(repository=place)
    if futile is not None and futile.is_final:
        yield fail("signing key", f"{futile.why}, so what it signs is refused", futile.remedy)
    elif futile is not None:
        yield warn("signing key", f"{seen}: {futile.why}", futile.remedy)
    else:
        yield ok("signing key", f"{seen}, trusted as `{trusted.name}`")


def _trust(assembly: Assembly) -> Iterator[Line]:
    path, store = assembly.settings.trust_file, assembly.trust
    if not path.exists():
        yield warn(
            "trust file", f"there is no `{path}`: no signature is trusted", "`mlgov keys init` makes one."
        )
        return
    if store.is_expired(assembly.now()):
        yield fail(
            "trust file", f"`{path}` has expired", "Ask whoever holds the root keys for its successor."
        )
        return
    count = len(store.keys) + len(store.authorities) + len(store.identities)
    signed = "signed" if store.is_signed else "not signed: as good as the disk it lies on"
    yield ok("trust file", f"`{path}`, version {store.version}, {count} signer(s), {signed}")


def _audit(assembly: Assembly) -> Iterator[Line]:
    path = assembly.settings.audit_file
    if assembly.settings.audit_url is not None:
        yield skip("audit log", f"kept by the server at `{assembly.settings.audit_url}`")
        return
    if assembly.settings.has_log_file and not path.exists():
        yield _unmade(path)
        return
    if (error := unplaced(assembly)) is not None:
        yield warn("audit log", error.message, error.hint or "")
    size = assembly.log.store.frontier().size
    name = (
        f"`{path}`"
        if assembly.settings.has_log_file
        else f"`{assembly.settings.audit_origin}`, in PostgreSQL,"
    )
    if size > _LONG_LOG:
        yield skip("audit log", f"{size} entries, too many for a quick look: `mlgov audit verify`")
    else:
        result = assembly.log.verify()
        result.require_good()
        yield ok("audit log", f"{name} proves itself: {result.size} entries")
    assembly.recall_head()
    if assembly.settings.has_log_file and not os.access(path, os.W_OK):
        yield fail(
            "audit log", f"`{path}` cannot be written, so nothing would be let through", "Fix its rights."
        )
    yield from _heads(assembly)


def _unmade(path: Path) -> Line:
    """Whether a log could be made there. Tried, since rights alone do not say: a disk may be read-only, or no disk at all."""
    place = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with TemporaryDirectory(prefix=".mlgov-doctor-", dir=place):
            pass
    except OSError as error:
        why = "a file stands in the way" if not place.is_dir() else error.strerror or type(error).__name__
        remedy = f"Give this user the right to write in `{place}`, or name another place with `audit_path` in the settings file."
        if not place.is_dir():
            remedy = (
                f"Name a place below a folder with `audit_path` in the settings file; `{place}` is a file."
            )
        return fail("audit log", f"`{path}` does not exist and cannot be made: {why}", remedy)
    return ok("audit log", f"none yet; the first decision makes `{path}`")


def _heads(assembly: Assembly) -> Iterator[Line]:
    """A head that did not come is a finding, and so is one that too few places kept."""
    anchors, settings = assembly.anchors, assembly.settings
    if not anchors:
        return
    objection = None
    if settings.audit_quorum_unmet == "refuse":
        objection = assembly.quorum.objection()
    if objection is not None:
        yield fail("audit heads", objection.message, objection.hint or "")
        return
    standing = assembly.quorum.standing()
    if standing.sent_at is None or standing.sent_at < assembly.now() - 2 * timedelta(
        seconds=settings.audit_heartbeat
    ):
        yield warn(
            "audit heads",
            f"none was sent out for more than {2 * settings.audit_heartbeat / 3600:g} h",
            "`mlgov audit checkpoint` sends one; the governance app of a tracking server does so by itself, and its log "
            "says why not.",
        )
    elif standing.lacks:
        yield warn(
            "audit heads",
            "the last was not kept by all places:\n" + "\n".join(f"  {lack}" for lack in standing.lacks),
            "Fix these places; `mlgov audit checkpoint` tries them again, and says what they answer.",
        )
    else:
        yield ok("audit heads", f"kept by {', '.join(anchor.name for anchor in anchors)}")


def _rights(settings: Settings) -> Iterator[Line]:
    """Files that others may change decide for them; a secret that others may read is not one's own."""
    found = False
    file = settings_file()
    for path, is_secret in (
        (settings.home, False),
        (file, False),
        (file if file.exists() and states_secret(file) else None, True),
        (settings.trust_file, False),
        (settings.policy_path, False),
        (settings.audit_file, False),
        (settings.key_passphrase_file, True),
        (settings.checkpoint_key, True),
        (settings.audit_key_passphrase_file, True),
        (settings.audit_pseudonym_key, True),
        (settings.artifactory_certificate_key, True),
    ):
        if path is None or not path.exists():
            continue
        found = True
        state = path.stat()
        if is_readable_by_others(state) if is_secret else is_writable_by_others(path):
            word, change = ("read", "go-rwx") if is_secret else ("written", "go-w")
            seen = f"`{path}` may be {word} by others (mode {stat.S_IMODE(state.st_mode):04o})"
            remedy = f"`chmod {change} {path}`"
            if os.geteuid() not in {0, state.st_uid}:
                remedy += " by its owner, or name a place of this user's own"
            yield fail("file rights", seen, remedy)
            return
    if found:
        yield ok("file rights", "no other user may change the settings, policy, trust file or audit log")
