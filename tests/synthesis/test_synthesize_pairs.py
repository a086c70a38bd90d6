import hashlib
import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import time

import psutil
import pytest
from datasets import load_dataset

from synthcxr.data import load_pairs
from synthcxr.data.dataset_folder import read_manifest
from synthcxr.synthesis import synthesize_pairs


OPTIONS = {"shard_size": 3, "batch_size": 2, "progress": False}
FINDINGS = (
    "Large left pleural effusion.",
    "Normal.",
    "The heart is enlarged. The lungs are clear.",
    "___",
    "No nodule.",
)

PROGRAM = """
import json
import sys

from synthcxr.synthesis import synthesize_pairs

if __name__ == "__main__":
    reports, folder, generator, options = sys.argv[1:]
    synthesize_pairs(reports, folder, generator=generator, **json.loads(options))
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Thirty reports, six of which cannot be drawn."""
    path = tmp_path_factory.mktemp("reports") / "reports.jsonl"
    rows = [
        {"impression": FINDINGS[number % 5], "findings": "", "id": f"r-{number}", "origin": "simulated", "labels": []}
        for number in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def contents(folder):
    """A hash of every file, by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def expected(reports, generator_folder, tmp_path_factory):
    """The files of a run of one worker that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "pairs"
    return contents(synthesize_pairs(reports, folder, generator=generator_folder, workers=1, **OPTIONS))


@pytest.fixture
def start(reports, generator_folder, tmp_path):
    """Starts the same run as a program, in `tmp_path / "pairs"`."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def start(**options):
        arguments = [reports, tmp_path / "pairs", generator_folder, json.dumps(OPTIONS | options)]
        return subprocess.Popen([sys.executable, program, *arguments])

    return start


def test_the_pairs_follow_the_schema_and_load(reports, generator_folder, tmp_path):
    folder = synthesize_pairs(reports, tmp_path / "pairs", generator=generator_folder, workers=1, **OPTIONS)
    pairs = load_pairs(folder)
    assert pairs.num_rows == 24
    assert set(load_dataset(str(folder), split="train")["origin"][:]) == {
        pairs.features["origin"].str2int("synthetic")
    }
    row = pairs[0]
    assert row["source"].startswith("tiny-generator@")
    assert (row["prompt"], row["impression"]) == ("Large left pleural effusion.", "Large left pleural effusion.")
    assert row["image"].size == (32, 32)
    manifest = read_manifest(folder)
    bad = [item for shard in manifest["shards"] for item in shard["bad_rows"]]
    assert len(bad) == 6
    assert bad[0]["id"] == "line 4 of reports.jsonl"
    assert "no words" in bad[0]["reason"]
    request = manifest["request"]
    assert (request["num_inference_steps"], request["guidance_scale"]) == (2, 2.0), "as the checkpoint recommends"
    assert (request["generator"], request["seed"], request["batch_size"]) == (row["source"], 0, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "data", "manifest.json"]


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_does_not_change_a_byte(expected, reports, generator_folder, tmp_path, workers):
    folder = synthesize_pairs(reports, tmp_path / "pairs", generator=generator_folder, workers=workers, **OPTIONS)
    assert contents(folder) == expected


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_bytes(expected, start, reports, generator_folder, tmp_path, workers):
    folder = tmp_path / "pairs"
    process = start(workers=workers)
    deadline = time.monotonic() + 300
    while len(list(folder.glob(".shards/*.json"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    helpers = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(helpers, timeout=60)[1] == [], "workers end by themselves"
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("data/*.parquet")}
    with pytest.raises(ValueError, match="is not finished"):
        load_pairs(folder)

    synthesize_pairs(reports, folder, generator=generator_folder, workers=1, **OPTIONS)
    assert contents(folder) == expected
    assert sum(path.stat().st_mtime_ns == changed for path, changed in finished.items()) >= 2


def test_a_finished_dataset_is_not_drawn_again_and_another_request_is_refused(
    expected, reports, generator_folder, tmp_path
):
    folder = tmp_path / "pairs"
    synthesize_pairs(reports, folder, generator=generator_folder, workers=1, **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    synthesize_pairs(reports, folder, generator=generator_folder, workers=1, **OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(ValueError, match=r"another request: .*seed \(0 there, 1 now\)"):
        synthesize_pairs(reports, folder, generator=generator_folder, workers=1, seed=1, **OPTIONS)
    with pytest.raises(ValueError, match=r"another request: num_inference_steps \(2 there, 3 now\)"):
        synthesize_pairs(reports, folder, generator=generator_folder, num_inference_steps=3, workers=1, **OPTIONS)
    assert contents(folder) == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_says_comes_through_in_one_line(reports, generator_folder, tmp_path, workers, capfd):
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(generator_folder, damaged)
    (damaged / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="The generator .* cannot be loaded") as caught:
        synthesize_pairs(reports, tmp_path / "pairs", generator=damaged, workers=workers, **OPTIONS)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_moved_source_is_the_same_source_and_a_changed_shard_is_drawn_again(
    expected, reports, generator_folder, tmp_path
):
    moved = tmp_path / "elsewhere" / reports.name
    moved.parent.mkdir()
    moved.write_bytes(reports.read_bytes())
    folder = tmp_path / "pairs"
    synthesize_pairs(reports, folder, generator=generator_folder, workers=1, **OPTIONS)
    damaged = next(folder.glob("data/*-00003-*"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    synthesize_pairs(moved, folder, generator=generator_folder, workers=1, **OPTIONS)
    assert contents(folder) == expected


def test_bad_arguments_are_refused_before_anything_is_loaded(reports, tmp_path):
    for options, message in (
        ({"num_pairs": 0}, "num_pairs is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"shard_size": 0}, "shard_size is 0"),
        ({"executor": "spark"}, "executor is 'spark'"),
        ({"generator": "no-such-generator"}, "is no folder with a generator"),
    ):
        with pytest.raises(ValueError, match=message):
            synthesize_pairs(reports, tmp_path / "pairs", **{"generator": "unread", **options})
    assert not (tmp_path / "pairs").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_a_ray_cluster_draws_the_same_bytes(expected, reports, generator_folder, tmp_path):
    settings = {"mem_per_cpu_gb": 0.5}
    folder = synthesize_pairs(
        *(reports, tmp_path / "pairs"),
        **{"generator": generator_folder, "executor": "ray", "workers": 2, "executor_settings": settings},
        **OPTIONS,
    )
    assert contents(folder) == expected


SCRIPTS = {
    "sbatch": """#!/bin/sh
for script; do :; done
grep -q launch_pickled_pipeline "$script" && cp "$script" "$0.job"
echo Submitted batch job 17
""",
    "srun": """#!/bin/sh
while [ "$1" != launch_pickled_pipeline ]; do shift; done
exec "$@"
""",
    "scontrol": "#!/bin/sh\necho here\n",
    "squeue": '#!/bin/sh\ntest -e "$0.queue" && cat "$0.queue"\n',
}


@pytest.mark.slow
def test_slurm_jobs_draw_the_same_bytes(expected, reports, generator_folder, tmp_path, monkeypatch):
    """With stand-ins for Slurm's commands: what is submitted is run here."""
    for name, script in SCRIPTS.items():
        (tmp_path / name).write_text(script)
        os.chmod(tmp_path / name, stat.S_IRWXU)
    path = os.pathsep.join([str(tmp_path), os.path.dirname(sys.executable), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    settings = {"partition": "none", "time": "00:10:00", "tasks_per_job": 5, "requeue_signals": None}
    options = OPTIONS | {"generator": generator_folder, "executor": "slurm", "executor_settings": settings}

    folder = synthesize_pairs(reports, tmp_path / "pairs", **options)
    assert not read_manifest(folder)["complete"]
    (tmp_path / "squeue.queue").write_text("17_[0-1] none synthesize\n")
    with pytest.raises(ValueError, match="are still at work; run the same command again when they are done"):
        synthesize_pairs(reports, folder, **options)
    (tmp_path / "squeue.queue").unlink()
    for index in (0, 1):
        environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_NODELIST": "here"}
        subprocess.run(["sh", tmp_path / "sbatch.job"], env=environment, check=True, capture_output=True)
    synthesize_pairs(reports, folder, **options)
    assert contents(folder) == expected
