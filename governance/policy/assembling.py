"""From documents to one bundle: what concerns several documents is checked here, each mistake at its own place."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Generic, Protocol, TypeVar

from governance.model.facts import FactSpec
from governance.policy.casereading import read_suite
from governance.policy.condition import AllOf, AnyOf, Compare, Condition, ListName, Not, Scope
from governance.policy.documents import Policy, PolicyBundle, PolicySet, Rule, Suite, Waiver
from governance.policy.layers import cycle_in, merge_sets
from governance.policy.literals import LiteralError
from governance.policy.mistakes import Located, Mistakes, Path
from governance.policy.parsing import ListResolver
from governance.policy.patterns import compile_glob
from governance.policy.reading import Reader
from governance.policy.repairing import Repaired, read_repaired
from governance.policy.schema import (
    API_VERSION,
    KINDS,
    PolicyShape,
    SetShape,
    TestShape,
    WaiverShape,
)
from governance.policy.waiver import check_waiver

T = TypeVar("T")
N = TypeVar("N", Policy, PolicySet, Waiver, Suite)

_FREE: Mapping[str, tuple[Path, ...]] = {
    "Policy": (
        ("metadata", "title"),
        ("metadata", "owner"),
        ("metadata", "controls"),
        ("spec", "match"),
        ("spec", "default"),
        ("spec", "retryAfter"),
    ),
    "PolicySet": (
        ("metadata", "title"),
        ("metadata", "owner"),
        ("metadata", "revision"),
        ("spec", "bindings"),
        ("spec", "outage"),
        ("spec", "breakGlass"),
    ),
}
"""Where a policy names no rule, and a set nothing that other documents name or are judged by."""


class Source(Located, Protocol):
    """A document with its data."""

    @property
    def data(self) -> Any:
        """The tree."""
        ...

    @property
    def doubtful(self) -> tuple[Path, ...]:
        """Where the tree is not what was written."""
        ...


@dataclass(slots=True)
class _Entity(Generic[T]):
    """A value with the document it came from, so that later mistakes find their place."""

    value: T
    document: Source
    mistakes: Mistakes
    read: Repaired[Any]


@dataclass(slots=True)
class Assembler:
    """Takes documents one by one, then checks them against each other. What is named and not there is no mistake where it may
    stand in a document that could not be read: one mistake is told once, and not at whatever names its document."""

    catalogue: Mapping[str, FactSpec]
    revoked: Container[str] = ()
    """Waivers that somebody took back. Where one does not suit the policy any more it is void, and no mistake: else no rule that
    was ever waived could be renamed, or made one that nobody may waive."""

    _policies: dict[str, _Entity[Policy]] = field(default_factory=dict)
    _sets: dict[str, _Entity[PolicySet]] = field(default_factory=dict)
    _waivers: dict[str, _Entity[Waiver]] = field(default_factory=dict)
    _suites: dict[str, _Entity[Suite]] = field(default_factory=dict)
    _noted: list[tuple[Source, Mistakes, Mistakes, Repaired[Any] | None]] = field(default_factory=list)
    """Of each document, the mistakes in its form, those in what it says, and how it was read."""
    _unread: set[str] = field(default_factory=set)

    def miss(self) -> None:
        """A file could not be read, and held who knows what. The caller tells of it."""
        self._unread.update(KINDS)

    def add(self, document: Source) -> None:
        """Read one document, and one whose shape is wrong as far as it goes."""
        form, said = Mistakes(), Mistakes()
        kind = _kind_of(document.data, form)
        read = None if kind is None else read_repaired(
            KINDS[kind], {**document.data, "apiVersion": API_VERSION}, form, document.doubtful
        )  # fmt: skip
        self._noted.append((document, form, said, read))
        if kind is None:
            self.miss()
        elif (
            read is None
            or not read.knows(("metadata", "name"))
            or (kind == "PolicySet" and not _is_known(kind, read))
        ):
            self._unread.add(kind)
        if read is not None:
            self._read(read, document, said)

    def finish(self) -> PolicyBundle:
        """Check the documents against each other. What comes out is sound only if `problems` is empty."""
        policies = {name: entity.value for name, entity in self._policies.items()}
        merged = self._merged_set()
        self._check_lists(merged)
        for entity in self._sets.values():
            above: dict[str, str | None] | None = self._layers_above(entity.value)
            if entity.value.extends is not None and "PolicySet" in self._unread:
                above = None
            _check_references(entity.value, above, self._known(policies), entity.mistakes)
        self._check_waivers(merged, policies)
        for suite in self._suites.values():
            _check_globs(
                suite.value.policies or (), self._known(policies), ("spec", "policies"), suite.mistakes
            )
        return PolicyBundle(
            policies=tuple(policies[name] for name in sorted(policies)),
            set=merged,
            waivers=tuple(self._waivers[name].value for name in sorted(self._waivers)),
            suites=tuple(self._suites[name].value for name in sorted(self._suites)),
            catalogue=self.catalogue,
        )

    def waivers(self) -> tuple[Waiver, ...]:
        """The waivers as read so far, not checked against other documents."""
        return tuple(self._waivers[name].value for name in sorted(self._waivers))

    def documents(self) -> dict[tuple[str, str], Source]:
        """The documents by kind and name."""
        kept: tuple[tuple[str, Mapping[str, _Entity[Any]]], ...] = (
            ("Policy", self._policies),
            ("PolicySet", self._sets),
            ("Waiver", self._waivers),
            ("PolicyTest", self._suites),
        )
        return {(kind, name): entity.document for kind, entities in kept for name, entity in entities.items()}

    def problems(self) -> list[str]:
        """All mistakes, in the order of documents and lines."""
        lines: list[str] = []
        for document, form, said, read in self._noted:
            told = said.found if read is None else read.told(said.found)
            lines += Mistakes([*form.found, *told]).lines(document)
        return lines

    def _read(self, read: Repaired[Any], document: Source, mistakes: Mistakes) -> None:
        shape = read.shape
        reader = Reader(mistakes, self.catalogue)
        if isinstance(shape, PolicyShape):
            self._keep(self._policies, _Entity(reader.policy(shape), document, mistakes, read))
        elif isinstance(shape, SetShape):
            self._keep(self._sets, _Entity(reader.policy_set(shape), document, mistakes, read))
        elif isinstance(shape, WaiverShape):
            self._keep(self._waivers, _Entity(reader.waiver(shape), document, mistakes, read))
        elif isinstance(shape, TestShape):
            suite = read_suite(shape, document.source, self.catalogue, mistakes)
            self._keep(self._suites, _Entity(suite, document, mistakes, read))

    def _keep(self, kept: dict[str, _Entity[N]], entity: _Entity[N]) -> None:
        name = entity.value.name
        if not entity.read.knows(("metadata", "name")):
            return
        if name in kept:
            first = kept[name].document
            line, _ = first.place(("metadata", "name"))
            expected = f"a name that is not taken; `{name}` stands in {first.source}:{line} already"
            entity.mistakes.add(("metadata", "name"), expected, got=name)
            return
        kept[name] = entity

    def _merged_set(self) -> PolicySet | None:
        if not self._sets:
            return None
        parents = {name: entity.value.extends for name, entity in self._sets.items()}
        at: Path = ("spec", "extends")
        for name, parent in parents.items():
            if parent is not None and parent not in parents and "PolicySet" not in self._unread:
                self._sets[name].mistakes.add(at, "the name of a set", got=parent, among=parents)
        circle = cycle_in(parents)
        if circle is not None:
            self._sets[circle[0]].mistakes.add(at, f"no circle of sets; here {' extends '.join(circle)}")
            return next(iter(self._sets.values())).value
        roots = sorted(name for name, parent in parents.items() if parent is None)
        for name in roots[1:] if "PolicySet" not in self._unread else ():
            expected = f"one set, or `extends` in all but one; `{roots[0]}` stands beside this one"
            self._sets[name].mistakes.add(("metadata", "name"), expected, got=name)
        ordered = sorted(parents, key=lambda name: (_depth(name, parents), name))
        return reduce(self._merge, (self._sets[name] for name in ordered[1:]), self._sets[ordered[0]].value)

    def _known(self, policies: Mapping[str, Policy]) -> Mapping[str, Policy] | None:
        """The policies that there are, or None where some could not be read."""
        return None if "Policy" in self._unread else policies

    def _layers_above(self, one: PolicySet) -> dict[str, str | None]:
        """The layers of the sets that a set extends, with what each extends; its own may extend them."""
        found: dict[str, str | None] = {}
        seen = {one.name}
        parent = self._sets.get(one.extends or "")
        while parent is not None and parent.value.name not in seen:
            seen.add(parent.value.name)
            found |= {layer.name: layer.extends for layer in parent.value.layers or ()}
            parent = self._sets.get(parent.value.extends or "")
        return found

    def _merge(self, parent: PolicySet, child: _Entity[PolicySet]) -> PolicySet:
        known = dict(parent.lists)
        for name, values in child.value.lists:
            if name in known and known[name] != values:
                expected = f"a list that no other set has; a child may not change `{name}`"
                child.mistakes.add(("spec", "lists", name), expected, key=True)
        return merge_sets(parent, child.value)

    def _check_lists(self, merged: PolicySet | None) -> None:
        """Each named list is there, and suits each fact it is compared with."""
        lists = dict(merged.lists) if merged else {}
        scope = Scope(self.catalogue)
        for entity in self._policies.values():
            for rule in entity.value.rules:
                if rule.when is not None and _names_list(rule.when):
                    at = _rule_path(entity.read.tree, rule)
                    note = self._list_note(entity, rule, at, lists)
                    ListResolver(lists, note).resolve(rule.when, scope)

    def _list_note(
        self, entity: _Entity[Policy], rule: Rule, path: Path, lists: Mapping[str, object]
    ) -> Callable[[str, LiteralError | None, object], None]:
        """A list that is not there is the rule's mistake; a value that does not suit stands in the set."""

        def note(name: str, error: LiteralError | None, value: object) -> None:
            if error is None:
                if "PolicySet" not in self._unread:
                    at = _list_path(entity.read.tree, path, name)
                    entity.mistakes.add(at, "the name of a list of the policy set", got=name, among=lists)
                return
            holder = next(one for one in self._sets.values() if name in dict(one.value.lists))
            at = ("spec", "lists", name)
            written = holder.read.tree["spec"]["lists"][name]
            at = (*at, written.index(value)) if value in written else at
            if not any(one.path == at for one in holder.mistakes.found):
                expected = f"{error.expected}, as rule `{entity.value.name}/{rule.id}` wants of this list"
                holder.mistakes.add(at, expected, got=value, among=error.among)

        return note

    def _knows_rules(self, policy: str) -> bool:
        entity = self._policies.get(policy)
        return "Policy" not in self._unread if entity is None else _is_known("Policy", entity.read)

    def _knows_owner(self, policy: Policy | None) -> bool:
        return policy is None or self._policies[policy.name].read.knows(("metadata", "owner"))

    def _check_waivers(self, merged: PolicySet | None, policies: Mapping[str, Policy]) -> None:
        from governance.policy.documents import WaiverRules

        rules = {
            f"{policy.name}/{rule.id}": (policy, rule)
            for policy in policies.values()
            for rule in policy.rules
        }
        for entity in self._waivers.values():
            waiver = entity.value
            policy, rule = rules.get(waiver.rule, (None, None))
            found = Mistakes()
            is_over = waiver.revoked_at is not None or waiver.void is not None
            if rule is None and not is_over and self._knows_rules(waiver.rule.partition("/")[0]):
                expected = f"the full name of a rule; if it is gone, `mlgov waiver revoke {waiver.name}`"
                found.add(("spec", "rule"), expected, got=waiver.rule, among=rules)
            if "PolicySet" not in self._unread and self._knows_owner(policy):
                owner = policy.owner if policy else None
                check_waiver(waiver, rule, owner, merged.waivers if merged else WaiverRules(), found)
            if found.found and waiver.name in self.revoked:
                wanted = found.found[0].expected.partition(";")[0]
                why = f"it was taken back; the policy asks for {wanted}"
                entity.value = replace(waiver, void=why)
            else:
                entity.mistakes.found += found.found


