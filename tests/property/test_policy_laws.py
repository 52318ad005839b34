"""Laws of the policy language: what holds for every policy, request and set of facts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from random import Random
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from governance.model.facts import CATALOGUE, Collection, Facts, FactType, Unknown
from governance.model.request import Request, utc_text
from governance.model.verdict import Effect, Mode, Verdict
from governance.policy.compile import CompiledPolicy, compile_bundle, from_document
from governance.policy.evaluate import evaluate
from governance.policy.explain import verdict_bytes
from governance.policy.load import bundle_from_trees, load_files
from governance.policy.printing import policy_tree, set_tree, waiver_tree
from tests.property import policy_strategies as make
from tests.property.policy_strategies import Tree, document_lists, fact_sets, requests

law = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a document shrinks slowly, and little
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
randoms = st.randoms(use_true_random=False)

MODES = ["observe", "warn", "enforce"]

Scene: TypeAlias = "tuple[list[Tree], Request, Facts]"
_TRIES = 100


def scenes(fits: Callable[[list[Tree], Request, Facts], bool]) -> st.SearchStrategy[Scene]:
    """Documents, a request and facts about which something holds. One in eight or so fits, so they are made until one does:
    Hypothesis would take so many that it throws away for a mistake."""

    def build(seed: int) -> Scene:
        r = Random(seed)
        for _ in range(_TRIES):
            scene = make.documents(r), make.request(r), make.facts(r)
            if fits(*scene):
                return scene
        raise AssertionError(f"nothing that fits among {_TRIES}")

    return st.integers(0, 2**64).map(build)


def compiled(documents: Sequence[Tree]) -> CompiledPolicy:
    return compile_bundle(make.load(documents))


def bytes_of(policy: CompiledPolicy, request: Request, facts: Facts) -> bytes:
    return verdict_bytes(evaluate(policy, request, facts))


def waived(verdict: Verdict) -> dict[str, str]:
    return {row.rule: row.waiver for row in verdict.rules if row.waiver is not None}


def without_waivers(documents: Sequence[Tree]) -> list[Tree]:
    return [one for one in documents if one["kind"] != "Waiver"]


def plain(documents: Sequence[Tree]) -> list[Tree]:
    """The same with the defaults of `onUnknown` and without grace, which both may soften what is not known."""
    found = copy.deepcopy(without_waivers(documents))
    for document in found:
        for rule in document["spec"].get("rules", []):
            rule.pop("onUnknown", None)
            rule.pop("grace", None)
    return found


@law
@given(document_lists, requests, fact_sets, randoms)
def test_order_of_rules_files_layers_and_bindings_does_not_matter(
    documents: list[Tree], request: Request, facts: Facts, random: Random
) -> None:
    shuffled = copy.deepcopy(documents)
    for document in shuffled:
        for key in ("rules", "layers", "bindings"):
            random.shuffle(document["spec"].get(key, []))
    random.shuffle(shuffled)
    one, other = compiled(documents), compiled(shuffled)
    assert one.digest == other.digest
    assert bytes_of(one, request, facts) == bytes_of(other, request, facts)
    assert one.mode_for(request) is other.mode_for(request)


@law
@given(document_lists, randoms)
def test_one_file_or_many_does_not_matter(documents: list[Tree], random: Random) -> None:
    random.shuffle(documents)
    whole = b"\n---\n".join(make.text_of(document) for document in documents)
    assert compile_bundle(load_files({"all.yaml": whole})).digest == compiled(documents).digest


@law
@given(document_lists, requests, fact_sets, randoms)
def test_adding_a_block_rule_never_makes_a_verdict_milder(
    documents: list[Tree], request: Request, facts: Facts, random: Random
) -> None:
    before = evaluate(compiled(documents), request, facts)
    rules = documents[0]["spec"]["rules"]
    rules.append(make.rule(random, "added", effect="block"))
    rules[-1].pop("grace", None)  # a rule in grace warns for now, and a warn is no block
    after = evaluate(compiled(documents), request, facts)
    assert after.decision >= before.decision


@law
@given(scenes(lambda documents, _request, _facts: bool(waivable(documents))), randoms)
def test_a_waiver_touches_only_its_rule(scene: Scene, random: Random) -> None:
    """Every other rule comes out as before, and no policy but the rule's own changes its mind."""
    documents, request, facts = scene
    bare = without_waivers(documents)
    policy, rule = random.choice(waivable(bare))
    name = f"{policy}/{rule['id']}"
    waiver = exact_waiver(name, request)
    before = evaluate(compiled(bare), request, facts)
    after = evaluate(compiled([*bare, waiver]), request, facts)
    assert set(waived(after)) <= {name}
    assert [row for row in map(shown, before.rules) if row[0] != name] == [
        row for row in map(shown, after.rules) if row[0] != name
    ]
    assert [row for row in before.by_policy if row[0] != policy] == [
        row for row in after.by_policy if row[0] != policy
    ]


