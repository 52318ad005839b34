"""Which callables a configuration has called by those who build from it what it names: Hydra's `instantiate` (`_target_`), and what does
the same with a `target` beside its `params`.

A configuration that comes with a model is as good as code where its loader builds from it (CVE-2025-23304 and others of 2025), and a list
of forbidden names is walked around by those of other modules, which import the forbidden ones, as `logging.os.system`.

Promises: what is dangerous in a pickle is here, too, and is told by its own name, whatever leads to it; what reads, fetches or writes, looks
other names up, or is worked out when the configuration is read, as `?target.name`. Does not: tell of parts that models and trainings are
made of, or of a user's own: each configuration of a training is full of them, and no file tells whether anybody builds from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import yaml

from governance.content.calls import is_harmful
from governance.content.documents import NoDocumentError, objects_in
from governance.content.effort import Effort
from governance.content.judgement import is_dangerous
from governance.content.tags import events

ROOT: Final = "?target"
COMPUTED: Final = f"{ROOT}.computed"
KEY: Final = b"_target_"
"""What is in JSON that names a target, as it is usually written."""

_KEY: Final = KEY.decode()
_PLAIN: Final = "target"
_BESIDE: Final = frozenset({"params", "<<"})
"""By one of which a `target` is one to be called; the second brings keys of another place."""
_NAMED: Final = frozenset({_KEY, _PLAIN})
_MAX_NAME: Final = 1_000
_WORKED_OUT: Final = "${"
_LOOK_UP: Final = ("hydra._internal.", "hydra.utils.")
_OWN: Final = "hydra._internal.core_plugins."
"""What Hydra itself notes of each run."""
_LED_TO: Final = frozenset(
    (
        "builtins",
        "ctypes",
        "importlib",
        "marshal",
        "nt",
        "os",
        "pickle",
        "posix",
        "pty",
        "runpy",
        "shutil",
        "subprocess",
    )
)
"""The modules that are looked for behind another one; a package may have parts of its own that are called as others are."""
_HARMLESS: Final = frozenset(
    (
        "logging.StreamHandler", "multiprocessing.cpu_count", "os.cpu_count", "os.environ.get", "os.getcwd", "os.getenv",
        "os.path.abspath", "os.path.basename", "os.path.dirname", "os.path.exists", "os.path.expanduser", "os.path.join",
        "os.path.realpath", "socket.gethostname",
    )
)  # fmt: skip
"""Of the standard library, and in the configurations of many a training."""


def document_targets(data: bytes) -> frozenset[str]:
    """What a JSON document names. Raises `DocumentError`."""
    try:
        return _told(name for node in objects_in(data) for name in _named(node))
    except NoDocumentError:
        return frozenset()  # nobody reads it


def yaml_targets(data: bytes, effort: Effort) -> frozenset[str]:
    """What a YAML file names, up to where it stops to be one. Raises `SpentError`."""
    if _PLAIN.encode() not in data and b"\\" not in data and b"\0" not in data[:4]:
        return frozenset()
    return _told(_yaml_names(data, effort))


def _told(names: Iterable[str]) -> frozenset[str]:
    return frozenset(told for name in names if (told := _as_told(name[:_MAX_NAME])) is not None)


def _as_told(name: str) -> str | None:
    if _WORKED_OUT in name:
        return COMPUTED
    path = name.split(".")
    for start in reversed(range(len(path) - 1)):
        led_to = ".".join(path[start:])
        if (not start or path[start] in _LED_TO) and led_to not in _HARMLESS and is_dangerous(led_to):
            return led_to
    looks_up = name.startswith(_LOOK_UP) and not name.startswith(_OWN)
    return f"{ROOT}.{name}" if looks_up or is_harmful(name) else None


def _named(node: Mapping[str, object]) -> Iterator[str]:
    found = node.get(_KEY), node.get(_PLAIN) if not _BESIDE.isdisjoint(node) else None
    return (name for name in found if isinstance(name, str))


class _Open:
    """A mapping, or a sequence, that is being read: its key that waits for a value, and what was said under the keys that count."""

    def __init__(self, *, is_mapping: bool) -> None:
        self.is_mapping = is_mapping
        self.key: str | None = None
        self.keys: set[str] = set()
        self.names: list[tuple[str, str]] = []

    def take(self, value: str | None) -> None:
        """The next thing in it; None for what is no text."""
        if not self.is_mapping:
            return
        if self.key is None:
            self.key = value or ""
            self.keys.add(self.key)
            return
        if self.key in _NAMED and value is not None:
            self.names.append((self.key, value))
        self.key = None

    def named(self) -> Iterator[str]:
        """What it named. Of a key that stands twice, both count: loaders differ in which they take."""
        is_called = not _BESIDE.isdisjoint(self.keys)
        return (value for key, value in self.names if key == _KEY or is_called)


def _yaml_names(data: bytes, effort: Effort) -> Iterator[str]:
    anchors: dict[str, str] = {}
    above: list[_Open] = [_Open(is_mapping=False)]
    for event in events(data, effort):
        if isinstance(event, yaml.CollectionStartEvent):
            above.append(_Open(is_mapping=isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.CollectionEndEvent):
            yield from above.pop().named()
            above[-1].take(None)
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor:
                anchors[event.anchor] = event.value
            above[-1].take(event.value)
        elif isinstance(event, yaml.AliasEvent):
            above[-1].take(anchors.get(event.anchor or ""))
    for each in above:
        yield from each.named()
