"""What a generator's folder is, which of its files travel, and what keeps it at home."""

import json
import shutil

import pytest
from tiny_generators import tiny_stable_diffusion

from synthcxr.hub.generators import (
    adapter_facts,
    adapter_files,
    image_side,
    objective,
    pipeline_facts,
    pipeline_files,
)


@pytest.fixture
def folder(generator, tmp_path):
    return shutil.copytree(generator, tmp_path / "generator")


def change_index(folder, **changes):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))


def test_components_code_and_results_travel(generator):
    names = set(pipeline_files(generator))
    assert {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"} <= names
    assert {"text_encoder/model.safetensors", "tokenizer/tokenizer.json", "scheduler/scheduler_config.json"} <= names
    assert {"pipeline_cxr_synthesis.py", "denoising.py", "prompts.py", "results.json", "figures/samples.png"} <= names


def test_states_caches_logs_and_samples_stay_at_home(generator):
    names = set(pipeline_files(generator))
    home = {"training.json", "log.jsonl", "latents.npy", "samples/step-1.png", "checkpoint-10/random_states_0.pkl"}
    assert all((generator / name).is_file() for name in home)
    assert not home & names
    assert not [name for name in names if name.startswith("checkpoint-")]


def test_code_that_does_not_lie_beside_the_weights_comes_from_the_package(folder):
    """As in the checkpoints that are shipped with the package."""
    expected = pipeline_files(folder)
    for file in folder.glob("*.py"):
        file.unlink()
    files = pipeline_files(folder)
    assert set(files) == set(expected)
    assert files["pipeline_cxr_synthesis.py"].parent.name == "pipelines"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "model_index.json",
            "unet/config.json",
            "scheduler/scheduler_config.json",
            "tokenizer/tokenizer_config.json",
        ),
        *("text_encoder/model.safetensors", "denoising.py"),
    ],
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name.replace("model.safetensors", r".*\*\.safetensors").rpartition("/")[2]):
        pipeline_files(folder)


def test_a_cut_weight_file_is_named(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is no complete safetensors file"):
        pipeline_files(folder)


def test_another_pipeline_is_refused_with_the_way_out(tmp_path):
    tiny_stable_diffusion(1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="load it with CxrSynthesisPipeline and save it with save_pretrained"):
        pipeline_files(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unet", ["somebodys_code", "UNet"]),
        ("../private", ["diffusers", "UNet2DConditionModel"]),
        ("unet", ["diffusers"]),
        ("extra", [["diffusers"], "UNet2DConditionModel"]),
    ],
)
def test_components_of_others_are_refused(folder, name, value):
    change_index(folder, **{name: value})
    with pytest.raises(ValueError, match="expected \\('diffusers', 'transformers'\\)"):
        pipeline_files(folder)


@pytest.mark.parametrize("module", ["../private", "/tmp/private", "deep/private"])
def test_code_of_another_folder_is_not_taken_along(folder, module):
    (folder.parent / "private.py").write_text("password = 1")
    change_index(folder, _class_name=[module, "CxrSynthesisPipeline"])
    with pytest.raises(ValueError, match=r"private' in model_index\.json or code; expected a sibling file"):
        pipeline_files(folder)


@pytest.mark.parametrize("name", ["unet/config.json", "results.json", "denoising.py"])
def test_a_link_to_a_file_of_this_machine_is_refused(folder, name):
    secret = folder.parent / "secret"
    secret.write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(ValueError, match="is a link out of the folder"):
        pipeline_files(folder)


def test_facts_come_from_the_configurations(generator, latent_generator):
    facts = pipeline_facts(generator)
    assert facts["image size"] == "32 x 32 pixels, grey"
    assert facts["drawn as"] == "pixels folded by 4, 16 channels of 8 x 8"
    assert facts["text encoder"] == "bert, 32 tokens"
    assert facts["prompts are read by"] == "cross-attention, and as the mean of their tokens beside the time"
    assert (facts["steps by default"], facts["guidance by default"]) == (3, 4.0)
    latent = pipeline_facts(latent_generator)
    assert latent["prompts are read by"] == "cross-attention"
    assert latent["image size"] == "32 x 32 pixels, grey"
    assert latent["drawn as"] == "latents of an autoencoder, 4 channels of 16 x 16"
    assert latent["predicts"] == "the velocity of diffusion"


def test_parameters_are_those_of_the_loaded_pipeline(latent_generator):
    from synthcxr.pipelines import CxrSynthesisPipeline

    pipe = CxrSynthesisPipeline.from_pretrained(latent_generator)
    parts = (pipe.unet, pipe.text_encoder, pipe.vae)
    total = sum(tensor.numel() for part in parts for tensor in part.state_dict().values())
    assert pipeline_facts(latent_generator)["parameters"].startswith(f"{total:,}: UNet")


def test_weights_in_two_variants_are_counted_once(folder):
    before = pipeline_facts(folder)["parameters"]
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copyfile(weights, weights.with_suffix(".fp16.safetensors"))
    assert pipeline_facts(folder)["parameters"] == before


def test_the_objective_follows_from_the_scheduler(generator, latent_generator):
    assert (objective(generator), objective(latent_generator)) == ("flow", "v_prediction")


def test_a_generator_that_does_not_say_its_size_has_none(folder):
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"sample_size": [8, 12]}))
    assert image_side(folder) is None
    assert "image size" not in pipeline_facts(folder)


def test_an_adapter_travels_without_its_record(adapter):
    assert list(adapter_files(adapter)) == ["pytorch_lora_weights.safetensors"]


def test_facts_of_an_adapter_come_from_its_header(adapter):
    facts = adapter_facts(adapter)
    assert (facts["adapts"], facts["rank"], facts["alpha"]) == ("UNet and text encoder", 2, 2)


def test_weights_that_are_no_adapter_are_refused(adapter, generator, tmp_path):
    with pytest.raises(ValueError, match=r"has no pytorch_lora_weights\.safetensors"):
        adapter_files(tmp_path)
    shutil.copyfile(
        generator / "unet" / "diffusion_pytorch_model.safetensors", tmp_path / "pytorch_lora_weights.safetensors"
    )
    with pytest.raises(ValueError, match="expected LoRA weights alone"):
        adapter_files(tmp_path)
