"""Plain rows for the templates."""

from tiny_artefacts import tiny_results

from synthcxr.hub.card_content import composition, model_index_entries, result_groups, training_content
from synthcxr.hub.dataset_statistics import describe_dataset


def test_results_of_one_protocol_share_a_table():
    first, second = result_groups(tiny_results())
    assert [row["metric"] for row in first["overall"]] == ["macro auroc"]
    assert first["columns"] == ["auroc"]
    assert first["subjects"] == [
        {"name": "pleural effusion", "numbers": ["0.900 (0.880 to 0.930)"], "num_samples": 500}
    ]
    assert second["subjects"][0]["numbers"] == ["0.310"]


def test_every_number_keeps_its_protocol_in_the_model_index():
    entries = model_index_entries(tiny_results())
    assert [entry.metric_type for entry in entries] == ["macro_auroc", "auroc", "recall_at_10"]
    assert all(entry.metric_args["protocol"] for entry in entries)
    assert (entries[0].metric_args["ci_low"], entries[0].metric_args["ci_high"]) == (0.81, 0.87)
    assert "ci_low" not in entries[2].metric_args


def test_simulated_rows_are_the_simulations_and_others_say_nothing_unless_told(dataset_folder):
    splits = describe_dataset(dataset_folder)
    assert "simulation, Apache-2.0" in composition(splits)["sources"][0]["license"]
    told = composition(splits, licenses={"balanced@1": "CC BY 4.0"})
    assert told["sources"][0]["license"] == "CC BY 4.0"


def test_folders_of_the_machine_are_named_without_their_path():
    record = {
        "request": {"dataset": ["/home/someone/secret/pairs", "org/pairs"], "training": {"output_dir": "/home/x"}}
    }
    content = training_content(record)
    assert ("trained on", "pairs, org/pairs") in content["training_facts"]
    assert "/home" not in str(content)


def test_only_changed_or_usual_arguments_are_shown():
    settings = {"learning_rate": 1e-3, "seed": 42, "adam_beta1": 0.9, "adam_beta2": 0.95, "run_name": "mine"}
    arguments = dict(training_content({"request": {"training": settings}})["arguments"])
    assert arguments == {"learning_rate": 1e-3, "seed": 42, "adam_beta2": 0.95}


def test_an_absent_record_gives_no_rows():
    assert training_content({}) == {"training_facts": [], "arguments": []}


def test_timings_and_bundles_of_settings_are_left_out():
    metrics = {"train_loss": 1.23456, "train_runtime": 9.0, "eval_samples_per_second": 3.0, "eval_macro_auroc": 0.8}
    request = {"shuffle_pairs": False, "model_type": "convirt", "training": {"accelerator_config": {"x": None}}}
    content = training_content({"request": request, "metrics": metrics})
    assert content["training_facts"] == [("train loss", "1.235"), ("validation: macro auroc", "0.8")]
    assert content["arguments"] == [("model_type", "convirt")]


def test_a_control_with_shuffled_pairs_says_so():
    facts = dict(training_content({"request": {"shuffle_pairs": True}})["training_facts"])
    assert facts == {"pairs shuffled (a control that must end at chance)": "yes"}
