import pytest

from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments


CLASSES = [PretrainingScriptArguments, PretrainingArguments]


def parse(*arguments):
    return parse_arguments(CLASSES, arguments, program="pretrain")


def test_flags_win_over_the_file(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"dataset: [pairs]\nlearning-rate: 0.5\nseed: 7\noutput_dir: {tmp_path}\n")
    script_args, training_args = parse("--config", str(config), "--learning-rate", "0.25")
    assert script_args.dataset == ["pairs"]
    assert (training_args.learning_rate, training_args.seed) == (0.25, 7)


def test_an_unknown_flag_names_the_closest_known_one():
    with pytest.raises(ValueError, match="no flag --learning-rat; did you mean '--learning-rate'"):
        parse("--dataset", "pairs", "--learning-rat", "1")


def test_a_list_given_twice_is_refused_before_half_of_it_is_lost(tmp_path):
    with pytest.raises(ValueError, match="--dataset stands twice; give all its values after one: --dataset A B"):
        parse("--dataset", "one", "--dataset=two", "--output-dir", str(tmp_path))
    script_args, _ = parse("--dataset", "one", "two", "--output-dir", str(tmp_path))
    assert script_args.dataset == ["one", "two"]


def test_an_unknown_key_of_the_file_is_refused(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("datset: [pairs]\n")
    with pytest.raises(ValueError, match="unknown key 'datset'; did you mean 'dataset'"):
        parse("--config", str(config))


def test_values_of_the_file_become_the_types_of_the_flags(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        f"dataset: pairs\nbf16: false\nlr_scheduler_kwargs: {{num_cycles: 0.5}}\nimage_size:\noutput_dir: {tmp_path}\n"
    )
    script_args, training_args = parse("--config", str(config))
    assert script_args.dataset == ["pairs"]
    assert script_args.image_size is None
    assert training_args.bf16 is False
    assert training_args.lr_scheduler_kwargs == {"num_cycles": 0.5}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("per_device_train_batch_size: 3.5", "per_device_train_batch_size.*invalid int value: '3.5'"),
        ("model_type: clip", "model_type.*invalid choice: 'clip'"),
        ("max_text_length: [1, 2]", "unrecognized|not used"),
    ],
)
def test_a_value_of_the_wrong_kind_in_the_file_is_refused_by_name(tmp_path, line, message):
    config = tmp_path / "run.yaml"
    config.write_text(f"dataset: pairs\noutput_dir: {tmp_path}\n{line}\n")
    with pytest.raises(ValueError, match=message):
        parse("--config", str(config))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--dataset"),
        (["--dataset", "pairs", "--model-type", "clip"], "invalid choice"),
        (["--dataset", "pairs", "--vision-model", "x"], "go together"),
        (["--dataset", "pairs", "--augmentation-strength", "3"], "expected 0 to 2"),
        (["--dataset", "pairs", "--remove-unused-columns", "true"], "leave it false"),
        (["--dataset", "pairs", "--config"], "needs the path"),
    ],
)
def test_bad_values_are_one_line_errors(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(*arguments)
    assert "\n" not in str(caught.value)


def test_defaults_differ_from_the_stock_ones_where_documented(tmp_path):
    _, training_args = parse("--dataset", "pairs", "--output-dir", str(tmp_path))
    assert training_args.remove_unused_columns is False
    assert training_args.dataloader_drop_last is True
    assert training_args.report_to == []


def test_help_lists_our_flags_first(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert shown.index("--dataset") < shown.index("--learning_rate")


def test_workers_live_as_long_as_the_run_with_what_they_hold(tmp_path):
    assert PretrainingArguments(output_dir=str(tmp_path), dataloader_num_workers=2).dataloader_persistent_workers
    assert not PretrainingArguments(output_dir=str(tmp_path)).dataloader_persistent_workers
