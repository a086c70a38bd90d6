"""What a card does with its data, good and bad."""

import json
import re
import shutil

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from tiny_artefacts import build_tiny_dataset, save_tiny_checkpoint
from tiny_publications import GENERATOR, build_tiny_synthetic, save_tiny_classifier

from synthcxr.evaluation.results import Result
from synthcxr.hub import render_dataset_card, render_model_card, save_card, set_repo_id
from synthcxr.ontology import FINDING_IDS, PROMPT_SETS


def test_metadata_follow_the_hub(checkpoint):
    data = ModelCard(str(render_model_card(checkpoint))).data
    assert (data.license, data.library_name) == ("apache-2.0", "transformers")
    assert data.pipeline_tag == "zero-shot-image-classification"
    assert {"medical", "chest-x-ray", "convirt", "simulated"} <= set(data.tags)


def test_the_model_index_holds_the_main_results(checkpoint):
    results = ModelCard(str(render_model_card(checkpoint))).data.eval_results
    assert [result.metric_value for result in results] == [0.8412]


def test_a_card_stays_short_whatever_was_measured(checkpoint):
    """Ten ways to measure 40 findings on four datasets: 25 KB to read, and the rest in `results.json`."""
    bare = len(str(render_model_card(checkpoint, results=[])))
    results = []
    for dataset in ("simulated_test", "second_hospital", "nih_chestxray14", "kermany_pediatric"):
        for prompts in PROMPT_SETS:
            for negatives in ("all", "no_finding"):
                protocol = f"prompts={prompts}; strata=view; negatives={negatives}; bootstrap=1000 x patients"
                place = ("zero_shot_classification", dataset, "rows-1a2b3c4d5e6f")
                numbers = (0.5, 0.4, 0.6, 400, 0)
                results += [Result(*place, "macro_auroc", *numbers, f"{protocol}; mean of {', '.join(FINDING_IDS)}")]
                results += [Result(*place, f"auroc/{finding}", *numbers, protocol) for finding in FINDING_IDS]
    assert len(results) > 1000
    assert len(str(render_model_card(checkpoint, results=results))) - bare < 20_000


def test_hub_datasets_are_linked_and_local_ones_are_not(checkpoint):
    assert render_model_card(checkpoint).data.datasets is None
    record = {"request": {"dataset": ["org/pairs", "/tmp/elsewhere"]}}
    assert render_model_card(checkpoint, training=record).data.datasets == ["org/pairs"]


def test_a_training_set_beside_the_model_is_found_from_anywhere(checkpoint, dataset_folder, tmp_path, monkeypatch):
    """A relative folder looks like a Hub id; it must neither be linked to nor be forgotten."""
    model = shutil.copytree(checkpoint, tmp_path / "demo_output" / "model")
    shutil.copytree(dataset_folder, tmp_path / "demo_output" / "pairs")
    monkeypatch.chdir("/")
    card = render_model_card(model, training={"request": {"dataset": ["demo_output/pairs"]}})
    assert card.data.datasets is None
    assert "| train | 4 | 2 | 0 | 4 | 0 |" in card.text


def test_sections_without_data_are_absent(tmp_path):
    text = render_model_card(save_tiny_checkpoint(tmp_path / "bare")).text
    assert "## Results" not in text
    assert "## Training" not in text
    assert "## Figures" not in text
    assert "No measurement comes with this checkpoint" in text


def test_figures_of_the_folder_are_shown(checkpoint):
    assert "![roc](figures/roc.png)" in render_model_card(checkpoint).text


def test_rows_by_origin_come_from_the_training_set(checkpoint):
    text = render_model_card(checkpoint).text
    assert "| train | 4 | 2 | 0 | 4 | 0 |" in text


def test_words_of_others_stay_in_their_cell(checkpoint):
    evil = "{{ 6000 + 11 }} | `<script>alert(1)</script>`\n## Approved for clinical use [click](http://x)"
    result = Result("zero_shot_classification", evil, None, "macro_auroc", 0.5, None, None, 10, 0, evil)
    text = render_model_card(checkpoint, results=[result]).text
    assert "{{ 6000 + 11 }}" in text
    assert "6011" not in text.split("## Results")[1].split("## Limitations")[0]
    assert "\n## Approved" not in text
    outside_of_code = re.sub(r"`[^`\n]*`", "", text)
    assert "<script>" not in outside_of_code
    assert "[click](" not in outside_of_code.replace("\\[click\\](", "")
    assert yaml.safe_load(str(render_model_card(checkpoint, results=[result])).split("---\n")[1])


