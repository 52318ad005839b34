"""MLflow's progress bar, where somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlflow.utils.file_utils import ArtifactProgressBar

from plugin.context import is_in_server


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], object]]:
    """What to call after each file. Shows MLflow's bar, which `MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR` turns off; never in a
    tracking server, whose log would fill with bars of one file each.
    """
    if total < 2 or is_in_server():
        yield lambda: None
        return
    with ArtifactProgressBar.files(desc=title, total=total) as bar:
        yield bar.update