def _kind_of(tree: Any, mistakes: Mistakes) -> str | None:
    """The kind of a document, or None after noting why it cannot be read as one."""
    if not isinstance(tree, dict):
        mistakes.add((), "a document: a mapping with `apiVersion` and `kind`", got=tree)
        return None
    version, kind = tree.get("apiVersion"), tree.get("kind")
    if version != API_VERSION:
        at: Path = ("apiVersion",) if "apiVersion" in tree else ()
        mistakes.add(at, f"`apiVersion: {API_VERSION}`", got=version, among=[API_VERSION])
        if "apiVersion" in tree:  # another version may have other keys, and others have kinds of these names
            return None
    if not isinstance(kind, str) or kind not in KINDS:
        at = ("kind",) if "kind" in tree else ()
        mistakes.add(at, f"a kind: one of {', '.join(KINDS)}", got=kind, among=KINDS)
        return None
    return kind


def _is_known(kind: str, read: Repaired[Any]) -> bool:
    """Whether all is known that other documents may name: the rules of a policy, the layers and lists of a set."""
    return all(path[:2] in _FREE.get(kind, ()) or _is_within_rule(kind, path) for path in read.doubtful)


def _is_within_rule(kind: str, path: Path) -> bool:
    return kind == "Policy" and path[:2] == ("spec", "rules") and path[3:4] not in {(), ("id",)}


