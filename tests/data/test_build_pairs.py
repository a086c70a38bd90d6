import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from synthcxr.data import PAIR_FEATURES, build_pairs
from synthcxr.data.build_pairs import simulate_pair
from synthcxr.data.dataset_folder import read_manifest
from synthcxr.ontology import FINDING_IDS, REGION_IDS, StudySpec
from synthcxr.reports import split_sections, write_report
from synthcxr.simulation import simulate


SPLITS = {"train": 0.5, "validation": 0.25, "test": 0.25}
OPTIONS = {"image_size": 64, "splits": SPLITS, "shard_size": 6, "progress": False}


def contents(folder):
    """Every file of a dataset, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_anybody_can_load_the_folder_without_this_package(folder, specs, tmp_path):
    code = f"""
        import json, sys
        sys.modules["synthcxr"] = None
        from datasets import load_dataset

        pairs = load_dataset({str(folder)!r})
        streamed = load_dataset({str(folder)!r}, split="train", streaming=True)
        row, first = pairs["train"][0], next(iter(streamed))
        print(json.dumps({{
            "counts": {{split: part.num_rows for split, part in pairs.items()}},
            "image": [row["image"].mode, *row["image"].size],
            "streams_the_same": first["report"] == row["report"] and first["image"] == row["image"],
            "features_stream": streamed.features == pairs["train"].features,
            "shards": streamed.num_shards,
            "names": pairs["train"].features["labels"].feature.names,
        }}))
    """
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = json.loads(done.stdout)
    assert list(said["counts"]) == ["train", "validation", "test"]
    assert sum(said["counts"].values()) == len(specs)
    assert said["image"] == ["L", 64, 64]
    assert said["streams_the_same"]
    assert said["features_stream"]
    assert said["shards"] == len(list(folder.glob("data/train-*"))) >= 2
    assert said["names"] == list(FINDING_IDS)


def test_rows_are_what_was_simulated_and_written(folder, specs):
    rows = {row["study_id"]: row for split in SPLITS for row in load_dataset(str(folder), split=split)}
    assert len(rows) == len({row["id"] for row in rows.values()}) == len(specs)
    for spec in specs[::5]:
        row, study = rows[spec.study_id], simulate(spec, image_size=64)
        assert (np.asarray(row["image"]) == study.image).all()
        assert row["report"] == write_report(spec)
        assert row["impression"] == split_sections(row["report"])["impression"]
        assert [FINDING_IDS[index] for index in row["labels"]] == spec.labels
        assert [FINDING_IDS[index] for index in row["uncertain"]] == spec.uncertain
        assert [FINDING_IDS[index] for index in row["objects"]["category"]] == [
            item.category for item in study.objects
        ]
        for item, bbox, mask in zip(study.objects, row["objects"]["bbox"], row["objects"]["mask"], strict=True):
            assert np.allclose(item.bbox, bbox)
            assert (np.asarray(mask) == 255 * item.mask).all()
        stored = dict(
            zip((REGION_IDS[index] for index in row["regions"]["category"]), row["regions"]["mask"], strict=True)
        )
        assert set(stored) == {name for name, mask in study.regions.items() if mask.any()}
        assert all((np.asarray(mask) == 255 * study.regions[name]).all() for name, mask in stored.items())
        assert (row["origin"], row["seed"], row["patient_id"]) == (1, spec.seed, spec.patient.patient_id)
        assert StudySpec.from_dict(json.loads(row["prompt"])) == spec


def test_patients_are_in_one_split_each(folder):
    patients = [set(load_dataset(str(folder), split=split)["patient_id"]) for split in SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients))


def test_the_manifest_and_the_header_describe_the_folder(folder, specs):
    manifest = read_manifest(folder)
    assert manifest["complete"]
    assert manifest["request"]["image_size"] == 64
    assert [shard["path"] for shard in manifest["shards"]] == [
        *(f"data/train-{index:05d}-of-{len(list(folder.glob('data/train-*'))):05d}.parquet" for index in range(2)),
        *sorted(path for path in contents(folder) if path.startswith("data/validation")),
        *sorted(path for path in contents(folder) if path.startswith("data/test")),
    ]
    header = DatasetCard.load(folder / "README.md").data.to_dict()
    assert [item["split"] for item in header["configs"][0]["data_files"]] == list(SPLITS)
    assert sum(split["num_examples"] for split in header["dataset_info"]["splits"]) == len(specs)
    assert not [name for name in contents(folder) if "/." in f"/{name}"], "nothing temporary is left"


def test_chosen_regions_are_stored_alone(specs):
    pair = simulate_pair(specs[0], image_size=64, regions=["right_lung", "left_lung"])
    assert set(pair.regions) == {"right_lung", "left_lung"}
    assert not simulate_pair(specs[0], image_size=64, regions=()).regions


def test_two_processes_write_the_same_bytes_as_one(folder, tmp_path):
    code = f"""
        from synthcxr.data import build_pairs
        from synthcxr.simulation import sample_cohort

        if __name__ == "__main__":
            specs = sample_cohort(24, preset="balanced", seed=3)
            build_pairs(specs, output_dir={str(tmp_path / "pairs")!r}, num_proc=2, **{OPTIONS!r})
        """
    (tmp_path / "build.py").write_text(textwrap.dedent(code))
    subprocess.run([sys.executable, tmp_path / "build.py"], check=True, timeout=300)
    assert contents(tmp_path / "pairs") == contents(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_size": 96}, r"image_size \(64 there, 96 now\)"),
        ({"shard_size": 5}, r"shard_size \(6 there, 5 now\)"),
        ({"regions": ["heart"]}, r"regions \(None there, \['heart'\] now\)"),
        ({"splits": {"train": 1.0}}, "splits"),
    ],
)
def test_another_request_in_the_same_folder_is_refused(folder, specs, change, expected):
    before = contents(folder)
    with pytest.raises(ValueError, match=expected):
        build_pairs(specs, output_dir=folder, **OPTIONS | change)
    with pytest.raises(ValueError, match=r"num_studies \(24 there, 23 now\), specs"):
        build_pairs(specs[:-1], output_dir=folder, **OPTIONS)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_size": 63}, "image_size is 63; expected 64 to 1024"),
        ({"image_size": 20_000}, "image_size is 20000"),
        ({"shard_size": 0}, "shard_size is 0"),
        ({"num_proc": 0}, "num_proc is 0"),
        ({"regions": ["hart"]}, "regions has 'hart'"),
        ({"splits": {"train": 0.5}}, "expected shares"),
        ({"splits": {"training": 1.0}}, "called 'training'"),
    ],
)
def test_arguments_are_checked_before_anything_is_made(specs, tmp_path, change, expected):
    with pytest.raises(ValueError, match=expected):
        build_pairs(specs, output_dir=tmp_path / "pairs", **OPTIONS | change)
    assert not (tmp_path / "pairs").exists()


def test_no_study_and_one_study_twice_are_refused(specs, tmp_path):
    with pytest.raises(ValueError, match="no study"):
        build_pairs([], output_dir=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="occurs twice"):
        build_pairs([*specs, specs[0]], output_dir=tmp_path, **OPTIONS)


def test_a_split_without_patients_is_left_out_and_said(specs, tmp_path, caplog):
    build_pairs(specs[:1], output_dir=tmp_path / "pairs", **OPTIONS | {"splits": {"train": 0.999, "test": 0.001}})
    assert "The split test has no patient" in caplog.text
    assert list(load_dataset(str(tmp_path / "pairs"))) == ["train"]
    assert load_dataset(str(tmp_path / "pairs"), split="train").features == PAIR_FEATURES


def test_progress_counts_images(specs, tmp_path, capfd):
    build_pairs(specs[:3], output_dir=tmp_path / "pairs", **OPTIONS | {"progress": True, "splits": {"train": 1.0}})
    shown = capfd.readouterr().err
    assert "3/3" in shown
    assert "image" in shown
