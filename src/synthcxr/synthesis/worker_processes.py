"""What datatrove's local executor lacks: workers that end with their parent, and a parent that notices their end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

import multiprocess


_POLL_SECONDS = 0.1
_ALARM = signal.SIGUSR1  # not an interrupt, which a job in the background ignores

_is_watching = False
# Of the parent, while `children_end_with_us`: nothing is ever written, so reading ends when the parent does.
_life_line: tuple[int, int] | None = None


class _WorkerKilled(BaseException):
    """Raised where the parent waits."""


def end_with_parent() -> None:
    """In a worker: end when the process that started it is gone, and leave Ctrl-C to that one."""
    global _is_watching
    parent = multiprocess.parent_process()
    if parent is None or _is_watching:
        return
    _is_watching = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def children_end_with_us() -> Iterator[None]:
    """Processes that are forked meanwhile, such as the manager of a pool, end when this one is killed."""
    global _life_line
    _life_line = os.pipe()
    try:
        yield
    finally:
        for end in _life_line:
            os.close(end)
        _life_line = None


@contextmanager
def dead_workers_are_noticed(num_workers: int) -> Iterator[None]:
    """
    Raise when a worker of a pool is killed: the pool starts another one and waits for the lost task for ever.

    Args:
        num_workers (`int`): Processes of the pool.

    Raises:
        RuntimeError: If one of them is killed, for example for lack of memory.
    """
    if num_workers < 2 or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop, before = threading.Event(), _workers()

    def watch() -> None:
        seen: set[int] = set()
        while not stop.wait(_POLL_SECONDS):
            seen |= _workers() - before
            if len(seen) > num_workers:
                signal.pthread_kill(threading.main_thread().ident, _ALARM)
                return

    handler = signal.signal(_ALARM, _raise_worker_killed)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except _WorkerKilled:
        raise RuntimeError("A worker was killed, perhaps for lack of memory; run again to go on.") from None
    finally:
        stop.set()
        signal.signal(_ALARM, handler)


def _raise_worker_killed(*_: object) -> None:
    raise _WorkerKilled


def _workers() -> set[int]:
    return {process.pid for process in multiprocess.active_children() if "PoolWorker" in process.name}


def _follow_parent() -> None:
    if _life_line is not None:
        reading, writing = _life_line
        os.close(writing)
        threading.Thread(target=_end_after, args=(reading,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


os.register_at_fork(after_in_child=_follow_parent)
