"""Retrieval by hand, with duplicates and ties; knowing everything and nothing."""

import numpy as np
import pytest
from evaluation.known_encoders import PerfectEncoder, RandomEncoder, make_dataset, make_rows

from synthcxr.evaluation import Embeddings, embed_dataset, image_report_retrieval, retrieval
from synthcxr.evaluation.retrieval import merge_reports, retrieval_ranks


def by_metric(results):
    return {result.metric: result for result in results}


def slow_rank(scores, relevant, num_orders=4000):
    """Rank of the first relevant item, averaged over random orders of equal scores."""
    random = np.random.default_rng(0)
    ranks = []
    for _ in range(num_orders):
        order = np.lexsort((random.random(len(scores)), -scores))
        ranks.append(1 + np.flatnonzero(relevant[order])[0])
    return np.mean(ranks)


def test_ranks_by_hand():
    # Three distinct reports; images 0 and 3 share the first.
    images = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.3], [0.1, 0.5, 0.5], [0.2, 0.6, 0.1]])
    reports = np.eye(3)
    image_ranks, report_ranks = retrieval_ranks(images, reports, np.array([0, 1, 2, 0]))
    # Image 1 puts its report (0.2) behind two others; image 2 has its own tied with one; image 3 behind one.
    assert image_ranks.tolist() == [1, 3, 1.5, 2]
    # Report 0 finds image 0 first; report 1 has 0.6 and 0.5 before its own 0.2; report 2 finds image 2 first.
    assert report_ranks.tolist() == [1, 3, 1]


def test_ties_get_the_rank_that_chance_would_give():
    scores = np.array([3.0, 2.0, 2.0, 2.0, 2.0, 1.0])
    relevant = np.array([False, True, False, True, False, False])
    # Query 0 asks for the items of key 0; a second query gives every key an owner.
    keys = np.where(relevant, 0, 1)
    ranks = retrieval._first_relevant_rank(np.ones((1, 1)), scores[:, None], np.array([0]), keys)
    assert ranks[0] == pytest.approx(1 + 1 + 2 / 3)
    assert slow_rank(scores, relevant) == pytest.approx(ranks[0], abs=0.05)


def test_a_model_that_says_the_same_of_everything_gets_what_chance_gets():
    image_ranks, report_ranks = retrieval_ranks(np.ones((9, 2)), np.ones((9, 2)), np.arange(9))
    assert set(image_ranks) == set(report_ranks) == {5.0}


def test_blocks_do_not_change_ranks(monkeypatch):
    random = np.random.default_rng(0)
    images, reports = random.normal(size=(50, 8)), random.normal(size=(20, 8))
    owner = np.r_[np.arange(20), random.integers(20, size=30)]
    whole = retrieval_ranks(images, reports, owner)
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 3 * 50)
    for first, second in zip(whole, retrieval_ranks(images, reports, owner), strict=True):
        np.testing.assert_array_equal(first, second)


def test_ranks_equal_the_slow_way():
    random = np.random.default_rng(1)
    images, reports = random.normal(size=(40, 8)), random.normal(size=(15, 8))
    owner = np.r_[np.arange(15), random.integers(15, size=25)]
    image_ranks, report_ranks = retrieval_ranks(images, reports, owner)
    for row in range(40):
        scores = reports @ images[row]
        assert image_ranks[row] == 1 + (scores > scores[owner[row]]).sum()
    for report in range(15):
        scores = images @ reports[report]
        order = np.argsort(-scores)
        assert report_ranks[report] == 1 + np.flatnonzero(owner[order] == report)[0]


def test_reports_that_differ_in_white_space_only_are_one():
    reports, index = merge_reports(["b  c", "a", "b c\n", "a"])
    assert reports == ["a", "b  c"]
    assert index.tolist() == [1, 0, 1, 0]
    assert merge_reports(["b c\n", "a"])[0] == ["a", "b c\n"], "the text goes to the encoder as it stands"


def test_an_encoder_that_knows_everything_finds_all(dataset, perfect):
    results = by_metric(image_report_retrieval(perfect, dataset, num_bootstrap=20))
    for direction in ("image_to_report", "report_to_image"):
        assert [results[f"{direction}_recall_at_{k}"].value for k in (1, 5, 10)] == [1, 1, 1]
        assert results[f"{direction}_median_rank"].value == 1
    protocol = results["image_to_report_recall_at_1"].protocol
    assert protocol.startswith("pool=120 distinct reports, 120 images")
    assert protocol.endswith("; images=simulated")


