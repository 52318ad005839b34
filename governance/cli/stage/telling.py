"""How the demo tells its story: headings, sentences, commands with what they printed, and errors as a user sees them."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from governance.cli.output import Mark, Screen, sign, styled

_WIDTH = 110


def narration() -> Screen:
    """Where the story goes. Lines are folded also where nobody watches: it is prose, and a log is read by people too."""
    return Screen(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)


@dataclass(slots=True)
class Narrator:
    """Prints the story, counts its chapters and takes its time."""

    console: Console
    began: float = field(default_factory=time.monotonic)
    chapter: int = 0

    def heading(self, title: str) -> None:
        """The next chapter."""
        self.chapter += 1
        self.console.print()
        line = Rule(Text(f"{self.chapter}  {title}", style="bold"), align="left", style="cyan")
        self.console.print(line, width=self._width)

    def say(self, text: str) -> None:
        """A paragraph."""
        flat = " ".join(text.split())
        self.console.print(Text("\n".join(textwrap.wrap(flat, self._width))))

    def note(self, text: str) -> None:
        """A paragraph of lesser weight, line breaks kept."""
        self.console.print(styled(textwrap.indent(text, "  "), "dim"))

    def copyable(self, text: str) -> None:
        """Lines to be copied into a shell, which would take a fold for the end of a command."""
        self.console.print(styled(textwrap.indent(text, "  "), "dim"), soft_wrap=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """A step that takes time: a spinner while it runs, a line with its duration after it."""
        started = time.monotonic()
        with self.console.status(Text(what)):
            yield
        self.done(f"{what} ({time.monotonic() - started:.1f} s)")

    def done(self, what: str) -> None:
        """Something that went as it should."""
        self.console.print(Text.assemble(sign(Mark.OK), " ", styled(what)))

    def command(self, line: str, text: str) -> None:
        """A command and what it printed."""
        self.console.print(Text.assemble(("$ ", "dim"), styled(line, "bold")))
        self.note(text)

    def pairs(self, rows: Mapping[str, str]) -> None:
        """Names and values."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="cyan", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in rows.items():
            grid.add_row(Text(f"  {name}"), styled(value))
        self.console.print(grid)

    def refusal(self, error: str, message: str) -> None:
        """An exception, as it ends the traceback in a user's terminal."""
        body = Text.assemble((error, "bold red"), (": ", ""), styled(message))
        panel = Panel(body, border_style="red", title="what the user sees", title_align="left")
        self.console.print(panel, width=self._width)

    @property
    def _width(self) -> int:
        return min(self.console.width, _WIDTH)

    def seconds(self) -> float:
        """Since the story began."""
        return time.monotonic() - self.began