def shown(row: Any) -> tuple[str, str, bool, str | None]:
    return row.rule, row.truth.value, row.fired, row.grace


def waivable(documents: Sequence[Tree]) -> list[tuple[str, Tree]]:
    return [
        (document["metadata"]["name"], rule)
        for document in documents
        if document["kind"] == "Policy"
        for rule in document["spec"]["rules"]
        if rule["effect"] != "allow" and rule.get("waivable") != "never"
    ]


def fired(documents: Sequence[Tree], request: Request, facts: Facts) -> list[tuple[str, Tree]]:
    """The rules that match, and that a waiver may cover."""
    bare = without_waivers(documents)
    names = {row.rule for row in evaluate(compiled(bare), request, facts).rules if row.fired}
    return [one for one in waivable(bare) if f"{one[0]}/{one[1]['id']}" in names]


def is_refused(documents: Sequence[Tree], request: Request, facts: Facts) -> bool:
    return evaluate(compiled(plain(documents)), request, facts).decision >= Effect.QUARANTINE


def exact_waiver(rule: str, request: Request, **more: Any) -> Tree:
    """A waiver that covers exactly this request, but for what `more` says."""
    spec = {
        "rule": rule,
        "artifact": {
            "ref": request.artifact.ref,
            "digest": request.artifact.digest or f"dirhash1:{'0' * 64}",
        },
        "scope": {"environments": [request.environment], "actors": [f"user:{request.actor.name}"]},
        "reason": "looked at by hand",
        "requestedBy": "zoe",
        "approvedBy": ["yan"],
        "starts": utc_text(request.at),
        "expires": utc_text(request.at + timedelta(days=1)),
    }
    return {
        "apiVersion": "mlgov/v1",
        "kind": "Waiver",
        "metadata": {"name": "WVR-X"},
        "spec": {**spec, **more},
    }


@law
@given(scenes(lambda documents, _request, _facts: bool(waivable(documents))), randoms)
def test_a_waiver_of_other_bytes_scope_or_time_changes_nothing(scene: Scene, random: Random) -> None:
    documents, request, facts = scene
    bare = without_waivers(documents)
    policy, rule = random.choice(waivable(bare))
    name, day = f"{policy}/{rule['id']}", timedelta(days=1)
    beside: dict[str, Any] = random.choice(
        [
            {"artifact": {"ref": request.artifact.ref, "digest": f"dirhash1:{'e' * 64}"}},
            {"artifact": {"ref": request.artifact.ref, "digest": f"sha256:{'a' * 64}"}},
            {"artifact": {"ref": f"{request.artifact.ref}/x", "digest": f"dirhash1:{'e' * 64}"}},
            {"scope": {"environments": ["elsewhere"]}},
            {"scope": {"actors": ["group:nobody"]}},
            {"scope": {"actors": ["mallory"]}},
            {
                "starts": utc_text(request.at + timedelta(microseconds=1)),
                "expires": utc_text(request.at + day),
            },
            {"starts": utc_text(request.at - day), "expires": utc_text(request.at)},
            {"revoked": {"at": utc_text(request.at), "by": "carol"}},
            {"findings": f"sha256:{'f' * 64}"},
        ]
    )
    before = evaluate(compiled(bare), request, facts)
    after = evaluate(compiled([*bare, exact_waiver(name, request, **beside)]), request, facts)
    assert waived(after) == {}
    assert (after.decision, after.by_policy) == (before.decision, before.by_policy)
    assert list(map(shown, after.rules)) == list(map(shown, before.rules))


