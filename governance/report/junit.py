"""Results as JUnit XML, the dialect that Jenkins, GitLab and GitHub's report actions read.

Promises: well-formed XML 1.0 whatever the names and messages hold; counts that agree with what is listed. Does not: tell
times, which would make two runs over the same files differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class JunitCase:
    """One test. `failure` is the first line of what went wrong and `details` the rest; None: it passed. `skipped` is why it
    was not run."""

    name: str
    group: str
    file: str | None = None
    line: int | None = None
    failure: str | None = None
    details: str = ""
    sort: str = "failure"
    skipped: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JunitSuite:
    """Tests that belong together."""

    name: str
    cases: tuple[JunitCase, ...]


def junit_xml(suites: Sequence[JunitSuite], *, name: str) -> str:
    """The document."""
    root = ET.Element(
        "testsuites", {"name": _clean(name), **_counts([one for suite in suites for one in suite.cases])}
    )
    for suite in suites:
        node = ET.SubElement(
            root, "testsuite", {"name": _clean(suite.name), "errors": "0", **_counts(suite.cases)}
        )
        for case in suite.cases:
            _case(node, case)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(node: ET.Element, case: JunitCase) -> None:
    places = {"file": case.file, "line": None if case.line is None else str(case.line)}
    attributes = {"classname": case.group, "name": case.name, **places}
    test = ET.SubElement(
        node, "testcase", {key: _clean(value) for key, value in attributes.items() if value is not None}
    )
    if case.failure is not None:
        failure = ET.SubElement(test, "failure", {"message": _clean(case.failure), "type": case.sort})
        failure.text = _clean(case.details or case.failure)
    elif case.skipped is not None:
        ET.SubElement(test, "skipped", {"message": _clean(case.skipped)})


def _counts(cases: Sequence[JunitCase]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "skipped": str(sum(case.failure is None and case.skipped is not None for case in cases)),
    }


def _clean(text: str) -> str:
    """`text` without the characters that XML cannot hold, not even as references."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
