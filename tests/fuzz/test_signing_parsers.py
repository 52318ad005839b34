"""Open-ended search for input that signing's parsers answer with anything but a report or an error of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.errors import KeyFileError, SignatureError
from governance.model.digest import parse_digest
from governance.signing.bundle import parse_bundle
from governance.signing.predicate import parse_statement
from governance.signing.trustfile import parse_trust
from governance.signing.vsa import parse_summary
from tests.property.test_signing_laws import GOOD, SUMMARY, TRUST, mutated
from tests.unit.signing_kit import opened, statement_of

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]

SUBJECT = parse_digest("sha256:" + "1" * 64)


def summary(data: bytes) -> object:
    return parse_summary(data, digest=SUBJECT)


PARSERS: dict[str, tuple[Callable[[bytes], object], Any]] = {
    "bundle": (parse_bundle, opened(GOOD)),
    "statement": (parse_statement, statement_of()),
    "trust file": (parse_trust, TRUST),
    "summary": (summary, SUMMARY),
}


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.data())
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_documents_with_members_replaced(parser: str, data: st.DataObject) -> None:
    parse, document = PARSERS[parser]
    text = json.dumps(data.draw(mutated(document))).encode()
    with suppress(SignatureError, KeyFileError):
        parse(text)


@pytest.mark.parametrize("parser", PARSERS)
@given(data=st.data())
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_bytes_changed_inserted_and_removed(parser: str, data: st.DataObject) -> None:
    parse, document = PARSERS[parser]
    text = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(0, len(text)))
        text[start : start + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with suppress(SignatureError, KeyFileError):
        parse(bytes(text))