@law
@given(scenes(lambda *scene: scene[1].artifact.digest is not None and bool(fired(*scene))), randoms)
def test_a_waiver_never_opens_what_its_rule_did_not_shut(scene: Scene, random: Random) -> None:
    """With a live waiver the verdict is that of the policy without the rule: neither block nor allow."""
    documents, request, facts = scene
    bare = without_waivers(documents)
    policy, rule = random.choice(fired(*scene))
    name = f"{policy}/{rule['id']}"
    after = evaluate(compiled([*bare, exact_waiver(name, request)]), request, facts)
    assert waived(after) == {name: "WVR-X"}
    for document in bare:
        if document["metadata"]["name"] == policy:
            document["spec"]["rules"] = [one for one in document["spec"]["rules"] if one["id"] != rule["id"]]
    assert after.decision is evaluate(compiled(bare), request, facts).decision


@law
@given(scenes(is_refused), randoms)
def test_unknown_never_allows_what_a_known_value_would_block(scene: Scene, random: Random) -> None:
    documents, request, facts = scene
    policy = compiled(plain(documents))
    names = sorted(facts.values)
    hidden = random.sample(names, random.randint(1, len(names)))
    forgotten = Facts({**facts.values, **dict.fromkeys(hidden, Unknown("no answer"))})
    missing = Facts({name: value for name, value in facts.values.items() if name not in hidden})
    assert evaluate(policy, request, forgotten).decision >= Effect.QUARANTINE
    # A property that is not named may be known to be absent; every other fact that is left out is unknown.
    assert evaluate(policy, request, missing).decision >= Effect.QUARANTINE


@law
@given(scenes(is_refused), randoms)
def test_an_incomplete_collection_never_allows_what_the_whole_would_block(
    scene: Scene, random: Random
) -> None:
    documents, request, facts = scene
    policy = compiled(plain(documents))
    values = dict(facts.values)
    for name, value in facts.values.items():
        if isinstance(value, Collection) and value.items:
            kept = tuple(item for item in value.items if random.random() < 0.5)
            values[name] = Collection(kept, "a page is missing")
        elif isinstance(value, tuple):
            some = tuple(text for text in value if random.random() < 0.5)
            values[name] = Unknown("a page is missing", at_least=some)
    assert evaluate(policy, request, Facts(values)).decision >= Effect.QUARANTINE


def mode_above(parent: CompiledPolicy, name: str) -> Mode:
    """How a parent's own bindings bind a policy of that name in production: enforced where none does."""
    assert parent.bundle.set is not None
    modes = [
        binding.mode
        for binding in parent.bundle.set.bindings or ()
        if any(fnmatchcase(name, glob) for glob in binding.policies)
        and any(fnmatchcase("production", glob) for glob in binding.environments)
    ]
    return max(modes, key=MODES.index, default=Mode.ENFORCE)


