"""The pages of both reports in a real browser: it says nothing to the console, asks the network for nothing, and its search,
filters, charts, phone and paper work.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.audit.bodies import OutcomeStatus
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.model.verdict import Effect, Mode
from governance.report.editions import AUDIT, COMPLIANCE
from governance.report.format import AUDIT_FORMATS
from governance.report.making import Asked, make_report
from tests.audit_tools import START, StillClock
from tests.browser import Page, find_chromium, open_page
from tests.report_tools import DAY, decide, folder_of, signed_log

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium here (Debian package `chromium`)"
)
HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1>\u202e" + "w" * 90
MOST_ROWS = COMPLIANCE.edition.most_rows
COUNT = MOST_ROWS + 25


@pytest.fixture(name="folder", scope="module")
def make_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clock = StillClock()
    log = signed_log(clock)
    for number in range(COUNT):
        clock.at += DAY / 24
        decide(log, name=f"model-{number % 9}", environment=("production", "staging")[number % 2])
    decide(log, name="evil", decision=Effect.BLOCK, actor=HOSTILE, message=HOSTILE, environment="production")
    for name in ("one", "two", "three", "four", "five"):
        clock.at += DAY
        decide(log, name=name, decision=Effect.QUARANTINE, status=OutcomeStatus.DONE, environment="staging")
        decide(log, name=name, decision=Effect.BLOCK, mode=Mode.OBSERVE)
    return folder_of(log, tmp_path_factory.mktemp("page") / "report", "html", sample=4)


@pytest.fixture(name="page", scope="module")
def open_report(folder: Path) -> Iterator[Page]:
    assert CHROMIUM is not None
    with open_page(CHROMIUM) as page:
        page.open(folder / "report.html")
        yield page


def search(page: Page, text: str) -> None:
    page.run(
        "(async () => { const field = document.getElementById('search'); "
        f"field.value = {text!r}; field.dispatchEvent(new Event('input')); "
        "await new Promise((done) => setTimeout(done, 300)); })()"
    )


def visible(page: Page, table: str) -> int:
    rows = f"document.querySelectorAll('[data-table=\"{table}\"] tbody[data-row]')"
    return int(page.run(f"Array.from({rows}).filter((row) => row.checkVisibility()).length"))


def choose(page: Page, table: str, label: str, value: str) -> None:
    page.run(
        f'(() => {{ const choice = document.querySelector(\'[data-table="{table}"] select[aria-label="{label}"]\'); '
        f"choice.value = {value!r}; choice.dispatchEvent(new Event('change')); }})()"
    )


def test_the_page_is_quiet_and_asks_for_nothing(page: Page) -> None:
    assert page.complaints() == []
    assert page.run("document.title") == "Compliance report · acme.example/audit"
    assert page.run("document.querySelectorAll('section').length") == 14
    assert page.run("document.querySelectorAll('[style], [onclick], link, img, iframe').length") == 0


def test_nothing_from_the_log_acts_on_the_page(page: Page) -> None:
    assert page.run("window.hit === undefined") is True
    assert page.run("document.querySelectorAll('script').length") == 1
    assert "\\u202e" in str(page.run("document.body.textContent"))


def test_search_hides_what_does_not_match_and_gives_it_back(page: Page) -> None:
    assert visible(page, "refused") == 11
    search(page, "evil")
    assert visible(page, "refused") == 1
    assert visible(page, "decisions") == 0, "it is among the rows that are in the file alone"
    assert str(page.run("document.getElementById('found').textContent")).endswith("rows")
    search(page, "EVIL production")
    assert visible(page, "refused") == 1, "every word, in any case"
    search(page, "nowhere to be found")
    assert visible(page, "refused") == 0
    search(page, "")
    assert visible(page, "refused") == 11


def test_filters_narrow_one_table(page: Page) -> None:
    choose(page, "refused", "Result", "quarantined")
    assert visible(page, "refused") == 5
    choose(page, "refused", "Environment", "production")
    assert visible(page, "refused") == 0, "both hold"
    choose(page, "refused", "Result", "would have been blocked")
    assert visible(page, "refused") == 5
    told = page.run("document.querySelector('[data-table=refused] .filters output').textContent")
    assert told == "5 of 11 shown"
    assert visible(page, "decisions") == MOST_ROWS, "other tables stay"
    choose(page, "refused", "Result", "")
    choose(page, "refused", "Environment", "")
    assert visible(page, "refused") == 11


def test_a_cut_table_says_how_many_more_and_where(page: Page) -> None:
    told = str(page.run("document.querySelector('[data-table=decisions] .cut').textContent"))
    assert f"The first {MOST_ROWS} are shown. 36 more, all of them in tables/03-decisions.csv" in told


def test_charts_are_drawn(page: Page) -> None:
    assert page.run("document.querySelectorAll('figure.chart').length") >= 3
    area = page.run(
        "Array.from(document.querySelectorAll('figure.columns rect.fill')).every((one) => one.getBoundingClientRect().height > 0)"
    )
    assert area is True
    colours = page.run(
        "new Set(Array.from(document.querySelectorAll('#population rect.fill')).map((one) => getComputedStyle(one).fill)).size"
    )
    assert colours == 4, "allowed, quarantined, refused, would have been blocked"


def test_verdicts_read_without_colour(page: Page) -> None:
    signs = page.run(
        "Array.from(new Set(Array.from(document.querySelectorAll('[data-table=refused] .word')).map("
        "(one) => getComputedStyle(one, '::before').content + one.textContent))).sort().join(' ')"
    )
    assert '"✕"refused' in str(signs)
    assert '"◐"quarantined' in str(signs)
    assert '"△"would have been blocked' in str(signs)


def test_no_word_of_a_figures_name_is_broken_on_a_phone(page: Page) -> None:
    page.resize(320, 844)
    broken = page.run(
        """[...document.querySelectorAll('.pairs dt')].filter(dt => {
            const wide = dt.cloneNode(); dt.after(wide);
            const cut = dt.textContent.split(/\\s+/).some(word => {
                wide.textContent = word; wide.style.cssText = 'position:absolute;white-space:nowrap';
                return wide.offsetWidth > dt.offsetWidth + 1; });
            wide.remove(); return cut; }).map(dt => dt.textContent).join()"""
    )
    page.resize(1280, 844)
    assert broken == ""


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_scrolls_sideways(page: Page, width: int) -> None:
    page.resize(width, 844)
    try:
        assert page.run("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)") <= width
    finally:
        page.resize(1280, 900)


def test_an_injected_script_and_style_are_blocked(folder: Path) -> None:
    assert CHROMIUM is not None
    with open_page(CHROMIUM) as page:
        page.open(folder / "report.html")
        page.run(
            "(() => { const script = document.createElement('script'); script.textContent = 'window.hit = 1'; "
            "document.body.append(script); document.body.setAttribute('onclick', 'window.hit = 2'); document.body.click(); "
            "const style = document.createElement('style'); style.textContent = 'body { display: none }'; document.head.append(style); "
            "const image = new Image(); image.src = 'http://127.0.0.1:9/x'; })()"
        )
        assert page.run("window.hit === undefined") is True
        assert page.run("getComputedStyle(document.body).display") != "none"
        blocked = [
            str(each["params"]["entry"]["text"])
            for each in page.complaints()
            if each["method"] == "Log.entryAdded"
        ]
        assert any("script-src" in each for each in blocked)
        assert any("style-src" in each for each in blocked)
        assert any("default-src" in each or "img-src" in each for each in blocked)


def test_a_broken_log_says_so_on_top_and_on_paper(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    store = MemoryStore()
    log = signed_log(StillClock(), store)
    decide(log)
    decide(log, name="evil", decision=Effect.BLOCK)
    store._rows[1] = store._rows[1]._replace(data=store._rows[1].data.replace(b"allow", b"block"))
    folder = folder_of(log, tmp_path / "report", "html")
    with open_page(CHROMIUM) as page:
        page.open(folder / "report.html")
        assert page.complaints() == []
        place = page.run("document.querySelector('.seal.bad').getBoundingClientRect().top")
        assert place < 400
        data = page.pdf()
        assert data.startswith(b"%PDF-")
        assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page/") >= 5
        page.call("Emulation.setEmulatedMedia", media="print")
        assert page.run("document.querySelector('.find').checkVisibility()") is False
        assert (
            page.run("document.querySelector('[data-table=refused] .record dd').checkVisibility()") is True
        ), "unfolded"
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def short_page(log: AuditLog, folder: Path) -> Path:
    path = folder / "report.html"
    asked = Asked(outline=AUDIT, sample=0, made_by=HOSTILE)
    with make_report(log, asked, now=START + DAY * 9) as made, path.open("wb") as out:
        AUDIT_FORMATS["html"]().write(made, out)
    return path


def test_the_short_report_is_such_a_page_too(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    clock = StillClock()
    log = signed_log(clock)
    for number in range(9):
        clock.at += DAY / 9
        decide(log, name=f"model-{number}", environment=("production", "staging")[number % 2])
    decide(log, name="evil", decision=Effect.BLOCK, actor=HOSTILE, message=HOSTILE)
    decide(log, name="gone", status=None)
    with open_page(CHROMIUM) as page:
        page.open(short_page(log, tmp_path))
        assert page.complaints() == []
        assert page.run("document.title") == "Audit report · acme.example/audit"
        assert page.run("document.querySelectorAll('section').length") == len(AUDIT.sections)
        assert page.run("window.hit === undefined") is True
        assert page.run("document.querySelectorAll('[style], [onclick], link, img, iframe').length") == 0
        assert visible(page, "decisions") == 11
        first = "document.querySelector('[data-table=decisions] tbody .c-artifact').textContent"
        assert page.run(first) == "models/gone", "newest first"
        search(page, "evil")
        assert visible(page, "decisions") == 1
        assert visible(page, "objections") == 1
        search(page, "")
        choose(page, "decisions", "Environment", "staging")
        assert visible(page, "decisions") == 4
        choose(page, "decisions", "Environment", "")
        record = str(page.run("document.querySelector('[data-table=decisions] .record').textContent"))
        assert "Name provenclaimed" in record
        for width in (320, 390, 1280):
            page.resize(width, 844)
            assert (
                page.run("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)") <= width
            )


def test_whoever_cannot_see_or_point_reads_and_scrolls_every_table(page: Page) -> None:
    ids = page.run("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    nameless = (
        "[...document.querySelectorAll('table.rows')].filter((table) => "
        "!document.getElementById(table.getAttribute('aria-labelledby'))?.textContent.trim()).length"
    )
    assert page.run(nameless) == 0
    dead = "[...document.querySelectorAll('a')].filter((link) => !document.querySelector(link.getAttribute('href'))).length"
    assert page.run(dead) == 0
    wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth)"
    page.resize(768, 900)
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    try:
        assert page.run(f"{wide}.length") > 0
        assert (
            page.run(f"{wide}.every((box) => box.tabIndex === 0 && box.getAttribute('aria-label'))") is True
        )
        assert page.run(f"document.querySelectorAll('.scroll[tabindex]').length - {wide}.length") == 0
    finally:
        page.resize(1280, 900)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(page: Page, scheme: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    try:
        pale = page.run(
            """(() => {
            const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
                .map((part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
                .reduce((sum, part, place) => sum + part * [.2126, .7152, .0722][place], 0);
            const behind = (one) => { for (; one; one = one.parentElement) {
                const color = getComputedStyle(one).backgroundColor; if (!/, 0\\)$/.test(color)) return color; } return 'rgb(255, 255, 255)'; };
            const found = new Map();
            for (const one of document.querySelectorAll('body *')) {
                if (![...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
                if (one.closest('script, option')) continue;
                const [a, b] = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x);
                const ratio = (a + .05) / (b + .05);
                if (ratio < 4.5) found.set(one.className || one.tagName, ratio.toFixed(2));
            }
            return [...found].join(' '); })()"""
        )
    finally:
        page.call("Emulation.setEmulatedMedia", features=[])
    assert pale == ""
