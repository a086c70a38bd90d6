"""Small but real things that `publish` takes beside models: a generator, an adapter of it, a synthetic dataset."""

import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features
from PIL import Image
from tiny_generators import tiny_flow_pipeline, tiny_stable_diffusion

from synthcxr.data.schema import PAIR_FEATURES, Pair
from synthcxr.evaluation.results import Result, write_results


GENERATOR = "flow@1a2b3c"
_TRAINING = {
    "dataset_revision": None,
    "captions": "mixed",
    "caption_dropout": 0.1,
    "objective": "flow",
    "time_mean": 0.3,
    "time_std": 1.0,
    "min_snr_gamma": 5.0,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "seed": 7,
    "use_cpu": True,
    "sample_prompts": [],
}


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory, dataset_folder: Path) -> Path:
    """A finished training run of a generator, loaded and saved again. Nobody may change it."""
    from synthcxr.pipelines import CxrSynthesisPipeline

    folder = tmp_path_factory.mktemp("generators")
    tiny_flow_pipeline().save_pretrained(folder / "first")
    CxrSynthesisPipeline.from_pretrained(folder / "first").save_pretrained(folder / "tiny")
    return leave_generator_traces(folder / "tiny", dataset=dataset_folder)


@pytest.fixture(scope="session")
def latent_generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion 2.x that was saved as our pipeline; nothing is known of its training."""
    from synthcxr.pipelines import CxrSynthesisPipeline

    folder = tmp_path_factory.mktemp("generators")
    tiny_stable_diffusion(2).save_pretrained(folder / "sd")
    CxrSynthesisPipeline.from_pretrained(folder / "sd").save_pretrained(folder / "latent")
    return folder / "latent"


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory, generator: Path, dataset_folder: Path) -> Path:
    """A finished training run of an adapter of the generator. Nobody may change it."""
    from synthcxr.training.generator_adapters import add_adapters, save_adapters

    folder = tmp_path_factory.mktemp("adapters") / "tiny"
    folder.mkdir()
    pipeline = tiny_flow_pipeline()
    add_adapters(pipeline.unet, pipeline.text_encoder, rank=2, alpha=2)
    save_adapters(folder, pipeline.unet, pipeline.text_encoder)
    request = _TRAINING | {"model_name_or_path": "org/generator", "dataset": [str(dataset_folder)], "rank": 2}
    record = {"request": request, "num_pairs": 4, "metrics": {"steps": 20}, "finished": True}
    (folder / "training.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def synthetic_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of synthetic pairs, as `synthesize` leaves it. Nobody may change it."""
    return build_tiny_synthetic(tmp_path_factory.mktemp("datasets") / "drawn")


