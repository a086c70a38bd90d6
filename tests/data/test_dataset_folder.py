import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import psutil
import pytest
from datasets import load_dataset
from filelock import FileLock

from synthcxr.data import Pair, load_pairs
from synthcxr.data.dataset_folder import plan_shards, read_manifest, write_dataset
from synthcxr.data.shards import BadRow


ITEMS, SHARD_SIZE = list(range(30)), 3
SPLITS = ["train"] * 24 + ["test"] * 6

# The same rows as `make_rows` below, made slowly, by a program that can be killed and that starts processes.
PROGRAM = """
import sys
import time

import numpy as np

from synthcxr.data import Pair
from synthcxr.data.dataset_folder import plan_shards, write_dataset


def make_rows(items):
    for item in items:
        image = np.random.default_rng(item).integers(0, 256, (64, 64), dtype=np.uint8)
        time.sleep(float(sys.argv[3]))
        yield Pair(id=f"row-{item}", image=image, report="Text.", origin="simulated", source="a-test@1")


if __name__ == "__main__":
    plans = plan_shards(range(30), ["train"] * 24 + ["test"] * 6, shard_size=3)
    options = dict(request={"rows": 30}, title="Test", num_proc=int(sys.argv[2]), progress=False)
    try:
        write_dataset(sys.argv[1], plans, make_rows, **options)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
"""


def make_rows(items):
    for item in items:
        image = np.random.default_rng(item).integers(0, 256, (64, 64), dtype=np.uint8)
        yield Pair(id=f"row-{item}", image=image, report="Text.", origin="simulated", source="a-test@1")


def write(folder, rows=make_rows, *, request=None, splits=SPLITS, shard_size=SHARD_SIZE, **options):
    plans = plan_shards(ITEMS, splits, shard_size=shard_size)
    return write_dataset(folder, plans, rows, request=request or {"rows": 30}, title="Test", progress=False, **options)


