"""What people see of a waiver before they sign, and of a break-glass use before they review it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from governance.cli.output import err, print_pairs, print_rows

if TYPE_CHECKING:
    from governance.audit.log import Stored
    from governance.waivers.settling import Settled


def print_terms(settled: Settled) -> None:
    """What is being signed."""
    waiver = settled.waiver
    print_pairs({
        "  waiver": waiver.name,
        "  rule": waiver.rule,
        "  artifact": waiver.ref,
        "  digest": waiver.digest,
        "  where": ", ".join(waiver.environments) if waiver.environments else "everywhere",
        "  for": ", ".join(waiver.actors) if waiver.actors else "everybody",
        "  findings": waiver.findings,
        "  reason": waiver.reason,
        "  ticket": waiver.ticket,
        "  asked by": waiver.requested_by,
        "  made by": waiver.author,
        "  approved by": ", ".join(waiver.approved_by) or "nobody yet",
        "  from, until": f"{waiver.starts:%Y-%m-%d %H:%M} to {waiver.expires:%Y-%m-%d %H:%M} UTC",
    })  # fmt: skip


def print_glass(uses: Sequence[Stored]) -> None:
    """Break-glass uses that wait for a review."""
    if not uses:
        err().print("no break-glass use waits for a review")
        return
    rows = (
        (
            str(use.entry.body["waiver"]),
            f"{use.entry.at:%Y-%m-%d %H:%M}",
            _glass_word(use),
            use.entry.subject,
            f"{use.entry.body.get('by')}: {use.entry.body.get('justification')}",
        )
        for use in uses
    )
    print_rows(("break-glass, not reviewed", "at", "it", "artifact", "justification"), rows)


def _glass_word(use: Stored) -> str:
    body = use.entry.body
    if body.get("opened") is True:
        return "opened"
    return "was refused" if body.get("needed") is True else "was not needed"
