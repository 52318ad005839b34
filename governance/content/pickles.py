"""Which names a pickle would import when it is loaded, found by walking its operations. Nothing is ever unpickled.

Promises: every import that an operation states is listed, as `module.name`; of a name with dots in it, which leads through what a
module holds, that path too, as `?within.path`; an import that is changed also as `?changes.module.name`, one that is called and should
not be as `?calls.module.name`; one whose name is computed on the way is `?unresolved`; a pickle that cannot be walked to its end says so
in `problem`, and keeps what was found before (the unpickler, too, has run it by then). Bounded in operations and streams. Does not: judge (see `judgement`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from governance.content.calls import CALLS, is_harmful
from governance.content.effort import SPENT, Effort, SpentError
from governance.content.joblib_arrays import ArrayMachine, UnsureError
from governance.content.machine import CHANGES, WITHIN, Machine
from governance.content.operations import BARE, TABLE, BrokenError, CutError
from governance.content.windows import Bytes

_MAX_STREAMS: Final = 64
_DOTTED: Final = re.compile(r"\w+(?:\.[\w<>]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What was found. `imports` are sorted; `end` is where the last whole pickle ended; `problem` is None where
    everything could be read, `unread` where there was leave to read all of it."""

    imports: tuple[str, ...] = ()
    end: int = 0
    problem: str | None = None
    unread: str | None = None


def walk(data: Bytes, effort: Effort | None = None) -> Walk:
    """Walk the pickle at the start of `data`, and those that follow it (old torch files hold five)."""
    effort = effort or Effort()
    imports: set[str] = set()
    problem: str | None = None
    unread: str | None = None
    position = 0
    for number in range(_MAX_STREAMS):
        if number and not _may_start(data, position):
            break
        machine = Machine(data, position)
        try:
            machine.run(effort.operations)
        except SpentError:
            unread = SPENT
            imports |= _told(machine)
            break
        except BrokenError as error:
            if effort.operations <= machine.operations:
                unread = SPENT
            # What follows the first pickle may be raw data that happens to start like one. Only if it imports
            # something is it read as a pickle that is broken.
            elif number == 0 or machine.imports:
                problem = str(error)
            imports |= _told(machine)
            break
        finally:
            effort.spend(machine.operations)
        imports |= _told(machine)
        position = machine.position
    else:
        problem = f"more than {_MAX_STREAMS} pickles in a row"
    return Walk(imports=tuple(sorted(imports)), end=position, problem=problem, unread=unread)


def walk_arrays(data: Bytes, effort: Effort) -> Walk:
    """Walk the pickle at the start of `data` as joblib does, which reads arrays between its operations. As joblib has read them since 1.2; what
    an older one would import on its way through the same bytes is among the imports, too."""
    imports: set[str] = set()
    problem: str | None = None
    unread: str | None = None
    position = 0
    for pads in (False, True):  # the newer one last: it says how the walk ended
        machine = ArrayMachine(data, pads=pads)
        problem = unread = None
        try:
            machine.run(effort.operations)
        except SpentError:
            unread = SPENT
        except UnsureError as error:
            unread = str(error)
        except BrokenError as error:
            if effort.operations <= machine.operations + machine.more_operations:
                unread = SPENT
            else:
                problem = str(error)
        finally:
            effort.spend(machine.operations + machine.more_operations)
        imports |= _told(machine)
        position = machine.position
    return Walk(imports=tuple(sorted(imports)), end=position, problem=problem, unread=unread)


def _told(machine: Machine) -> set[str]:
    called = machine.imports if machine.calls_all else machine.called
    return machine.imports | {CALLS + name for name in called if is_harmful(name)}


def may_import(head: bytes, size: int | None = None, effort: Effort | None = None) -> bool:
    """Whether a file of `size` bytes that begins with `head` could import something when it is unpickled.

    A pickle needs no mark: nearly any first byte is an operation, and files of other formats can be pickles at the same time.
    So what is asked is whether a bare unpickler would get through. True also where it would get behind the end of `head`; the
    whole file then decides. A persistent id stops it, or each thirty-second file of safetensors could be one: `P` and a line; but not
    behind a whole pickle, since torch reads three like that before the one that may have them.
    """
    effort = effort or Effort()
    position = 0
    for number in range(_MAX_STREAMS):
        machine = Machine(head, position, TABLE if number else BARE)
        try:
            machine.run(effort.operations)
        except CutError as error:
            return names_something(machine.imports) or error.needed <= (size or 0)
        except BrokenError:
            return names_something(machine.imports) or effort.operations <= machine.operations
        finally:
            effort.spend(machine.operations)
        if names_something(machine.imports):
            return True
        position = machine.position
        if not _may_start(head, position):
            return False
    return True


def names_something(imports: Iterable[str]) -> bool:
    """Whether one of the imports can be one. Text, read as a pickle, names things that are no names."""
    names = (
        name for name in imports if not name.startswith(WITHIN)
    )  # each of these has its whole name beside it
    plain = (name.removeprefix(CHANGES).removeprefix(CALLS) for name in names)
    return any(name.startswith("?") or _DOTTED.fullmatch(name) for name in plain)


def _may_start(data: Bytes, position: int) -> bool:
    return position < len(data) and data[position] in TABLE
