"""The folder that the Hub gets: complete, checked, staged in one step, and the source as it was."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from urllib.parse import urlparse

import numpy as np
import pytest
import torch
from datasets import load_dataset
from PIL import Image
from tiny_artefacts import build_tiny_dataset, save_tiny_checkpoint

from synthcxr.hub import publish, save_card
from synthcxr.hub.cards import render_model_card, set_repo_id
from synthcxr.models import ConvirtModel, CxrProcessor


@pytest.fixture
def model_folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "runs" / "model")


@pytest.fixture
def pairs_folder(dataset_folder, tmp_path):
    return shutil.copytree(dataset_folder, tmp_path / "runs" / "pairs")


@pytest.fixture
def generator_folder(generator, tmp_path):
    return shutil.copytree(generator, tmp_path / "runs" / "generator")


def contents(folder):
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_dry_run_writes_what_it_lists_and_nothing_else(model_folder):
    publication = publish("model", model_folder, "org/tiny", dry_run=True)
    assert publication.path == model_folder.with_name("model-publish")
    assert {name for name, _ in publication.files} == set(contents(publication.path))
    assert all((publication.path / name).stat().st_size == size for name, size in publication.files)
    assert publication.url is None
    assert sorted(path.name for path in model_folder.parent.iterdir()) == ["model", "model-publish"]


def test_the_model_folder_holds_card_configuration_code_weights_and_tokenizer(model_folder):
    names = {name for name, _ in publish("model", model_folder, "org/tiny", dry_run=True).files}
    assert {"README.md", "config.json", "model.safetensors", "modeling_convirt.py", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt"))]


def test_what_stays_at_home_is_said(model_folder):
    publication = publish("model", model_folder, "org/tiny", dry_run=True)
    state = ("checkpoint-10/model.safetensors", "checkpoint-10/optimizer.pt")
    assert publication.left_out == (*state, "pretraining.json", "training_args.bin")


def test_the_dataset_folder_holds_card_and_shards(pairs_folder):
    (pairs_folder / "manifest.json").write_text("{}")
    publication = publish("dataset", pairs_folder, "org/pairs", dry_run=True)
    names = [name for name, _ in publication.files]
    assert names == ["README.md", "data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]
    assert publication.left_out == ("manifest.json",)


def test_the_staged_dataset_loads_without_code_of_ours(pairs_folder, tmp_path):
    staged = publish("dataset", pairs_folder, "org/pairs", dry_run=True).path
    pairs = load_dataset(str(staged), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in pairs.items()} == {"train": 4, "test": 2}
    streamed = next(iter(load_dataset(str(staged), split="train", streaming=True)))
    assert streamed["image"].size == (32, 32)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_the_source_stays_as_it_was(kind, model_folder, pairs_folder):
    folder = {"model": model_folder, "dataset": pairs_folder}[kind]
    before = contents(folder)
    publish(kind, folder, "org/thing", dry_run=True)
    assert contents(folder) == before


def test_a_card_of_ones_own_is_kept_with_the_hub_id_in_its_examples(model_folder):
    card = save_card(render_model_card(model_folder), model_folder)
    card.write_text(card.read_text() + "\nA sentence of my own.\n")
    staged = publish("model", model_folder, "org/tiny", dry_run=True).path
    text = (staged / "README.md").read_text()
    assert "A sentence of my own." in text
    assert 'repo_id = "org/tiny"' in text
    assert "org/name" in card.read_text()


def test_a_second_dry_run_replaces_the_first(model_folder):
    first = publish("model", model_folder, "org/tiny", dry_run=True)
    second = publish("model", model_folder, "org/tiny", dry_run=True)
    assert first == second


ALONE = """
import sys
sys.modules["synthcxr"] = None
import numpy, torch
from PIL import Image
from transformers import AutoModel, AutoProcessor

