import csv

import numpy as np
import pytest
from PIL import Image

from synthcxr.data import PAIR_FEATURES, load_nih_chestxray14, load_pairs, prepare_source
from synthcxr.data.dataset_folder import read_manifest
from synthcxr.data.sources.nih_chestxray14 import read_nih_chestxray14
from synthcxr.ontology import FINDING_IDS


HEADER = [
    *("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position"),
    *("OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]"),
]
ROWS = [
    ("00000001_000.png", "Cardiomegaly", 0, 1, 58, "M", "PA"),
    ("00000001_001.png", "Cardiomegaly|Emphysema", 1, 1, 58, "M", "AP"),
    ("00000001_002.png", "Effusion|Infiltration", 5, 1, 59, "M", "PA"),
    ("00000002_000.png", "No Finding", 0, 2, 414, "F", "PA"),
    ("00000003_000.png", "Pleural_Thickening", 0, 3, 81, "F", "PA"),
]
BOX_HEADER = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""]


@pytest.fixture
def copy(tmp_path):
    """A tiny copy in the official layout, images in two folders at a fourth of the published size."""
    folder = tmp_path / "nih"
    with_table(folder, ROWS)
    for index, row in enumerate(ROWS):
        images = folder / f"images_{1 + index % 2:03d}" / "images"
        images.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(np.random.default_rng(index).integers(0, 256, (256, 256), dtype=np.uint8))
        image.convert("RGBA" if index == 1 else "L").save(images / row[0])
    with (folder / "BBox_List_2017.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(BOX_HEADER)
        writer.writerow(["00000001_002.png", "Infiltrate", 100.0, 200.0, 300.0, 400.0, "", "", ""])
        writer.writerow(["00000001_002.png", "Effusion", 900.0, 900.0, 124.4, 124.2, "", "", ""])
    return folder


def with_table(folder, rows, *, name="Data_Entry_2017_v2020.csv", header=HEADER):
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([*row, 1024, 1024, 0.14, 0.14][: len(header)] for row in rows)


def names(row, column="labels"):
    return [FINDING_IDS[index] for index in row[column]]


def test_a_copy_is_read_into_the_schema(copy):
    pairs = load_nih_chestxray14(copy)
    assert pairs.features == PAIR_FEATURES
    assert pairs["id"][:] == [f"nih_chestxray14-{row[0][:-4]}" for row in ROWS]
    row = pairs[2]
    assert names(row) == ["lung_opacity", "pleural_effusion", "infiltration"]
    assert (row["view"], row["age"], row["sex"], row["report"]) == ("PA", 59.0, "male", "")
    assert pairs.features["origin"].int2str(row["origin"]) == "real"
    assert row["source"].startswith("nih_chestxray14@")
    assert row["prompt"] is row["seed"] is None
    assert (row["image"].mode, row["image"].size) == ("L", (256, 256))
    assert names(pairs[3]) == ["no_finding"]


def test_ages_that_nobody_has_are_unknown(copy):
    assert load_nih_chestxray14(copy)["age"][:] == [58.0, 58.0, 59.0, None, 81.0]


def test_boxes_are_scaled_to_the_images_and_cut_at_their_edge(copy):
    objects = load_nih_chestxray14(copy)[2]["objects"]
    assert [FINDING_IDS[index] for index in objects["category"]] == ["infiltration", "pleural_effusion"]
    assert np.allclose(objects["bbox"], [[25, 50, 75, 100], [225, 225, 31, 31]])
    assert objects["mask"] == []


def test_the_study_before_is_named(copy):
    pairs = load_nih_chestxray14(copy)
    assert pairs["prior_id"][:] == [None, pairs["study_id"][0], pairs["study_id"][1], None, None]
    assert len(set(pairs["patient_id"][:])) == 3


def other_split(copy):
    return next(study.split for study in read_nih_chestxray14(copy) if study.patient_id == "nih_chestxray14-1")


def test_official_lists_make_the_splits_and_patients_stay_together(copy):
    (copy / "train_val_list.txt").write_text("\n".join(row[0] for row in ROWS[:3]) + "\n")
    (copy / "test_list.txt").write_text("\n".join(row[0] for row in ROWS[3:]) + "\n")
    assert load_nih_chestxray14(copy, split="test")["patient_id"][:] == ["nih_chestxray14-2", "nih_chestxray14-3"]
    # All three other studies are one patient's, who falls into one of the two.
    taken, empty = sorted(("train", "validation"), key=lambda split: split != other_split(copy))
    assert load_nih_chestxray14(copy, split=taken).num_rows == 3
    with pytest.raises(ValueError, match=f"has no {empty} split"):
        load_nih_chestxray14(copy, split=empty)
    (copy / "test_list.txt").unlink()
    with pytest.raises(ValueError, match=r"train_val_list\.txt alone"):
        load_nih_chestxray14(copy)


def test_without_lists_everything_is_test(copy):
    assert load_nih_chestxray14(copy).num_rows == len(ROWS)
    with pytest.raises(ValueError, match="has no train split; it needs"):
        load_nih_chestxray14(copy, split="train")
    with pytest.raises(ValueError, match="split is 'dev'"):
        load_nih_chestxray14(copy, split="dev")


def test_missing_and_truncated_images_are_named_counted_and_left_out(copy, caplog):
    (copy / "images_001" / "images" / "00000001_000.png").unlink()
    truncated = copy / "images_002" / "images" / "00000002_000.png"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    pairs = load_nih_chestxray14(copy)
    assert pairs.num_rows == 3
    assert "Left out nih_chestxray14-00000001_000" in caplog.text
    assert "00000002_000.png is cut short" in caplog.text
    assert "2 of 5 images" in caplog.text


def test_a_copy_without_any_image_is_an_error(copy):
    for image in copy.rglob("*.png"):
        image.unlink()
    with pytest.raises(ValueError, match="has no image that can be read"):
        load_nih_chestxray14(copy)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("00000001_000.png", "Cardiomegali", 0, 1, 58, "M", "PA")], r"line 2 \(00000001_000.png\).*'Cardiomegali'"),
        ([("00000001_000.png", "Hernia", 0, 1, "old", "M", "PA")], "line 2.*Patient Age is 'old'; expected a number"),
        ([("00000001_000.png", "Hernia", "first", 1, 50, "M", "PA")], "line 2.*'first'"),
    ],
)
def test_a_bad_table_row_is_named_by_its_line(copy, rows, expected):
    with_table(copy, rows)
    with pytest.raises(ValueError, match=expected) as refusal:
        load_nih_chestxray14(copy)
    assert "Data_Entry_2017_v2020.csv" in str(refusal.value)


