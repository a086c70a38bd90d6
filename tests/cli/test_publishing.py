"""The verb `publish`: what it prints, and bad usage in one line."""

import shutil

import pytest
from tiny_artefacts import dataset_folder as dataset_folder
from tiny_publications import adapter as adapter
from tiny_publications import generator as generator
from tiny_publications import synthetic_folder as synthetic_folder

from synthcxr.cli.main import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["publish", *map(str, arguments)])
    shown = capsys.readouterr()
    return caught.value.code, shown.out, shown.err


def test_a_dry_run_lists_what_would_be_pushed_and_what_not(capsys, generator, tmp_path):
    out = tmp_path / "out"
    code, shown, _ = run(capsys, "pipeline", generator, "org/generator", "--dry-run", "--output-dir", out)
    assert code == 0
    assert "  unet/diffusion_pytorch_model.safetensors" in shown
    assert "not published: checkpoint-10/ (2 files), latents.npy, log.jsonl, samples/ (1 file), train" in shown
    assert shown.rstrip().endswith(str(out))


def test_a_licence_and_a_base_are_given_by_flags(capsys, adapter, tmp_path):
    flags = ("--license", "openrail", "--base-model", "org/roentgen")
    code, _, _ = run(capsys, "adapter", adapter, "org/adapter", "--dry-run", "--output-dir", tmp_path / "out", *flags)
    assert code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: openrail" in card
    assert 'base_id = "org/roentgen"' in card


@pytest.mark.parametrize("kind", ["adapter", "dataset"])
def test_a_licence_that_does_not_follow_is_asked_for_in_one_line(capsys, kind, adapter, synthetic_folder, tmp_path):
    folder = shutil.copytree({"adapter": adapter, "dataset": synthetic_folder}[kind], tmp_path / kind)
    code, _, err = run(capsys, kind, folder, "org/thing", "--dry-run")
    assert code == 2
    assert err.startswith("synthcxr: error: ")
    assert "--license" in err
    assert err.count("\n") == 1
    assert not (tmp_path / f"{kind}-publish").exists()
