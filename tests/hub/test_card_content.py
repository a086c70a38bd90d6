"""Plain rows for the templates."""

from synthcxr.evaluation.results import Result
from synthcxr.hub.card_content import composition, model_index_entries, results_content
from synthcxr.hub.dataset_statistics import describe_dataset


def result(metric, value=0.8, *, strata="view", negatives="all", mean_of="", task="zero_shot_classification", **other):
    protocol = f"prompts=name; strata={strata}; negatives={negatives}; images=real" + mean_of
    given = {"task": task, "dataset": "nih", "dataset_revision": "rows-1", "num_samples": 400, "seed": 0}
    given |= {"metric": metric, "value": value, "ci_low": 0.7, "ci_high": 0.9, "protocol": protocol}
    return Result(**given | other)


MATCHED = "view x quartile of mean grey level within it"
MEASURED = [
    result("macro_auroc", mean_of="; mean of edema, mass"),
    result("auroc/edema"),
    result("auroc/lung_opacity"),
    result("auprc/edema"),
    result("macro_auroc", strata=MATCHED, mean_of="; mean of edema"),
    result("auroc/edema", 0.6, strata=MATCHED, num_samples=390),
    result("macro_auroc", 0.9, negatives="no_finding"),
    result("auroc/edema", 0.9, negatives="no_finding"),
]


def test_a_dataset_is_summed_up_in_one_table():
    (section,) = results_content(MEASURED)["sections"]
    assert (section["dataset"], section["revision"], section["origin"]) == ("nih", "rows-1", "real")
    assert [(row["metric"], row["comparison"], row["chance"]) for row in section["summary"]] == [
        ("macro AUROC", "within view", "0.5"),
        ("macro AUROC", "within view and brightness", "0.5"),
        ("macro AUROC", "within view, against no finding only", "0.5"),
    ]


def test_details_are_of_the_leading_way_in_all_its_strata():
    content = results_content(MEASURED)
    table = content["sections"][0]["details"]
    assert table["columns"] == ["AUROC, within view", "AUROC, within view and brightness"]
    edema, opacity = table["rows"]
    assert edema["numbers"] == ["0.800 (0.700 to 0.900)", "0.600 (0.700 to 0.900)"]
    assert opacity["numbers"] == ["0.800 (0.700 to 0.900)", None]
    assert [row["outside"] for row in table["rows"]] == [False, True]
    assert content["protocols"] == [f"prompts=name; strata={s}; negatives=all; images=real" for s in ("view", MATCHED)]


def test_chance_stands_beside_its_number_and_ranks_have_one_decimal():
    retrieval = {"task": "image_report_retrieval", "ci_low": None, "ci_high": None}
    results = [
        result("image_to_report_median_rank", 24.0, **retrieval),
        result("image_to_report_median_rank/chance", 250.5, **retrieval),
        result("report_to_image_median_rank", 30.0, **retrieval),
    ]
    (section,) = results_content(results)["sections"]
    (row,) = section["summary"]
    assert (row["metric"], row["value"], row["chance"]) == ("image to report median rank", "24.0", "250.5")
    assert section["details"]["rows"] == []


def test_what_grey_level_alone_tells_stands_beside_the_model():
    baseline = result("auroc/edema", 0.65, task="confound_baseline", protocol="score=mean_grey_level; strata=view")
    table = results_content([*MEASURED, baseline])["sections"][0]["details"]
    assert table["columns"][-1] == "AUROC, mean grey level alone, within view"
    assert [row["numbers"][-1] for row in table["rows"]] == ["0.650 (0.700 to 0.900)", None]


def test_datasets_of_the_same_name_and_other_rows_are_kept_apart():
    sections = results_content([*MEASURED, result("macro_auroc", dataset_revision="rows-2")])["sections"]
    assert [section["revision"] for section in sections] == ["rows-1", "rows-2"]


def test_the_model_index_holds_the_main_metrics_with_their_protocols():
    entries = model_index_entries(MEASURED)
    assert [(entry.dataset_type, entry.metric_name) for entry in entries] == [
        ("nih", "macro AUROC, within view"),
        ("nih", "macro AUROC, within view and brightness"),
    ]
    arguments = entries[0].metric_args
    assert arguments["protocol"] == "prompts=name; strata=view; negatives=all; images=real; mean of 2 findings"
    assert (arguments["ci_low"], arguments["ci_high"]) == (0.7, 0.9)


def test_simulated_rows_are_the_simulations_and_others_say_nothing_unless_told(dataset_folder):
    splits = describe_dataset(dataset_folder)
    assert "simulation, Apache-2.0" in composition(splits)["sources"][0]["license"]
    told = composition(splits, licenses={"balanced@1": "CC BY 4.0"})
    assert told["sources"][0]["license"] == "CC BY 4.0"


def test_a_classifiers_own_score_needs_no_word():
    place = ("finding_classification", "balanced", None)
    results = [
        Result(*place, "macro_auroc", 0.9, None, None, 9, 0, f"score={score}; uncertain=excluded")
        for score in ("logit of tiny", "brightness")
    ]
    (section,) = results_content(results)["sections"]
    assert [row["comparison"] for row in section["summary"]] == ["", "brightness alone"]
