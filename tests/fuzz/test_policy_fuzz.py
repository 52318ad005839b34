"""The loader and the evaluator under random input: one error class at most, never another exception, and a bounded time.

The default run is small. `pytest -m fuzz` looks longer, with atheris steering by coverage where it is installed.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from governance.errors import PolicyInvalidError
from governance.model.facts import Collection, Facts, Unknown
from governance.model.verdict import Effect
from governance.policy.compile import compile_bundle, from_document
from governance.policy.evaluate import evaluate
from governance.policy.explain import verdict_bytes
from governance.policy.load import load_files
from governance.policy.strict_yaml import YamlRefusedError, parse_yaml
from tests.property import policy_strategies as make
from tests.property.policy_strategies import Tree, document_lists, requests

small = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    max_examples=80,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
randoms = st.randoms(use_true_random=False)

PIECES = (
    "apiVersion: mlgov/v1\n", "kind: Policy\n", "kind: Waiver\n", "metadata: {name: p}\n", "spec:\n", "  default: allow\n",
    "  rules:\n", "    - id: r\n", "      when: ", "{fact: publisher, is: x}", "&a ", "*a", "!!str ", "<<: ", "---\n", "...\n",
    "? ", "- ", "[", "]", "{", "}", "\t", "\x00", "\x85", "'", '"', "|\n", ">-\n", "#", "%YAML 1.1\n", "\ufeff", "0x", ".nan",
)  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=30).map("".join)

leaves = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["block", "allow", "publisher", "files", "xray.max_cvss", "7d", "MIT", "p", "r", "match", "{list: x}"])
    | st.text(max_size=6)
)  # fmt: skip
keys = (
    st.sampled_from(["fact", "is", "in", "gt", "matches", "glob", "regex", "purl", "versions", "all", "any", "not", "some",
                     "every", "where", "list", "exists", "id", "effect", "when"])
    | st.text(max_size=4)
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(make.NASTY)
)
members = (
    scalars | st.lists(st.text(max_size=5), max_size=3).map(tuple) | st.builds(Unknown, st.text(max_size=5))
)
collections = st.builds(
    lambda items, missing: Collection(tuple(items), missing),
    st.lists(st.dictionaries(st.sampled_from(["format", "cvss", "spdx", "purl", "version", "name", "first_seen", "x"]), members, max_size=5), max_size=3),
    st.none() | st.just("a page"),
)  # fmt: skip
fact_records = st.dictionaries(
    st.sampled_from(
        [*make.SCALARS, *make.SETS, *make.COLLECTIONS, "artifact.ecosystem", "property.*", "nonsense"]
    ),
    members | collections,
    max_size=20,
)


def load(data: bytes) -> None:
    """What comes out of the loader compiles; what does not come out says why in one class of error."""
    try:
        bundle = load_files({"f.yaml": data})
    except PolicyInvalidError as error:
        told = str(error)
    else:
        policy = compile_bundle(bundle)
        assert from_document(policy.document).digest == policy.digest
        return
    assert "f.yaml:" in told


@small
@given(st.binary(max_size=200) | texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    place = (1, 1)
    try:
        parse_yaml(data, "f.yaml")
    except YamlRefusedError as error:
        place = error.line, error.column
    assert min(place) >= 1
    load(data)


@small
@given(document_lists, trees, randoms)
def test_a_policy_with_a_branch_replaced_is_read_or_refused(
    documents: list[Tree], branch: Any, random: Random
) -> None:
    graft(random.choice(documents), branch, random)
    for document in documents:
        load(make.text_of(document, as_json=True))


def graft(tree: Any, branch: Any, random: Random) -> None:
    """Put `branch` somewhere into the tree."""
    while isinstance(tree, dict | list) and tree:
        place: Any = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
        below = tree[place]
        if not isinstance(below, dict | list) or random.random() < 0.25:
            tree[place] = branch
            return
        tree = below


@small
@given(document_lists, trees)
def test_any_condition_is_read_or_refused(documents: list[Tree], when: Any) -> None:
    documents[0]["spec"]["rules"][0]["when"] = when
    load(make.text_of(documents[0], as_json=True))


@small
@given(document_lists, st.data())
def test_a_file_with_bytes_flipped_is_read_or_refused(documents: list[Tree], data: st.DataObject) -> None:
    text = bytearray(make.text_of(documents[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    load(bytes(text))


@small
@given(document_lists, requests, fact_records)
def test_any_facts_get_a_verdict(documents: list[Tree], request: Any, values: Any) -> None:
    policy = compile_bundle(make.load(documents))
    verdict = evaluate(policy, request, Facts(values))
    assert verdict.decision in Effect
    assert verdict_bytes(verdict) == verdict_bytes(evaluate(policy, request, Facts(values)))


@small
@given(
    st.binary(max_size=100)
    | trees.map(lambda tree: make.text_of({"documents": [tree], "facts": []}, as_json=True))
)
def test_any_recorded_document_is_read_or_refused(data: bytes) -> None:
    with suppress(PolicyInvalidError):
        from_document(data)


@pytest.mark.fuzz
def test_long_search_with_atheris(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for seed in range(20):
        for place, tree in enumerate(make.documents(Random(seed))):
            (corpus / f"{seed}-{place}.yaml").write_bytes(make.text_of(tree))
    command = [
        sys.executable,
        str(Path(__file__).with_name("policy_steer.py")),
        "-max_total_time=60",
        "-max_len=4096",
        "-timeout=5",
        str(corpus),
    ]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:].decode("utf-8", "replace")
