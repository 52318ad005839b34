"""The numbers of OCSF 1.8.0 that our events use, and the versions there are.

Classes are `category * 1000 + n`, types `class * 100 + activity` (https://schema.ocsf.io/1.8.0). Nothing else of the
schema is kept here; the tests hold every event against the published one.
"""

from __future__ import annotations

import enum
from typing import Final

VERSION: Final = "1.8.0"
NEXT_VERSION: Final = "1.9.0-dev"
"""Not released: what it adds (`record_integrity`) may still change, so it is written only where it is asked for."""

VERSIONS: Final = (VERSION, NEXT_VERSION)

OTHER: Final = 99
SHA_256: Final = 3


class Class(enum.IntEnum):
    """Classes of events."""

    EVENT_LOG = 1008
    DETECTION = 2004
    ENTITY = 3004
    API = 6003
    FILE_HOSTING = 6006


class Severity(enum.IntEnum):
    """`severity_id`."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5


class Status(enum.IntEnum):
    """`status_id` of an activity."""

    SUCCESS = 1
    FAILURE = 2


class Action(enum.IntEnum):
    """`action_id` of the profile `security_control`: what the control did."""

    ALLOWED = 1
    DENIED = 2
    OBSERVED = 3


class Disposition(enum.IntEnum):
    """`disposition_id` of the profile `security_control`: what came of it."""

    ALLOWED = 1
    BLOCKED = 2
    QUARANTINED = 3
    APPROVED = 8
    DETECTED = 15
    LOGGED = 17
    ALERT = 19
    REJECTED = 25
    ERROR = 27
