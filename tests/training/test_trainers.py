from itertools import pairwise

import datasets
import pytest
from transformers import TrainerCallback

from synthcxr.data.collators import DrawnDataset
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.optimizers import MuonAdamW
from synthcxr.training.pretrain import build_model, build_trainer
from synthcxr.training.training_pairs import load_splits, read_texts


def make_trainer(pairs_folder, tmp_path, *more):
    flags = ["--dataset", str(pairs_folder), "--output-dir", str(tmp_path), "--use-cpu", "--image-size", "64"]
    flags += [
        "--per-device-train-batch-size",
        "8",
        "--per-device-eval-batch-size",
        "8",
        "--disable-tqdm",
        "true",
        "--report-to",
        "none",
        *more,
    ]
    script_args, training_args = parse_arguments(
        [PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain"
    )
    splits = load_splits(script_args)
    model, processor = build_model(script_args, texts=read_texts(splits.train), seed=0)
    return build_trainer(model, processor, splits, script_args, training_args)


@pytest.fixture
def trainer(pairs_folder, tmp_path):
    return make_trainer(pairs_folder, tmp_path)


def batches(trainer, epoch):
    loader = trainer.get_train_dataloader()
    loader.set_epoch(epoch)  # as Trainer does
    return list(loader)


def test_an_epoch_draws_the_same_batches_again(trainer):
    first, again = batches(trainer, epoch=1), batches(trainer, epoch=1)
    assert len(first) == len(again) > 1
    for one, other in zip(first, again, strict=True):
        assert one["pixel_values"].equal(other["pixel_values"])
        assert one["input_ids"].equal(other["input_ids"])


def test_epochs_differ_in_order_and_augmentation(trainer):
    assert not batches(trainer, epoch=0)[0]["pixel_values"].equal(batches(trainer, epoch=1)[0]["pixel_values"])


def test_evaluation_reports_the_loss_and_the_measures(trainer):
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] > 0
    assert 0 <= metrics["eval_macro_auroc"] <= 1


def test_a_dataset_without_draws_is_refused(trainer):
    assert isinstance(trainer.train_dataset, DrawnDataset)
    trainer.train_dataset = [1, 2, 3]
    with pytest.raises(ValueError, match="expected a DrawnDataset"):
        trainer.get_train_dataloader()


def test_the_text_tower_has_a_learning_rate_of_its_own_when_asked(trainer):
    trainer.args.text_learning_rate = 1e-5
    groups = trainer.create_optimizer().param_groups
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    rates = {names[parameter]: group["lr"] for group in groups for parameter in group["params"]}
    assert rates.keys() == set(names.values())
    assert all(rate == (1e-5 if name.startswith("text_") else 1e-3) for name, rate in rates.items())
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}


def test_muon_takes_matrices_and_kernels_and_adamw_the_rest(trainer):
    trainer.args.muon_learning_rate = 0.04
    trainer.args.text_learning_rate = 1e-4  # a tenth of the rest
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, MuonAdamW)
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names[parameter]] = (group["orthogonal"], group["lr"])
    assert seen.keys() == set(names.values())
    for parameter, name in names.items():
        matrix = parameter.ndim >= 2 and "_embeddings" not in name
        rate = (0.04 if matrix else 1e-3) * (0.1 if name.startswith("text_") else 1)
        assert seen[name] == (matrix, pytest.approx(rate)), name


@pytest.mark.parametrize("name", ["sgd", "adamw_torch_8bit"])
def test_muon_beside_another_optimizer_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"--muon-learning-rate goes with --optim adamw_torch; got {name}"):
        PretrainingArguments(output_dir=str(tmp_path), optim=name, muon_learning_rate=0.04, use_cpu=True)


def test_muon_where_matrices_are_cut_is_refused(trainer, monkeypatch):
    trainer.args.muon_learning_rate = 0.04
    monkeypatch.setattr(trainer, "is_fsdp_enabled", True)
    with pytest.raises(ValueError, match="FSDP and DeepSpeed cut them"):
        trainer.create_optimizer()


class Snapshots(TrainerCallback):
    """The prototypes and a projection after every step."""

    def __init__(self):
        self.prototypes, self.projections = [], []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.prototypes.append(model.prototypes.weight.detach().clone())
        self.projections.append(model.visual_projection[0].weight.detach().clone())


@pytest.mark.parametrize("recipe", [(), ("--muon-learning-rate", "0.02")], ids=["adamw", "muon"])
def test_prototypes_stay_in_the_first_epoch_and_move_in_the_second(pairs_folder, tmp_path, recipe):
    flags = ("--model-type", "mgca", "--num-train-epochs", "2", "--max-train-samples", "24", "--eval-strategy", "no")
    trainer = make_trainer(pairs_folder, tmp_path, *flags, *recipe)
    first = trainer.model.prototypes.weight.detach().clone()
    snapshots = Snapshots()
    trainer.add_callback(snapshots)
    trainer.train()
    assert len(snapshots.prototypes) == 6
    assert all(prototypes.equal(first) for prototypes in snapshots.prototypes[:3])
    assert not snapshots.projections[0].equal(snapshots.projections[1])
    for before, after in pairwise(snapshots.prototypes[2:]):
        assert not before.equal(after)


def test_prototypes_learn_from_a_stream_which_has_no_epochs(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # 5 s at the end of every pass
    trainer = make_trainer(pairs_folder, tmp_path, "--model-type", "mgca", "--max-steps", "2", "--streaming")
    first = trainer.model.prototypes.weight.detach().clone()
    trainer.train()
    assert not trainer.model.prototypes.weight.equal(first)


def test_what_is_held_back_does_not_count_in_the_clipped_norm(pairs_folder, tmp_path):
    flags = ("--model-type", "mgca", "--max-steps", "1", "--logging-steps", "1", "--eval-strategy", "no")
    trainer = make_trainer(pairs_folder, tmp_path, *flags)
    for name, parameter in trainer.model.named_parameters():
        parameter.requires_grad_(name == "prototypes.weight")
    trainer.train()
    assert trainer.state.log_history[0]["grad_norm"] == 0
