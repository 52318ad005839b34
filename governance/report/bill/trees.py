"""Parts of a bill as the library writes them in CycloneDX 1.6."""

from __future__ import annotations

from typing import Any

import orjson
from cyclonedx.model.component import Component
from cyclonedx.schema.schema import SchemaVersion1Dot6


def as_tree(part: Any) -> dict[str, Any]:
    """One part (any of the library's serializable classes), as it stands in the document."""
    tree: dict[str, Any] = orjson.loads(part.as_json(view_=SchemaVersion1Dot6))
    return tree


def reference(component: Component) -> str:
    """What other parts call it by."""
    return str(component.bom_ref.value)
