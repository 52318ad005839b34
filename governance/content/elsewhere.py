"""Code that a model has fetched from elsewhere when it is loaded.

The configuration of a transformers model may name classes of another repository of the hub (`auto_map`, `owner/name--module.Class`). With
MLflow it is `MLmodel`, and so whoever uploaded the model, that says whether such code is trusted.

Promises: each such repository is named. Does not: name classes beside the configuration, whose source is a file of the model's own.
"""

from __future__ import annotations

from typing import Final

from governance.content.documents import NoDocumentError, objects_in, texts_in

ROOT: Final = "?elsewhere"
HELD: Final = b"auto_map"

_KEY: Final = HELD.decode()
_FROM: Final = "--"
_LONGEST: Final = 200


def fetched(data: bytes) -> frozenset[str]:
    """The repositories that a JSON document has code fetched from, as `?elsewhere.owner/name`. Raises `DocumentError`."""
    try:
        maps = [node[_KEY] for node in objects_in(data) if _KEY in node]
    except NoDocumentError:
        return frozenset()  # nobody reads it
    named = (text.partition(_FROM)[0][:_LONGEST] for text in texts_in(maps) if _FROM in text)
    return frozenset(f"{ROOT}.{repository}" for repository in named)
