"""The script of the classifier and its configuration."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from synthcxr.training.arguments import PretrainingArguments, parse_arguments
from synthcxr.training.finding_classifier import FindingClassifierArguments


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
SCRIPT, CONFIG = SCRIPTS / "train_finding_classifier.py", SCRIPTS / "configs" / "finding_classifier.yaml"


def test_the_configuration_is_parsed_to_what_it_says():
    flags = ["--config", str(CONFIG), "--dataset", "pairs", "--use-cpu"]
    script_args, training_args = parse_arguments(
        [FindingClassifierArguments, PretrainingArguments], flags, program="test"
    )
    for key, value in yaml.safe_load(CONFIG.read_text()).items():
        parsed = getattr(script_args if hasattr(script_args, key) else training_args, key)
        assert type(value)(getattr(parsed, "value", parsed)) == value, key


@pytest.mark.parametrize("file", [SCRIPT, CONFIG], ids=lambda file: file.name)
def test_the_files_that_a_usage_line_names_exist(file):
    named = re.findall(r"training_scripts/[\w./]+", file.read_text())
    assert named
    assert [name for name in named if not (SCRIPTS.parent / name).is_file()] == []


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--datset", "pairs"], "there is no flag --datset"), (["--dataset", "no/such/folder"], "no/such/folder")],
)
def test_a_mistake_is_one_line(flags, message, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--output-dir", str(tmp_path / "x"), "--use-cpu", *flags])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert left.value.code.startswith("train_finding_classifier.py: error: ")
    assert message in left.value.code
    assert "\n" not in left.value.code
