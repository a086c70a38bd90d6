import io

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Image, List, Value, load_dataset
from PIL import Image as PILImage

from synthcxr.data import PAIR_FEATURES, Pair
from synthcxr.ontology import FINDING_IDS, REGION_IDS


def test_columns_are_those_of_the_contract():
    findings = List(ClassLabel(names=list(FINDING_IDS)))
    masks = List(Image(mode="L"))
    assert list(PAIR_FEATURES) == [
        *("id", "image", "report", "findings", "impression", "labels", "uncertain", "objects", "regions", "entities"),
        *("view", "age", "sex", "origin", "source", "prompt", "seed", "quality"),
        *("patient_id", "study_id", "prior_id"),
    ]
    assert PAIR_FEATURES["image"] == Image(mode="L")
    assert PAIR_FEATURES["labels"] == PAIR_FEATURES["uncertain"] == findings
    assert PAIR_FEATURES["objects"] == {
        "bbox": List(List(Value("float32"), length=4)),
        "category": findings,
        "mask": masks,
    }
    assert PAIR_FEATURES["regions"] == {"category": List(ClassLabel(names=list(REGION_IDS))), "mask": masks}
    assert PAIR_FEATURES["entities"] == List({"text": Value("string"), "type": Value("string")})
    assert PAIR_FEATURES["origin"].names == ["real", "simulated", "synthetic"]
    assert PAIR_FEATURES["seed"] == Value("int64")
    quality = dict(PAIR_FEATURES["quality"])
    assert quality.pop("reason") == Value("string")
    assert quality
    assert set(map(str, quality.values())) == {str(Value("float32"))}


def test_a_row_comes_back_from_parquet_as_it_went_in(pair, tmp_path):
    empty = Pair(id="empty", image=np.zeros((8, 8), np.uint8), report="", origin="real", source="a-test@1")
    rows = [pair.to_row(), empty.to_row()]
    Dataset.from_list(rows, features=PAIR_FEATURES).to_parquet(tmp_path / "train.parquet")
    loaded = load_dataset(str(tmp_path), split="train")
    assert loaded.features == PAIR_FEATURES
    assert loaded.cast_column("image", Image(decode=False))[0]["image"]["bytes"] == rows[0]["image"]["bytes"]

    row = loaded[0]
    assert (np.asarray(row["image"]) == pair.image).all()
    assert row["objects"]["bbox"] == [[10, 5, 20, 10]]
    assert [FINDING_IDS[index] for index in row["objects"]["category"]] == ["pleural_effusion"]
    assert (np.asarray(row["objects"]["mask"][0]) == 255 * pair.box_masks[0]).all()
    assert [REGION_IDS[index] for index in row["regions"]["category"]] == ["left_lung", "heart"]
    assert row["entities"] == [{"text": "pleural effusion", "type": "finding"}]
    assert (row["age"], row["seed"], row["origin"]) == (54.5, 2**62, 1)
    assert row["quality"]["image_quality"] == 0.5
    assert row["quality"]["reason"] is None

    nothing = loaded[1]
    assert nothing["objects"] == {"bbox": [], "category": [], "mask": []}
    assert nothing["age"] is nothing["seed"] is nothing["view"] is nothing["prior_id"] is None


def test_masks_are_binary_pictures_of_the_image_size(pair):
    mask = PILImage.open(io.BytesIO(pair.to_row()["objects"]["mask"][0]["bytes"]))
    assert mask.size == (50, 40)
    assert mask.mode == "1"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"report": " \n"}, "empty report"),
        ({"id": ""}, "expected a name"),
        ({"origin": "fake"}, "origin 'fake'"),
        ({"labels": ["effusion"]}, "'effusion' in labels"),
        ({"uncertain": ["pleural_effusion"]}, "both as present and as uncertain"),
        ({"labels": ["no_finding", "edema"]}, "no_finding beside other labels"),
        ({"boxes": [[10, 5, float("nan"), 10]]}, "four finite numbers"),
        ({"boxes": [[10, 5, 20]]}, "four finite numbers"),
        ({"boxes": [[40, 5, 20, 10]]}, "outside its 50x40 image"),
        ({"boxes": [[-3, 5, 20, 10]]}, "outside its 50x40 image"),
        ({"boxes": [[10, 5, 0, 10]]}, "outside its 50x40 image"),
        ({"boxes": []}, "0 boxes, 1 categories and 1 masks"),
        ({"box_masks": [np.zeros((40, 49), bool)]}, r"shape \(40, 49\)"),
        ({"box_masks": [np.zeros((40, 50), np.uint8)]}, "type uint8"),
        ({"regions": {"heart": np.zeros((20, 20), bool)}}, "heart mask of shape"),
        ({"regions": {"hart": np.zeros((40, 50), bool)}}, "'hart' in regions"),
        ({"image": np.zeros((40, 50, 3), np.uint8)}, r"shape \(40, 50, 3\)"),
        ({"image": np.zeros((40, 50), np.float32)}, "type float32"),
        ({"age": float("nan")}, "the age nan"),
        ({"age": 414.0}, "the age 414"),
        ({"seed": 2**63}, "expected 64 bits"),
        ({"quality": {"image_quality": float("inf")}}, "image_quality inf"),
        ({"quality": {"beauty": 1.0}}, "'beauty' in quality"),
    ],
)
def test_a_bad_row_is_refused_by_its_id(pair_arguments, change, expected):
    with pytest.raises(ValueError, match=expected) as refusal:
        Pair(**pair_arguments | change)
    message = str(refusal.value)
    assert "'row-7'" in message or "id" in change
    assert "\n" not in message


def test_only_a_real_study_may_come_without_words(pair_arguments):
    assert Pair(**pair_arguments | {"report": "", "origin": "real"}).report == ""
    with pytest.raises(ValueError, match="empty report"):
        Pair(**pair_arguments | {"report": "", "origin": "synthetic"})