def test_an_encoder_that_knows_nothing_gets_chance_within_its_interval():
    dataset = make_dataset(make_rows(300))
    results = by_metric(image_report_retrieval(RandomEncoder(), dataset, ks=(10, 50), num_bootstrap=300))
    for metric in ("recall_at_10", "recall_at_50", "median_rank"):
        for direction in ("image_to_report", "report_to_image"):
            result, chance = results[f"{direction}_{metric}"], results[f"{direction}_{metric}/chance"]
            assert result.ci_low <= chance.value <= result.ci_high
            assert chance.ci_low is None
    assert results["image_to_report_recall_at_10/chance"].value == pytest.approx(10 / 300)


def test_duplicates_are_merged_and_raise_the_chance():
    rows = make_rows(60)
    for row in rows[:20]:
        row["report"] = "No acute process."
    dataset = make_dataset(rows)
    results = by_metric(image_report_retrieval(PerfectEncoder(dataset), dataset, ks=(1, 5), num_bootstrap=20))
    assert results["image_to_report_recall_at_1"].value == 1
    assert results["report_to_image_recall_at_1"].value == 1
    assert results["image_to_report_recall_at_1"].num_samples == 60
    assert results["report_to_image_recall_at_1"].num_samples == 41
    # One of 41 queries has 20 relevant images among 60, forty have one.
    none_of_five = np.prod([(40 - place) / (60 - place) for place in range(5)])
    expected = ((1 - none_of_five) + 40 * 5 / 60) / 41
    assert results["report_to_image_recall_at_5/chance"].value == pytest.approx(expected)
    assert results["image_to_report_recall_at_5/chance"].value == pytest.approx(5 / 41)


def test_a_report_of_several_patients_is_resampled_with_one_of_them():
    owners = retrieval._owners(np.array([0, 1, 0, 1]), ["b", "c", "a", "c"])
    assert owners == ["a", "c"]


def test_results_do_not_depend_on_the_order_of_rows():
    rows = make_rows(80, images_per_patient=2)
    for row in rows[10:30]:
        row["report"] = "No acute process."
    dataset = make_dataset(rows)
    order = np.random.default_rng(2).permutation(80)
    options = {"num_bootstrap": 50, "dataset_name": "same"}
    first = image_report_retrieval(RandomEncoder(), dataset, **options)
    assert image_report_retrieval(RandomEncoder(), dataset.select(order), **options) == first


def test_rows_without_a_report_are_left_out_and_counted(caplog):
    rows = make_rows(30)
    for row in rows[:4]:
        row["report"] = " \n"
    dataset = make_dataset(rows)
    results = image_report_retrieval(PerfectEncoder(dataset), dataset, num_bootstrap=0)
    assert "4 of 30 rows have no text" in caplog.text
    assert {result.num_samples for result in results} == {26}
    with pytest.raises(ValueError, match="No row has a text in 'report'"):
        image_report_retrieval(PerfectEncoder(dataset), dataset.select(range(4)))


@pytest.mark.parametrize("ks", [(), (0, 1)])
def test_impossible_cut_offs_are_refused(dataset, ks):
    with pytest.raises(ValueError, match="expected whole numbers from 1"):
        image_report_retrieval(RandomEncoder(), dataset, ks=ks)


def test_a_pool_smaller_than_k_is_no_trouble():
    dataset = make_dataset(make_rows(4))
    results = by_metric(image_report_retrieval(RandomEncoder(), dataset, num_bootstrap=5))
    assert results["image_to_report_recall_at_10"].value == 1
    assert results["image_to_report_recall_at_10/chance"].value == 1
    assert results["image_to_report_median_rank/chance"].value == 2


def test_ready_embeddings_are_taken_as_they_are(dataset):
    reports = dataset["report"][:]
    vectors = np.eye(len(reports), dtype=np.float32)
    ready = Embeddings(vectors, dict(zip(reports, vectors, strict=True)))
    results = by_metric(image_report_retrieval(ready, dataset.remove_columns("image"), num_bootstrap=0))
    assert results["report_to_image_recall_at_1"].value == 1


def test_scores_that_are_no_cosines_are_ranked_alike(monkeypatch):
    random = np.random.default_rng(2)
    images, reports = random.normal(size=(30, 8)), random.normal(size=(12, 8))
    owner = np.r_[np.arange(12), random.integers(12, size=18)]
    for block in (retrieval._BLOCK_ELEMENTS, 40):
        monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", block)
        ranks = retrieval.score_ranks(images @ reports.T, owner)
        for one, other in zip(ranks, retrieval_ranks(images, reports, owner), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_model_with_a_score_of_its_own_is_ranked_by_it(gloria, dataset):
    rows = dataset.select(range(10))
    result = image_report_retrieval(gloria, rows, num_bootstrap=0)[0]
    assert "score=gloria local+global; ties=" in result.protocol
    embeddings = embed_dataset(gloria, rows)
    reports, owner = merge_reports(rows["report"][:])
    ranks, _ = retrieval.score_ranks(embeddings.similarity(reports), owner)
    assert result.value == np.mean(ranks <= 1)
