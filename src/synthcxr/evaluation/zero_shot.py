"""
Zero-shot classification: how much nearer an image lies to the words for a finding than to the words against it.

The score is the cosine with the positive prompts minus the cosine with the negative ones. The two-way softmax of
CheXzero (Tiu et al., 2022) grows with it, so both rank images alike whatever the temperature. A model with a
similarity of its own, such as GLoRIA, is scored with that, by the same rule for all models. It is not the rule of
GLoRIA's authors: theirs has no negative prompts, takes the largest score of the positive ones, and normalises the
scores of a finding over the images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel

from ..ontology import FINDING_IDS
from ..ontology.prompts import zero_shot_prompts
from .classification import ClassificationProtocol, measure_classification
from .encoder import Embeddings, Encoder, as_embeddings, normalised
from .results import Measured, Result
from .rows import dataset_digest, dataset_title, read_truth
from .thresholds import measure_thresholds


logger = logging.getLogger(__name__)

TASK = "zero_shot_classification"
Pooling = Literal["mean", "max"]


def zero_shot_classification(
    model: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    findings: Sequence[str] | None = None,
    prompt_set: str | Sequence[str] = "name",
    pooling: Pooling = "mean",
    stratify_by: str | None = None,
    match_brightness: bool = False,
    negatives: Literal["all", "no_finding", "abnormal"] = "all",
    min_positives: int = 5,
    num_bootstrap: int = 1000,
    seed: int = 0,
    validation: Dataset | None = None,
    dataset_name: str | None = None,
    dataset_revision: str | None = None,
    **encoder_options: Any,
) -> list[Result]:
    """
    AUROC and AUPRC of each finding from words alone, with intervals over patients.

    On real images only pairs of the same view count (`stratify_by="view"`): view and grey level alone tell many
    findings apart there. Prefer AUROC to threshold metrics; those need a `validation` split.

    Args:
        model (`str`, `Path`, `PreTrainedModel`, `Encoder` or `Embeddings`): The model, or this dataset embedded.
        dataset (`Dataset`): Has `image` (unless embeddings are given) and `labels`; all rows of one `origin`.
        findings (sequence of `str`, *optional*): Ids of the ontology; all but `no_finding` enter the mean. By default
            what the dataset labels, with the mean over those that are no umbrella term of others.
        prompt_set (`str` or sequence of `str`, *optional*, defaults to `"name"`): One or several of
            `ontology.prompts.PROMPT_SETS`; each is reported, since models depend on the wording.
        pooling (`str`, *optional*, defaults to `"mean"`): Several prompts of a finding by the `"mean"` of their
            normalised embeddings, or the `"max"` of their cosines; of a model's own scores the `"mean"` or `"max"`.
            Positive and negative prompts are pooled apart.
        stratify_by (`str`, *optional*): Column within whose values alone positives meet negatives.
        match_brightness (`bool`, *optional*, defaults to `False`): Within quartiles of the mean grey level too.
        negatives (`str`, *optional*, defaults to `"all"`): Which rows stand against the positives, see
            [`~synthcxr.evaluation.classification.ClassificationProtocol`].
        min_positives (`int`, *optional*, defaults to 5): Positive and negative patients that a finding needs.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients; 0 for no intervals.
        seed (`int`, *optional*, defaults to 0): Of the resamples.
        validation (`Dataset`, *optional*): Another split; thresholds for F1 and balanced accuracy are chosen on it.
        dataset_name (`str`, *optional*): Name in the results.
        dataset_revision (`str`, *optional*): Revision in the results; by default a digest of the rows.
        encoder_options: `processor`, `batch_size`, `device` of [`load_encoder`].

    Returns:
        `list[Result]`: `macro_auroc`, `macro_auprc` (and `macro_auprc/chance`, the mean prevalence), then
        `auroc/<finding>` and `auprc/<finding>`. A finding with too few positives or negatives has no line and the log
        says so; hedged rows are left out of that finding.

    Raises:
        ValueError: On an unknown finding or prompt set, or rows of mixed origin.
    """
    measured = measure_zero_shot(
        model,
        dataset,
        findings=findings,
        prompt_set=prompt_set,
        pooling=pooling,
        protocol=ClassificationProtocol(
            stratify_by, match_brightness, negatives, min_positives, num_bootstrap=num_bootstrap, seed=seed
        ),
        validation=validation,
        **encoder_options,
    )
    name = dataset_title(dataset, dataset_name)
    revision = dataset_revision or dataset_digest(dataset)
    return [item.result(TASK, name, revision, seed) for item in measured]


def measure_zero_shot(
    model: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    findings: Sequence[str] | None = None,
    prompt_set: str | Sequence[str] = "name",
    pooling: Pooling = "mean",
    protocol: ClassificationProtocol | None = None,
    validation: Dataset | None = None,
    **encoder_options: Any,
) -> list[Measured]:
    """The same with the resampled values, for paired comparisons."""
    protocol = (protocol or ClassificationProtocol()).for_dataset(dataset)
    embeddings = as_embeddings(model, dataset, **encoder_options)
    mean_of = None if findings is None else [finding for finding in findings if finding != "no_finding"]
    findings = labelled_findings(dataset) if findings is None else list(findings)
    held_out = None
    if validation is not None:
        held_out = as_embeddings(embeddings.encoder or model, validation, **encoder_options)
    measured = []
    for name in [prompt_set] if isinstance(prompt_set, str) else prompt_set:
        scores = zero_shot_scores(embeddings, dataset, findings=findings, prompt_set=name, pooling=pooling)
        score_protocol = _describe_score(embeddings, name, pooling)
        measured += measure_classification(
            scores,
            dataset,
            protocol,
            score_protocol=score_protocol,
            grey_levels=embeddings.grey_levels,
            mean_of=mean_of,
        )
        if held_out is not None:
            chosen_on = zero_shot_scores(held_out, validation, findings=findings, prompt_set=name, pooling=pooling)
            measured += measure_thresholds(
                scores, dataset, chosen_on, validation, protocol, score_protocol=score_protocol
            )
    return measured


def zero_shot_scores(
    model: str | Path | PreTrainedModel | Encoder | Embeddings,
    dataset: Dataset,
    *,
    findings: Sequence[str] | None = None,
    prompt_set: str = "name",
    pooling: Pooling = "mean",
    **encoder_options: Any,
) -> dict[str, np.ndarray]:
    """
    One score per finding and row; higher is more likely. Scores of different findings are not comparable.

    Args:
        model (`str`, `Path`, `PreTrainedModel`, `Encoder` or `Embeddings`): The model, or this dataset embedded.
        dataset (`Dataset`): Has `image`, unless embeddings are given.
        findings (sequence of `str`, *optional*): Ids of the ontology; all that the dataset labels by default.
        prompt_set (`str`, *optional*, defaults to `"name"`): One of `ontology.prompts.PROMPT_SETS`.
        pooling (`str`, *optional*, defaults to `"mean"`): `"mean"` of normalised embeddings or `"max"` of cosines.
        encoder_options: `processor`, `batch_size`, `device` of [`load_encoder`].

    Returns:
        `dict[str, np.ndarray]`: Per finding `(num_rows,)`, within -2 to 2 where cosines are compared.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling is {pooling!r}; expected one of {', '.join(get_args(Pooling))}.")
    embeddings = as_embeddings(model, dataset, **encoder_options)
    findings = labelled_findings(dataset) if findings is None else findings
    prompts = {finding: zero_shot_prompts(finding, prompt_set) for finding in findings}
    # One call for all: an encoder batches them and embeds each distinct text once.
    texts = list(dict.fromkeys(text for pair in prompts.values() for text in (*pair.positive, *pair.negative)))
    scored = _cosines if embeddings.score_name == "cosine" else _own_scores
    similarity = scored(embeddings, texts, pooling)
    return {finding: similarity(pair.positive) - similarity(pair.negative) for finding, pair in prompts.items()}


