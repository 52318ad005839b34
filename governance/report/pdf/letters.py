"""The letters of a PDF: fonts that are embedded, and text that shows what it is.

Promises: no text of the log is read as markup, and none turns or hides other text; a character that the fonts cannot show stands
there as its code, with a backslash and a `u`, and not as an empty box. So does text that runs from right to left: it is not shaped
here, and letters in the wrong order would be worse than codes. Does not: fetch a font, or use one that the system happens to have.

The fonts are DejaVu (a permissive licence), which come with Matplotlib and so with MLflow; without them Bitstream Vera, which comes
with ReportLab and knows Western letters alone.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from governance.report.showing import shown

_FROM_RIGHT = frozenset({"R", "AL", "AN"})
_DEJAVU = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
_VERA = ("Vera.ttf", "VeraBd.ttf", "Vera.ttf")


@dataclass(frozen=True, slots=True)
class Letters:
    """Three fonts by the names under which they are registered, and the characters that all of them can show."""

    plain: str
    bold: str
    mono: str
    known: frozenset[int]

    def raw(self, value: object, most: int | None = None) -> str:
        """Text to be drawn as it is, at most so many characters of it, with the number of those left out."""
        text = self._coded(shown(value))
        if most is not None and len(text) > most:
            return f"{text[:most]}… (+{len(text) - most:,} characters)"
        return text

    def text(self, value: object, most: int | None = None) -> str:
        """Text for a paragraph: the same, with nothing in it that a paragraph would read as markup."""
        return escape(self.raw(value, most))

    def marked(self, value: str) -> str:
        """A sentence of ours for a paragraph, whose `backticked` parts are set in the font of one width."""
        parts = self.raw(value).split("`")
        if len(parts) % 2 == 0:
            return escape(self.raw(value))
        return "".join(
            f'<font name="{self.mono}">{escape(part)}</font>' if place % 2 else escape(part)
            for place, part in enumerate(parts)
        )

    def _coded(self, text: str) -> str:
        if text.isascii():
            return text
        return "".join(char if self._is_fine(char) else _code(char) for char in text)

    def _is_fine(self, char: str) -> bool:
        return ord(char) in self.known and unicodedata.bidirectional(char) not in _FROM_RIGHT


def _code(char: str) -> str:
    number = ord(char)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


@cache
def letters(*, wide: bool = True) -> Letters:
    """The fonts, registered once a process. `wide` is off where only those of ReportLab are to be used."""
    folder = _matplotlib() if wide else None
    names, paths = ("dejavu", _DEJAVU) if folder is not None else ("vera", _VERA)
    fonts = []
    for style, file in zip(("plain", "bold", "mono"), paths, strict=True):
        font = TTFont(f"mlgov-{names}-{style}", str(folder / file) if folder else file)
        pdfmetrics.registerFont(font)
        fonts.append(font)
    known = frozenset.intersection(*(frozenset(font.face.charToGlyph) for font in fonts))
    plain, bold, mono = (font.fontName for font in fonts)
    return Letters(plain, bold, mono, known)


def _matplotlib() -> Path | None:
    """The folder with Matplotlib's fonts. Matplotlib itself is not imported, which would take a second."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return folder if all((folder / name).is_file() for name in _DEJAVU) else None
