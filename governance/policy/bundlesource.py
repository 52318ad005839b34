"""The policy in force where it comes as a signed bundle, refreshed with a bounded age.

Promises: a bundle that cannot be fetched, fails verification, rolls back or does not compile leaves the last good one
in force until that is older than `max_age`; then there is no policy, which is an error and refuses. While one is in force, a
place that is slow to hand out the next holds nobody up for longer than `patience`. Does not: know
where bundles come from; `fetch` is an argument (a file, an `artifactory://` location, the server app).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from governance import __version__
from governance.errors import GovernanceError, PolicyInvalidError
from governance.forking import ForkLock
from governance.model.facts import CATALOGUE, FactSpec
from governance.policy.bundle import BundleError, PolicyArchive, open_bundle
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files
from governance.policy.revisions import RevisionMemory

logger = logging.getLogger(__name__)

_UNREADABLE = (
    f"The signature is good, and mlgov {__version__} cannot read what was signed: where it is for a later version, upgrade; "
    "else have its owner mend it (`mlgov policy check`) and publish it with a higher revision."
)

_Instant: TypeAlias = "tuple[float, float]"
"""Seconds by the clock that nobody sets, and by that of the wall. The one stands still while a machine sleeps, the other can be set
back: what is too old by either is too old."""

_NEVER: Final[_Instant] = (float("-inf"), float("-inf"))


class BundleSource:
    """Keeps one compiled policy and renews it from bundles. Safe to use from many threads at once."""

    def __init__(
        self,
        fetch: Callable[[], bytes],
        *,
        verify: Callable[[bytes], bytes],
        memory: RevisionMemory,
        name: str,
        catalogue: Mapping[str, FactSpec] = CATALOGUE,
        load: Callable[[Mapping[str, bytes]], PolicyBundle] | None = None,
        refresh: float = 60.0,
        max_age: float = 86_400.0,
        patience: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`name` is the set that must be in the bundle. It is fetched anew every `refresh` seconds, and stands for at
        most `max_age` seconds without. While it stands, a renewal is waited for `patience` seconds, and then taken up when
        it is done. `load` replaces the reading of its files, where waivers must be verified.
        """
        self._fetch = fetch
        self._verify = verify
        self._memory = memory
        self._name = name
        self._load = load or (lambda files: load_files(files, catalogue=catalogue))
        self._refresh = refresh
        self._max_age = max_age
        self._patience = patience
        self._clock = clock
        self._wall = wall
        self._lock = ForkLock()
        self._policy: CompiledPolicy | None = None
        self._good = self._tried = _NEVER
        self._began = float("-inf")
        self._renewal: threading.Thread | None = None
        self._problem: GovernanceError | None = None

    @property
    def problem(self) -> GovernanceError | None:
        """Why the newest bundle was not taken, while an older one is in force."""
        return self._problem

    def current(self) -> CompiledPolicy:
        """The policy in force. Raises `PolicyInvalidError` where there is none that is young enough."""
        with self._lock:
            standing = self._standing()
            running = self._running()
            if running is None and self._age(self._tried) >= self._refresh:
                running = self._start(may_wait=standing is None)
        if running is not None:
            left = self._began + self._patience - self._clock()
            running.join(None if standing is None else max(0.0, left))
        policy = self._standing()
        if policy is None:
            raise self._without()
        return policy

    def _standing(self) -> CompiledPolicy | None:
        return self._policy if self._age(self._good) <= self._max_age else None

    def _now(self) -> _Instant:
        return self._clock(), self._wall()

    def _age(self, then: _Instant) -> float:
        """Seconds since then, by the clock that counts more."""
        return max(now - before for now, before in zip(self._now(), then, strict=True))

    def _running(self) -> threading.Thread | None:
        """The renewal on its way. In a forked child, that of its parent is none."""
        return self._renewal if self._renewal is not None and self._renewal.is_alive() else None

    def _start(self, *, may_wait: bool) -> threading.Thread | None:
        """Begin a renewal. Where nobody can act before its end, it is done here and now."""
        self._began = self._clock()
        if not may_wait:
            self._renewal = threading.Thread(target=self._renew, name="policy-bundle", daemon=True)
            try:
                self._renewal.start()
            except RuntimeError:  # no more threads, or the interpreter ends
                self._renewal = None
            else:
                return self._renewal
        self._renew()
        return None

    def _renew(self) -> None:
        began = self._now()
        try:
            archive = open_bundle(
                self._fetch(), verify=self._verify, name=self._name, highest=self._memory.highest(self._name)
            )
            policy = self._read(archive)
            self._memory.saw(archive.name, archive.seen)
        except GovernanceError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - a mistake of ours, of which nobody would learn in a thread of its own
            self._refuse(BundleError(f"a bundle that can be taken up, got a {type(error).__name__}"))
        else:
            self._policy, self._good, self._problem = policy, began, None
        finally:
            self._tried = self._now()

    def _refuse(self, error: GovernanceError) -> None:
        self._problem = error
        if self._standing() is not None:  # else whoever asks is told, and nothing is in force
            logger.error("THE POLICY BUNDLE WAS NOT TAKEN; the last good one stays in force. %s", error)

    def _read(self, archive: PolicyArchive) -> CompiledPolicy:
        try:
            policy = compile_bundle(self._load(archive.files))
        except PolicyInvalidError as error:
            raise BundleError("policies that load", among=error.problems, hint=_UNREADABLE) from error
        if policy.revision is not None and policy.revision != archive.seen.revision:
            raise BundleError(f"the set of revision {archive.seen.revision}, got {policy.revision}")
        return policy

    def _without(self) -> BundleError:
        wanted, problem = f"a policy bundle no older than {self._max_age:g} s", self._problem
        if isinstance(problem, BundleError):
            return BundleError(wanted, among=problem.problems, hint=problem.hint)
        if problem is None:
            return BundleError(f"{wanted}: none was fetched")
        return BundleError(f"{wanted}: {problem.message}", hint=problem.hint)
