"""One callable for radiographs and reports, and the stock pipeline that uses it."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import IMAGE_SIZE, make_model
from transformers import AutoProcessor, BertTokenizer, pipeline

from synthcxr.models import CxrImageProcessor, CxrProcessor


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] left right small large pleural effusion no finding".split()
LABELS = ["left pleural effusion", "no finding", "large right effusion"]


@pytest.fixture
def processor():
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)}, model_max_length=8)
    return CxrProcessor(CxrImageProcessor(size=IMAGE_SIZE, histogram_equalisation="global"), tokenizer)


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8))


def test_texts_and_images_become_the_inputs_of_a_model(processor, image):
    inputs = processor(text=["No finding", "small effusion"], images=[image] * 3, return_tensors="pt", padding=True)
    assert inputs.input_ids.tolist() == [[2, 11, 12, 3], [2, 7, 10, 3]]
    assert inputs.pixel_values.shape == (3, 1, IMAGE_SIZE, IMAGE_SIZE)
    output = make_model("convirt").eval()(**inputs)
    assert output.logits_per_image.shape == (3, 2)


def test_texts_are_padded_to_the_longest_and_cut_to_what_the_model_takes(processor):
    inputs = processor(text=["no finding", "small " * 20], return_tensors="pt", padding=True)
    assert inputs.input_ids.shape == (2, 8)
    assert inputs.attention_mask.sum(dim=1).tolist() == [4, 8]
    assert processor(text="small " * 20, max_length=5).input_ids[-1] == processor.tokenizer.sep_token_id
    with pytest.raises(ValueError, match="at least one input"):
        processor()


def test_tokens_are_decoded(processor):
    inputs = processor(text=["left effusion", "no finding"])
    assert processor.batch_decode(inputs.input_ids, skip_special_tokens=True) == ["left effusion", "no finding"]
    assert processor.decode(inputs.input_ids[0], skip_special_tokens=True) == "left effusion"


def test_saving_and_loading_keeps_every_setting(processor, image, tmp_path):
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is CxrProcessor
    assert loaded.tokenizer.model_max_length == 8
    assert loaded.image_processor.to_dict() == processor.image_processor.to_dict()
    given = {"text": ["no left effusion"], "images": [image], "return_tensors": "pt"}
    for name, value in processor(**given).items():
        assert torch.equal(loaded(**given)[name], value)


@pytest.fixture
def checkpoint(processor, tmp_path):
    make_model("convirt").save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def test_the_stock_zero_shot_pipeline_scores_by_cosine(checkpoint, processor, image):
    scores = pipeline("zero-shot-image-classification", model=str(checkpoint))(
        image, candidate_labels=LABELS, hypothesis_template="{}"
    )
    inputs = processor(text=LABELS, images=image, return_tensors="pt", padding=True)
    with torch.no_grad():
        output = make_model("convirt").eval()(**inputs)
    expected = torch.softmax(output.image_embeds @ output.text_embeds.T / 0.1, dim=-1)[0]
    assert {row["label"]: round(row["score"], 5) for row in scores} == {
        label: round(value, 5) for label, value in zip(LABELS, expected.tolist(), strict=True)
    }
