import pytest

from synthcxr.data.collators import DrawnDataset
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.optimizers import MuonAdamW
from synthcxr.training.pretrain import build_model, build_trainer, load_splits


@pytest.fixture
def trainer(pairs_folder, tmp_path):
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
    ]
    script_args, training_args = parse_arguments(
        [PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain"
    )
    train, validation = load_splits(script_args)
    model, processor = build_model(script_args, texts=train["report"], seed=0)
    return build_trainer(model, processor, train, validation, script_args, training_args)


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
