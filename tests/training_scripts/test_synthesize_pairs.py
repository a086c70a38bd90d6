"""The script of synthesis and its configurations."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from tiny_generators import tiny_flow_pipeline

from synthcxr.cli.verbs.synthesis import synthesize
from synthcxr.data import load_pairs
from synthcxr.synthesis.executors import check_executor_settings
from synthcxr.training.config_files import read_config


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
CONFIGS = sorted((SCRIPTS / "configs").glob("synthesize*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_holds_flags_of_the_verb_and_settings_of_its_executor(config):
    settings = read_config(config, synthesize.__annotations__)
    check_executor_settings(settings.get("executor", "local"), settings.get("executor_settings", {}))


def test_every_executor_has_a_configuration():
    assert {"synthesize", "synthesize_slurm", "synthesize_ray", "synthesize_jobs"} <= {
        config.stem for config in CONFIGS
    }


def test_the_script_is_the_verb(tmp_path, monkeypatch):
    tiny_flow_pipeline().save_pretrained(tmp_path / "generator")
    (tmp_path / "reports.jsonl").write_text('{"report": "Normal."}\n')
    script = SCRIPTS / "synthesize_pairs.py"
    flags = ["--config", SCRIPTS / "configs" / "synthesize.yaml", "--num-inference-steps", "1", "--workers", "1"]
    flags += ["--generator", tmp_path / "generator", "--reports", tmp_path / "reports.jsonl"]
    monkeypatch.setattr(sys, "argv", [str(item) for item in (script, *flags, "--output-dir", tmp_path / "pairs")])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert caught.value.code == 0
    assert load_pairs(tmp_path / "pairs")["report"][:] == ["Normal."]


@pytest.mark.parametrize("file", [SCRIPTS / "synthesize_pairs.py", *CONFIGS], ids=lambda path: path.name)
def test_the_files_that_a_usage_line_names_exist(file):
    named = re.findall(r"training_scripts/[\w./]+", file.read_text())
    assert [name for name in named if not (SCRIPTS.parent / name).is_file()] == []
