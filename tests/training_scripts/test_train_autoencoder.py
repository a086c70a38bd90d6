"""The script of the autoencoder and its configuration."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.autoencoder import AutoencoderArguments


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
SCRIPT, CONFIG = SCRIPTS / "train_autoencoder.py", SCRIPTS / "configs" / "autoencoder.yaml"


def test_the_configuration_is_parsed_to_what_it_says():
    flags = ["--config", str(CONFIG), "--dataset", "pairs", "--use-cpu"]
    script_args, training_args = parse_arguments([AutoencoderArguments, PretrainingArguments], flags, program="test")
    for key, value in yaml.safe_load(CONFIG.read_text()).items():
        parsed = getattr(script_args if hasattr(script_args, key) else training_args, key)
        assert type(value)(getattr(parsed, "value", parsed)) == value, key


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


def test_a_mistake_is_one_line(monkeypatch):
    message = run_script(monkeypatch, "--datset", "pairs")
    assert message.startswith("train_autoencoder.py: error: there is no flag --datset")
    assert "\n" not in message


def test_help_lists_our_flags_first(monkeypatch, capsys):
    assert run_script(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.index("--block_out_channels") < shown.index("--learning_rate")
