from synthcxr.cli.demo import DemoSettings, run_demo
from synthcxr.evaluation.results import read_results


def test_the_main_job_runs_end_to_end_and_again(tmp_path):
    settings = DemoSettings(
        num_studies=200, num_shifted=60, image_size=64, num_train_epochs=1, batch_size=32, num_bootstrap=50
    )
    results = run_demo(tmp_path, settings=settings)
    measured = {(result.dataset, result.metric) for result in results}
    assert {("simulated_test", "macro_auroc"), ("second_hospital", "image_to_report_recall_at_10")} <= measured
    assert read_results(tmp_path / "model" / "results.json")
    for card in ("model", "pairs", "second_hospital"):
        assert "not for clinical use" in (tmp_path / card / "README.md").read_text().lower()
    assert (tmp_path / "model" / "figures" / "examples.png").stat().st_size > 10_000

    weights = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert [result.value for result in run_demo(tmp_path, settings=settings)] == [result.value for result in results]
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == weights
