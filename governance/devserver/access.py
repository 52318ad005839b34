"""Rights checks in front of every handler that touches an item, with the words of a real server.

Promises that an anonymous caller gets 401, so that clients ask for credentials, and everybody else 403. Does not look
at contents.
"""

from __future__ import annotations

from governance.devserver.items import Item
from governance.devserver.paths import Target
from governance.devserver.problems import Problem, missing_item, unauthorized
from governance.devserver.routing import Call

_VERBS = {"r": "read", "w": "deploy", "n": "annotate", "d": "delete", "m": "manage"}


def has(call: Call, letter: str, repo: str, path: str) -> bool:
    """Whether the caller has a right on a path."""
    return letter in call.platform.security.rights(call.caller, repo, path)


def require(call: Call, letter: str, repo: str, path: str, message: str | None = None) -> None:
    """Refuse a caller without a right."""
    if has(call, letter, repo, path):
        return
    if call.caller.is_anonymous:
        raise unauthorized("Unauthorized")
    user = call.caller.name
    texts = {
        "r": f"Request for '{repo}:{path}' is forbidden for user: '{user}'.",
        "w": f"The user: '{user}' is not permitted to deploy '{path}' into '{repo}:{path}'.",
        "d": f"The user: '{user}' is not permitted to delete '{repo}:{path}'.",
    }
    default = f"The user: '{user}' is not permitted to {_VERBS[letter]} '{repo}:{path}'."
    raise Problem(403, message or texts.get(letter, default))


def readable(call: Call, target: Target) -> Item | None:
    """The item behind a path that the caller may read, or None. Refuses before telling whether it exists."""
    store = call.platform.store
    keys = store.repositories.readable(target.repo)
    if not keys:
        call.signed_in()
        return None
    if not any(has(call, "r", key, target.path) for key in keys):
        require(call, "r", keys[0], target.path)
    return store.find(target.repo, target.path)


def existing(call: Call, target: Target, letter: str = "r") -> Item:
    """The item behind a path, on which the caller must have a right. 404 in the words that clients match."""
    item = readable(call, target) if letter == "r" else _any_item(call, target, letter)
    if item is None:
        raise missing_item()
    return item


def _any_item(call: Call, target: Target, letter: str) -> Item | None:
    keys = call.platform.store.repositories.readable(target.repo)
    if keys:
        require(call, letter, keys[0], target.path)
    call.signed_in()
    return call.platform.store.find(target.repo, target.path)
