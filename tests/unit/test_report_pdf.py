"""The PDF: what it says, that nothing in the log can act in it, and that its size stays bounded."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject, NameObject
from reportlab.pdfgen.canvas import Canvas

from governance.audit.log import AuditLog
from governance.model.verdict import Effect, Mode
from governance.report.book import Chart, Series
from governance.report.pdf.charts import Drawn, _rounded_up
from governance.report.pdf.letters import Letters, letters
from governance.report.to_pdf import PdfFormat
from tests.audit_tools import Clock, make_log, signer
from tests.book_tools import NASTY, NOW, booked, broken_log, empty_period, hostile_log
from tests.report_tools import decide


def read(log: AuditLog, *, most: int = 200, wide: bool = True, **asked: Any) -> tuple[PdfReader, bytes]:
    """The PDF about a log, without frameworks unless asked for: they take most of its pages."""
    out = io.BytesIO()
    with booked(log, **({"controls": None} | asked)) as report:
        PdfFormat(most=most, wide=wide).write(report, out)
    return PdfReader(io.BytesIO(out.getvalue()), strict=True), out.getvalue()


#: Names by which a PDF acts, reaches out or carries files (ISO 32000-1, sections 7.11.4 and 12.6).
ACTING = {
    "/JavaScript",
    "/JS",
    "/Launch",
    "/URI",
    "/OpenAction",
    "/AA",
    "/EmbeddedFile",
    "/EmbeddedFiles",
    "/SubmitForm",
    "/GoToR",
}


def names_of(reader: PdfReader) -> set[str]:
    """Every name in every object of the file, as its readers see it: the bytes of compressed streams hold any letters."""
    found: set[str] = set()
    waiting: list[Any] = [reader.trailer]
    met: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, IndirectObject):
            if one.idnum not in met:
                met.add(one.idnum)
                waiting.append(one.get_object())
        elif isinstance(one, DictionaryObject):
            found.update(one)
            waiting.extend(one.values())
        elif isinstance(one, ArrayObject):
            waiting.extend(one)
        elif isinstance(one, NameObject):
            found.add(one)
    return found


def texts(reader: PdfReader) -> list[str]:
    return [page.extract_text() for page in reader.pages]


@pytest.fixture(name="log")
def story() -> AuditLog:
    log = make_log(signers=[signer()])
    decide(log, name="wine")
    decide(log, name="evil", decision=Effect.BLOCK)
    decide(log, name="trial", decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, name="excused", waiver="W-1")
    return log


def test_the_cover_the_contents_and_fourteen_sections(log: AuditLog) -> None:
    reader, _ = read(log, vkey=signer().key.vkey, command="python verify_log.py . --key k", made_by="ann")
    cover, listed, *inside = texts(reader)
    assert "The log proves itself" in cover
    for part in (
        log.checkpoint().root.hex(),
        signer().key.vkey,
        "python verify_log.py . --key k",
        "ann",
        "acme.example/audit",
    ):
        assert part in cover.replace("\n", ""), part
    titles = re.findall(r"(?m)^\d+\. .+$", listed)
    pages = re.findall(r"(?m)[. ]{9} (\d+)$", listed)
    assert [title.partition(".")[0] for title in titles] == [str(number) for number in range(1, 15)]
    for title, page in zip(titles, pages, strict=True):
        assert title in inside[int(page) - 3], "the page that the contents name"
    assert f"page 3 of {len(reader.pages)}" in inside[0]
    assert [each.title.partition(".")[0] for each in reader.outline] == [str(n) for n in range(1, 15)]  # type: ignore[union-attr]


def test_whoever_has_the_paper_alone_sees_the_figures_first_and_how_to_read_the_rest(log: AuditLog) -> None:
    decide(log, name="\u9152", environment="waived")
    cover, listed, *inside = texts(read(log)[0])
    figures = " ".join(cover.split())
    assert "5 2 1 0 1 1 0 0 " in figures
    for words in (
        "decisions",
        "refused",
        "quarantined",
        "would have been blocked",
        "allowed by waiver",
        "without an outcome",
    ):
        assert words in figures
    assert "are shown as their code" in " ".join(listed.split())
    assert "models/\\u9152" in "".join(inside)
    assert "would-block" not in "".join(inside), "results are told in the words of the page"
    assert "waived 0 0 0 0 0 1 1" in "".join(inside).replace("\n", " "), "an environment's name is no result"


def test_metadata_and_bytes_are_those_of_the_report(log: AuditLog) -> None:
    reader, data = read(log, made_by="ann (audit)")
    said = reader.metadata
    assert said is not None
    assert (said.title, said.author) == ("Compliance report of acme.example/audit", "ann (audit)")
    assert said.creation_date == NOW.replace(microsecond=0)
    assert reader.trailer["/Root"]["/Lang"] == "en"  # type: ignore[index]
    assert read(log, made_by="ann (audit)")[1] == data
    assert read(log, made_by="bob")[1] != data


def test_a_broken_log_is_said_first_and_on_every_page() -> None:
    reader, _ = read(broken_log())
    cover, *inside = texts(reader)
    assert "THE LOG DOES NOT PROVE ITSELF" in cover
    assert "Do not rely on any figure" in cover
    assert "proves itself" not in cover
    assert all("THE LOG DOES NOT PROVE ITSELF" in page for page in inside)


def test_an_empty_period_is_a_whole_report(log: AuditLog) -> None:
    reader, _ = read(log, **empty_period())
    pages = texts(reader)
    assert "Nothing was recorded in this period" in pages[2]
    assert sum("14. Control matrix" in page for page in pages) == 2
    assert not any("evil" in page for page in pages)


def test_nothing_in_the_log_acts_or_hides_in_the_document() -> None:
    reader, _ = read(hostile_log(), made_by=NASTY.replace("\x1b", "\x07"))
    names = names_of(reader)
    assert {"/Page", "/Annots", "/Dest"} <= names, "the search reaches pages and their links"
    assert names.isdisjoint(ACTING)
    for page in reader.pages:
        for note in page.get("/Annots") or ():
            assert set(note.get_object()) <= {
                "/Border",
                "/Dest",
                "/Rect",
                "/Subtype",
                "/Type",
                "/Contents",
                "/A",
            }
            assert "/A" not in note.get_object()
    text = "\n".join(texts(reader))
    assert not re.search("[\u202e\u2066\u200b\u05d0\u0627\x1b\x07]", text)
    for part in (
        "<script>alert(1)</script>",
        "\\u202e",
        "\\u05d0",
        "\\u6a21",
        "\\U0001f600",
        "<para/>",
        "[click]",
    ):
        assert part in text.replace("\n", ""), part


def test_without_wide_fonts_other_letters_are_codes() -> None:
    log = make_log()
    decide(log, name="Σωκράτης-é", decision=Effect.BLOCK)
    wide, narrow = ("".join(texts(read(log, wide=wide)[0])) for wide in (True, False))
    assert "Σωκράτης-é" in wide
    assert "\\u03a3\\u03c9" in narrow
    assert "é" in narrow
    assert "Σ" not in narrow


def test_all_fonts_that_are_used_are_embedded(log: AuditLog) -> None:
    for wide in (True, False):
        reader, _ = read(log, wide=wide)
        used: set[str] = set()
        for page in reader.pages:
            fonts: Any = page["/Resources"]["/Font"]  # type: ignore[index]
            drawn = set(re.findall(rb"(/F\d\+?\d*) [\d.]+ Tf", page.get_contents().get_data()))  # type: ignore[union-attr]
            for name in drawn:
                font = fonts[name.decode()].get_object()
                used.add(str(font["/BaseFont"]))
                assert "/FontFile2" in font["/FontDescriptor"]
        assert any("DejaVu" in name for name in used) is wide


def test_long_texts_break_and_long_tables_are_cut_with_their_number() -> None:
    log = make_log(now=Clock())
    for number in range(30):
        decide(log, name=f"m{number}", decision=Effect.BLOCK, message="W" * 900 + f" end-{number}")
    decide(log, name="x" * 1500, message="y")
    reader, data = read(log, most=10)
    text = "\n".join(texts(reader))
    assert "The first 10 of 31 rows." in text
    assert "The first 10 of 30 rows." in text
    assert "All of them in tables/03-decisions.csv (format csv)." in text, "a page cuts long tables too"
    assert len(data) < 1_000_000
    assert "x" * 40 in text


def test_the_sample_is_whole_whatever_the_limit() -> None:
    log = make_log()
    for number in range(12):
        decide(log, name=f"m{number}")
    reader, _ = read(log, most=2, sample=12)
    text = "\n".join(texts(reader))
    annex = text[text.rindex("13. Sampling annex") :]
    records = re.sub(r"\s", "", annex)
    assert records.count('"kind":"decision"') == 12, "each with its full record"


def test_headings_repeat_where_a_table_breaks() -> None:
    clock = Clock(datetime(2026, 2, 1, tzinfo=UTC))
    log = make_log(now=clock)
    for day in range(45):
        clock.at += timedelta(days=1)
        decide(log, name=f"m{day}", decision=Effect.BLOCK)
    reader, _ = read(log, most=45, sample=0, now=datetime(2026, 8, 1, tzinfo=UTC))
    section = [page for page in texts(reader) if "p/m" in page and "Decisions" in page and "Effect" in page]
    assert len(section) >= 2, "the table of rules goes over pages"


def test_charts_are_drawn_whatever_their_figures() -> None:
    assert [_rounded_up(value) for value in (0, 1, 3, 6, 11, 99, 1_000_001)] == [
        1,
        1,
        4,
        10,
        20,
        100,
        2_000_000,
    ]
    fonts = letters()
    kinds: tuple[Literal["columns", "lines", "bar"], ...] = ("columns", "lines", "bar")
    series = (Series("refused", (1, 2_000_000)), Series(NASTY, (None, 7)))
    charts = [
        Chart(name="c", title="t", kind=kind, labels=("x" * 300, NASTY), series=series, unit="decisions")
        for kind in kinds
    ]
    odd = [replace(chart, series=(Series("nothing", (None,) * len(chart.labels)),)) for chart in charts]
    none = [replace(chart, labels=(), series=()) for chart in charts]
    canvas = Canvas(io.BytesIO())
    for chart in (*charts, *odd, *none):
        drawn = Drawn(chart, fonts, 700)
        assert drawn.wrap() == (700, drawn.height)
        drawn.drawOn(canvas, 0, 0)


def test_text_is_never_markup() -> None:
    fonts: Letters = letters()
    assert fonts.text("<b>&amp;") == "&lt;b&gt;&amp;amp;"
    assert fonts.marked("`<i>` is & was") == f'<font name="{fonts.mono}">&lt;i&gt;</font> is &amp; was'
    assert fonts.marked("a ` <b>") == "a ` &lt;b&gt;"
    assert fonts.raw("x" * 50, 10) == "x" * 10 + "… (+40 characters)"