def labelled_findings(dataset: Dataset) -> list[str]:
    """Findings that at least one row has, in ontology order."""
    present = read_truth(dataset).present.any(0)
    return [finding for finding, found in zip(FINDING_IDS, present, strict=True) if found]


_POOLING = {"mean": "mean of normalised prompts", "max": "max over prompts"}


def _describe_score(embeddings: Embeddings, prompt_set: str, pooling: Pooling) -> str:
    if embeddings.score_name == "cosine":
        return f"prompts={prompt_set}; pooling={_POOLING[pooling]}; score=cos(positive)-cos(negative)"
    name = embeddings.score_name
    return f"prompts={prompt_set}; pooling={pooling} of scores; score={name}(positive)-{name}(negative)"


def _cosines(embeddings: Embeddings, texts: Sequence[str], pooling: Pooling) -> Callable[[Sequence[str]], np.ndarray]:
    """From prompts, all of them among `texts`, to `(num_rows,)`."""
    embeddings.texts(texts)

    def similarity(prompts: Sequence[str]) -> np.ndarray:
        if pooling == "mean":
            return embeddings.image_embeds @ normalised(embeddings.texts(prompts).mean(0))
        return embeddings.similarity(prompts).max(1)

    return similarity


def _own_scores(
    embeddings: Embeddings, texts: Sequence[str], pooling: Pooling
) -> Callable[[Sequence[str]], np.ndarray]:
    """The same for a model that compares images with texts in its own way."""
    scores = embeddings.similarity(texts)
    place = {text: index for index, text in enumerate(texts)}
    pool = np.mean if pooling == "mean" else np.max
    return lambda prompts: pool(scores[:, [place[text] for text in prompts]], axis=1)
