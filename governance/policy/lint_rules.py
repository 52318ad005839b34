"""What lint looks for, a row each: its id, how grave it is, why it matters, and how to mend it.

Ids are stable: they stand in SARIF files and in pipelines. `docs/policy-lint.md` is written from this table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class Level(enum.IntEnum):
    """How grave a finding is. An error is wrong whatever was meant; a warning probably is; a note is to be known."""

    NOTE = 0
    WARNING = 1
    ERROR = 2

    @property
    def word(self) -> str:
        """`note`, `warning` or `error`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class LintRule:
    """One row. `meaning` is what the finding says, `why` what comes of it, `mend` what to do."""

    id: str
    level: Level
    meaning: str
    why: str
    mend: str


_E, _W, _N = Level.ERROR, Level.WARNING, Level.NOTE


def _row(id_: str, level: Level, meaning: str, why: str, mend: str) -> LintRule:
    return LintRule(id=id_, level=level, meaning=meaning, why=why, mend=mend)


_ROWS = (
    _row("invalid", _E,
         "a file that does not load: an unknown fact, key or list, a wrong type, a message that names a fact there is not",
         "No process takes up these files; a running one keeps the policy it has.",
         "Fix what the message names; where a name is close to a valid one, that one is suggested."),
    _row("never-matches", _E,
         "the conditions of a rule contradict each other",
         "The rule does nothing, whatever the facts are.",
         "Look for ranges and values that exclude each other; use `any` where one of them is enough."),
    _row("always-matches", _W,
         "the conditions of a rule hold whatever is known",
         "The rule decides every request that the policy binds, which is what `default` is for.",
         "Leave the rule out and set `default`, or add the condition that is missing."),
    _row("allow-matches-unknown", _E,
         "an allow rule matches where its facts are unknown: nothing known lets the request pass",
         "When a scanner is down, the rule opens the door.",
         "Use `onUnknown: skip`, which is the default of an allow rule."),
    _row("allow-without-evidence", _E,
         "an allow rests on what the request says of itself, or on something not being there",
         "Whoever asks chooses the name, the actor and the environment, and nothing that was observed speaks for the artifact.",
         "Add a fact that somebody else established, such as `signature.valid`, `scan.complete` or a digest."),
    _row("allow-on-properties", _E,
         "an allow rests on properties alone, which anyone who may annotate can set",
         "A property is a note on the artifact and no proof.",
         "Ask for `signature.valid` as well."),
    _row("allow-without-effect", _W,
         "an allow rule under a default of allow changes nothing",
         "It looks as if it were needed.",
         "Leave it out, or set `default: block`."),
    _row("block-skips-unknown", _W,
         "a rule that refuses is skipped where its facts are unknown: it fails open",
         "When a scanner is down, the rule says nothing; unless another rule refuses then, the artifact passes.",
         "Use `onUnknown: match`. Where another rule sees to it, say so: `# mlgov: accept block-skips-unknown`."),
    _row("default-allow-in-production", _W,
         "a policy that allows by default is enforced in production",
         "What no rule is about passes.",
         "Set `default: block` and say in rules what may pass; or bind the policy to other environments."),
    _row("odd-text", _W,
         "a text that may never equal what it looks like",
         "Texts are compared as they are written, so the rule, entry or waiver is met by nothing that is spelt as usual.",
         "Write it again by hand. Where both spellings are used, list both."),
    _row("literal-wildcard", _W,
         "`is` and `in` take a `*` for the sign that it is",
         "`in: [hf-*]` equals no repository; the rule looks as if it spoke of all of them.",
         "Write `matches: {glob: ...}`."),
    _row("pattern-of-elsewhere", _W,
         "a pattern that means something else here",
         "A regular expression must fit the whole text, so `^models/` fits `models/` alone; in a glob, `[ab]` and `{a,b}` are the "
         "signs that they are; of actors, `groups:a` is somebody's name.",
         "Write `models/.*`, a glob for each choice, or `group:a`."),
    _row("implied-rule", _W,
         "a rule matches only where another one of the same effect does",
         "It changes no verdict.",
         "Leave it out, or give it the effect it was meant to have."),
    _row("licence-in-block", _W,
         "`in` asks whether the listed licences are enough; a rule that refuses wants `requires`",
         "`MIT OR AGPL-3.0-only` is not met by a list of AGPL alone, while `MIT AND AGPL-3.0-only` slips through.",
         "Write `matches: {requires: [...]}`."),
    _row("policy-not-in-force", _W,
         "a policy that no layer names",
         "None of its rules is ever asked.",
         "Name it in a layer of the set, or remove the file."),
    _row("unbound-policy", _W,
         "a policy that no binding names, or none in the environments that it is for",
         "It binds no request.",
         "Add a binding (`mode: observe` is where to begin), or look at how `match.environments` is spelt."),
    _row("misspelt-environment", _W,
         "the name of an environment that is nearly one of the usual ones",
         "Every name is allowed, and this one is met by nothing: what is written for it holds nowhere, and a wider binding counts.",
         "Correct the spelling. Where there is such an environment, say so: `# mlgov: accept misspelt-environment`."),
    _row("unused-list", _W,
         "a list that no rule names",
         "Whoever edits it believes that something changes.",
         "Remove it, or name it with `{list: ...}`."),
    _row("untested-rule", _W,
         "a rule that no case reaches",
         "A change to it is noticed by nobody.",
         "Write a case in which it matches, one in which it does not, and one in which its facts are unknown."),
    _row("half-tested-rule", _N,
         "a rule without a case in which it matches, does not match, or is unknown",
         "The missing one is where it surprises.",
         "Write the case; `mlgov policy test --mutate` says which changes no case notices."),
    _row("waiver-without-findings", _W,
         "a waiver that also covers what is found after it was granted",
         "A new finding does not re-open the question.",
         "Set `findings` to the digest of what was known; `mlgov waiver request` does."),
    _row("waiver-expires-soon", _W,
         "a waiver that ends soon",
         "What it covers is refused from then on.",
         "Fix what it was granted for, or ask for another one."),
    _row("waiver-expired", _N,
         "a waiver that has ended",
         "It covers nothing, and stays in the register.",
         "Nothing, if what it was for is fixed."),
    _row("idle-rule", _N,
         "a rule that matched nothing in the log's decisions",
         "It may be right and quiet, or never have been right.",
         "Look at its condition; `mlgov policy backtest` tries another one on the same decisions."),
    _row("unserved-rule", _N,
         "no index serves the rule: it is looked at for every request",
         "With many such rules each decision takes longer.",
         "Add a condition that compares a fact with a value or a list, if one is meant."),
    _row("loosened", _W,
         "the policy is looser than the revision it is compared with, or cannot be shown not to be",
         "Requests that were refused may pass.",
         "Have the owner of the policy look at it; `mlgov policy backtest` tells what would have passed."),
)  # fmt: skip

LINT_RULES: Mapping[str, LintRule] = MappingProxyType({row.id: row for row in _ROWS})