def contents(folder):
    """Every file of a dataset, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The files of an uninterrupted build."""
    return contents(write(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def program(tmp_path):
    """A function that gives the command of a program that builds the same dataset."""
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return lambda *, num_proc=1, seconds_per_row=0.0: [
        *(sys.executable, str(path), str(tmp_path / "pairs")),
        *(str(num_proc), str(seconds_per_row)),
    ]


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_rows_come_back_in_order(expected, tmp_path):
    folder = write(tmp_path / "pairs")
    assert contents(folder) == expected
    assert load_dataset(str(folder), split="train")["id"][:] == [f"row-{item}" for item in range(24)]
    assert load_dataset(str(folder), split="test", streaming=True).num_shards == 2


@pytest.mark.parametrize("num_proc", [1, 2])
def test_a_killed_build_goes_on_to_the_same_bytes(expected, program, tmp_path, num_proc):
    folder = tmp_path / "pairs"
    process = subprocess.Popen(program(num_proc=num_proc, seconds_per_row=0.05))
    wait_for(lambda: len(list(folder.glob(".shards/*.json"))) >= 2, process)
    helpers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(helpers, timeout=60)[1] == [], "the killed program's processes end by themselves"
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("data/*.parquet")}
    assert 2 <= len(finished) < 10
    with pytest.raises(ValueError, match="is not finished; run the command that builds it again"):
        load_pairs(folder)

    (folder / "data" / ".train-00007-of-00008.parquet.7.tmp").write_bytes(b"half")
    write(folder)
    assert contents(folder) == expected
    recorded = [path for path, changed in finished.items() if path.stat().st_mtime_ns == changed]
    assert len(recorded) >= 2


def test_a_process_that_dies_is_said_and_what_is_finished_stays(expected, tmp_path):
    code = PROGRAM.replace("time.sleep(float(sys.argv[3]))", "import os; item == 14 and os._exit(9)")
    code = code.replace("(OSError, ValueError)", "RuntimeError")
    (tmp_path / "build.py").write_text(code)
    command = [sys.executable, tmp_path / "build.py", tmp_path / "pairs", "2", "0"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "A process was killed, perhaps for lack of memory; run again to go on." in failed.stderr
    assert list(tmp_path.glob("pairs/.shards/*.json"))
    assert contents(write(tmp_path / "pairs")) == expected


def test_a_full_disk_is_said_in_one_line_and_nothing_is_lost(expected, program, tmp_path):
    def allow_small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    failed = subprocess.run(program(), capture_output=True, text=True, preexec_fn=allow_small_files_only, check=False)
    assert failed.returncode == 1
    assert failed.stderr.strip().count("\n") == 0
    assert "while writing" in failed.stderr
    assert "finished shards are kept" in failed.stderr
    assert not list((tmp_path / "pairs").rglob("*.tmp"))
    assert contents(write(tmp_path / "pairs")) == expected


def test_only_one_process_builds_in_a_folder(tmp_path):
    with (
        FileLock(tmp_path / ".building.lock"),
        pytest.raises(ValueError, match="is being built by another process"),
    ):
        write(tmp_path)


def test_a_finished_dataset_is_reused_even_with_another_readme(tmp_path):
    folder = write(tmp_path / "pairs")
    (folder / "README.md").write_text("A card.\n")
    before = contents(folder)

    def refuse(items):
        raise AssertionError("nothing is to be made")

    assert write(folder, refuse) == folder
    assert contents(folder) == before


def test_another_request_in_the_same_folder_is_refused(tmp_path):
    folder = write(tmp_path / "pairs", request={"size": 64, "seed": 1})
    before = contents(folder)
    with pytest.raises(ValueError, match=r"another request: size \(64 there, 96 now\), old \(None there, 2 now\)"):
        write(folder, request={"size": 96, "seed": 1, "old": 2})
    assert contents(folder) == before


def test_a_request_that_made_nothing_binds_nobody(expected, tmp_path):
    def fail(items):
        raise ValueError("no such size")

    with pytest.raises(ValueError, match="no such size"):
        write(tmp_path / "pairs", fail, request={"size": 1})
    assert contents(write(tmp_path / "pairs")) == expected


def test_a_changed_or_lost_shard_is_made_again(expected, tmp_path, caplog):
    folder = write(tmp_path / "pairs")
    damaged, lost = sorted(folder.glob("data/train-*"))[:2]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(bytes(data))
    lost.unlink()
    write(folder)
    assert contents(folder) == expected
    assert caplog.text.count("is missing or was changed; it is made again") == 2


def test_bad_rows_are_named_counted_and_made_again_once_repaired(expected, tmp_path, caplog):
    def make_some(items):
        for row in make_rows(items):
            yield BadRow(row.id, "its file is cut short") if row.id in ("row-4", "row-25") else row

    folder = write(tmp_path / "pairs", make_some)
    assert load_pairs(folder).num_rows == 23
    assert load_pairs(folder, "test").num_rows == 5
    assert "Left out row-4: its file is cut short" in caplog.text
    assert "pairs: 2;" in caplog.text
    bad = [item["id"] for shard in read_manifest(folder)["shards"] for item in shard["bad_rows"]]
    assert bad == ["row-4", "row-25"]
    assert contents(write(folder)) == expected


def test_nothing_but_bad_rows_is_an_error(tmp_path):
    def make_none(items):
        yield from (BadRow(f"row-{item}", "there is no file") for item in items)

    with pytest.raises(ValueError, match="would have no row: row-0: there is no file"):
        write(tmp_path / "pairs", make_none)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match="was not built here"):
        write(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    with pytest.raises(ValueError, match="is a file"):
        write(tmp_path / "README.md")


def test_a_manifest_that_is_not_ours_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("not JSON")
    with pytest.raises(ValueError, match="is damaged"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="is of another format"):
        read_manifest(tmp_path)
    for damage in ('{"format": 1}', '{"format": 1, "complete": true, "request": {}, "shards": {}}'):
        (tmp_path / "manifest.json").write_text(damage)
        with pytest.raises(ValueError, match=r"manifest\.json is damaged: (complete|shards) is"):
            read_manifest(tmp_path)


def test_records_of_shards_that_are_damaged_are_refused(tmp_path):
    folder = write(tmp_path / "pairs")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0].pop("sha256")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="has damaged records of its shards"):
        write(folder)