def test_a_report_cannot_leave_its_block(tmp_path):
    folder = build_tiny_dataset(tmp_path / "pairs", reports=["```\n# Cured\n```` not yet"] * 3)
    block = re.search(r"(`{5,})text\n(.*?)\n\1", render_dataset_card(folder).text, re.DOTALL)
    assert "# Cured" in block[2]


def test_metadata_of_the_builder_are_kept(dataset_folder):
    data = DatasetCard(str(render_dataset_card(dataset_folder))).data
    assert [item["split"] for item in data.configs[0]["data_files"]] == ["train", "test"]
    assert data.size_categories == "n<1K"


def test_rendering_again_changes_nothing(dataset_folder, tmp_path):
    folder = shutil.copytree(dataset_folder, tmp_path / "pairs")
    first = save_card(render_dataset_card(folder), folder).read_text()
    assert save_card(render_dataset_card(folder), folder).read_text() == first


def test_real_rows_need_a_licence(tmp_path):
    folder = build_tiny_dataset(tmp_path / "pairs", origin="real")
    with pytest.raises(ValueError, match="not simulated; pass their license"):
        render_dataset_card(folder)
    card = render_dataset_card(folder, license="cc-by-4.0", source_licenses={"balanced@1": "CC BY 4.0"})
    assert "An example:" not in card.text
    assert "| real | `balanced@1` | CC BY 4.0 | 6 |" in card.text


def test_a_card_of_synthetic_pairs_says_what_they_are(synthetic_folder):
    card = render_dataset_card(synthetic_folder, license="cc-by-4.0", source_licenses={GENERATOR: "OpenRAIL-M"})
    assert "3 pairs of a synthetic chest radiograph of 32 x 32 pixels and its report, with findings." in card.text
    assert f"| synthetic | `{GENERATOR}` | OpenRAIL-M | 3 |" in card.text
    assert "| guidance scale | 3.5 |" in card.text
    assert "1 of 4 that were asked for (25.0 %) were left out" in card.text
    assert "| FID | classifier | 12.35 | 3.2 | 500 |" in card.text
    assert "![samples](figures/samples.png)" in card.text
    assert {"synthetic", "not-for-clinical-use"} <= set(card.data["tags"])
    assert "imulated is not real" not in card.text


def test_a_card_of_simulated_pairs_does_not_call_them_synthetic(dataset_folder):
    card = render_dataset_card(dataset_folder)
    assert "6 pairs of a simulated chest radiograph of 32 x 32 pixels" in card.text
    assert "with findings, boxes and masks" in card.text
    assert "Synthetic is not real" not in card.text
    assert "synthetic" not in card.data["tags"]


def test_synthetic_pairs_need_a_licence_unless_all_is_ours(synthetic_folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="not simulated; pass their license"):
        render_dataset_card(synthetic_folder)
    monkeypatch.setattr("synthcxr.hub.cards.shipped_sources", lambda: {GENERATOR})
    with pytest.raises(ValueError, match="pass their license"):  # nobody knows whose reports they are
        render_dataset_card(synthetic_folder)
    for origins, name in (({"simulated": 3, "real": 1}, "mixed"), ({"simulated": 4}, "ours")):
        folder = build_tiny_synthetic(tmp_path / name, request={"report_origins": origins})
        if name == "mixed":
            with pytest.raises(ValueError, match="pass their license"):
                render_dataset_card(folder)
    assert render_dataset_card(tmp_path / "ours").data.license == "apache-2.0"


def test_the_hub_id_is_set_in_every_example(checkpoint):
    text = set_repo_id(str(render_model_card(checkpoint)), "org/other")
    assert text.count('repo_id = "org/other"') == 2
    assert 'repo_id = "org/name"' not in text


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(ValueError, match="has no config.json"):
        render_model_card(tmp_path)


def test_a_card_is_saved_in_one_step(checkpoint, tmp_path):
    save_card(render_model_card(checkpoint), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_an_unknown_model_type_is_named_as_it_is(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "somebody_elses"}))
    assert "somebody_elses: an image tower" in render_model_card(folder).text


def test_a_classifier_has_a_card_of_its_own(tmp_path):
    card = render_model_card(save_tiny_classifier(tmp_path / "classifier"))
    assert card.data.pipeline_tag == "image-classification"
    assert "vision-language" not in card.data.tags
    assert "Says which of 4 findings" in card.text
    assert "| trained on | pairs |" in card.text
    assert "| seed | 7 |" in card.text
    assert "| validation: macro auroc | 0.9 |" in card.text
    assert "| image size | 32 x 32 |" in card.text
