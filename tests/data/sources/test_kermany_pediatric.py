import pytest
from PIL import Image

from synthcxr.data import load_kermany_pediatric, load_pairs, prepare_source
from synthcxr.ontology import FINDING_IDS


@pytest.fixture
def flat(tmp_path):
    """Two folders of labels, as a sample comes."""
    folder = tmp_path / "kermany"
    save(folder, "NORMAL", "IM-0011-0001-0001.jpeg", "IM-0011-0001-0002.jpeg", "NORMAL2-IM-0380-0001.jpeg")
    save(folder, "PNEUMONIA", "person12_bacteria_48.jpeg", "person12_virus_9.jpeg", "BACTERIA-1008087-0001.jpeg")
    return folder


def save(folder, label, *names):
    (folder / label).mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (60, 40), (99, 99, 99)).save(folder / label / name)


def test_folders_are_labels_and_names_hold_patients(flat):
    pairs = load_kermany_pediatric(flat)
    assert [[FINDING_IDS[index] for index in labels] for labels in pairs["labels"]] == (
        [["no_finding"]] * 3 + [["lung_opacity", "pneumonia"]] * 3
    )
    patients = [patient.removeprefix("kermany_pediatric-") for patient in pairs["patient_id"]]
    assert patients == ["IM-0011", "IM-0011", "NORMAL2-IM-0380", "BACTERIA-1008087", "person12", "person12"]
    row = pairs[0]
    assert (row["view"], row["age"], row["sex"], row["report"]) == ("AP", None, None, "")
    assert (row["image"].mode, row["image"].size) == ("L", (60, 40))


def test_official_splits_count_their_patients_apart(tmp_path):
    for split in ("train", "val", "test"):
        save(tmp_path / "chest_xray" / split, "PNEUMONIA", "person1_virus_6.jpeg")
        save(tmp_path / "chest_xray" / split, "NORMAL", "IM-0001-0001.jpeg")
    parts = {split: load_kermany_pediatric(tmp_path, split=split) for split in ("train", "validation", "test")}
    assert all(part.num_rows == 2 for part in parts.values())
    assert len({patient for part in parts.values() for patient in part["patient_id"]}) == 6


def test_what_is_wrong_is_named(flat, tmp_path):
    with pytest.raises(ValueError, match="has no train split"):
        load_kermany_pediatric(flat, split="train")
    with pytest.raises(ValueError, match="split is 'dev'"):
        load_kermany_pediatric(flat, split="dev")
    with pytest.raises(ValueError, match="expected the official layout"):
        load_kermany_pediatric(tmp_path / "nowhere")
    save(flat, "NORMAL", "holiday.jpeg")
    with pytest.raises(ValueError, match=r"holiday\.jpeg has a name without a patient"):
        load_kermany_pediatric(flat)


def test_a_truncated_jpeg_is_left_out(flat, caplog):
    path = flat / "NORMAL" / "IM-0011-0001-0001.jpeg"
    path.write_bytes(path.read_bytes()[:300])
    assert load_kermany_pediatric(flat).num_rows == 5
    assert "IM-0011-0001-0001.jpeg is cut short" in caplog.text


def test_real_children_are_read_and_prepared(shared_data, tmp_path):
    pairs = load_kermany_pediatric(shared_data / "kermany_pediatric")
    assert pairs.num_rows == 60
    folder = prepare_source("kermany_pediatric", shared_data / "kermany_pediatric", tmp_path / "out", progress=False)
    assert load_pairs(folder, "test")["id"][:] == pairs["id"][:]
