"""Which files of a checkpoint travel, what keeps it at home, and what is said of its training."""

import json
import shutil

import pytest
from tiny_publications import save_tiny_classifier

from synthcxr.hub.checkpoints import (
    checkpoint_files,
    count_parameters,
    read_config,
    read_record,
    training_content,
)
from synthcxr.models import ConvirtModel


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint, tmp_path / "model")


def test_model_processor_code_and_results_travel(checkpoint):
    names = {file.as_posix() for file in checkpoint_files(checkpoint)}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "results.json"} <= names
    assert {"modeling_convirt.py", "configuration_convirt.py", "processing_cxr.py", "image_processing_cxr.py"} <= names


def test_every_sibling_that_the_code_imports_travels(checkpoint):
    names = {file.as_posix() for file in checkpoint_files(checkpoint)}
    assert {"layers_dual_encoder.py", "layers_towers.py", "loss_contrastive.py", "modeling_outputs.py"} <= names


def test_states_and_records_stay_at_home(checkpoint):
    names = {file.as_posix() for file in checkpoint_files(checkpoint)}
    assert not {"training_args.bin", "pretraining.json", "checkpoint-10/optimizer.pt"} & names


def test_a_stray_module_stays_at_home(folder):
    (folder / "notes.py").write_text("print('private')\n")
    assert "notes.py" not in {file.as_posix() for file in checkpoint_files(folder)}


def test_parameters_are_counted_from_the_headers(checkpoint):
    model = ConvirtModel.from_pretrained(checkpoint)
    assert count_parameters(checkpoint) == sum(tensor.numel() for tensor in model.state_dict().values())


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors", "modeling_convirt.py"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name.replace("model.safetensors", "safetensors")):
        checkpoint_files(folder)


def test_a_cut_weight_file_is_named(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(ValueError, match="model.safetensors is no complete safetensors file"):
        checkpoint_files(folder)


def test_a_model_without_its_code_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="has no auto_map to a model"):
        checkpoint_files(folder)


def test_a_missing_shard_of_the_weights_is_named(folder):
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002-of-00002.safetensors"}}')
    with pytest.raises(ValueError, match="lacks model-00002-of-00002.safetensors"):
        checkpoint_files(folder)


def test_a_record_is_read_and_may_be_absent(checkpoint, tmp_path):
    assert read_record(checkpoint)["num_pairs"] == 1200
    assert read_record(tmp_path) == {}


def test_a_broken_configuration_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is not JSON"):
        read_config(tmp_path)


@pytest.mark.parametrize("name", ["../private.Model", "/tmp/private.Model", "deep/private.Model"])
def test_code_of_another_folder_is_not_taken_along(folder, name):
    (folder.parent / "private.py").write_text("password = 1")
    config = read_config(folder)
    config["auto_map"]["AutoModelForImageClassification"] = name
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="private' in an auto_map or code; expected a sibling file"):
        checkpoint_files(folder)


@pytest.mark.parametrize("record", ["[]", "{", '{"metrics": [1]}', '{"request": "x"}'])
def test_a_damaged_record_is_named(folder, record):
    (folder / "pretraining.json").write_text(record)
    with pytest.raises(ValueError, match=r"pretraining\.json (is|holds)"):
        read_record(folder)


def test_folders_of_the_machine_are_named_without_their_path():
    record = {
        "request": {"dataset": ["/home/someone/secret/pairs", "org/pairs"], "training": {"output_dir": "/home/x"}}
    }
    content = training_content(record)
    assert ("trained on", "pairs, org/pairs") in content["training_facts"]
    assert "/home" not in str(content)


def test_only_changed_or_usual_arguments_are_shown():
    settings = {"learning_rate": 1e-3, "seed": 42, "adam_beta1": 0.9, "adam_beta2": 0.95, "run_name": "mine"}
    arguments = dict(training_content({"request": {"training": settings}})["arguments"])
    assert arguments == {"learning_rate": 1e-3, "seed": 42, "adam_beta2": 0.95}


def test_an_absent_record_gives_no_rows():
    assert training_content({}) == {"training_facts": [], "arguments": []}


def test_timings_and_bundles_of_settings_are_left_out():
    metrics = {"train_loss": 1.23456, "train_runtime": 9.0, "eval_samples_per_second": 3.0, "eval_macro_auroc": 0.8}
    request = {"shuffle_pairs": False, "model_type": "convirt", "training": {"accelerator_config": {"x": None}}}
    content = training_content({"request": request, "metrics": metrics})
    assert content["training_facts"] == [("train loss", "1.235"), ("validation: macro auroc", "0.8")]
    assert content["arguments"] == [("model_type", "convirt")]


def test_a_control_with_shuffled_pairs_says_so():
    facts = dict(training_content({"request": {"shuffle_pairs": True}})["training_facts"])
    assert facts == {"pairs shuffled (a control that must end at chance)": "yes"}


def test_a_classifier_travels_without_a_tokenizer(tmp_path):
    folder = save_tiny_classifier(tmp_path / "classifier")
    names = {file.as_posix() for file in checkpoint_files(folder)}
    assert {"preprocessor_config.json", "modeling_cxr_classification.py", "image_processing_cxr.py"} <= names
    assert "adaptation.json" not in names
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"has no preprocessor_config\.json"):
        checkpoint_files(folder)
