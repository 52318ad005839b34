"""Laws of reading the log back quickly: of a record only some facts are built, of an entry only what is looked at, and neither
makes a difference.
"""

from __future__ import annotations

import contextlib
import json
import string
from datetime import datetime, timedelta, timezone

import orjson
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from governance.audit.log import checked
from governance.audit.merkle import leaf_hash
from governance.audit.store import Row
from governance.errors import AuditBrokenError
from governance.model.facts import CATALOGUE, Collection, Facts, Origin, Unknown
from governance.model.recorded_facts import facts_from_json, facts_on_record, keys_of
from governance.model.request import Request, parse_utc, utc_text
from governance.policy.compile import compile_bundle
from governance.policy.evaluate import evaluate
from governance.policy.explain import verdict_bytes
from governance.report.recorded import judged_facts
from governance.report.seen import seen
from tests.audit_tools import draft
from tests.property import policy_strategies as make
from tests.property.policy_strategies import Tree, document_lists, fact_sets, requests

names = st.sampled_from([*sorted(CATALOGUE), "property.käse", "property.100%", "property.a b"])
members = (
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=5)
    | st.lists(st.text(string.ascii_letters, max_size=3), max_size=2).map(tuple)
    | st.none()
    | st.builds(Unknown, st.just("nobody knows"))
)
items = st.dictionaries(st.sampled_from(["id", "cvss", "50%", "ß"]), members, max_size=3)
known_in_part = st.builds(
    lambda least: Unknown("cut", at_least=least),
    members.filter(lambda value: value is not None and not isinstance(value, Unknown)),
)
values = (
    members
    | known_in_part
    | st.builds(
        lambda rows, missing: Collection(tuple(rows), missing),
        st.lists(items, max_size=4),
        st.none() | st.just("cut"),
    )
)
origins = st.builds(Origin, source=st.sampled_from(["xray", "request"]), observed_at=st.just("t"))


@given(
    st.dictionaries(names, values, max_size=6), st.dictionaries(names, origins, max_size=6), st.sets(names)
)
def test_some_facts_of_a_record_are_those_facts(
    known: dict[str, object], sources: dict[str, Origin], only: set[str]
) -> None:
    facts = Facts(known, {name: origin for name, origin in sources.items() if name in known})  # type: ignore[arg-type]
    record = orjson.loads(facts.document())
    whole, some = facts_from_json(record), facts_on_record(record, facts.digest(), keys_of(only))
    assert whole == facts
    assert some.record == {name: value for name, value in facts.record.items() if name in only}
    assert dict(some.origins) == {name: origin for name, origin in facts.origins.items() if name in only}
    assert len(some.origins) == len(dict(some.origins))
    assert some.digest() == facts.digest()
    assert facts_on_record(record, facts.digest()) == facts


@settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(document_lists, requests, fact_sets)
def test_what_a_policy_does_not_read_makes_no_difference_to_its_verdict(
    documents: list[Tree], request: Request, facts: Facts
) -> None:
    policy = compile_bundle(make.load(documents))
    record = json.loads(facts.document())
    some = facts_on_record(record, facts.digest(), judged_facts(policy))
    whole = facts_from_json(record)
    assert verdict_bytes(evaluate(policy, request, some)) == verdict_bytes(evaluate(policy, request, whole))


def row(data: bytes) -> Row:
    made = draft(3)
    return Row(3, made.id, made.at, made.kind, made.subject, made.correlation, leaf_hash(data), data)


WHOLE = draft(3).data


@given(st.integers(min_value=0, max_value=len(WHOLE) - 1), st.binary(max_size=4), st.integers(0, 60))
@example(0, b"", 0)
@example(WHOLE.index(b'"n":') + 1, b"m", 1)
@example(WHOLE.index(b'"boot":') + 1, b"c", 1)
@example(WHOLE.index(b'"at":"') + 11, b"13", 2)
@example(0, b"[", len(WHOLE))
@example(WHOLE.index(b'"v":1') + 4, b"2", 1)
@example(WHOLE.index(b"Z") - 1, b"", 1)
def test_an_entry_that_is_looked_at_is_checked_as_one_that_is_read(place: int, put: bytes, gone: int) -> None:
    data = WHOLE[:place] + put + WHOLE[place + gone :]
    for each in (row(data), row(data)._replace(leaf=leaf_hash(WHOLE)), row(data)._replace(subject="x")):
        try:
            entry = checked(each).entry
        except AuditBrokenError as error:
            said = error.message
        else:
            made = seen(each)
            assert (made.id, parse_utc(made.at), made.kind) == (entry.id, entry.at, entry.kind)
            assert (made.subject, made.correlation, made.body) == (
                entry.subject,
                entry.correlation,
                entry.body,
            )
            assert made.instance == entry.writer.instance
            continue
        with contextlib.suppress(AuditBrokenError):
            made = seen(each)
            raise AssertionError(f"{made} passed, and `checked` says: {said}")


@given(st.datetimes(timezones=st.integers(-720, 720).map(lambda each: timezone(timedelta(minutes=each)))))
def test_times_survive_their_text(at: datetime) -> None:
    text = utc_text(at)
    assert parse_utc(text) == at
    assert utc_text(parse_utc(text)) == text
