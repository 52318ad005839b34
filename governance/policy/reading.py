"""From checked shapes to values: policies, sets and waivers of one document each.

What concerns one document is checked here (conditions, templates, grace, dates); what concerns several, in `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from governance.model.canonical import MAX_INT
from governance.model.facts import CATALOGUE, FactSpec
from governance.model.verdict import Effect, Mode, Severity
from governance.policy.cel import CelError, compile_expression
from governance.policy.condition import Condition, Scope
from governance.policy.documents import (
    Binding,
    Layer,
    Match,
    OutageRule,
    Policy,
    PolicySet,
    Rule,
    Waivable,
    Waiver,
    WaiverRules,
)
from governance.policy.environments import normal_environment
from governance.policy.literals import WHOLE_FORM, LiteralError, parse_duration, parse_time
from governance.policy.mistakes import Mistakes, Path
from governance.policy.parsing import ConditionParser
from governance.policy.quantifying import bears_grace, fields_written, matched_fields
from governance.policy.schema import MatchShape, PolicyShape, RuleShape, SetShape, WaiverShape
from governance.policy.shorthand import expand
from governance.policy.templates import check_template, parse_template

_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the shapes of one document; mistakes go to `mistakes`."""

    mistakes: Mistakes
    catalogue: Mapping[str, FactSpec] = field(default_factory=lambda: CATALOGUE)

    def policy(self, shape: PolicyShape) -> Policy:
        """The policy, with its shorthand written out and its rules sorted."""
        spec = shape.spec
        rules: dict[str, Rule] = {}
        for place, one in enumerate(spec.rules):
            path: Path = ("spec", "rules", place)
            if one.id in rules:
                self.mistakes.add((*path, "id"), "an id that no other rule of the policy has", got=one.id)
            rules[one.id] = self.rule(one, path)
        for key in ("allow", "warn", "quarantine", "block"):
            short_form = getattr(spec, key)
            if short_form is not None and not short_form.model_fields_set:
                expected = f"at least one key, without which `{key}` says nothing"
                self.mistakes.add(("spec", key), expected, got={})
        for short in expand(spec):
            if short.rule.id in rules:
                expected = f"no rule `{short.rule.id}` beside the shorthand that stands for it"
                self.mistakes.add(("spec", *short.key), expected, key=True)
            rules[short.rule.id] = self._short_rule(short.rule, ("spec", *short.key))
        return Policy(
            name=shape.metadata.name,
            title=shape.metadata.title,
            owner=shape.metadata.owner,
            controls=tuple(sorted(set(shape.metadata.controls))),
            match=self._match(spec.match),
            default=Effect[spec.default.upper()],
            retry_after=_seconds(spec.retry_after),
            rules=tuple(rules[name] for name in sorted(rules)),
        )

    def policy_set(self, shape: SetShape) -> PolicySet:
        """The set."""
        spec = shape.spec
        layers, bindings = spec.layers, spec.bindings
        return PolicySet(
            name=shape.metadata.name,
            revision=shape.metadata.revision,
            title=shape.metadata.title,
            owner=shape.metadata.owner,
            extends=spec.extends,
            layers=None if layers is None else tuple(sorted(
                (Layer(name=one.name, extends=one.extends, policies=_globs(one.policies) or ()) for one in layers),
                key=lambda layer: layer.name,
            )),
            bindings=None if bindings is None else tuple(sorted(
                (
                    Binding(
                        policies=_globs(one.policies) or (),
                        environments=_environments(one.environments) or (),
                        mode=Mode(one.mode),
                    )
                    for one in bindings
                ),
                key=lambda binding: (binding.policies, binding.environments, binding.mode),
            )),
            outage=self._outage(shape),
            waivers=WaiverRules(
                max_days=spec.waivers.max_days,
                approvals=spec.waivers.approvals,
                self_approval=spec.waivers.self_approval,
            ),
            break_glass=None if spec.break_glass is None else frozenset(
                map(normal_environment, spec.break_glass.environments)
            ),
            lists=tuple(sorted((name, self._list(name, values)) for name, values in spec.lists.items())),
        )  # fmt: skip

    def waiver(self, shape: WaiverShape) -> Waiver:
        """The waiver. Where its times are not times, which is noted, it has some that nothing else is wrong with."""
        spec, at = shape.spec, ("spec",)
        starts = self._time(spec.starts, (*at, "starts"))
        expires = self._time(spec.expires, (*at, "expires"))
        revoked = self._time(spec.revoked.at, (*at, "revoked", "at")) if spec.revoked else None
        why = _no_ref(spec.artifact.ref)
        if why is not None and not spec.revoked and not spec.void:
            expected = f"one artifact as decisions name it, `repository/path`{why}"
            self.mistakes.add((*at, "artifact", "ref"), expected, got=spec.artifact.ref)
        self._actors(spec.scope.actors, (*at, "scope", "actors"))
        if starts is None or expires is None:
            starts = starts or (expires or _SOME_TIME) - timedelta(days=1)
            expires = expires or starts + timedelta(days=1)
        elif expires <= starts:
            self.mistakes.add((*at, "expires"), "a time after `starts`", got=spec.expires)
        if spec.revoked and revoked is None:
            revoked = starts
        return Waiver(
            name=shape.metadata.name,
            rule=spec.rule,
            ref=spec.artifact.ref,
            digest=spec.artifact.digest,
            reason=spec.reason,
            ticket=spec.ticket,
            requested_by=spec.requested_by,
            author=spec.author,
            void=spec.void,
            approved_by=tuple(sorted(set(spec.approved_by))),
            starts=starts,
            expires=expires,
            environments=_environments(spec.scope.environments),
            actors=_globs(spec.scope.actors),
            findings=spec.findings,
            revoked_at=revoked,
            revoked_by=spec.revoked.by if spec.revoked else None,
            revoked_reason=spec.revoked.reason if spec.revoked else None,
        )

    def rule(self, shape: RuleShape, path: Path) -> Rule:
        """The rule at `path`."""
        effect = Effect[shape.effect.upper()]
        scope = Scope(self.catalogue)
        when = self._when(shape, path, scope)
        if shape.message is None and effect >= Effect.QUARANTINE:
            self.mistakes.add(path, f"the key `message`: a rule that may {shape.effect} says why", got=None)
        message = shape.message or f"rule {shape.id} matched"
        is_read = when is not None or (shape.condition is not None and "when" not in shape.model_fields_set)
        for key, text in (("message", message), ("remediation", shape.remediation)):
            if text is not None:
                fields = matched_fields(when, scope) if is_read else fields_written(shape.when, scope)
                template = parse_template(text, (*path, key), self.mistakes)
                check_template(template, (*path, key), self.mistakes, self.catalogue, fields)
        self._check_expression(shape, path)
        if shape.grace is not None and effect < Effect.QUARANTINE:
            self.mistakes.add((*path, "grace"), "no grace on a rule that refuses nothing", key=True)
        elif shape.grace is not None and is_read and not bears_grace(when, scope):
            expected = "no grace, or a `some: vulnerabilities` in `when`: grace is counted from an item's `first_seen`"
            self.mistakes.add((*path, "grace"), expected, key=True)
        if shape.retry_after is not None and effect is not Effect.QUARANTINE:
            self.mistakes.add(
                (*path, "retryAfter"), "no `retryAfter` but on a rule of effect quarantine", key=True
            )
        unknown = shape.on_unknown
        return Rule(
            id=shape.id,
            title=shape.title,
            effect=effect,
            severity=Severity[shape.severity.upper()],
            waivable=Waivable(shape.waivable),
            when=when,
            expression=shape.condition,
            match_unknown=effect is not Effect.ALLOW if unknown is None else unknown == "match",
            message=message,
            remediation=shape.remediation,
            grace=_grace(shape.grace),
            retry_after=_seconds(shape.retry_after),
        )

    def _check_expression(self, shape: RuleShape, path: Path) -> None:
        if shape.condition is None:
            return
        try:
            compile_expression(shape.condition, self.catalogue)
        except CelError as error:
            self.mistakes.add((*path, "condition"), str(error), got=shape.condition)

    def _when(self, shape: RuleShape, path: Path, scope: Scope) -> Condition | None:
        if shape.when is None:
            if shape.condition is None or "when" in shape.model_fields_set:
                self.mistakes.add(path, "the key `when`: what the rule looks for", got=None)
            return None
        return ConditionParser(self.mistakes).parse(shape.when, (*path, "when"), scope)

    def _short_rule(self, shape: RuleShape, path: Path) -> Rule:
        """A rule behind the shorthand. The user never wrote its conditions, so its mistakes belong to the key."""
        inner = Mistakes()
        rule = replace(self, mistakes=inner).rule(shape, ())
        self.mistakes.found.extend(replace(one, path=path, key=False) for one in inner.found)
        return rule

    def _outage(self, shape: SetShape) -> tuple[tuple[str, OutageRule], ...]:
        rules: dict[str, OutageRule] = {}
        for name, one in shape.spec.outage.items():
            path: Path = ("spec", "outage", name)
            if one.action == "last-verdict" and one.max_age is None:
                self.mistakes.add(path, "the key `maxAge`: how old the last verdict may be", got=None)
            if one.action == "block" and one.max_age is not None:
                self.mistakes.add((*path, "maxAge"), "no `maxAge` beside `action: block`", key=True)
            environment = normal_environment(name)
            if environment in rules:
                self.mistakes.add(path, "each environment once, in one spelling", got=name, key=True)
            rules[environment] = OutageRule(max_age=_seconds(one.max_age))
        return tuple(sorted(rules.items()))

    def _list(self, name: str, values: list[object]) -> tuple[object, ...]:
        path: Path = ("spec", "lists", name)
        for place, value in enumerate(values):
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                self.mistakes.add((*path, place), "a text or a number", got=value)
            elif isinstance(value, int) and abs(value) > MAX_INT:
                self.mistakes.add((*path, place), WHOLE_FORM, got=value)
        return tuple(sorted({value for value in values if isinstance(value, str | int | float)}, key=str))

    def _match(self, shape: MatchShape) -> Match:
        self._actors(shape.actors, ("spec", "match", "actors"))
        return Match(
            actions=None if shape.actions is None else frozenset(shape.actions),
            repositories=_globs(shape.repositories),
            kinds=None if shape.kinds is None else frozenset(shape.kinds),
            environments=_environments(shape.environments),
            actors=_globs(shape.actors),
        )

    def _actors(self, patterns: list[str] | None, path: Path) -> None:
        """`group:` alone, of which the name was forgotten, would be every group."""
        for place, pattern in enumerate(patterns or ()):
            if pattern.strip() in {"group:", "user:"}:
                expected = f"a name behind `{pattern.strip()}`, or `{pattern.strip()}*` for each"
                self.mistakes.add((*path, place), expected, got=pattern)

    def _time(self, text: str, path: Path) -> datetime | None:
        try:
            return parse_time(text)
        except LiteralError as error:
            self.mistakes.add(path, error.expected, got=text)
            return None


def _no_ref(text: str) -> str | None:
    """Why a waiver for `text` would cover nothing, as the end of what is expected; None where it may cover something."""
    if "://" in text:
        return ", without a scheme and a host"
    if "*" in text:
        return "; a waiver is for one artifact, and no pattern"
    if text != text.strip() or text.strip("/") != text or "/" not in text:
        return ", without white space or `/` at its ends"
    return None


def _globs(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted(set(values)))


def _environments(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(sorted({normal_environment(value) for value in values}))


def _seconds(text: str | None) -> int | None:
    return None if text is None else parse_duration(text)


def _grace(grace: dict[str, str] | None) -> tuple[tuple[str, int], ...]:
    """By environment. Where two spellings of one environment differ, the shorter grace counts."""
    spans: dict[str, int] = {}
    for name, text in (grace or {}).items():
        environment, seconds = normal_environment(name), parse_duration(text)
        spans[environment] = min(seconds, spans.get(environment, seconds))
    return tuple(sorted(spans.items()))