folder = sys.argv[1]
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
image = Image.new("L", (80, 100), 90)
inputs = processor(text=["Left pleural effusion.", "Clear."], images=[image], padding=True, return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits_per_image
    maps = model.get_similarity_maps(inputs["pixel_values"].expand(2, -1, -1, -1), inputs["input_ids"])
numpy.savez("out.npz", logits=logits, maps=maps)
"""


def test_the_staged_model_and_its_examples_give_the_same_numbers_without_the_package(model_folder, tmp_path):
    staged = publish("model", model_folder, "org/tiny", dry_run=True).path
    card = set_repo_id((staged / "README.md").read_text(), str(staged))
    examples = re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        **{"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "-I", "-c", "\n".join([ALONE, *examples]), str(staged)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tensor([[" in done.stdout
    assert "'label': 'Pleural effusion.'" in done.stdout

    model = ConvirtModel.from_pretrained(model_folder).eval()
    processor = CxrProcessor.from_pretrained(model_folder)
    texts = ["Left pleural effusion.", "Clear."]
    inputs = processor(text=texts, images=[Image.new("L", (80, 100), 90)], padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits_per_image
        maps = model.get_similarity_maps(inputs["pixel_values"].expand(2, -1, -1, -1), inputs["input_ids"])
    alone = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(alone["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(alone["maps"], maps, atol=1e-5)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "head.PTH", "vocabulary.pkl", "sub/tensors.ckpt"])
def test_pickles_are_refused(model_folder, name):
    (model_folder / name).parent.mkdir(exist_ok=True)
    (model_folder / name).write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match="may hold a pickle"):
        publish("model", model_folder, "org/tiny", dry_run=True)
    assert not model_folder.with_name("model-publish").exists()


@pytest.mark.parametrize("repo_id", ["tiny", "a/b/c", "org/na me", "org/..", "org/x.git", "", "datasets/org/x"])
def test_a_bad_hub_id_is_refused(model_folder, repo_id):
    with pytest.raises(ValueError, match="is no Hub id"):
        publish("model", model_folder, repo_id, dry_run=True)


def test_an_unknown_kind_names_the_known_ones(model_folder):
    with pytest.raises(
        ValueError, match="'space' cannot be published; expected one of model, pipeline, adapter, data"
    ):
        publish("space", model_folder, "org/tiny", dry_run=True)


def test_a_folder_that_is_absent_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no folder; expected the model to publish"):
        publish("model", tmp_path / "absent", "org/tiny", dry_run=True)


def test_real_rows_are_refused(tmp_path):
    folder = build_tiny_dataset(tmp_path / "pairs", origin="real")
    with pytest.raises(ValueError, match=r"4 rows of train are real \(patient_id names 2 patients\)"):
        publish("dataset", folder, "org/pairs", dry_run=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\nlicense: mit\n---\n# A model\n", "does not say 'Not for clinical use'"),
        ("# A model\nNot for clinical use.\n", "names no license"),
        ("---\n- a list\n---\n# A model\n", "metadata that the Hub would refuse"),
        ("---\nlicense: [mit\n---\n# A model\n", "metadata that the Hub would refuse"),
    ],
)
def test_a_card_that_lacks_something_is_refused(model_folder, text, message):
    (model_folder / "README.md").write_text(text)
    with pytest.raises(ValueError, match=message):
        publish("model", model_folder, "org/tiny", dry_run=True)


def test_a_folder_with_other_things_in_it_is_not_replaced(model_folder, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds thesis.tex, which is not part of this publication"):
        publish("model", model_folder, "org/tiny", dry_run=True, output_dir=target)
    assert (target / "thesis.tex").read_text() == "years of work"


def test_the_target_may_not_overlap_the_source(model_folder):
    for target in (model_folder, model_folder.parent, model_folder / "staged"):
        with pytest.raises(ValueError, match="overlaps the folder to publish"):
            publish("model", model_folder, "org/tiny", dry_run=True, output_dir=target)


KILLED = """
import os, shutil, sys
from synthcxr.hub import publish

copy, done = shutil.copyfile, []
def copy_and_die(source, target):
    done.append(copy(source, target))
    if len(done) == 5:
        os._exit(9)
shutil.copyfile = copy_and_die
publish("model", sys.argv[1], "org/tiny", dry_run=True)
"""


def test_a_kill_in_the_middle_leaves_no_half_folder(model_folder):
    done = subprocess.run([sys.executable, "-c", KILLED, str(model_folder)], capture_output=True, check=False)
    assert done.returncode == 9, done.stderr.decode()
    assert not model_folder.with_name("model-publish").exists()
    publish("model", model_folder, "org/tiny", dry_run=True)
    assert sorted(path.name for path in model_folder.parent.iterdir()) == ["model", "model-publish"]


def test_the_hub_gets_the_staged_folder(model_folder, pairs_folder, generator_folder, tmp_path):
    """A round trip through a server with the Hub's API; HF_HUB_DISABLE_XET=1 where it has no Xet."""
    endpoint = os.environ.get("HF_ENDPOINT", "")
    if urlparse(endpoint).hostname not in ("127.0.0.1", "localhost", "::1"):
        pytest.skip("HF_ENDPOINT does not point at a Hub server on this machine")
    from huggingface_hub import HfApi

    name = HfApi().whoami()["name"]
    for kind, folder in (("model", model_folder), ("pipeline", generator_folder), ("dataset", pairs_folder)):
        repo_id = f"{name}/synthcxr-round-trip-{kind}"
        publication = publish(kind, folder, repo_id, output_dir=tmp_path / kind)
        repo_type = "dataset" if kind == "dataset" else "model"
        back = HfApi().snapshot_download(repo_id, repo_type=repo_type, local_dir=tmp_path / f"{kind}-back")
        ours, theirs = contents(tmp_path / kind), contents(tmp_path / f"{kind}-back")
        assert publication.url
        assert back
        assert {name: theirs.get(name) for name in ours} == ours


def test_a_model_without_a_card_gets_one_from_its_data(tmp_path):
    staged = publish("model", save_tiny_checkpoint(tmp_path / "bare"), "org/tiny", dry_run=True).path
    text = (staged / "README.md").read_text()
    assert "Not for clinical use" in text
    assert 'repo_id = "org/tiny"' in text


def test_the_generator_folder_holds_what_loads_and_nothing_of_the_run(generator_folder):
    publication = publish("pipeline", generator_folder, "org/generator", dry_run=True)
    names = {name for name, _ in publication.files}
    assert names == set(contents(publication.path))
    assert {"README.md", "model_index.json", "unet/config.json", "pipeline_cxr_synthesis.py", "results.json"} <= names
    assert set(publication.left_out) == {
        *("training.json", "log.jsonl", "latents.npy", "samples/step-1.png"),
        *("checkpoint-10/random_states_0.pkl", "checkpoint-10/pipeline/model.safetensors"),
    }


def test_no_folder_of_the_machine_is_published(generator_folder, tmp_path):
    """`save_pretrained` of diffusers writes where a component was loaded from into its configuration."""
    contents = {}
    for name in ("model_index.json", "unet/config.json"):
        contents[name] = json.loads((generator_folder / name).read_text())
        saved = contents[name] | {"_name_or_path": "/home/jane/first/unet"}
        (generator_folder / name).write_text(json.dumps(saved))
    staged = publish("pipeline", generator_folder, "org/generator", dry_run=True).path
    texts = {file: file.read_text() for file in staged.rglob("*") if file.suffix in (".json", ".md", ".py")}
    assert not [str(file) for file, text in texts.items() if "/first" in text or str(tmp_path.parent) in text]
    assert json.loads((staged / "unet" / "config.json").read_text()) == contents["unet/config.json"]


def test_a_card_of_ones_own_is_kept_for_a_generator_too(generator_folder):
    text = '---\nlicense: openrail\n---\n# Mine\nNot for clinical use.\n\nrepo_id = "x"\n'
    (generator_folder / "README.md").write_text(text.replace('repo_id = "x"', '```python\nrepo_id = "x"\n```'))
    staged = publish("pipeline", generator_folder, "org/generator", dry_run=True).path
    assert 'repo_id = "org/generator"' in (staged / "README.md").read_text()
    assert "# Mine" in (staged / "README.md").read_text()


DRAWN_ALONE = """
import sys
sys.modules["synthcxr"] = None
import numpy, torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained(sys.argv[1], trust_remote_code=True)
seeds = [torch.Generator().manual_seed(seed) for seed in (3, 5)]
numpy.save("out.npy", pipe(["Left pleural effusion.", "Clear."], generator=seeds, output_type="np").images)
"""


def test_the_staged_generator_and_its_example_draw_the_same_without_the_package(generator_folder, tmp_path):
    from synthcxr.pipelines import CxrSynthesisPipeline

    staged = publish("pipeline", generator_folder, "org/generator", dry_run=True).path
    card = set_repo_id((staged / "README.md").read_text(), str(staged))
    examples = re.findall(r"^```python\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        **{"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    }
    command = [sys.executable, "-I", "-c", DRAWN_ALONE + examples[1], str(staged)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "size=32x32" in done.stdout

    pipe = CxrSynthesisPipeline.from_pretrained(generator_folder)
    seeds = [torch.Generator().manual_seed(seed) for seed in (3, 5)]
    images = pipe(["Left pleural effusion.", "Clear."], generator=seeds, output_type="np").images
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), images, atol=1e-6)


