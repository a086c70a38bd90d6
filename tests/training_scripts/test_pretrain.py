"""The script and its configurations: every file is read by the parser that the script uses."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import build_model


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
CONFIGS = sorted((SCRIPTS / "configs").glob("*.yaml"))


def parse(config, *flags):
    return parse_arguments(
        [PretrainingScriptArguments, PretrainingArguments],
        ["--config", str(config), "--dataset", "pairs", "--use-cpu", *flags],
        program="pretrain.py",
    )


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_is_parsed_to_what_it_says(config):
    script_args, training_args = parse(config)
    for key, value in yaml.safe_load(config.read_text()).items():
        parsed = getattr(script_args if hasattr(script_args, key) else training_args, key)
        assert type(value)(getattr(parsed, "value", parsed)) == value, key
    assert config.stem.startswith(script_args.model_type), "a configuration is named after its model"


def test_a_flag_wins_over_a_configuration():
    script_args, training_args = parse(CONFIGS[0], "--learning-rate", "0.5", "--no-cache-images")
    assert (training_args.learning_rate, script_args.cache_images) == (0.5, False)


def test_the_tiny_configuration_makes_a_model():
    script_args, training_args = parse(SCRIPTS / "configs" / "convirt.yaml")
    model, processor = build_model(script_args, texts=["No effusion. Left pneumothorax."] * 8, seed=training_args.seed)
    assert model.num_parameters() < 3_000_000
    assert processor.image_processor.size == {"height": 64, "width": 64}


@pytest.mark.parametrize("file", [SCRIPTS / "pretrain.py", *CONFIGS], ids=lambda path: path.name)
def test_the_files_that_a_usage_line_names_exist(file):
    named = re.findall(r"training_scripts/[\w./]+", file.read_text())
    assert named
    assert [name for name in named if not (SCRIPTS.parent / name).is_file()] == []


def test_a_wrong_key_names_the_closest_one(tmp_path):
    config = shutil.copy(CONFIGS[0], tmp_path / "mine.yaml")
    Path(config).write_text(Path(config).read_text().replace("\nlearning_rate", "\nlearning_rat"))
    command = [sys.executable, str(SCRIPTS / "pretrain.py"), "--config", str(config), "--dataset", "pairs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "unknown key 'learning_rat'; did you mean 'learning_rate'" in done.stderr


def test_a_wrong_key_costs_the_script_one_line(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("datset: [pairs]\n")
    command = [sys.executable, str(SCRIPTS / "pretrain.py"), "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("pretrain.py: error:")
    assert "Traceback" not in done.stderr
