"""Where the figures of this process and its siblings are kept, and how they are read out together.

The workers of a server keep their figures in files of one folder (Prometheus's multi-process mode), and whichever is asked
answers for all. The folder belongs to one run of the server: it is named by the process that started the workers and by when that
began, since in a container each run has the same numbers, and folders of runs that are over are removed.

Promises: only series of ours are read out, though other parts of the server may keep theirs in the same folder; a worker that
died counts on in counters and no more in gauges. Does not: listen anywhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from governance.errors import SettingsError
from governance.places import make_private

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric
    from prometheus_client.registry import Collector

PREFIX: Final = "mlgov_"
_ROOM: Final = 8 << 20
_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
_RUN: Final = re.compile(r"run-(\d+)(?:-\d+)?")
_LIVE_GAUGE: Final = re.compile(r"gauge_live[a-z]+_(\d+)\.db")


def prepare(folder: Path) -> None:
    """Have the workers of this server share their figures, in a folder of this run below `folder`, or in the one that the
    environment names. Before the first figure is made. Raises `SettingsError`."""
    try:
        from prometheus_client import values
    except ImportError as error:
        raise SettingsError(
            "metrics need the package `prometheus-client`", hint="`pip install 'mlflow-governance[metrics]'`"
        ) from error
    if _VARIABLE not in os.environ:
        try:
            make_private(folder)
            _remove_old_runs(folder)
            run = folder / _run_of(os.getppid())
            run.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingsError(
                f"the folder for metrics `{folder}` cannot be used: {error.strerror}",
                hint="Fix `MLGOV_METRICS_PATH`.",
            ) from error
        os.environ[_VARIABLE] = str(run)
    # The library chooses when it is imported, which MLflow may have done already.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # as the library has it


def has_room() -> bool:
    """Whether the disk under the shared figures has room. Where it has none, the system ends a process that touches a page of
    such a file which was not written before, whatever the process would have caught."""
    folder = os.environ.get(_VARIABLE)
    if not folder:
        return True
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= _ROOM


@functools.cache
def own_registry() -> CollectorRegistry:
    """The figures of this process."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise SettingsError(
            "metrics need the package `prometheus-client`", hint="`pip install 'mlflow-governance[metrics]'`"
        ) from error
    return CollectorRegistry()


def exposition(collectors: Iterable[Collector] = ()) -> tuple[bytes, str]:
    """The text that Prometheus reads, of this process and its siblings and of `collectors`, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    folder = os.environ.get(_VARIABLE)
    if folder and Path(folder).is_dir():
        _forget_dead_workers(Path(folder))
        registry.register(_Shared(Path(folder)))
    else:
        registry.register(own_registry())
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Shared:
    """Our series among those in the shared folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.multiprocess import MultiProcessCollector

        whole = MultiProcessCollector(None, str(self._folder))  # type: ignore[no-untyped-call]  # as the library has it
        found: Iterable[Metric] = whole.collect()  # type: ignore[no-untyped-call]
        yield from (metric for metric in found if metric.name.startswith(PREFIX))


def _forget_dead_workers(folder: Path) -> None:
    for file in folder.glob("gauge_live*.db"):
        match = _LIVE_GAUGE.fullmatch(file.name)
        if match is not None and not _is_alive(int(match[1])):
            file.unlink(missing_ok=True)


def _remove_old_runs(folder: Path) -> None:
    for run in folder.iterdir():
        match = _RUN.fullmatch(run.name)
        if match is not None and not (_is_alive(int(match[1])) and run.name == _run_of(int(match[1]))):
            with contextlib.suppress(OSError):
                shutil.rmtree(run)


def _run_of(pid: int) -> str:
    """The name of the run of a server whose workers this process started. Where the system does not say since when it runs, as
    outside Linux, its number has to do."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return f"run-{pid}"
    return f"run-{pid}-{told.rpartition(')')[2].split()[19]}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
