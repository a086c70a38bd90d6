"""The scripts of the adaptation and their configurations."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from synthcxr.training.adapt_image_encoder import ImageAdaptationArguments
from synthcxr.training.adapt_text_encoder import TextAdaptationArguments
from synthcxr.training.arguments import PretrainingArguments, parse_arguments


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
KINDS = {"image": ImageAdaptationArguments, "text": TextAdaptationArguments}


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_is_parsed_to_what_it_says(kind):
    config = SCRIPTS / "configs" / f"adapt_{kind}_encoder.yaml"
    flags = ["--config", str(config), "--dataset", "pairs", "--use-cpu"]
    script_args, training_args = parse_arguments([KINDS[kind], PretrainingArguments], flags, program="test")
    for key, value in yaml.safe_load(config.read_text()).items():
        parsed = getattr(script_args if hasattr(script_args, key) else training_args, key)
        assert type(value)(getattr(parsed, "value", parsed)) == value, key


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_that_a_usage_line_names_exist(kind):
    for file in (SCRIPTS / f"adapt_{kind}_encoder.py", SCRIPTS / "configs" / f"adapt_{kind}_encoder.yaml"):
        named = re.findall(r"training_scripts/[\w./]+", file.read_text())
        assert named
        assert [name for name in named if not (SCRIPTS.parent / name).is_file()] == []


def run_script(kind, monkeypatch, *flags):
    script = SCRIPTS / f"adapt_{kind}_encoder.py"
    monkeypatch.setattr(sys, "argv", [str(script), *flags])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(script), run_name="__main__")
    return left.value.code


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_is_one_line(kind, monkeypatch):
    message = run_script(kind, monkeypatch, "--datset", "pairs")
    assert message.startswith(f"adapt_{kind}_encoder.py: error: there is no flag --datset")
    assert "\n" not in message


@pytest.mark.parametrize("kind", KINDS)
def test_help_lists_our_flags_first(kind, monkeypatch, capsys):
    assert run_script(kind, monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.index("--dataset") < shown.index("--learning_rate")