def _check_references(
    one: PolicySet,
    above: Mapping[str, str | None] | None,
    policies: Mapping[str, Policy] | None,
    mistakes: Mistakes,
) -> None:
    """`above` are the layers of the sets it extends, None where they could not be read."""
    names: dict[str, str | None] = dict(above or {})
    own: set[str] = set()
    for layer in one.layers or ():
        if layer.name in own:
            mistakes.add(("spec", "layers"), "each layer once", got=layer.name)
        own.add(layer.name)
        names[layer.name] = layer.extends
    for layer in one.layers or ():
        if layer.extends is not None and layer.extends not in names and above is not None:
            mistakes.add(
                ("spec", "layers"), f"a layer that `{layer.name}` extends", got=layer.extends, among=names
            )
        _check_globs(layer.policies, policies, ("spec", "layers"), mistakes)
    circle = cycle_in(names)
    if circle is not None:
        mistakes.add(("spec", "layers"), f"no circle of layers; here {' extends '.join(circle)}")
    for binding in one.bindings or ():
        _check_globs(binding.policies, policies, ("spec", "bindings"), mistakes)


def _check_globs(
    globs: tuple[str, ...], policies: Mapping[str, Policy] | None, path: Path, mistakes: Mistakes
) -> None:
    """A name without a wildcard must be there; a glob may be ahead of its policies. None: they are not all known."""
    if policies is None:
        return
    for glob in globs:
        if "*" not in glob and "?" not in glob and not any(compile_glob(glob)(name) for name in policies):
            mistakes.add(path, "the name of a policy", got=glob, among=policies)