@law
@given(document_lists, requests, fact_sets, randoms)
def test_a_child_layer_never_loosens(
    documents: list[Tree], request: Request, facts: Facts, random: Random
) -> None:
    """A set with a child that extends it, and policies of the child's own, says at least what the parent alone says."""
    bare = without_waivers(documents)
    alone = compiled(bare)
    child: dict[str, Any] = {"extends": "acme"}
    own = make.policy(random, "own")
    if random.random() < 0.7:
        child["layers"] = [{"name": "child", "policies": [random.choice(["own", "*"])]}]
    if random.random() < 0.7:
        child["bindings"] = [
            {
                "policies": ["*"],
                "environments": [random.choice(["*", "prod", "dev*"])],
                "mode": random.choice(MODES),
            }
        ]
    child["outage"] = {"production": {"action": "last-verdict", "maxAge": "9d"}}
    child["waivers"] = {"maxDays": 3650, "approvals": 1, "selfApproval": True}
    tightened = compiled(
        [
            *bare,
            own,
            {"apiVersion": "mlgov/v1", "kind": "PolicySet", "metadata": {"name": "team"}, "spec": child},
        ]
    )
    parent, both = evaluate(alone, request, facts), evaluate(tightened, request, facts)
    if parent.policies:
        assert both.decision >= parent.decision
        assert MODES.index(tightened.mode_for(request)) >= MODES.index(alone.mode_for(request))
    elif request.environment in {"production", "prod"}:
        # Refused as nobody's, it may be a policy's that the child brings into force, and is then enforced, or as the parent's own
        # bindings have that policy.
        modes = [mode_above(alone, name) for name in both.policies]
        assert MODES.index(tightened.mode_for(request)) >= max(map(MODES.index, modes), default=0)
        assert modes or tightened.mode_for(request) is Mode.ENFORCE
    assert set(parent.policies) <= set(both.policies)
    assert set(parent.by_policy) <= set(both.by_policy)
    assert tightened.outage_rule("production").is_block
    assert tightened.bundle.set is not None
    assert tightened.bundle.set.waivers == alone.bundle.set.waivers  # type: ignore[union-attr]


@law
@given(document_lists)
def test_parse_and_print_are_inverses(documents: list[Tree]) -> None:
    bundle = make.load(documents)
    printed: list[Any] = [policy_tree(policy) for policy in bundle.policies]
    assert bundle.set is not None
    printed += [set_tree(bundle.set), *(waiver_tree(waiver) for waiver in bundle.waivers)]
    again = make.load(printed)
    assert again == bundle
    assert bundle_from_trees(printed) == bundle
    assert [policy_tree(policy) for policy in again.policies] == printed[: len(bundle.policies)]


@law
@given(document_lists, requests, fact_sets)
def test_same_inputs_same_bytes_also_from_the_document(
    documents: list[Tree], request: Request, facts: Facts
) -> None:
    policy = compiled(documents)
    replayed = from_document(policy.document)
    assert (replayed.digest, replayed.document) == (policy.digest, policy.document)
    turned = {name: facts.values[name] for name in sorted(facts.values, reverse=True)}
    first = bytes_of(policy, request, facts)
    assert first == bytes_of(policy, request, facts)
    assert first == bytes_of(compiled(documents), request, Facts(turned, facts.origins))
    assert first == bytes_of(replayed, request, facts)


@law
@given(document_lists, requests, fact_sets)
def test_a_spelling_of_the_environment_changes_nothing(
    documents: list[Tree], request: Request, facts: Facts
) -> None:
    policy = compiled(documents)
    one, other = (replace(request, environment=name) for name in ("prod", " Production "))
    assert bytes_of(policy, one, facts) == bytes_of(policy, other, facts)
    assert policy.mode_for(one) is policy.mode_for(other)


def test_every_scalar_of_the_generator_is_in_the_catalogue() -> None:
    """So that the laws speak of the language as it is."""
    known = {*make.SCALARS, *make.SETS, *make.COLLECTIONS} - {"property.team"}
    assert known <= set(CATALOGUE)
    assert {CATALOGUE[name].type for name in known} >= set(FactType) - {
        FactType.TIME,
        FactType.PURL,
        FactType.LICENCE,
    }
