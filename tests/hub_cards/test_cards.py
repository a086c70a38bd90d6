"""The rendered cards as a reader meets them: valid for the Hub, without holes, and every example runs."""

import re

import pytest
from huggingface_hub import DatasetCard, ModelCard
from tiny_artefacts import save_tiny_checkpoint
from tiny_publications import save_tiny_classifier

from synthcxr.hub import (
    render_adapter_card,
    render_dataset_card,
    render_model_card,
    render_pipeline_card,
    set_repo_id,
)


@pytest.fixture(scope="module")
def cards(checkpoint, dataset_folder, generator, latent_generator, adapter, synthetic_folder, tmp_path_factory):
    classifier = save_tiny_classifier(tmp_path_factory.mktemp("bare") / "classifier")
    bare = save_tiny_checkpoint(tmp_path_factory.mktemp("bare") / "model")
    return {
        "model": (str(render_model_card(checkpoint)), checkpoint),
        "bare model": (str(render_model_card(bare)), bare),
        "classifier": (str(render_model_card(classifier)), classifier),
        "pipeline": (str(render_pipeline_card(generator)), generator),
        "bare pipeline": (str(render_pipeline_card(latent_generator, license="apache-2.0")), latent_generator),
        "adapter": (str(render_adapter_card(adapter, license="apache-2.0")), adapter),
        "dataset": (str(render_dataset_card(dataset_folder)), dataset_folder),
        "synthetic dataset": (str(render_dataset_card(synthetic_folder, license="apache-2.0")), synthetic_folder),
    }


KINDS = ["model", "bare model", "classifier", "pipeline", "bare pipeline", "adapter", "dataset", "synthetic dataset"]


def sections(text):
    """Headings with what stands below them; code, whose comments look like headings, set aside."""
    text = re.sub(r"^```.*?^```$", "code", text, flags=re.DOTALL | re.MULTILINE)
    parts = re.split(r"^(#{1,6} .*)$", text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_hub_parses_the_card(cards, kind):
    card = (DatasetCard if "dataset" in kind else ModelCard)(cards[kind][0])
    assert card.data.license == "apache-2.0"
    assert card.text.strip().startswith("# ")


@pytest.mark.parametrize("kind", KINDS)
def test_every_card_warns_first(cards, kind):
    heading, below = sections(cards[kind][0])[0]
    assert heading.startswith("# ")
    assert "Not for clinical use" in below


@pytest.mark.parametrize("kind", KINDS)
def test_no_section_is_empty(cards, kind):
    found = sections(cards[kind][0])
    for index, (heading, below) in enumerate(found):
        level = len(heading.split(" ")[0])
        has_children = index + 1 < len(found) and len(found[index + 1][0].split(" ")[0]) > level
        assert below.strip() or has_children, f"{heading} is empty"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "hole", [r"\bNone\b", r"\bnan\b", r"\bnull\b", r"{{|}}(?!,$)|{%", r"\bundefined\b", r"\n{4,}"]
)
def test_no_card_has_holes(cards, kind, hole):
    text = re.sub(r"^```bibtex.*?^```$", "", cards[kind][0], flags=re.DOTALL | re.MULTILINE)
    assert not re.search(hole, text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_is_rectangular(cards, kind):
    for block in re.findall(r"(?:^\|.*\|$\n)+", cards[kind][0], flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


@pytest.mark.parametrize("kind", KINDS)
def test_no_card_names_the_machine(cards, kind):
    text, folder = cards[kind]
    assert str(folder.parent) not in text


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bare model"])
def test_every_example_runs(cards, kind, generator, tmp_path, monkeypatch, capsys):
    """Against folders instead of Hub ids. `test_publish` runs them once more where the package is absent."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    text, folder = cards[kind]
    text = set_repo_id(text, str(folder)).replace('base_id = "org/generator"', f'base_id = "{generator}"')
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python") == 2
    for block in blocks:
        exec(compile(block, f"{kind} card", "exec"), {})
        assert capsys.readouterr().out.strip()
