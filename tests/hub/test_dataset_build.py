"""What a manifest tells a card, and what it must not tell."""

import json

import pytest
from tiny_artefacts import build_tiny_dataset
from tiny_publications import build_tiny_synthetic

from synthcxr.hub.dataset_build import build_content, check_complete, report_origins, shipped_sources


def test_what_was_asked_for_is_said(synthetic_folder):
    built = dict(build_content(synthetic_folder)["built"])
    assert (built["kind"], built["num inference steps"], built["guidance scale"]) == ("synthetic pairs", "16", "3.5")
    assert "compile unet" not in built


def test_rejects_are_counted_by_reason_without_their_words(synthetic_folder):
    rejects = build_content(synthetic_folder)["rejects"]
    assert (rejects["num_rows"], rejects["num_asked"], rejects["share"]) == (1, 4, 0.25)
    assert rejects["reasons"] == [
        {"reason": "the prompt … is not in Latin letters; expected an English report", "rows": 1, "share": 0.25}
    ]
    assert "jane" not in str(rejects).lower()


def test_reasons_that_differ_in_numbers_are_one(synthetic_folder, tmp_path):
    folder = build_tiny_synthetic(tmp_path / "drawn")
    manifest = json.loads((folder / "manifest.json").read_text())
    reasons = [f'the generator knows {known} of 1,200 words of the prompt "it\'s {known}"' for known in (3, 14)]
    manifest["shards"][0]["bad_rows"] = [{"id": "x", "reason": reason} for reason in reasons]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (reason,) = build_content(folder)["rejects"]["reasons"]
    assert (reason["reason"], reason["rows"]) == ("the generator knows N of N words of the prompt …", 2)


def test_folders_of_the_machine_are_named_without_their_path(tmp_path):
    folder = build_tiny_synthetic(tmp_path / "drawn", request={"reports": "/home/jane/study/reports.jsonl"})
    assert dict(build_content(folder)["built"])["reports"] == "reports.jsonl"


def test_a_dataset_without_a_manifest_says_nothing(tmp_path):
    folder = build_tiny_dataset(tmp_path / "pairs")
    assert build_content(folder) == {"built": [], "rejects": None}
    assert report_origins(folder) == set()


def test_a_manifest_of_somebody_else_says_nothing(tmp_path):
    folder = build_tiny_dataset(tmp_path / "pairs")
    (folder / "manifest.json").write_text('{"short_name": "an app of the web"}')
    assert build_content(folder) == {"built": [], "rejects": None}


def test_an_unfinished_dataset_is_refused(synthetic_folder, tmp_path):
    check_complete(synthetic_folder)
    folder = build_tiny_synthetic(tmp_path / "drawn")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"complete": False, "shards": []}))
    with pytest.raises(ValueError, match="is unfinished; the command that began it goes on"):
        check_complete(folder)


def test_a_manifest_that_is_no_json_is_named(tmp_path):
    folder = build_tiny_synthetic(tmp_path / "drawn")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: no JSON"):
        build_content(folder)


@pytest.mark.parametrize("shards", [[{}], ["x"], [{"num_rows": 3, "bad_rows": [{}]}], [{"num_rows": None}]])
def test_a_damaged_manifest_is_named(tmp_path, shards):
    folder = build_tiny_synthetic(tmp_path / "drawn")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"shards": shards}))
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        build_content(folder)


def test_a_source_counts_as_shipped_with_its_exact_revision(generator, tmp_path, monkeypatch):
    from shutil import copytree

    copytree(generator, tmp_path / "tiny-generator")
    monkeypatch.setattr("synthcxr.data.shipped._WEIGHTS", tmp_path)
    (source,) = shipped_sources()
    assert source.startswith("tiny-generator@")
    (tmp_path / "tiny-generator" / "scheduler" / "scheduler_config.json").write_text("{}")
    assert shipped_sources() != {source}