def _names_list(condition: Condition) -> bool:
    if isinstance(condition, Compare):
        return isinstance(condition.operand, ListName)
    if isinstance(condition, AllOf | AnyOf):
        return any(map(_names_list, condition.parts))
    return _names_list(condition.part if isinstance(condition, Not) else condition.where)


def _rule_path(tree: Any, rule: Rule) -> Path:
    """Where the rule's condition stands in the file, of several of its id the last, which was kept. Rules of the shorthand stand nowhere."""
    for place, one in reversed(list(enumerate(tree["spec"].get("rules", ())))):
        if one.get("id") == rule.id and "when" in one:
            return ("spec", "rules", place, "when")
    return ("spec",)


def _list_path(tree: Any, path: Path, name: str) -> Path:
    """Where the condition at `path` names a list; `path` for the shorthand, which has none there."""
    part = tree
    for key in path:
        part = part[key]
    return next((at for at, named in _lists_named(part, path) if named == name), path)


def _lists_named(tree: Any, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(tree, dict):
        if "list" in tree:
            yield (*path, "list"), tree["list"]
        for key, value in tree.items():
            yield from _lists_named(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _lists_named(value, (*path, number))


def _depth(name: str, parents: Mapping[str, str | None]) -> int:
    depth, parent = 0, parents[name]
    while parent is not None and parent in parents:
        depth, parent = depth + 1, parents[parent]
    return depth
