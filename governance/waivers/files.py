"""The files of the steps, beside the documents they belong to.

Promises: only files with the name of a step are read, within a size, and no more than a bound. Does not: believe them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from governance.errors import PolicyInvalidError
from governance.places import open_file
from governance.policy.load import step_paths
from governance.waivers.steps import MAX_STEP, StepFile, as_step_file

MAX_STEPS = 20_000


def read_steps(paths: Sequence[Path]) -> tuple[StepFile, ...]:
    """The steps in and below the folders where policies lie. Raises `PolicyInvalidError` for one that cannot be read:
    it may be a revocation.
    """
    found, listed = [], step_paths(paths)
    if len(listed) > MAX_STEPS:
        raise PolicyInvalidError(
            [f"{listed[0].parent}:1:1: expected at most {MAX_STEPS} steps of waivers, got {len(listed)}"]
        )
    for path in listed:
        try:
            with open_file(path) as stream:
                step = as_step_file(path.name, stream.read(MAX_STEP + 1))
        except OSError as error:
            raise PolicyInvalidError(
                [f"{path}:1:1: expected a step of a waiver that can be read, got {error.strerror}"]
            ) from error
        if step is not None:
            found.append(step)
    return tuple(found)


def steps_among(files: Mapping[str, bytes]) -> tuple[StepFile, ...]:
    """The steps among the files of a policy bundle."""
    found = (as_step_file(name, data) for name, data in sorted(files.items()))
    return tuple(step for step in found if step is not None)