def test_another_layout_is_refused_by_what_it_lacks(copy, tmp_path):
    with pytest.raises(ValueError, match=r"has no Data_Entry_2017_v2020\.csv"):
        load_nih_chestxray14(tmp_path)
    with_table(copy, ROWS, header=HEADER[:5])
    with pytest.raises(ValueError, match="has no column 'Patient Gender'"):
        load_nih_chestxray14(copy)
    with_table(tmp_path, ROWS)
    with pytest.raises(ValueError, match="has no images/ or images_001/"):
        load_nih_chestxray14(tmp_path)


def test_a_prepared_copy_loads_like_the_copy_itself(copy, tmp_path):
    folder = prepare_source("nih_chestxray14", copy, tmp_path / "prepared", progress=False)
    prepared, lazy = load_pairs(folder, "test"), load_nih_chestxray14(copy)
    for left, right in zip(prepared, lazy, strict=True):
        assert (np.asarray(left.pop("image")) == np.asarray(right.pop("image"))).all()
        assert left == right


def test_preparing_goes_on_past_bad_images_and_mends_them_later(copy, tmp_path, caplog):
    damaged = copy / "images_001" / "images" / "00000001_000.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-2000] + bytes(1900) + whole[-100:])
    folder = prepare_source("nih_chestxray14", copy, tmp_path / "prepared", shard_size=2, progress=False)
    assert load_pairs(folder, "test").num_rows == 4
    bad = [item for shard in read_manifest(folder)["shards"] for item in shard["bad_rows"]]
    assert [item["id"] for item in bad] == ["nih_chestxray14-00000001_000"]
    assert "damaged or cut short" in bad[0]["reason"]
    assert "prepared: 1;" in caplog.text

    damaged.write_bytes(whole)
    prepare_source("nih_chestxray14", copy, folder, shard_size=2, progress=False)
    assert load_pairs(folder, "test").num_rows == 5


def test_the_real_sample_is_read(shared_data):
    pairs = load_nih_chestxray14(shared_data / "nih_chestxray14")
    assert pairs.num_rows == 400
    labels = [set(names(row)) for row in pairs.select_columns("labels")]
    assert sum("pneumonia" in found for found in labels) == 200
    assert sum(found == {"no_finding"} for found in labels) == 200
    boxed = [row for row in pairs.select_columns(["objects", "image"]) if row["objects"]["bbox"]]
    assert len(boxed) == 6
    for row in boxed:
        x, y, width, height = row["objects"]["bbox"][0]
        assert 0 <= x < x + width <= row["image"].width
        assert 0 <= y < y + height <= row["image"].height
    assert set(pairs["view"][:]) == {"PA", "AP"}
