"""The short report: what it counts, what it shows, and that nothing in the log can act on the page."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from governance.audit.bodies import (
    OutcomeStatus,
    key_body,
    signature_body,
)
from governance.audit.entry import EntryKind
from governance.audit.log import AuditLog
from governance.audit.memory import MemoryStore
from governance.audit.merkle import leaf_hash
from governance.model.canonical import Json, parse_canonical
from governance.model.request import Action
from governance.model.verdict import Effect, Mode
from governance.report.book import Chart, Report, Series
from governance.report.drawing import drawn
from governance.report.editions import AUDIT
from governance.report.fields import Fields
from governance.report.format import AUDIT_FORMATS
from governance.report.making import Asked, make_report
from governance.report.selection import Selection
from governance.report.showing import human_size, marked, shown
from tests.audit_tools import START, Clock, make_log, sha, signer
from tests.report_tools import HOSTILE, decide, rows


@pytest.fixture(name="log")
def make_story() -> AuditLog:
    log = make_log(signers=[signer()])
    log.append(EntryKind.KEY, key_body(event="made", key_id="k1"), subject="keys", correlation="c")
    decide(log)
    decide(log, decision=Effect.WARN)
    decide(log, name="evil", decision=Effect.BLOCK)
    decide(log, name="unscanned", decision=Effect.QUARANTINE)
    decide(log, name="trial", decision=Effect.BLOCK, mode=Mode.OBSERVE)
    decide(log, name="waived", waiver="W-1")
    made = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="key-at-once", bundle=sha(3))
    decide(log, name="signed", action=Action.UPLOAD, signature=made)
    decide(log, name="parts", action=Action.UPLOAD)
    later = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="key-later", bundle=sha(4))
    log.append(EntryKind.SIGNATURE, later, subject="models/parts", correlation="c")
    decide(log, name="unsigned", action=Action.UPLOAD)
    decide(log, name="broken", action=Action.UPLOAD, status=OutcomeStatus.FAILED)
    decide(log, name="gone", status=None)
    return log


@contextmanager
def report(log: AuditLog, **asked: Any) -> Iterator[Report]:
    with make_report(log, Asked(outline=AUDIT, sample=0, **asked), now=START + timedelta(days=1)) as made:
        yield made


def render(log: AuditLog, name: str = "html", **asked: Any) -> str:
    out = io.BytesIO()
    with report(log, **asked) as made:
        AUDIT_FORMATS[name]().write(made, out)
    return out.getvalue().decode()


def about(subject: str) -> Selection:
    return Selection(subjects=(subject,))


def test_everything_is_counted_once(log: AuditLog) -> None:
    with report(log) as made:
        assert made.counts == {
            "decisions": 11, "allowed": 6, "warned": 1, "refused": 1, "quarantined": 1, "would-block": 1, "waived": 1,
            "unfinished": 1, "uploads": 3, "signed": 2, "failed": 1, "break-glass": 0,
        }  # fmt: skip
        assert [each.name for each in made.sections] == [
            "overview", "refusals", "degraded", "decisions", "keys", "others", "integrity",
        ]  # fmt: skip
        assert [row["artifact"] for row in rows(made, "unfinished")] == ["models/gone"]
        assert rows(made, "decisions")[0]["artifact"] == "models/gone", "newest first"
        (timeline,) = made.section("overview").charts
        assert sum(sum(filter(None, series.values)) for series in timeline.series) == 11
        assert {row["kind"] for row in rows(made, "others")} == {"key", "signature"}


def test_each_table_is_newest_first(log: AuditLog) -> None:
    with report(log) as made:
        for name in ("decisions", "refused", "objections", "uploads", "others", "signatures"):
            times = [row["entry"] for row in rows(made, name)]
            assert times == sorted(times, reverse=True), name
            assert len(set(times)) > 1, name


def test_a_period_and_a_subject_narrow_it(log: AuditLog) -> None:
    times = [stored.entry.at for stored in log.find(kind=EntryKind.DECISION)]
    for asked, name, count in (
        ({"since": times[3]}, "decisions", 8),
        ({"until": times[3]}, "decisions", 3),
        ({"selection": about("models/evil")}, "refused", 1),
        ({"selection": about("models/none")}, "decisions", 0),
    ):
        with report(log, **asked) as made:
            assert made.counts[name] == count
    nothing = render(log, selection=about("models/none"))
    assert "Nothing of this kind is among the selected entries" in nothing
    assert "was recorded in the period" not in nothing, "others were"
    assert len(render(log, "jsonl", selection=about("models/evil")).splitlines()) == 3, (
        "head, decision, outcome"
    )
    assert (
        json.loads(render(log, "jsonl", selection=about("models/evil")).splitlines()[0])["subject"]
        == "models/evil"
    )


def test_a_cut_list_says_so(log: AuditLog) -> None:
    edition = replace(AUDIT.edition, most_rows=4)
    out = io.BytesIO()
    with report(log) as made:
        AUDIT_FORMATS["html"]().write(replace(made, edition=edition), out)
        assert len(rows(made, "decisions")) == 11
    assert "The first 4 are shown. 7 more, counted above and on record" in out.getvalue().decode()


def test_a_decision_is_shown_with_all_that_is_known_of_it() -> None:
    log = make_log()
    decide(log, name="evil", decision=Effect.BLOCK, message="it runs code")
    decide(log, name="odd", decision=Effect.WARN, message="it is old", waiver="W-1")
    decide(log, name="up", action=Action.UPLOAD)
    with report(log) as made:
        up, odd, evil = rows(made, "decisions")
    assert evil["objections"] == "high: it runs code (p/evil)"
    assert odd["objections"] == "high: it is old (p/odd, warning only)"
    assert (odd["waived"], odd["waivers"]) == ("p/w by W-1", "W-1")
    assert (evil["ended"], up["ended"]) == ("refused", "done, 2 files, 20 bytes")
    assert (up["kind"], up["name"], up["files"], up["size"], up["policies"], up["correlation"]) == (
        "model",
        "up",
        2,
        20,
        "p",
        "c",
    )
    assert up["vouched"] == "claimed"


def test_the_page_tells_the_story(log: AuditLog) -> None:
    page = render(log, vkey=signer().key.vkey, command="python x/verify_log.py x")
    for part in (
        "The log proves itself", "would have been blocked", "allowed by waiver", "W-1", "Decisions without an outcome",
        "key-at-once", "key-later", "not signed", "as a whole", "python x/verify_log.py x", log.checkpoint().root.hex(),
        signer().key.vkey, "compared with no tree head remembered from before", "<b>2</b><span>of 3 uploads signed",
        "What it rests on", "What to do", "Audit report",
    ):  # fmt: skip
        assert part in page, part
    head = log.checkpoint().to_bytes().decode()
    assert html.escape(head) in page, "the checkpoint can be taken from the page and kept"


def test_uploads_are_told_with_who_signed_them(log: AuditLog) -> None:
    with report(log) as made:
        told = [(row["artifact"], row["signed"], row["key_id"]) for row in rows(made, "uploads")]
    assert told == [
        ("models/broken", "failed", None),
        ("models/unsigned", "not signed", None),
        ("models/parts", "as a whole", "key-later"),
        ("models/signed", "with its upload", "key-at-once"),
    ]


def test_a_signature_that_was_made_with_an_upload_is_counted_once_and_signs_nothing_that_came_later() -> None:
    log = make_log(signers=[signer()])
    body = signature_body(event="made", digest="dirhash1:" + "a" * 64, key_id="k", bundle=sha(3))
    decide(log, action=Action.UPLOAD)  # a file that comes before
    log.append(EntryKind.SIGNATURE, body, subject="models/wine", correlation="c")
    decide(log, action=Action.UPLOAD, signature=body)
    decide(log, action=Action.UPLOAD)
    with report(log) as made:
        assert [row["signed"] for row in rows(made, "uploads")] == [
            "not signed",
            "with its upload",
            "as a whole",
        ]
        assert dict(made.section("keys").pairs)["Signatures made"] == len(rows(made, "signatures")) == 1
        assert [row["signatures"] for row in rows(made, "keys-used")] == [1]
        assert (made.counts["uploads"], made.counts["signed"]) == (3, 2)
    with report(log, selection=Selection(environments=("production",))) as made:
        assert [row["signed"] for row in rows(made, "uploads")] == [
            "not signed",
            "with its upload",
            "as a whole",
        ]
        assert (made.counts["uploads"], made.counts["signed"]) == (3, 2), "signatures are of no environment"


def test_a_broken_log_cannot_look_good(log: AuditLog) -> None:
    store = log.store
    assert isinstance(store, MemoryStore)
    store._rows[1] = store._rows[1]._replace(subject="elsewhere")
    page = render(log)
    assert "entry 1: it is filed under another subject" in page, "the report is written, and says so"
    store._rows[1] = store._rows[1]._replace(subject="keys", correlation="elsewhere")
    page = render(log)
    assert "The log does not prove itself" in page
    assert "proves itself" not in page.replace("does not prove itself", "")
    assert "entry 1: it is filed under another correlation" in page


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.urls += [value or "" for name, value in attrs if name in {"href", "src", "action", "data"}]


def test_nothing_in_the_log_can_act_on_the_page() -> None:
    log = make_log(origin="acme.example/audit")
    hostile = HOSTILE.replace("/", "|")
    hostile_subject = f"models/{hostile}"
    for decision in (Effect.BLOCK, Effect.ALLOW):
        decide(log, name=hostile, decision=decision, message=HOSTILE, waiver=HOSTILE, action=Action.UPLOAD)
    log.append(
        EntryKind.KEY, key_body(event=HOSTILE, key_id=HOSTILE, name=HOSTILE), subject=HOSTILE, correlation="c"
    )
    page = render(log, command=HOSTILE, made_by=HOSTILE, selection=about(hostile_subject))
    seen = Tags()
    seen.feed(page)
    assert not seen.tags & {"img", "iframe", "object", "link", "base", "form", "embed"}
    assert page.count("<script") == 1, "the page's own"
    assert not {name for name in seen.attributes if name.startswith("on")} | seen.attributes & {
        "style",
        "srcdoc",
    }
    assert all(re.fullmatch("#[a-z-]+", url) for url in seen.urls), "of its own sections"
    assert not re.search("[\u202e\u2066\u200b]", page)
    assert "{{" in page, "shown as text"
    assert "49" not in re.findall(r"amp;(\w+)", page)


def test_the_page_allows_its_own_style_and_script_and_nothing_else(log: AuditLog) -> None:
    page = render(log)
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    script = re.search("<script>(.*?)</script>", page, re.DOTALL)
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)
    assert style is not None
    assert policy is not None
    assert script is not None
    digests = [
        base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() for found in (style, script)
    ]
    assert policy[1] == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in style[1]
    assert "http" not in style[1] + script[1]
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_the_lines_are_the_very_bytes_of_the_log(log: AuditLog) -> None:
    head, *lines = render(log, "jsonl").encode().splitlines()
    summary = parse_canonical(head)
    assert summary["integrity"]["good"] is True  # type: ignore[index,call-overload]
    assert summary["counts"]["decisions"] == 11  # type: ignore[index,call-overload]
    rows = list(log.store.rows(0, 100))
    assert lines == [row.data for row in rows]
    assert [leaf_hash(line) for line in lines] == [row.leaf for row in rows]


def test_an_entry_of_another_program_version_is_shown_all_the_same() -> None:
    log = make_log()
    odd: dict[str, Json] = {
        "action": 3, "artifact": [], "actor": None, "environment": {}, "verdict": {"findings": [1, {}]}, "policy": 0, "facts": 0,
    }  # fmt: skip
    receipt = log.append(EntryKind.DECISION, odd, subject="s", correlation="c")
    body: dict[str, Json] = {"decision": receipt.id, "action": 0, "status": 0, "moved": {"files": [{}]}}
    log.append(EntryKind.OUTCOME, body, subject="s", correlation="c")
    with report(log) as made:
        assert made.counts["decisions"] == 1
    assert "<!doctype html>" in render(log)


@pytest.mark.parametrize(
    "span", [timedelta(0), timedelta(seconds=9), timedelta(hours=5), timedelta(days=3), timedelta(days=3000)]
)
def test_the_timeline_has_a_bounded_number_of_equal_steps(span: timedelta) -> None:
    clock = Clock()
    log = make_log(now=clock)
    decide(log)
    clock.at += span
    decide(log)
    with report(log, until=clock.at + timedelta(days=1)) as made:
        (timeline,) = made.section("overview").charts
    assert 1 <= len(timeline.labels) <= 96
    assert sum(sum(filter(None, series.values)) for series in timeline.series) == 2


@pytest.mark.parametrize(
    ("count", "words"), [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (1 << 50, "1024.0 TiB")]
)  # fmt: skip
def test_sizes_for_people(count: int | None, words: str) -> None:
    assert human_size(count) == words


def test_text_is_shown_and_marked() -> None:
    assert shown("a\u202eb\x00") == "a\\u202eb\\u0000"
    assert str(marked("`<b>` is & was")) == "<code>&lt;b&gt;</code> is &amp; was"
    assert str(marked("a ` <b>")) == "a ` &lt;b&gt;"


def test_fields_never_raise() -> None:
    fields = Fields({"a": 1, "b": True, "c": ["x", 1], "d": {"e": "f"}, "g": [{"h": 1}, 2]})
    assert (fields.text("a"), fields.word("a"), fields.number("b"), fields.is_set("a")) == (
        None,
        "?",
        None,
        False,
    )
    assert (fields.texts("c"), fields.texts("a"), fields.sub("c").body) == (("x",), (), {})
    assert fields.sub("d").text("e") == "f"
    assert len(fields.subs("g")) == 1
    assert json.dumps(dict(fields.body))


def test_a_broken_entry_is_left_out_and_told() -> None:
    store = MemoryStore()
    log = make_log(store)
    decide(log, name="good")
    decide(log, name="evil", decision=Effect.BLOCK)
    place = next(at for at, row in enumerate(store._rows) if row.kind == "decision" and b'"evil"' in row.data)
    store._rows[place] = store._rows[place]._replace(data=store._rows[place].data.replace(b"block", b"allow"))
    with report(log) as made:
        assert [row["name"] for row in rows(made, "decisions")] == ["good"]
        assert not made.is_good
    assert "does not prove itself" in render(log)
    head, *lines = render(log, "jsonl").splitlines()
    assert json.loads(head)["integrity"]["good"] is False
    assert not any('"evil"' in line for line in lines if '"decision"' in line and '"verdict"' in line)


@pytest.mark.parametrize("count", [2, 7, 19, 20, 96])
def test_the_last_of_a_charts_columns_is_above_the_last_label(count: int) -> None:
    """The first and the last label stand at the ends of the drawing."""
    labels = tuple(f"day {place}" for place in range(count))
    series = (Series("allowed", (1,) * count),)
    figure: dict[str, Any] = drawn(
        Chart(name="c", title="c", kind="columns", labels=labels, series=series, unit="decisions")
    )
    last = figure["marks"][-1]
    assert last["x"] + figure["slot"] == figure["width"]
    assert last["x"] < float(last["left"]) < float(last["left"]) + figure["column"] < figure["width"]
    lines: dict[str, Any] = drawn(
        Chart(name="c", title="c", kind="lines", labels=labels, series=series, unit="hours")
    )
    assert lines["lines"][0]["path"].endswith(f"H{lines['width']}")
