"""Work spread over processes, with progress, that ends when its parent does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.sharedctypes import Synchronized
from typing import TypeVar


Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

_POLL_SECONDS = 0.2

# Set in a worker by `_start_worker`: rows made by all of them, and whether to give up.
_counter: Synchronized | None = None
_stop: Synchronized | None = None


def map_in_processes(
    make: Callable[[Task, Callable[[], None]], Outcome],
    tasks: Sequence[Task],
    *,
    num_proc: int,
    on_progress: Callable[[int], object],
) -> Iterator[Outcome]:
    """
    Outcomes of `make(task, on_row)`, in the order in which they are ready.

    Processes are spawned, not forked, so that threads of numerical libraries cannot hang them; a script that is run
    directly needs the usual `if __name__ == "__main__":`. Should this process be killed, they end by themselves.

    Args:
        make (`Callable`): A module's function or a `partial` of one; it calls `on_row` once per row of progress.
        tasks (`Sequence`): One call each.
        num_proc (`int`): Processes; with 1 (or one task) everything runs in this one.
        on_progress (`Callable[[int], object]`): Told how many rows were made since the last call.

    Raises:
        RuntimeError: If a process dies, for example for lack of memory. Whatever `make` raises comes through as it is;
            the other processes then end with the row in hand.
    """
    if min(num_proc, len(tasks)) <= 1:
        yield from (make(task, lambda: on_progress(1)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Value("b", 0)
    executor = ProcessPoolExecutor(
        min(num_proc, len(tasks)), mp_context=context, initializer=_start_worker, initargs=(counter, stop)
    )
    seen = 0
    try:
        pending = {executor.submit(_work, make, task) for task in tasks}
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            count = counter.get_obj().value  # without the lock: a worker may have died holding it
            on_progress(count - seen)
            seen = count
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        raise RuntimeError("A process was killed, perhaps for lack of memory; run again to go on.") from error
    finally:
        stop.value = True  # after an error or an interrupt, the others end with the row in hand
        executor.shutdown(cancel_futures=True)


def _start_worker(counter: Synchronized, stop: Synchronized) -> None:
    global _counter, _stop
    _counter, _stop = counter, stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then says stop
    if wait_for_end([multiprocessing.parent_process().sentinel], timeout=0):
        os._exit(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    wait_for_end([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _work(make: Callable[[Task, Callable[[], None]], Outcome], task: Task) -> Outcome:
    return make(task, _count_row)


def _count_row() -> None:
    if _stop.value:
        raise RuntimeError("Another process failed, or the work was interrupted.")
    with _counter.get_lock():
        _counter.value += 1
