"""Small but real artefacts that several tests publish, show and serve: a checkpoint and a dataset folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertTokenizer, ResNetConfig, set_seed

from synthcxr.data.schema import PAIR_FEATURES, Pair
from synthcxr.evaluation.results import Result, write_results
from synthcxr.models import ConvirtConfig, ConvirtModel, CxrImageProcessor, CxrProcessor


REPORTS = (
    "FINDINGS: There is a large left pleural effusion.\nIMPRESSION: Left pleural effusion.",
    "FINDINGS: The lungs are clear. No pneumothorax.\nIMPRESSION: No acute cardiopulmonary process.",
    "FINDINGS: Right apical pneumothorax. The heart is enlarged.\nIMPRESSION: Right pneumothorax. Cardiomegaly.",
)
LABELS = (["pleural_effusion"], ["no_finding"], ["cardiomegaly", "pneumothorax"])


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, dataset_folder: Path) -> Path:
    """A finished run: model, processor, record, results, states. Nobody may change it."""
    return leave_traces(save_tiny_checkpoint(tmp_path_factory.mktemp("runs") / "tiny"), dataset=dataset_folder)


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of simulated pairs. Nobody may change it."""
    return build_tiny_dataset(tmp_path_factory.mktemp("datasets") / "pairs")


def save_tiny_checkpoint(path: Path) -> Path:
    """A ConVIRT with random weights and its processor, as `pretrain` leaves them."""
    set_seed(0)
    tokenizer = _tokenizer()
    vision_config = ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic"
    )
    text_config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = ConvirtModel(ConvirtConfig(vision_config=vision_config, text_config=text_config, projection_dim=32))
    model.save_pretrained(path)
    CxrProcessor(CxrImageProcessor(size=64), tokenizer).save_pretrained(path)
    return path


def build_tiny_dataset(
    path: Path, *, origin: str = "simulated", num_rows: int = 6, reports: Sequence[str] = REPORTS
) -> Path:
    """Two splits of pairs in the contract's layout, with the metadata that `load_dataset` reads."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(num_rows):
        spec = {"acquisition": {"defect": "cropped" if index == 2 else None}, "report_omits": ["edema"]}
        report = reports[index % len(reports)]
        pair = Pair(
            id=f"study-{index}",
            image=random.integers(0, 255, (32, 32), dtype=np.uint8),
            report=report,
            findings=report.partition("\n")[0].removeprefix("FINDINGS: "),
            impression=report.partition("\n")[2].removeprefix("IMPRESSION: "),
            labels=LABELS[index % len(LABELS)],
            uncertain=["edema"] if index == 0 else [],
            boxes=[[2, 3, 10, 10]],
            box_categories=[LABELS[index % len(LABELS)][0]],
            box_masks=[np.ones((32, 32), dtype=bool)],
            entities=[("effusion", "abnormality")],
            view="PA" if index % 2 else "AP",
            age=30.0 + index,
            sex="female" if index % 2 else "male",
            origin=origin,
            source="balanced@1",
            prompt=json.dumps(spec),
            seed=index,
            quality={"image_quality": 0.5, "reason": "blurred" if index == 1 else ""},
            patient_id=f"patient-{index // 2}",
            study_id=f"study-{index}",
        )
        rows.append(pair.to_row())
    (path / "data").mkdir(parents=True)
    for split, part in (("train", rows[: num_rows - 2]), ("test", rows[num_rows - 2 :])):
        dataset = Dataset.from_list(part, features=Features(PAIR_FEATURES))
        dataset.to_parquet(path / "data" / f"{split}-00000-of-00001.parquet")
    (path / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: train\n    path: data/train-*\n  - split: test\n    path: data/test-*\n---\n"
    )
    return path


def tiny_results() -> list[Result]:
    """Results of two tasks, with and without an interval, and with characters that Markdown minds."""
    zero_shot = {
        "task": "zero_shot_classification",
        "dataset": "balanced",
        "dataset_revision": "1a2b3c",
        "num_samples": 500,
        "seed": 0,
        "protocol": "prompts=name; score=cos(positive)-cos(negative) | strata=view",
    }
    retrieval = zero_shot | {"task": "image_report_retrieval", "dataset": "second_hospital", "protocol": "pool=500"}
    return [
        Result(metric="macro_auroc", value=0.8412, ci_low=0.81, ci_high=0.87, **zero_shot),
        Result(metric="auroc/pleural_effusion", value=0.9, ci_low=0.88, ci_high=0.93, **zero_shot),
        Result(metric="recall_at_10/image_to_report", value=0.31, ci_low=None, ci_high=None, **retrieval),
    ]


def leave_traces(checkpoint: Path, *, dataset: Path | None = None) -> Path:
    """What a run leaves in a checkpoint folder besides the model: its record, its results, states to resume from."""
    record = {
        "request": {
            "dataset": [str(dataset)] if dataset else ["org/pairs"],
            "dataset_revision": None,
            "model_type": "convirt",
            "shuffle_pairs": False,
            "training": {
                **{"learning_rate": 1e-3, "seed": 7, "num_train_epochs": 3, "output_dir": str(checkpoint)},
                **{"accelerator_config": {"dispatch_batches": None}, "debug": [], "run_name": None},
            },
        },
        "num_pairs": 1200,
        "metrics": {"train_loss": 1.25, "eval_macro_auroc": 0.84, "train_runtime": 299.0, "epoch": 3.0},
        "runtime_seconds": 300.0,
        "pairs_per_second": 88.5,
        "environment": {"torch": "2.13.0", "device": "CPU, 2 threads"},
        "finished": True,
    }
    (checkpoint / "pretraining.json").write_text(json.dumps(record))
    write_results(checkpoint / "results.json", tiny_results())
    (checkpoint / "figures").mkdir()
    Image.new("L", (4, 4)).save(checkpoint / "figures" / "roc.png")
    (checkpoint / "training_args.bin").write_bytes(b"\x80\x04.")
    state = checkpoint / "checkpoint-10"
    state.mkdir()
    (state / "optimizer.pt").write_bytes(b"\x80\x04.")
    (state / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    return checkpoint


def _tokenizer() -> BertTokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(REPORTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=64)
