"""The script and its configurations: every file is read by the parser that the script uses."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file
from transformers import AutoModel, BertConfig, BertModel, ViTConfig, ViTModel, set_seed

from synthcxr.data.pairs import load_pairs
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.pretrain import MODEL_TYPES, build_model
from synthcxr.training.tokenizer import train_tokenizer


SCRIPTS = Path(__file__).resolve().parents[2] / "training_scripts"
CONFIGS = sorted(path for path in (SCRIPTS / "configs").glob("*.yaml") if path.stem.startswith(tuple(MODEL_TYPES)))


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


@pytest.mark.parametrize(
    "config", sorted((SCRIPTS / "configs" / "accelerate").glob("*.yaml")), ids=lambda path: path.stem
)
def test_accelerate_knows_every_key_of_its_configurations(config):
    loaded = load_config_from_file(str(config))
    assert loaded.distributed_type == {"ddp": "MULTI_GPU", "fsdp": "FSDP"}[config.stem]
    assert loaded.num_processes > 1


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


def test_two_processes_train_the_model_of_one(pairs_folder, tmp_path):
    """With half of the pairs each, embedded one after the other: negatives and gradients are those of all."""
    towers = save_towers(tmp_path, load_pairs(pairs_folder, split="train")["report"])
    flags = ["--dataset", str(pairs_folder), *towers, "--image-size", "64", "--max-steps", "4", "--use-cpu"]
    # Plain steps: Adam would enlarge the rounding of gradients that are 0.
    flags += ["--eval-strategy", "no", "--disable-tqdm", "true", "--optim", "sgd", "--learning-rate", "0.1"]
    alone = ["--output-dir", str(tmp_path / "one"), "--per-device-train-batch-size", "8"]
    halves = ["--output-dir", str(tmp_path / "two"), "--per-device-train-batch-size", "4", "--mini-batch-size", "1"]
    script = str(SCRIPTS / "pretrain.py")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in ([sys.executable, script, *flags, *alone], [*launch, script, *flags, *halves]):
        subprocess.run(command, check=True, capture_output=True, env=environment)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-5
    fresh = AutoModel.from_pretrained(towers[1]).embeddings.cls_token
    assert (one["vision_model.embeddings.cls_token"] - fresh).abs().max() > 1e-4  # it learnt


def save_towers(folder, texts):
    """Towers without batch normalisation and dropout, which would see what a process sees."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    tokenizer = train_tokenizer(texts, vocab_size=500)
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    set_seed(0)
    ViTModel(ViTConfig(image_size=64, patch_size=16, num_channels=1, **sizes)).save_pretrained(folder / "vit")
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes, **no_dropout)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    return ["--vision-model", str(folder / "vit"), "--text-model", str(folder / "bert")]
