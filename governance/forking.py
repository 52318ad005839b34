"""What must not be carried into a forked child: locks, threads, connections, what is on its way, and the number of a writer's boot.

Data loaders and workers fork a process that has loaded a model already. Over a connection that parent and child share, each gets the
other's answers; a lock that another thread held stays locked in the child, which does not have that thread; and one on a file is
shared, so that it is not free before both have closed the file.

Promises: what was handed to `call_after_fork` is called in each child before anything else runs there, and is forgotten with its
object. Does not: keep what a thread was changing at that moment from being half changed.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar, overload

from governance.places import open_made

Made = TypeVar("Made")

_METHODS: Final[dict[int, weakref.WeakMethod[Callable[[], None]]]] = {}
_NUMBERS: Final = count()
_LOCKED: Final[set[int]] = set()
_PATIENCE: Final = 10.0
_LOOK_SECONDS: Final = 0.0005


def call_after_fork(method: Callable[[], None]) -> None:
    """Call a bound method in every child forked from now on, for as long as its object lives."""
    number = next(_NUMBERS)
    _METHODS[number] = weakref.WeakMethod(method, lambda _: _METHODS.pop(number, None))


class ForkLock:
    """A lock that no forked child finds held by a thread of its parent's.

    A `with` statement is handed the two methods of the lock itself. In methods of ours an interrupt (Ctrl-C in a notebook) could
    come when the lock is taken and nobody has said yet that it is to be given back, or before it is: it would stay locked for good. So a `with`
    does not keep the object of this class: whoever has it by a weak reference alone holds it by a name besides.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._renew()
        call_after_fork(self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    @property
    def __enter__(self) -> Callable[[], bool]:
        return self._lock.__enter__

    @property
    def __exit__(self) -> Callable[..., None]:  # noqa: PLE0302, PYI036 - a property
        return self._lock.__exit__


class UseLock(ForkLock):
    """A `ForkLock` for the use of a library that keeps locks of its own: a fork waits until nobody is in there, up to ten seconds.
    `was_cut` is true in a child of one that waited in vain, where the library may wait for a thread that is not there."""

    __slots__ = ("_is_held", "_is_wanted", "was_cut")

    def __init__(self) -> None:
        self._is_held, self.was_cut = True, False
        super().__init__()
        _USES.add(self)

    @property
    def __enter__(self) -> Callable[[], bool]:
        while self._is_wanted:  # or whoever uses it again and again would never let the fork have it
            time.sleep(_LOOK_SECONDS)
        return self._lock.__enter__

    def hold(self) -> None:
        """Before a fork."""
        self._is_wanted = True
        self._is_held = self._lock.acquire(timeout=_PATIENCE)

    def let_go(self) -> None:
        """After it, in the parent."""
        if self._is_held:
            self._lock.release()
        self._is_wanted = False

    def _renew(self) -> None:
        self.was_cut, self._is_wanted = self.was_cut or not self._is_held, False
        super()._renew()


class made_once(Generic[Made]):  # noqa: N801 - in use it reads as `cached_property`, which it is but for this
    """A property that is made when it is first asked for, by one thread, and kept in its object. The lock of Python's own is for ever
    held in a child that was forked while another thread made one (3.11), or there is none and two may be made (3.12)."""

    def __init__(self, make: Callable[[Any], Made]) -> None:
        self._make = make
        self._lock = ForkLock()
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Made: ...

    def __get__(self, instance: object | None, owner: type) -> Self | Made:
        if instance is None:
            return self
        with self._lock:
            if self._name not in vars(instance):
                vars(instance)[self._name] = self._make(instance)
        made: Made = vars(instance)[self._name]
        return made


@contextmanager
def file_lock(path: Path, *, waits: bool = True, makes: bool = True) -> Iterator[int]:
    """Hold the lock on a file, and give its descriptor. The file is made for one user alone where it is not there; without
    `makes` it must be, and no link is followed to it. The kernel wakes the next one: no polling, and a process that dies gives the lock
    back. Raises `OSError`; without `waits`, `BlockingIOError` where another holds it."""
    if makes:
        descriptor = open_made(path)
    else:  # NFS locks what is open for writing alone
        how = (os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, how | os.O_CLOEXEC)
    _LOCKED.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        if descriptor in _LOCKED:  # else this is a child, and the lock its parent's
            # Not by closing alone: a child forked before the line above was run has the file open as well.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            _LOCKED.discard(descriptor)
            os.close(descriptor)


def _in_child() -> None:
    _WAITED_FOR.clear()
    while _LOCKED:
        os.close(_LOCKED.pop())
    for reference in list(_METHODS.values()):
        method = reference()
        if method is not None:
            method()


def _before() -> None:
    for lock in list(_USES):
        lock.hold()
        _WAITED_FOR.append(lock)


def _in_parent() -> None:
    while _WAITED_FOR:
        _WAITED_FOR.pop().let_go()


_USES: Final[weakref.WeakSet[UseLock]] = weakref.WeakSet()
_WAITED_FOR: Final[list[UseLock]] = []
os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
# Else what ends with the interpreter itself calls back into a `weakref` that is half gone, and each object writes a traceback.
atexit.register(_METHODS.clear)
