"""The script of the generator's adapter and its configuration."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from synthcxr.training.arguments import parse_arguments
from synthcxr.training.text_to_cxr_lora import TextToCxrLoraArguments


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
SCRIPT, CONFIG = SCRIPTS / "train_text_to_cxr_lora.py", SCRIPTS / "configs" / "text_to_cxr_lora.yaml"


def test_the_configuration_is_parsed_to_what_it_says():
    flags = ["--config", str(CONFIG), "--dataset", "pairs", "--model-name-or-path", "generator"]
    (args,) = parse_arguments([TextToCxrLoraArguments], flags, program="test")
    for key, value in yaml.safe_load(CONFIG.read_text()).items():
        assert getattr(args, key) == value, key


@pytest.mark.parametrize("file", [SCRIPT, CONFIG], ids=lambda file: file.name)
def test_the_files_that_a_usage_line_names_exist(file):
    named = re.findall(r"training_scripts/[\w./]+", file.read_text())
    assert named
    assert [name for name in named if not (SCRIPTS.parent / name).is_file()] == []


def run_script(monkeypatch, *flags):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return left.value.code


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--datset", "pairs"], "there is no flag --datset"),
        (["--objective", "flow"], "there is no flag --objective"),  # the generator's scheduler decides
        (["--dataset", "pairs", "--output-dir", "run"], "there is no generator to adapt; give --model-name-or-path"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, flags, message):
    shown = run_script(monkeypatch, *flags)
    assert shown.startswith(f"train_text_to_cxr_lora.py: error: {message}")
    assert "\n" not in shown


def test_help_lists_every_flag(monkeypatch, capsys):
    assert run_script(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "--rank" in shown
    assert "--objective" not in shown
