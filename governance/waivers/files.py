"""The files of the steps, beside the documents they belong to.

Promises: only files with the name of a step are read, within a size, and no more than a bound. Does not: believe them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from governance.errors import ConfigurationError
from governance.policy.load import step_paths
from governance.waivers.steps import MAX_STEP, StepFile, as_step_file


def read_steps(paths: Sequence[Path]) -> tuple[StepFile, ...]:
    """The steps in and below the folders where policies lie. Raises `ConfigurationError` for one that cannot be read."""
    found = []
    for path in step_paths(paths):
        try:
            with path.open("rb") as stream:
                step = as_step_file(path.name, stream.read(MAX_STEP + 1))
        except OSError as error:
            raise ConfigurationError(f"the waiver step `{path}` cannot be read: {error.strerror}") from error
        if step is not None:
            found.append(step)
    return tuple(found)


def steps_among(files: Mapping[str, bytes]) -> tuple[StepFile, ...]:
    """The steps among the files of a policy bundle."""
    found = (as_step_file(name, data) for name, data in sorted(files.items()))
    return tuple(step for step in found if step is not None)