def leave_generator_traces(folder: Path, *, dataset: Path) -> Path:
    """What a run leaves besides the pipeline: record, log, samples, cache, states; then results and a figure."""
    record = {
        "request": _TRAINING | {"dataset": [str(dataset)], "image_size": 32, "block_out_channels": [32, 64]},
        "num_pairs": 1200,
        "metrics": {"steps": 3000, "images_per_second": 40.1, "eval_loss": 0.123456},
        "runtime_seconds": 9000.0,
        "environment": {"torch": "2.13.0", "device": "CPU, 2 threads"},
        "finished": True,
    }
    (folder / "training.json").write_text(json.dumps(record))
    (folder / "log.jsonl").write_text('{"step": 1}\n')
    (folder / "latents.npy").write_bytes(b"\x93NUMPY")
    write_results(folder / "results.json", tiny_fidelity())
    for name in ("figures/samples.png", "samples/step-1.png"):
        (folder / name).parent.mkdir()
        Image.new("L", (4, 4)).save(folder / name)
    state = folder / "checkpoint-10" / "pipeline"
    state.mkdir(parents=True)
    (state.parent / "random_states_0.pkl").write_bytes(b"\x80\x04.")
    (state / "model.safetensors").write_bytes((folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    return folder


def save_tiny_classifier(path: Path) -> Path:
    """A classifier with random weights, its image processor, and the record of its training."""
    from transformers import ResNetConfig, set_seed

    from synthcxr.models import CxrClassificationConfig, CxrForImageClassification, CxrImageProcessor

    set_seed(0)
    tower = ResNetConfig(num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic")
    labels = ["edema", "pleural_effusion", "left_pleural_effusion", "right_pleural_effusion"]
    CxrForImageClassification(CxrClassificationConfig.of_labels(labels, vision_config=tower)).save_pretrained(path)
    CxrImageProcessor(size=32).save_pretrained(path)
    request = {"dataset": ["/home/jane/pairs"], "seed": 7, "num_train_epochs": 4.0, "min_positives": 100}
    record = {"request": request, "metrics": {"eval_macro_auroc": 0.9}, "runtime_seconds": 600.0, "finished": True}
    (path / "adaptation.json").write_text(json.dumps(record))
    return path


def tiny_fidelity() -> list[Result]:
    """Of images drawn for the reports of `balanced`: distances with floors, and agreement with the reference's own."""
    about = "encoder=classifier; reference=balanced; size=32x32, reference 32x32; seed=0; images=synthetic"

    def drawn(metric, value, how, interval=(None, None), num_samples=500):
        return Result("fidelity", "drawn", "rows-1", metric, value, *interval, num_samples, 0, how)

    scores = "score=logit of classifier; uncertain=excluded; bootstrap=9 x patients"
    own = {"task": "fidelity", "dataset": "balanced", "dataset_revision": "rows-2", "num_samples": 400, "seed": 0}
    near = f"space=features; nearer than the 0.001 quantile of the held-out images' distances; {about}"
    return [
        drawn("fid", 12.3456, f"n=500; eigenvalues; {about}"),
        drawn("fid/floor", 3.2, f"n=500; eigenvalues; training images in place of generated ones; {about}"),
        drawn("kid", 0.00123, f"n=500; {about}", (0.001, 0.0015)),
        drawn("kid/floor", -0.0001, f"n=500; training images in place of generated ones; {about}", (-0.0003, 0.0001)),
        drawn("ms_ssim_across_prompts", 0.31, f"scales=2; {about}", (0.3, 0.32), 99),
        drawn("ms_ssim_across_prompts/reference", 0.3, f"scales=2; {about}", (0.29, 0.31), 98),
        drawn("share_near_training", 0.002, near, (0.0, 0.01)),
        drawn("share_near_training/pixels", 0.004, near, (0.0, 0.01)),
        drawn("macro_auroc", 0.88, f"{scores}; images=synthetic; mean of edema, mass", (0.86, 0.9)),
        drawn("auroc/edema", 0.9, f"{scores}; images=synthetic", (0.86, 0.95)),
        Result(
            metric="macro_auroc", value=0.93, ci_low=0.91, ci_high=0.94, protocol=f"{scores}; images=simulated", **own
        ),
        Result(
            metric="auroc/edema", value=0.95, ci_low=0.91, ci_high=0.98, protocol=f"{scores}; images=simulated", **own
        ),
    ]


def build_tiny_synthetic(path: Path, *, source: str = GENERATOR, request: dict | None = None) -> Path:
    """Three pairs that were drawn, one request that was refused, and the README of the builder."""
    pairs = [
        Pair(
            id=f"synthetic-{seed}",
            image=np.full((32, 32), 10 * seed, dtype=np.uint8),
            report="FINDINGS: There is edema.\nIMPRESSION: Edema.",
            labels=["edema"],
            origin="synthetic",
            source=source,
            prompt="Edema.",
            seed=seed,
        ).to_row()
        for seed in range(3)
    ]
    (path / "data").mkdir(parents=True)
    dataset = Dataset.from_list(pairs, features=Features(PAIR_FEATURES))
    dataset.to_parquet(path / "data" / "train-00000-of-00001.parquet")
    reason = "the prompt 'Jane Doe, born 1950' is not in Latin letters; expected an English report"
    shard = {"path": "data/train-00000-of-00001.parquet", "num_rows": 3}
    manifest = {
        "format": 1,
        "complete": True,
        "request": {
            **{"kind": "synthetic pairs", "generator": source, "num_pairs": 4, "seed": 0, "compile_unet": False},
            **{"num_inference_steps": 16, "guidance_scale": 3.5, **(request or {})},
        },
        "shards": [shard | {"bad_rows": [{"id": "line 2 of /home/jane/reports.jsonl", "reason": reason}]}],
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    write_results(path / "results.json", tiny_fidelity())
    (path / "figures").mkdir()
    Image.new("L", (4, 4)).save(path / "figures" / "samples.png")
    (path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n---\n\n"
        "# Synthetic chest X-rays with reports\n\nFor research only; not for clinical use.\n\n"
        "| split | rows |\n|---|---|\n| train | 3 |\n\n```python\nfrom datasets import load_dataset\n\npairs = "
        'load_dataset("path/to/this/folder", split="train")\n```\n'
    )
    return path