def test_a_generator_without_its_code_gets_that_of_the_package(generator_folder):
    expected = {name for name, _ in publish("pipeline", generator_folder, "org/generator", dry_run=True).files}
    for file in generator_folder.glob("*.py"):
        file.unlink()
    publication = publish("pipeline", generator_folder, "org/generator", dry_run=True)
    assert {name for name, _ in publication.files} == expected


def test_an_adapter_is_published_with_its_card_alone(adapter, tmp_path):
    publication = publish(
        "adapter", adapter, "org/adapter", dry_run=True, output_dir=tmp_path / "out", license="openrail"
    )
    assert [name for name, _ in publication.files] == ["README.md", "pytorch_lora_weights.safetensors"]
    assert publication.left_out == ("training.json",)
    assert 'repo_id = "org/adapter"' in (tmp_path / "out" / "README.md").read_text()


def test_a_base_is_for_adapters_only(generator_folder):
    with pytest.raises(ValueError, match="base_model is for adapters; a pipeline has none"):
        publish("pipeline", generator_folder, "org/generator", dry_run=True, base_model="org/roentgen")


def test_synthetic_pairs_get_a_card_in_place_of_the_builders_readme(synthetic_folder, tmp_path):
    target = tmp_path / "out"
    with pytest.raises(ValueError, match="pass their license"):
        publish("dataset", synthetic_folder, "org/drawn", dry_run=True, output_dir=target)
    assert not target.exists()
    publication = publish("dataset", synthetic_folder, "org/drawn", dry_run=True, output_dir=target, license="cc0-1.0")
    assert [name for name, _ in publication.files] == [
        "README.md",
        "data/train-00000-of-00001.parquet",
        "figures/samples.png",
        "results.json",
    ]
    assert publication.left_out == ("manifest.json",)
    assert "How it was made" in (target / "README.md").read_text()
    assert "jane" not in (target / "README.md").read_text().lower()
    pairs = load_dataset(str(target), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in pairs.items()} == {"train": 3}
