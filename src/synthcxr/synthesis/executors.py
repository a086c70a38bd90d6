"""datatrove's executors by name: what each may be told, and how one is run from here."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from difflib import get_close_matches
from io import TextIOBase
from pathlib import Path
from typing import Any

import multiprocess
from datatrove.executor import (
    JobsPipelineExecutor,
    LocalPipelineExecutor,
    RayPipelineExecutor,
    SlurmPipelineExecutor,
)
from datatrove.pipeline.base import PipelineStep
from huggingface_hub import get_token
from loguru import logger as datatrove_logger

from ..data.whole_files import write_json
from .worker_processes import children_end_with_us, dead_workers_are_noticed


# Decided here, not by the user; a token is no setting, but what one logs in with.
_OURS = ("self", "pipeline", "tasks", "workers", "logging_dir", "skip_completed", "depends", "depends_job_id", "token")
# Taken beside the arguments of datatrove's class: where jobs on other machines leave what they make.
_ALSO = {"jobs": ("storage",)}
_SUBMITTED = "submitted.json"
_SLOW_TO_LOAD = ["synthcxr.synthesis.engine", "synthcxr.pipelines.pipeline_cxr_synthesis"]


def check_executor_settings(executor: str, settings: Mapping[str, Any]) -> None:
    """
    Refuse what an executor does not take.

    Args:
        executor (`str`): Key of `EXECUTORS`.
        settings (`Mapping`): Arguments of datatrove's class.

    Raises:
        ValueError: If there is no such executor or setting, or one that it needs is missing.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"executor is {executor!r}; expected one of {', '.join(EXECUTORS)}.")
    parameters = inspect.signature(EXECUTORS[executor][0].__init__).parameters
    known = [*_ALSO.get(executor, ()), *(name for name in parameters if name not in _OURS)]
    for name in settings:
        if name not in known:
            closest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"executor_settings has {name!r}, which {executor} does not take; perhaps {closest!r}?")
    needed = [name for name in known if name not in parameters or parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in needed if name not in settings]
    if missing:
        raise ValueError(f"executor_settings lacks {missing[0]!r}, which {executor} needs.")
    if executor == "jobs" and "://" not in str(settings["storage"]):
        raise ValueError(f"storage is {settings['storage']!r}; expected a folder like hf://buckets/name/folder.")


def check_login(executor: str) -> None:
    """
    Refuse to begin what would end for want of a login.

    Raises:
        ValueError: If jobs of the Hub are asked for without a token.
    """
    if executor == "jobs" and get_token() is None:
        raise ValueError("The executor jobs needs a token of the Hub: hf auth login.")


def run_tasks(
    executor: str, step: PipelineStep, *, num_tasks: int, workers: int, state: str, settings: Mapping[str, Any]
) -> None:
    """
    Run a step for every task that has no completion marker.

    Args:
        executor (`str`): Key of `EXECUTORS`.
        step (`PipelineStep`): What is done.
        num_tasks (`int`): Tasks in all.
        workers (`int`): Tasks at the same time; -1 for no limit.
        state (`str`): Folder of markers, logs and statistics; for jobs its URL.
        settings (`Mapping`): Further arguments of datatrove's class.
    """
    cls, run = EXECUTORS[executor]
    with _quiet():
        run(cls([step], tasks=num_tasks, workers=workers, logging_dir=state, **settings))


def is_at_work(state: Path) -> bool:
    """Whether jobs that an earlier call handed to a scheduler are still waiting or running."""
    path = state / _SUBMITTED
    if not path.exists():
        return False
    job_id = json.loads(path.read_text(encoding="utf-8"))["job_id"]
    command = ["squeue", "--noheader", "--jobs", str(job_id)]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ValueError(f"Slurm has job {job_id} for {state.parent}, and there is no squeue here to ask.") from None
    return listed.returncode == 0 and bool(listed.stdout.strip())


class _LocalExecutor(LocalPipelineExecutor):
    """Tells its log files what the tasks do, not the terminal, where a progress bar is."""

    def _launch_run_for_rank(self, rank: int, ranks_q: Any, completed: Any = None, completed_lock: Any = None) -> Any:
        with _quiet():
            return super()._launch_run_for_rank(rank, ranks_q, completed, completed_lock)


def _run_local(executor: _LocalExecutor) -> None:
    # Workers are forked from one process that has all libraries and has not used them yet.
    multiprocess.set_forkserver_preload(_SLOW_TO_LOAD)
    with children_end_with_us(), dead_workers_are_noticed(executor.workers):
        executor.run()


def _run_ray(executor: RayPipelineExecutor) -> None:
    try:
        import ray
    except ImportError:
        raise ValueError("The executor ray needs the package ray: pip install ray.") from None
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    try:
        executor.run()
    finally:
        if started:
            ray.shutdown()


def _run_slurm(executor: SlurmPipelineExecutor) -> None:
    if shutil.which("sbatch") is None:
        raise ValueError("The executor slurm needs sbatch; run this where Slurm takes jobs.")
    executor.run()
    write_json(Path(executor.logging_dir.path) / _SUBMITTED, {"job_id": executor.job_id})


EXECUTORS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "local": (_LocalExecutor, _run_local),
    "ray": (RayPipelineExecutor, _run_ray),
    "slurm": (SlurmPipelineExecutor, _run_slurm),
    "jobs": (JobsPipelineExecutor, JobsPipelineExecutor.run),
}


class _Nowhere(TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """datatrove sends its log to the standard error that it finds; errors come to the user in one line instead."""
    terminal = sys.stderr
    datatrove_logger.remove()
    try:
        with redirect_stderr(_Nowhere()):
            yield
    finally:
        datatrove_logger.remove()
        datatrove_logger.add(terminal)
