"""Zero-shot classification: an encoder that knows everything, one that knows nothing, and the traps between."""

import numpy as np
import pytest
from evaluation.known_encoders import FINDINGS, PerfectEncoder, RandomEncoder, make_dataset, make_rows

from synthcxr.evaluation import Embeddings, embed_dataset, zero_shot_classification, zero_shot_scores
from synthcxr.ontology import PROMPT_SETS, zero_shot_prompts


def by_metric(results):
    return {result.metric: result for result in results}


@pytest.mark.parametrize("prompt_set", PROMPT_SETS)
@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_an_encoder_that_knows_everything_gets_one(dataset, perfect, prompt_set, pooling):
    results = zero_shot_classification(perfect, dataset, prompt_set=prompt_set, pooling=pooling, num_bootstrap=20)
    assert {result.metric for result in results} == {
        *("macro_auroc", "macro_auprc", "macro_auprc/chance"),
        *(f"{name}/{finding}" for name in ("auroc", "auprc") for finding in (*FINDINGS, "no_finding")),
    }
    measured = [result for result in results if not result.metric.endswith("chance")]
    assert all(result.value == result.ci_low == result.ci_high == 1.0 for result in measured)
    assert all(f"prompts={prompt_set}; pooling={pooling}" in result.protocol for result in results)


def test_an_encoder_that_knows_nothing_gets_chance_within_its_interval():
    dataset = make_dataset(make_rows(400))
    results = by_metric(zero_shot_classification(RandomEncoder(), dataset, num_bootstrap=300))
    for finding in FINDINGS:
        result = results[f"auroc/{finding}"]
        assert result.ci_low < 0.5 < result.ci_high
        assert result.ci_high - result.ci_low < 0.2
    assert results["macro_auroc"].ci_low < 0.5 < results["macro_auroc"].ci_high
    prevalence = np.mean(["pneumothorax" in row["labels"] for row in make_rows(400)])
    assert results["auprc/pneumothorax"].value == pytest.approx(prevalence, abs=0.1)
    chance = results["macro_auprc/chance"].value
    assert results["macro_auprc"].ci_low < chance < results["macro_auprc"].ci_high
    assert chance == pytest.approx(
        np.mean([[finding in row["labels"] for row in make_rows(400)] for finding in FINDINGS])
    )


@pytest.mark.parametrize("prompt_set", PROMPT_SETS)
def test_no_finding_is_not_negated_by_template(prompt_set):
    """ "no No Finding" lies nearer to a healthy image than "No Finding" does: such prompts invert the AUROC."""
    prompts = zero_shot_prompts("no_finding", prompt_set)
    assert not any("no no " in text.lower() for text in prompts.negative)


def test_the_score_is_monotone_in_the_two_way_softmax(dataset):
    encoder = RandomEncoder()
    score = zero_shot_scores(encoder, dataset, findings=["edema"])["edema"]
    images = encoder.embed_images(dataset["image"][:])
    positive, negative = encoder.embed_texts(["pulmonary edema", "no pulmonary edema"])
    softmax = 1 / (1 + np.exp(-(images @ positive - images @ negative) / 0.07))
    assert (np.argsort(score, kind="stable") == np.argsort(softmax, kind="stable")).all()


def test_several_prompts_are_normalised_then_averaged_then_normalised(dataset):
    encoder = RandomEncoder()
    score = zero_shot_scores(encoder, dataset, findings=["pneumonia"], prompt_set="biovil")["pneumonia"]
    images = encoder.embed_images(dataset["image"][:])
    prompts = zero_shot_prompts("pneumonia", "biovil")
    cosines = []
    for texts in (prompts.positive, prompts.negative):
        mean = encoder.embed_texts(texts).mean(0)
        cosines.append(images @ (mean / np.linalg.norm(mean)))
    np.testing.assert_allclose(score, cosines[0] - cosines[1], atol=1e-6)


def test_each_prompt_set_is_reported(dataset, perfect):
    results = zero_shot_classification(perfect, dataset, prompt_set=["name", "report"], num_bootstrap=0)
    macro = [result for result in results if result.metric == "macro_auroc"]
    assert ["prompts=name" in macro[0].protocol, "prompts=report" in macro[1].protocol] == [True, True]
    assert all(result.ci_low is None for result in results)


