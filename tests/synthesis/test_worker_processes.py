import os
import signal
import subprocess
import sys
import time

import multiprocess
import psutil
import pytest

from synthcxr.synthesis.worker_processes import dead_workers_are_noticed


PROGRAM = """
import time

import multiprocess

from synthcxr.synthesis.worker_processes import children_end_with_us, end_with_parent


def work(number):
    end_with_parent()
    time.sleep(600)


if __name__ == "__main__":
    with children_end_with_us(), multiprocess.Manager(), multiprocess.get_context("forkserver").Pool(2) as pool:
        pool.apply_async(work, (1,))
        time.sleep(1)
        print("at work", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def interruptible():
    """A job in the background ignores interrupts, and so would its tests."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_job_in_the_background_notices_its_dead_workers_too():
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        test_a_worker_that_is_killed_is_said_instead_of_waiting_for_ever()
    finally:
        signal.signal(signal.SIGINT, handler)


def test_everything_that_was_started_ends_when_the_parent_is_killed(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen([sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at work\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4, "a manager, a fork server and two workers"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(children, timeout=60)[1] == []


def work_and_die(code):
    time.sleep(1)
    os._exit(code)


def test_a_worker_that_is_killed_is_said_instead_of_waiting_for_ever():
    with (
        pytest.raises(RuntimeError, match="A worker was killed, perhaps for lack of memory; run again to go on"),
        dead_workers_are_noticed(2),
        multiprocess.get_context("fork").Pool(2) as pool,
    ):
        list(pool.imap_unordered(work_and_die, [9]))


def test_workers_that_end_in_good_order_are_no_cause_of_alarm():
    with dead_workers_are_noticed(2), multiprocess.get_context("fork").Pool(2) as pool:
        assert sorted(pool.imap_unordered(abs, [-1, -2, 3])) == [1, 2, 3]


def test_an_interrupt_by_the_user_stays_one(interruptible):
    with pytest.raises(KeyboardInterrupt), dead_workers_are_noticed(2):
        signal.raise_signal(signal.SIGINT)
