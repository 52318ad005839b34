"""The policy in force in a running process: re-read when its files change, whole or not at all.

Promises: a caller always gets a policy that loaded and compiled as a whole; a broken new version leaves the old one in
force and is said loudly, once per version; so does one that cannot be taken up for another reason, such as an audit log that
does not say what it knows of waivers, which is tried again at each look; a policy that was deleted leaves the old one in force too,
since an empty folder must not open a door; and what is still being written is waited for, since the first half of a policy may be one, with
fewer rules. The first decision after a change waits for
that short while, so that it is not made by what was replaced long ago. Does not: watch remote places; see `bundle`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from governance.errors import GovernanceError, PolicyInvalidError
from governance.forking import ForkLock
from governance.model.facts import CATALOGUE, FactSpec
from governance.policy.compile import CompiledPolicy, compile_bundle
from governance.policy.documents import PolicyBundle
from governance.policy.load import load_policies, policy_paths, step_paths

logger = logging.getLogger(__name__)

_Signature: TypeAlias = "tuple[tuple[str, int, int, int, int], ...]"


class PolicySource:
    """Keeps one compiled policy and renews it. Safe to use from many threads at once."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        catalogue: Mapping[str, FactSpec] = CATALOGUE,
        load: Callable[[], PolicyBundle] | None = None,
        every: float = 1.0,
        settle: float = 0.0,
        also: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`paths` are looked at for changes at most `every` seconds, and taken up once they stayed for `settle` as they are.
        `load` replaces the reading of them, for files that must be verified first; `also` are files that it rests on besides.
        """
        self._paths = tuple(paths)
        self._also = tuple(also)
        self._sleep = sleep
        self._load = load or (lambda: load_policies(self._paths, catalogue=catalogue))
        self._every = every
        self._settle = settle
        self._pending: tuple[_Signature, float] | None = None
        self._clock = clock
        self._lock = ForkLock()
        self._policy: CompiledPolicy | None = None
        self._signature: _Signature | None = None
        self._looked = self._checked = float("-inf")
        self._problem: PolicyInvalidError | None = None
        self._obstacle: GovernanceError | None = None

    @property
    def problem(self) -> GovernanceError | None:
        """What is wrong with the newest version, or keeps it from being taken up, while an older one is in force."""
        return self._obstacle or self._problem

    def current(self) -> CompiledPolicy:
        """The policy in force. Raises `PolicyInvalidError` while there never was a good one, or what kept the first from being
        taken up."""
        policy = self._policy
        if policy is not None and self._clock() - self._checked < self._every:
            return policy
        with self._lock:
            if self._policy is None or self._clock() - self._checked >= self._every:
                self._renew()
            if self._policy is None:
                raise self.problem or PolicyInvalidError(["(nothing):1:1: expected a policy"])
            return self._policy

    def _renew(self) -> None:
        """Look for changes, and take them up. `_looked` is when that was, and `_checked` what others go by: where nobody looked for
        long, they wait until this is done, since MLflow fetches the files of a model all at once, and the policy that one of them
        finds replaced is not to judge the others.
        """
        self._looked = self._clock()
        if self._looked - self._checked < 2 * self._every:
            self._checked = self._looked
        try:
            self._take_up()
        except Exception as error:  # noqa: BLE001 - whatever it is, the policy in force does not end with it
            self._put_off(error)
        finally:
            self._checked = self._looked

    def _take_up(self) -> None:
        before = self._signed()
        if before == self._signature:
            self._pending = self._obstacle = None
            return
        if self._policy is not None:
            lately = self._pending is not None and self._looked - self._pending[1] <= self._every
            if not self._has_settled(before) and not lately:
                # Nobody looked since the change, which may be hours old: who asks now is not judged by what was replaced.
                self._sleep(self._settle)
                self._looked, before = self._clock(), self._signed()
            if not self._has_settled(before):
                return
        try:
            policy = compile_bundle(self._load())
        except PolicyInvalidError as error:
            self._refuse(error, before)
            return
        if self._signed() != before:
            # Files changed while they were read: what was read may be half of each version. The next look decides,
            # unless there is nothing to fall back on.
            self._looked = float("-inf")
            if self._policy is not None:
                return
        self._accept(policy, before)

    def _signed(self) -> _Signature:
        return _signature(self._paths, self._also)

    def _has_settled(self, signature: _Signature) -> bool:
        """Whether the files are as they were `settle` seconds ago; else they are looked at again then."""
        if self._settle <= 0:
            return True
        if self._pending is None or self._pending[0] != signature:
            self._pending = signature, self._looked
        left = self._pending[1] + self._settle - self._looked
        if left > 0:
            self._looked += min(left - self._every, 0.0)
        return left <= 0

    def _refuse(self, error: PolicyInvalidError, signature: _Signature) -> None:
        self._signature, self._problem, self._pending, self._obstacle = signature, error, None, None
        if self._policy is not None:
            logger.error(
                "THE NEW POLICY IS BROKEN and was not taken; policy %s stays in force. %s",
                self._policy.digest[:12],
                error,
            )

    def _put_off(self, error: Exception) -> None:
        """Not by what the files say, as far as is known: the next look tries again. Of an error that is none of ours only the type is
        said, since its text may hold anything."""
        before = self._obstacle
        if isinstance(error, GovernanceError):
            self._obstacle = error
        else:
            self._obstacle = PolicyInvalidError(
                [f"(policy):1:1: expected a policy that can be taken up, got a {type(error).__name__}"]
            )
        if self._policy is not None and str(before) != str(self._obstacle):
            logger.error(
                "THE NEW POLICY COULD NOT BE TAKEN UP; policy %s stays in force. %s",
                self._policy.digest[:12],
                self._obstacle,
            )

    def _accept(self, policy: CompiledPolicy, signature: _Signature) -> None:
        if self._policy is not None and self._policy.digest != policy.digest:
            logger.warning("policy %s replaces %s", policy.digest[:12], self._policy.digest[:12])
        self._signature, self._problem, self._policy = signature, None, policy
        self._pending = self._obstacle = None


def _signature(paths: Sequence[Path], also: Sequence[Path]) -> _Signature:
    """What changes when a file does: times, size and inode, since times alone may stand still between two writes."""
    rows = []
    for path in (*policy_paths(paths), *step_paths(paths), *also):
        try:
            found = path.stat()
        except OSError:
            continue
        rows.append((str(path), found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino))
    return tuple(rows)
