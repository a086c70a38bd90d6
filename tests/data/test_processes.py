import subprocess
import sys
import time

from synthcxr.data.processes import map_in_processes


PROGRAM = """
import signal
import sys
import time
from pathlib import Path

from synthcxr.data.processes import map_in_processes

FOLDER = Path(sys.argv[1])


def make(task, on_row):
    for row in range(5):
        if task == "bad" and row == 2:
            raise ValueError("a bad row")
        time.sleep(0.02 if task != "slow" else 0.5)
        on_row()
    (FOLDER / f"{task}.done").touch()
    return f"{task}, made"


if __name__ == "__main__":
    counts = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts the tests in the background ignores it
    try:
        print(sorted(map_in_processes(make, sys.argv[2:], num_proc=2, on_progress=counts.append)))
    except (ValueError, KeyboardInterrupt) as error:
        print(type(error).__name__, error)
    print(sum(counts))
"""


def start(tmp_path, *tasks):
    (tmp_path / "work.py").write_text(PROGRAM)
    command = [sys.executable, tmp_path / "work.py", tmp_path, *tasks]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_one_process_works_here_and_counts_every_row():
    counts = []

    def make(task, on_row):
        for _ in range(task):
            on_row()
        return task * 10

    assert list(map_in_processes(make, [1, 2, 3], num_proc=1, on_progress=counts.append)) == [10, 20, 30]
    assert counts == [1] * 6
    assert list(map_in_processes(make, [], num_proc=4, on_progress=counts.append)) == []


def test_an_error_comes_through_and_the_others_stop_soon(tmp_path):
    said, complaints = start(tmp_path, "bad", "slow", "never").communicate(timeout=120)
    assert said.splitlines()[0] == "ValueError a bad row"
    assert not list(tmp_path.glob("*.done"))
    assert "Traceback" not in complaints


def test_an_interrupt_stops_everything_without_noise(tmp_path):
    process = start(tmp_path, *["slow"] * 8)
    while process.poll() is None and not list(tmp_path.glob("*.done")):
        time.sleep(0.05)
    process.send_signal(2)
    said, complaints = process.communicate(timeout=120)
    assert said.splitlines()[0].startswith("KeyboardInterrupt")
    assert "Traceback" not in complaints
