"""What `compare` calls stricter never makes a verdict milder, and what it calls looser never a stricter one."""

from __future__ import annotations

import copy
from collections import Counter
from random import Random

from governance.model.verdict import Effect
from governance.policy.compile import compile_bundle
from governance.policy.difference import Direction, compare, summary
from governance.policy.evaluate import evaluate
from tests.property import policy_oracle
from tests.property import policy_strategies as make
from tests.property.policy_strategies import Tree

SEEDS, REQUESTS = 400, 12


BOUND = {"policies": ["*"], "environments": ["*"], "mode": "enforce"}


def edited(r: Random, documents: list[Tree]) -> list[Tree]:
    """The documents with one to three edits, as a person would make them."""
    found = copy.deepcopy(documents)
    policies = [one for one in found if one["kind"] == "Policy"]
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        _edit(r, found, r.choice(policies))
    return found


def _edit(r: Random, documents: list[Tree], policy: Tree) -> None:
    spec = policy["spec"]
    rule = r.choice(spec["rules"])
    spec_of_set = next(one["spec"] for one in documents if one["kind"] == "PolicySet")
    match r.randrange(14):
        case 0:
            spec["rules"].append(make.rule(r, f"n{r.randrange(10**6)}"))
        case 1 if len(spec["rules"]) > 1:
            gone = f"{policy['metadata']['name']}/{rule['id']}"
            if not any(one["kind"] == "Waiver" and one["spec"]["rule"] == gone for one in documents):
                spec["rules"].remove(rule)
        case 2:
            spec["default"] = r.choice(["allow", "warn", "quarantine", "block"])
        case 3:
            rule["onUnknown"] = r.choice(["match", "skip"])
        case 4:
            rule["when"] = {r.choice(["all", "any"]): [rule["when"], make.condition(r, 1)]}
        case 5:
            rule["when"] = _shifted(r, rule["when"])
        case 6:
            spec_of_set["lists"][r.choice(["names", "texts"])].append(r.choice(["alice", "bob", "evil-pkg"]))
        case 7 if "grace" in rule:
            rule["grace"] = {r.choice(["prod", "staging"]): r.choice(["1d", "7d", "30d"])}
        case 8 if rule["effect"] != "allow" and "grace" not in rule:
            rule["effect"] = r.choice(["warn", "quarantine", "block"])
        case 9:
            spec["match"] = {"actions": r.sample(["download", "load", "upload"], r.randint(1, 3))}
        case 10:
            documents[:] = [one for one in documents if one["kind"] != "Waiver"]
        case 11:
            names = [one["metadata"]["name"] for one in documents if one["kind"] == "Policy"]
            spec_of_set["bindings"] = make.policy_set(r, names)["spec"].get("bindings", [BOUND])
        case 12:
            documents.append(make.policy(r, f"p{r.randrange(10**6)}"))
        case 13:
            spec["match"] = make.policy(r, "other")["spec"].get("match", {})
        case _:
            rule["message"] = "other words"


def _shifted(r: Random, tree: Tree) -> Tree:
    """The condition with some threshold or list moved."""
    if isinstance(tree, list):
        return [_shifted(r, one) for one in tree]
    found = dict(tree)
    for head in ("all", "any", "not", "where"):
        if head in found:
            found[head] = _shifted(r, found[head])
    if "fact" in found:
        for key in ("lt", "lte", "gt", "gte"):
            if isinstance(found.get(key), int | float) and not isinstance(found[key], bool):
                found[key] = r.choice([0, 1, 5, 7, 9])
            elif found.get(key) in make.LITERALS[make.T.DURATION]:
                found[key] = r.choice(make.LITERALS[make.T.DURATION])
            elif found.get(key) in make.LITERALS[make.T.SEVERITY]:
                found[key] = r.choice(make.LITERALS[make.T.SEVERITY])
        if isinstance(found.get("in"), list) and len(found["in"]) > 1:
            found["in"] = found["in"][:-1]
    return found


def test_stricter_is_never_milder_and_looser_never_stricter() -> None:
    seen: Counter[str] = Counter()
    moved = 0
    for seed in range(SEEDS):
        r = Random(seed)
        documents = make.documents(r)
        others = edited(r, documents)
        a, b = compile_bundle(make.load(documents)), compile_bundle(make.load(others))
        changes = compare(a, b)
        way = summary(changes)
        seen[str(way)] += 1
        assert (way is None) == (a.digest == b.digest), f"seed {seed}: a difference without a word"
        if way not in {Direction.STRICTER, Direction.LOOSER}:
            continue
        for _ in range(REQUESTS):
            request, facts = make.request(r), make.facts(r)
            before, after = evaluate(a, request, facts).decision, evaluate(b, request, facts).decision
            told = f"seed {seed}: {before.word} -> {after.word}, {changes}\n{documents}\n{others}\n{request}\n{facts}"
            assert after >= before if way is Direction.STRICTER else after <= before, told
            expected = policy_oracle.judge(others, request, facts).decision
            assert after is Effect[expected.upper()]
            moved += before is not after
    assert min(seen["stricter"], seen["looser"]) >= 40, (
        f"too few that this could prove anything about: {seen}"
    )
    assert moved > 30, "the edits no longer change verdicts, so this proves nothing"


def test_there_and_back_is_the_opposite() -> None:
    opposite = {Direction.STRICTER: Direction.LOOSER, Direction.LOOSER: Direction.STRICTER, None: None}
    for seed in range(40):
        r = Random(seed)
        documents = make.documents(r)
        others = edited(r, documents)
        a, b = compile_bundle(make.load(documents)), compile_bundle(make.load(others))
        there, back = summary(compare(a, b)), summary(compare(b, a))
        assert back == opposite.get(there, there)
