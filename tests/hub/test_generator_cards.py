"""What the cards of generators and adapters do with their data, good and bad."""

import json
import re
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from tiny_artefacts import build_tiny_dataset, tiny_results
from tiny_publications import tiny_fidelity

from synthcxr.evaluation.results import Result
from synthcxr.hub import render_adapter_card, render_pipeline_card


@pytest.fixture
def folder(generator, tmp_path):
    return shutil.copytree(generator, tmp_path / "generator")


def change_record(folder, **changes):
    record = json.loads((folder / "training.json").read_text())
    record["request"] |= changes
    (folder / "training.json").write_text(json.dumps(record))


def test_metadata_follow_the_hub(generator):
    data = ModelCard(str(render_pipeline_card(generator))).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("diffusers", "text-to-image", "apache-2.0")
    assert {"medical", "chest-x-ray", "synthetic", "not-for-clinical-use", "flow", "trained-on-simulated"} <= set(
        data.tags
    )
    assert {entry.metric_type for entry in data.eval_results} >= {"fid", "kid", "macro_auroc"}


def test_training_data_settings_and_command_are_shown(generator):
    text = render_pipeline_card(generator).text
    assert "| train | 4 | 2 | 0 | 4 | 0 |" in text
    assert "| images seen by each process | 96,000 |" in text
    assert "| hardware | CPU, 2 threads |" in text
    assert "accelerate launch training_scripts/train_text_to_cxr.py" in text
    assert "![samples](figures/samples.png)" in text


def test_fidelity_stands_beside_its_floor(generator):
    text = render_pipeline_card(generator).text
    assert "| FID | classifier | 12.35 | 3.2 | 500 |" in text
    assert "drawn: synthetic images of 32x32" in text


def test_results_of_other_tasks_are_shown_as_those_of_models_are(generator):
    card = render_pipeline_card(generator, results=[*tiny_fidelity(), *tiny_results()])
    assert "### balanced" in card.text
    assert {"fid", "macro_auroc"} <= {entry.metric_type for entry in card.data.eval_results}


def test_sections_without_data_are_absent(latent_generator):
    text = render_pipeline_card(latent_generator, license="openrail").text
    for heading in ("## Training", "## Results", "## Figures"):
        assert heading not in text
    assert "Nobody has measured the fidelity" in text
    assert "It may have seen real patients" in text


def test_what_a_generator_learns_decides_what_is_cited(generator, latent_generator):
    flow = render_pipeline_card(generator).text
    latent = render_pipeline_card(latent_generator, license="openrail").text
    for reference, in_flow in (
        ("2209.03003", True),
        ("2403.03206", True),
        ("2112.10752", False),
        ("2202.00512", False),
    ):
        assert (reference in flow, reference in latent) == (in_flow, not in_flow)
    assert "2207.12598" in flow
    assert "2207.12598" in latent


def test_min_snr_is_cited_where_it_was_used(latent_generator):
    training = {"request": {"min_snr_gamma": 5.0}}
    assert "2303.09556" in render_pipeline_card(latent_generator, training=training, license="openrail").text
    assert "2303.09556" not in render_pipeline_card(latent_generator, training={}, license="openrail").text


def test_a_licence_is_given_where_it_does_not_follow(folder, tmp_path):
    real = build_tiny_dataset(tmp_path / "real", origin="real")
    for dataset in (str(real), "org/somebodys", "/gone"):
        change_record(folder, dataset=[dataset])
        with pytest.raises(ValueError, match="not known to be simulated alone; give license"):
            render_pipeline_card(folder)
    card = render_pipeline_card(folder, license="cc-by-nc-4.0")
    assert card.data.license == "cc-by-nc-4.0"
    assert "It may have seen real patients" in card.text


def test_real_training_data_are_said_and_warned_of(folder, tmp_path):
    real = build_tiny_dataset(tmp_path / "real", origin="real")
    card = render_pipeline_card(folder, datasets=[real], license="cc-by-nc-4.0")
    assert "trained-on-real" in card.data.tags
    assert "It may have seen real patients" in card.text
    assert "It has seen simulated radiographs alone" not in card.text


def test_an_unsearched_generator_says_that_nobody_looked_for_copies(generator):
    some = [result for result in tiny_fidelity() if result.metric_name == "fid"]
    assert "Nobody has looked for copies" in render_pipeline_card(generator, results=some).text
    assert "Nobody has looked for copies" not in render_pipeline_card(generator).text


def test_words_of_others_stay_in_their_cell(folder):
    evil = "{{ 6000 + 11 }} | `x`\n## Approved for clinical use [click](http://x)"
    change_record(folder, captions=evil, text_model=evil)
    results = [*tiny_fidelity(), Result("fidelity", "drawn", None, f"{evil[:15]}", 1.0, None, None, 9, 0, evil)]
    card = render_pipeline_card(folder, results=results)
    assert "6011" not in card.text
    outside_of_code = re.sub(r"^```bash.*?^```$|`[^`\n]*`", "", card.text, flags=re.DOTALL | re.MULTILINE)
    assert "\n## Approved" not in outside_of_code
    assert "[click](" not in outside_of_code.replace("\\[click\\](", "")
    assert yaml.safe_load(str(card).split("---\n")[1])


def test_the_base_of_an_adapter_is_named_and_linked(adapter):
    card = render_adapter_card(adapter, license="openrail")
    assert card.data.base_model == "org/generator"
    assert card.data["base_model_relation"] == "adapter"
    assert 'base_id = "org/generator"' in card.text
    assert "2106.09685" in card.text
    assert "train_text_to_cxr_lora.py" in card.text


def test_a_shipped_base_is_loaded_by_name(adapter):
    training = json.loads((adapter / "training.json").read_text())
    training["request"]["model_name_or_path"] = "synthcxr-generator-64"
    card = render_adapter_card(adapter, training=training)
    assert card.data.license == "apache-2.0"
    assert card.data.base_model is None
    assert "shipped_checkpoint(base_id)" in card.text


@pytest.mark.parametrize("name", ["/home/jane/roentgen", "roentgen", "", 'x"; import os; os.remove("y")', "../a"])
def test_a_base_that_nobody_else_has_is_refused(adapter, name):
    with pytest.raises(ValueError, match="give base_model"):
        render_adapter_card(adapter, training={"request": {"model_name_or_path": name}}, license="openrail")
    card = render_adapter_card(
        adapter, training={"request": {"model_name_or_path": name}}, license="openrail", base_model="org/roentgen"
    )
    assert 'base_id = "org/roentgen"' in card.text


def test_a_relative_folder_is_no_hub_id(adapter, generator, tmp_path, monkeypatch):
    shutil.copytree(generator, tmp_path / "runs" / "generator")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="give base_model"):
        render_adapter_card(
            adapter, training={"request": {"model_name_or_path": "runs/generator"}}, license="openrail"
        )


def test_what_an_adapter_learns_is_what_its_generator_does(adapter, generator, latent_generator):
    """The record has a default there that says nothing."""
    for base, learns in (
        (generator, "rectified flow"),
        (latent_generator, "the velocity is predicted"),
        ("org/x", None),
    ):
        training = {"request": {"model_name_or_path": str(base), "objective": "flow", "seed": 7}}
        card = render_adapter_card(adapter, training=training, license="openrail", base_model="org/x")
        assert ("| learns |" in card.text) == (learns is not None)
        assert learns is None or learns in card.text
