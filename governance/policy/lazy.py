"""A sequence made when it is first looked at. Equal to, hashed and pickled as the tuple it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class Lazy(Sequence[T_co], Generic[T_co]):
    """Subclasses give `_make`, which is pure, so that it does not matter when or how often it runs, and a constructor
    that takes what it is made from as one tuple: these are created for every decision, and most are never looked at.
    """

    __slots__ = ("_from", "_made")

    _from: Any
    _made: tuple[T_co, ...] | None

    def _make(self) -> tuple[T_co, ...]:
        raise NotImplementedError

    def _all(self) -> tuple[T_co, ...]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, place: int) -> T_co: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T_co, ...]: ...
    def __getitem__(self, place: int | slice) -> T_co | tuple[T_co, ...]:
        return self._all()[place]

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple | Lazy) and self._all() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the plain tuple: what it is made from holds closures."""
        return tuple, (self._all(),)
