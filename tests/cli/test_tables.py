import io

from rich.console import Console

from synthcxr.cli.tables import demo_table
from synthcxr.evaluation.results import Result


RECORD = {"num_pairs": 40, "num_parameters": 1234, "pairs_per_second": 5.0}


def measured(value, *, metric="macro_auroc", protocol="prompts=report", dataset="test"):
    return Result("task", dataset, None, metric, value, value - 0.1, value + 0.1, 9, 0, protocol)


def lines(results):
    console = Console(file=io.StringIO(), width=200)
    console.print(demo_table(results, RECORD))
    return console.file.getvalue().splitlines()


def test_what_holds_for_every_number_is_said_once_below():
    recall = measured(0.3, metric="image_to_report_recall_at_10", protocol="text=findings")
    real = measured(0.6, protocol="prompts=report; strata=view", dataset="nih")
    shown = lines({"trained": [measured(0.8), recall, real], "untrained": [measured(0.5)]})
    (both,) = [line for line in shown if "0.800 (0.70 to 0.90)" in line]
    assert "0.300 (0.20 to 0.40)" in both
    assert any("nih, strata=view" in line and "0.600" in line for line in shown)
    assert sum("prompts=report" in line for line in shown) == 1
    assert any("40 training pairs, 1,234 parameters, 5.0 pairs/s; prompts=report" in line for line in shown)


def test_prompts_that_differ_stay_in_their_rows():
    shown = lines({"trained": [measured(0.8), measured(0.7, protocol="prompts=gloria")]})
    assert any("test, prompts=report" in line and "0.800" in line for line in shown)
    assert any("test, prompts=gloria" in line and "0.700" in line for line in shown)
