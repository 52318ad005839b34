"""What to think of the names that a pickle imports. Pure.

Three answers for a name: *allowed* (on the exact list in `allowed`), *dangerous* (of the standard library and not
allowed, or of a package whose business is installing, fetching or running), and *unknown* otherwise. A list of
dangerous names alone can be walked around, and is: so unknown is never good.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from governance.content.allowed import ALLOWED
from governance.content.standard_library import MODULES

CLEAN: Final = "clean"
SUSPICIOUS: Final = "suspicious"
MALICIOUS: Final = "malicious"

# fmt: off
_RUNS_OR_FETCHES: Final = frozenset((
    "IPython", "aiohttp", "fabric", "ftputil", "httpx", "invoke", "ipykernel", "paramiko", "pexpect", "pip",
    "pkg_resources", "plumbum", "ptyprocess", "requests", "setuptools", "sh", "urllib3", "websocket",
    "websockets", "wget",
))
# Of the standard library and seen in harmless checkpoints: not allowed, and no proof of malice.
_DOUBTFUL: Final = frozenset((
    "_operator.itemgetter", "_thread.RLock", "enum.Enum", "functools.partial", "inspect._empty",
    "itertools.count", "logging.getLogger", "operator.itemgetter", "random.Random", "re._compile",
    "string.Formatter", "threading.RLock",
))
# fmt: on
_PRIVATE: Final = frozenset(f"_{name}" for name in MODULES) | {"_winapi", "_posixsubprocess", "_aix_support"}
"""`_io` and its like: the same modules by another door."""


def is_allowed(name: str) -> bool:
    """True for a name on the exact list."""
    return name in ALLOWED


def is_dangerous(name: str) -> bool:
    """True for a name that no model needs and that attacks are made of."""
    if name in ALLOWED or name in _DOUBTFUL:
        return False
    root = name.partition(".")[0]
    return root in MODULES or root in _PRIVATE or root in _RUNS_OR_FETCHES


def judge(imports: Iterable[str], *, is_broken: bool) -> str:
    """The verdict on one file. `is_broken` says that it could not be read to its end as what it claims to be."""
    names = set(imports)
    if any(is_dangerous(name) for name in names):
        return MALICIOUS
    return SUSPICIOUS if is_broken or not names <= ALLOWED else CLEAN
