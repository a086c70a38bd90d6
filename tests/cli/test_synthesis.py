"""The verb `synthesize`, as a user types it."""

import json
import resource
import subprocess
import sys

import pytest
from tiny_generators import tiny_flow_pipeline

from synthcxr.cli.main import main
from synthcxr.data import load_pairs


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generators") / "tiny-generator"
    tiny_flow_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def reports(tmp_path):
    path = tmp_path / "reports.csv"
    path.write_text("report\nLarge left pleural effusion.\nNormal.\n")
    return str(path)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["synthesize", *arguments])
    shown = capsys.readouterr()
    return caught.value.code, shown.out, shown.err


def test_a_configuration_file_and_flags_make_a_dataset(capsys, generator, reports, tmp_path):
    config = tmp_path / "synthesize.yaml"
    settings = "executor_settings:\n  randomize_start_duration: 0\n"
    config.write_text(f"generator: {generator}\nreports: {reports}\nnum-pairs: 2\nworkers: 1\n{settings}")
    folder = tmp_path / "pairs"
    flags = ["--config", str(config), "--output-dir", str(folder), "--num-pairs", "4", "--num-inference-steps", "1"]
    code, out, err = run(capsys, *flags, "--guidance-scale", "1")
    assert code == 0, err
    assert out.split() == [str(folder)]
    assert load_pairs(folder)["report"][:] == ["Large left pleural effusion."] * 2 + ["Normal."] * 2
    assert json.loads((folder / "manifest.json").read_text())["request"]["num_inference_steps"] == 1
    assert "not for clinical use" in " ".join((folder / "README.md").read_text().lower().split())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--generator", "no-such-generator"], "no-such-generator is no folder with a generator"),
        (["--executor", "spark"], "'spark' is not one of"),
        (["--executor-settings", "{partition: gpu}"], "'partition', which local does not take"),
        (["--executor-settings", "gpu"], "expected a mapping"),
        (["--reports", "nothing.jsonl"], "nothing.jsonl"),
        (["--num-pairs", "0"], "greater than or equal to 1"),
        (["--shards", "3"], "--shard-size"),
    ],
)
def test_bad_usage_is_one_line_and_exits_with_2(capsys, generator, reports, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "--reports", reports, "--generator", generator, "--output-dir", "pairs", *flags)
    assert code == 2
    assert message in err
    assert err.startswith("synthcxr: error: ")
    assert err.count("\n") == 1


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(generator, reports, tmp_path, capsys):
    def allow_small_files_only():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    flags = ["--reports", reports, "--generator", generator, "--output-dir", str(tmp_path / "pairs")]
    flags += ["--num-inference-steps", "1", "--workers", "1", "--shard-size", "1"]
    command = [sys.executable, "-m", "synthcxr.cli", "synthesize", *flags]
    failed = subprocess.run(command, capture_output=True, text=True, preexec_fn=allow_small_files_only, check=False)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "synthcxr: error: OSError" in last
    assert "File too large while writing" in last
    assert "finished shards are kept" in last
    assert "Traceback" not in failed.stderr
    assert run(capsys, *flags)[0] == 0
    assert load_pairs(tmp_path / "pairs").num_rows == 2
