import json
import shutil

import pytest
from tiny_generators import tiny_stable_diffusion

from synthcxr.synthesis.generators import find_generator, load_generator


def recommend(folder, **settings):
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_a_folder_is_found_with_its_name_revision_and_recommendations(generator_folder):
    found = find_generator(generator_folder)
    assert found.source.startswith("tiny-generator@")
    assert (found.num_inference_steps, found.guidance_scale) == (2, 2.0)


def test_the_revision_changes_with_weights_and_settings_but_not_with_the_card(generator_folder, tmp_path):
    copy = tmp_path / "tiny-generator"
    shutil.copytree(generator_folder, copy)
    (copy / "README.md").write_text("A card.")
    source = find_generator(copy).source
    assert source == find_generator(generator_folder).source
    recommend(copy, default_num_inference_steps=7)
    assert find_generator(copy).num_inference_steps == 7
    resettled = find_generator(copy).source
    weights = bytearray((copy / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(bytes(weights))
    assert len({source, resettled, find_generator(copy).source}) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "is no folder with a generator, no shipped one, and no id"),
        ("no-such-name", "is no folder with a generator, no shipped one, and no id"),
        ("nobody/no-such-generator", "is neither a folder nor a generator that the Hub gives"),
    ],
)
def test_a_generator_that_is_missing_is_said_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        find_generator(name)
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_said_in_one_line(generator_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(generator_folder, copy)
    recommend(copy, default_num_inference_steps="many")
    with pytest.raises(ValueError, match=r"model_index\.json is damaged: steps or guidance are no numbers"):
        find_generator(copy)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"cut")
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        load_generator(str(copy), "copy@1", dtype="float32", device="cpu", compile_unet=False)
    assert "\n" not in str(caught.value)
    (copy / "model_index.json").write_text("[]")
    with pytest.raises(ValueError, match=r"model_index\.json is damaged"):
        find_generator(copy)
    (copy / "model_index.json").unlink()
    with pytest.raises(ValueError, match=r"has no model_index\.json"):
        find_generator(copy)


def test_a_sampler_of_many_steps_gives_way_to_one_of_few(tmp_path):
    tiny_stable_diffusion(2).save_pretrained(tmp_path / "sd")
    pipe = load_generator(str(tmp_path / "sd"), "sd@1", dtype="float32", device="cpu", compile_unet=False)
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.scheduler.config.algorithm_type == "dpmsolver++"


def test_a_folder_with_other_weights_is_loaded_anew(generator_folder, tmp_path):
    folder = shutil.copytree(generator_folder, tmp_path / "copy")
    options = {"dtype": "float32", "device": "cpu", "compile_unet": False}
    first = load_generator(str(folder), find_generator(folder).source, **options)
    assert load_generator(str(folder), find_generator(folder).source, **options) is first
    first.unet.conv_in.weight.data += 1
    first.save_pretrained(folder)
    assert load_generator(str(folder), find_generator(folder).source, **options) is not first
