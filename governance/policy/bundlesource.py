"""The policy in force where it comes as a signed bundle, refreshed with a bounded age.

Promises: a bundle that cannot be fetched, fails verification, rolls back or does not compile leaves the last good one
in force until that is older than `max_age`; then there is no policy, which is an error and refuses. Does not: know
where bundles come from; `fetch` is an argument (a file, an `artifactory://` location, the server app).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from governance.errors import GovernanceError, PolicyInvalidError
from governance.forking import ForkLock
from governance.model.facts import CATALOGUE, FactSpec
from governance.policy.bundle import BundleError, open_bundle
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_files
from governance.policy.revisions import RevisionMemory

logger = logging.getLogger(__name__)


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is the set that must be in the bundle. It is fetched anew every `refresh` seconds, and stands for at
        most `max_age` seconds without. `load` replaces the reading of its files, where waivers must be verified.
        """
        self._fetch = fetch
        self._verify = verify
        self._memory = memory
        self._name = name
        self._load = load or (lambda files: load_files(files, catalogue=catalogue))
        self._refresh = refresh
        self._max_age = max_age
        self._clock = clock
        self._lock = ForkLock()
        self._policy: CompiledPolicy | None = None
        self._good = float("-inf")
        self._tried = float("-inf")
        self._problem: GovernanceError | None = None

    @property
    def problem(self) -> GovernanceError | None:
        """Why the newest bundle was not taken, while an older one is in force."""
        return self._problem

    def current(self) -> CompiledPolicy:
        """The policy in force. Raises `PolicyInvalidError` where there is none that is young enough."""
        with self._lock:
            now = self._clock()
            if now - self._tried >= self._refresh:
                self._tried = now
                self._renew(now)
            if self._policy is not None and now - self._good <= self._max_age:
                return self._policy
        reason = self._problem.message if self._problem else "none was fetched"
        raise PolicyInvalidError(
            [f"(bundle):1:1: expected a policy bundle no older than {self._max_age:g} s: {reason}"]
        )

    def _renew(self, now: float) -> None:
        try:
            archive = open_bundle(
                self._fetch(), verify=self._verify, name=self._name, highest=self._memory.highest(self._name)
            )
            policy = compile_bundle(self._load(archive.files))
            if policy.revision is not None and policy.revision != archive.revision:
                raise BundleError(f"the set of revision {archive.revision}, got {policy.revision}")
            self._memory.saw(archive.name, archive.revision)
        except GovernanceError as error:
            self._problem = error
            logger.error("THE POLICY BUNDLE WAS NOT TAKEN; the last good one stays in force. %s", error)  # noqa: TRY400 - expected, and said in full
            return
        self._policy, self._good, self._problem = policy, now, None