def test_results_do_not_depend_on_the_order_of_rows(dataset):
    order = np.random.default_rng(3).permutation(len(dataset))
    options = {"num_bootstrap": 60, "dataset_name": "same"}
    first = by_metric(zero_shot_classification(RandomEncoder(), dataset, **options))
    second = by_metric(zero_shot_classification(RandomEncoder(), dataset.select(order), **options))
    assert first.keys() == second.keys()
    for metric, result in first.items():
        other = second[metric]
        assert (result.value, result.ci_low, result.ci_high) == pytest.approx(
            (other.value, other.ci_low, other.ci_high), abs=1e-12
        )
        assert (result.key, result.dataset_revision) == (other.key, other.dataset_revision)


def test_images_and_texts_are_embedded_once_for_all_tasks(dataset):
    encoder = PerfectEncoder(dataset)
    embeddings = embed_dataset(encoder, dataset, batch_size=16)
    assert encoder.largest_batch == 16
    zero_shot_classification(embeddings, dataset, num_bootstrap=0)
    counted = encoder.num_texts
    zero_shot_classification(embeddings, dataset, num_bootstrap=0, negatives="abnormal")
    assert encoder.num_texts == counted


def test_ready_embeddings_need_no_model_and_no_image(dataset):
    embeddings = embed_dataset(RandomEncoder(), dataset)
    texts = ["pneumothorax", "no pneumothorax"]
    ready = Embeddings(embeddings.image_embeds, dict(zip(texts, embeddings.texts(texts), strict=True)))
    rows = dataset.remove_columns("image")
    options = {"findings": ["pneumothorax"], "num_bootstrap": 10, "dataset_name": "x"}
    expected = zero_shot_classification(embeddings, dataset, **options)
    assert zero_shot_classification(ready, rows, **options) == expected
    with pytest.raises(ValueError, match="text_embeds lacks '.*fracture'"):
        zero_shot_classification(ready, rows, findings=["fracture"])
    with pytest.raises(ValueError, match="120 image embeddings for 5 rows"):
        zero_shot_classification(ready, rows.select(range(5)))


def test_thresholds_come_with_a_validation_split(dataset):
    rows = make_rows(100, seed=5)
    for row in rows:
        row["patient_id"] = f"other-{row['id']}"
    validation = make_dataset(rows)
    results = by_metric(
        zero_shot_classification(RandomEncoder(), dataset, validation=validation, num_bootstrap=20, dataset_name="x")
    )
    assert {"f1/pneumothorax", "balanced_accuracy/cardiomegaly"} <= results.keys()
    assert 0.3 < results["balanced_accuracy/cardiomegaly"].value < 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"findings": ["effusion"]}, "'effusion'"),
        ({"prompt_set": "bare"}, "'bare'"),
        ({"pooling": "median"}, "pooling is 'median'"),
        ({"stratify_by": "scanner"}, "expected 'scanner'"),
    ],
)
def test_unknown_choices_are_named(dataset, perfect, options, message):
    with pytest.raises(ValueError, match=message):
        zero_shot_classification(perfect, dataset, **options)


def test_labels_that_are_too_few_give_no_results_and_a_warning(perfect, dataset, caplog):
    rows = dataset.select(range(3))
    assert zero_shot_classification(perfect, rows) == []
    assert "No finding has 5 positive and negative patients" in caplog.text


@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max)])
def test_a_model_with_a_score_of_its_own_is_measured_by_it(gloria, dataset, pooling, pool, monkeypatch):
    rows = dataset.select(range(20))
    embeddings = embed_dataset(gloria, rows)
    prompts = zero_shot_prompts("pleural_effusion", "biovil")
    asked = embed_dataset(gloria, rows)
    expected = pool(asked.similarity(prompts.positive), axis=1) - pool(asked.similarity(prompts.negative), axis=1)
    calls = []
    original = gloria.model.get_text_states
    monkeypatch.setattr(
        gloria.model, "get_text_states", lambda **texts: calls.extend(texts["input_ids"]) or original(**texts)
    )
    findings = ["pleural_effusion", "pneumothorax", "cardiomegaly"]
    scores = zero_shot_scores(embeddings, rows, findings=findings, prompt_set="biovil", pooling=pooling)
    np.testing.assert_allclose(scores["pleural_effusion"], expected, atol=1e-5)
    pairs = [zero_shot_prompts(finding, "biovil") for finding in findings]
    assert len(calls) == len({text for pair in pairs for text in (*pair.positive, *pair.negative)})
    results = zero_shot_classification(embeddings, rows, pooling=pooling, num_bootstrap=0, min_positives=1)
    assert f"pooling={pooling} of scores; score=gloria local+global(positive)-gloria local+global(negative)" in (
        results[0].protocol
    )
