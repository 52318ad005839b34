"""The numbers that writers give their entries: 1, 2, 3 and so on within one boot, so that one that was lost shows.

Promises: a number that came twice and one that never came are told, in whatever order writers take turns; a look ahead
changes nothing until it is accepted. Does not: read the rest of an entry.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from governance.audit.entry import Writer


@dataclass(slots=True)
class WriterNumbers:
    """Numbers seen of each writer's boot: the next one expected, and those that came early. Writers are named as their
    entries' bytes name them."""

    expected: dict[str, int] = field(default_factory=dict)
    early: dict[str, set[int]] = field(default_factory=dict)
    last: str = ""

    def see(self, writer: str, number: int) -> str | None:
        """Take note of one entry's number. Returns what is wrong with it."""
        wanted = self.expected.get(writer, 1)
        if number == wanted:
            wanted += 1
            waiting = self.early.get(writer)
            while waiting and wanted in waiting:
                waiting.remove(wanted)
                wanted += 1
            self.expected[writer] = wanted
            return None
        waiting = self.early.setdefault(writer, set())
        if number < wanted or number in waiting:
            return f"its writer used the number {number} twice"
        waiting.add(number)
        return None

    def missing(self) -> Iterator[tuple[Writer, int]]:
        """Each writer with a hole, and the first number that it lacks."""
        for writer, waiting in self.early.items():
            if waiting:
                row = orjson.loads(f'{writer}"n":0}}')
                yield Writer(instance=row["instance"], boot=row["boot"], n=0), self.expected.get(writer, 1)

    def peek(self) -> Ahead:
        """A look ahead that changes nothing until it is accepted."""
        return Ahead(self, self.last, self.expected.get(self.last, 1))

    def accept(self, ahead: Ahead) -> None:
        """Take over what was seen ahead."""
        self.expected |= ahead.passed
        if ahead.writer:
            self.expected[ahead.writer] = ahead.number
        self.last = ahead.writer


@dataclass(slots=True)
class Ahead:
    """Numbers seen ahead, as long as each writer's come one after another. `number` is the next one of `writer`."""

    known: WriterNumbers
    writer: str
    number: int
    passed: dict[str, int] = field(default_factory=dict)

    @property
    def before_number(self) -> bytes:
        """What stands between the columns and the number, in an entry of this writer."""
        return b'%b"n":' % self.writer.encode("utf-8", "replace")

    def turn_to(self, data: bytes) -> bool:
        """Turn to the writer of this entry. False where its numbers do not come in order, or it cannot be read."""
        if self.writer:
            self.passed[self.writer] = self.number
        front, mark, _ = data.rpartition(b'"n":')
        cut = front.rfind(b',"writer":{"boot":')
        if not mark or cut < 0:
            return False
        self.writer = front[cut + 10 :].decode(errors="replace")
        self.number = self.passed.get(self.writer) or self.known.expected.get(self.writer, 1)
        return not self.known.early.get(self.writer)


def named(writer: Writer) -> str:
    """A writer's boot as its entries' bytes name it, up to the number."""
    return f'{{"boot":{_quoted(writer.boot)},"instance":{_quoted(writer.instance)},'


@functools.lru_cache(maxsize=4_096)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()
