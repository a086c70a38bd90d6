import pytest
import torch
from datasets import Dataset, concatenate_datasets
from tiny_generators import tiny_bert_tokenizer, tiny_flow_pipeline

from synthcxr.data import load_pairs
from synthcxr.pipelines.text_conditioning import tokenize_prompts
from synthcxr.training.report_reading import FindingReader, hand_over, teach_reading
from synthcxr.training.text_to_cxr_arguments import TextToCxrArguments


def arguments(**settings):
    settings = {"reading_steps": 40, "per_device_train_batch_size": 16, "muon_learning_rate": 0.02} | settings
    return TextToCxrArguments(
        output_dir="unused", dataset=["unused"], use_cpu=True, disable_tqdm=True, learning_rate=5e-3, **settings
    )


def sentences(pairs: Dataset) -> Dataset:
    """Half the rows have an effusion and say so in one sentence; the others deny it."""
    effusion = pairs.features["labels"].feature.str2int("pleural_effusion")
    texts = ["large left pleural effusion .", "no pleural effusion . heart is normal ."]

    def write(row, index):
        text = texts[index % 2]
        return row | {
            "id": f"{row['id']}-{index}",
            "labels": [] if index % 2 else [effusion],
            "uncertain": [],
            "prompt": None,
            **dict.fromkeys(("report", "findings", "impression"), text),
        }

    rows = concatenate_datasets([pairs] * (120 // len(pairs) + 1)).select(range(120))
    return rows.map(write, with_indices=True)


@pytest.fixture(scope="module")
def spoken(pairs_folder):
    return sentences(load_pairs(pairs_folder, split="train"))


def test_a_fresh_encoder_learns_to_tell_a_finding_from_its_negation(spoken):
    pipeline = tiny_flow_pipeline()
    weight = pipeline.text_encoder.encoder.layer[0].output.dense.weight
    before = weight.detach().clone()
    train, held_out = spoken.select(range(110)), spoken.select(range(110, 120))
    metrics = teach_reading(pipeline, train, held_out, arguments())
    assert metrics["reading_macro_auroc"] > 0.95
    assert metrics["reading_loss"] < 0.3
    assert not torch.equal(before, weight)


def test_the_same_seed_teaches_the_same_weights(spoken):
    taught = []
    for _ in range(2):
        torch.manual_seed(0)
        pipeline = tiny_flow_pipeline()
        teach_reading(pipeline, spoken, None, arguments(reading_steps=3))
        taught.append(pipeline.text_encoder.state_dict() | pipeline.unet.class_embedding.state_dict())
    assert all(torch.equal(taught[0][name], taught[1][name]) for name in taught[0])


def test_padding_has_no_part_in_what_is_read():
    tokenizer = tiny_bert_tokenizer()
    torch.manual_seed(0)
    reader = FindingReader(tiny_flow_pipeline().text_encoder, 3).eval()
    texts = ["no pleural effusion .", "large left pleural effusion in the upper lobe . heart is normal ."]
    with torch.no_grad():
        together = reader(**tokenize_prompts(texts, tokenizer, reader.text_encoder))
        alone = [reader(**tokenize_prompts([text], tokenizer, reader.text_encoder))[0] for text in texts]
    assert together.shape == (2, 3)
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-4)


def test_the_unet_begins_with_what_the_reader_says():
    torch.manual_seed(0)
    pipeline, tokenizer = tiny_flow_pipeline(), tiny_bert_tokenizer()
    reader = FindingReader(pipeline.text_encoder, 3).eval()
    texts = [f"{size} {side} effusion ." for size in ("large", "small", "mild") for side in ("left", "right", "upper")]
    tokens = tokenize_prompts(texts, tokenizer, reader.text_encoder)
    with torch.no_grad():
        said = reader(**tokens)
        layer = pipeline.unet.class_embedding.linear_1
        others = layer.weight[6:].clone()
        hand_over(reader, layer, tokenizer, texts)
        means = reader.read(**tokens)
        units = layer(means)
    torch.testing.assert_close(means.mean(dim=0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(reader(**tokens), said, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(units[:, :3], (said - said.mean(dim=0)) / said.std(dim=0), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(units[:, 3:6], -units[:, :3])
    assert torch.equal(layer.weight[6:], others)


def test_pairs_without_frequent_findings_are_refused(spoken):
    with pytest.raises(ValueError, match="--reading-steps: no finding is in 50 pairs"):
        teach_reading(None, spoken.select(range(20)), None, arguments())


def test_a_pre_trained_text_encoder_is_not_taught():
    with pytest.raises(ValueError, match="--reading-steps is for a fresh text encoder"):
        arguments(text_model="somebody/bert")
