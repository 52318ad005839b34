"""What a reader sees first, whatever the format: the figures that sum a report up, and how to read the rest."""

from __future__ import annotations

from governance.report.book import Report

HOW_TO_READ = (
    "A decision is recorded before anything moves, and its outcome afterwards.",
    "“Would have been blocked” means that the policy said no and was only being tried out, or that break-glass opened the door.",
    "“Quarantined” means that something the policy needs to know was not known yet.",
    "A dash means that nothing was recorded there.",
    "The name of a person is proven only where it does not say “claimed”.",
)


def headline(report: Report) -> list[tuple[str, int, str]]:
    """The figures, each as its tone, its value and what it counts."""
    counts = report.counts
    has_glass = any(section.name == "break-glass" for section in report.sections)
    return [
        ("plain", counts["decisions"], "decisions"),
        ("allowed", counts["allowed"] + counts["warned"], "allowed"),
        ("refused", counts["refused"], "refused"),
        ("quarantined", counts["quarantined"], "quarantined"),
        ("would-block", counts["would-block"], "would have been blocked"),
        ("waived", counts["waived"], "allowed by waiver"),
        ("warned", counts["unfinished"], "without an outcome"),
        ("would-block", counts["break-glass"], "break-glass uses") if has_glass
        else ("plain", counts["signed"], f"of {counts['uploads']:,} upload{'s' * (counts['uploads'] != 1)} signed"),
    ]  # fmt: skip
