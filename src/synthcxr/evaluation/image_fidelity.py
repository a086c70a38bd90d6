"""How good generated images are: like the reference, varied, true to reports, no copies. Not for clinical use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Image
from scipy.stats import binomtest

from .agreement import measure_agreement, measure_report_match
from .bootstrap import CONFIDENCE
from .encoder import load_encoder
from .feature_statistics import frechet_distance, kernel_distance, manifold_overlap
from .finding_targets import read_specs, read_targets
from .image_features import FeatureExtractor, ImageFeatures, load_feature_extractor
from .nearest_images import measure_memorisation, thumbnails
from .results import Result
from .rows import column_values, dataset_digest, dataset_title, describe_images, patients
from .structural_similarity import draw_pairs, mean_similarity, num_scales


logger = logging.getLogger(__name__)

TASK = "fidelity"
_NORMAL = 1.96  # standard errors in half of a 95 % interval
_THUMBNAIL = 32


@dataclass(frozen=True)
class FidelityProtocol:
    """
    Everything that decides the numbers but the images and the encoder.

    Args:
        max_images (`int`, *optional*, defaults to 10000): Of a set, drawn at random, that distances are computed from;
            all are searched for copies.
        k (`int`, *optional*, defaults to 5): Neighbour of precision, recall, density and coverage.
        num_pairs (`int`, *optional*, defaults to 1000): Pairs of images of each MS-SSIM.
        quantile (`float`, *optional*, defaults to 0.001): Of the held-out images' distances to training images, below
            which a generated image counts as near.
        num_bootstrap (`int`, *optional*, defaults to 1000): Resamples of patients behind the agreement's intervals.
        seed (`int`, *optional*, defaults to 0): Of all draws.
    """

    max_images: int = 10_000
    k: int = 5
    num_pairs: int = 1000
    quantile: float = 0.001
    num_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.max_images, self.k, self.num_pairs) < 1:
            raise ValueError("max_images, k and num_pairs count images; expected 1 or more of each.")


def fidelity(
    model: str | Path | FeatureExtractor | Mapping[str, ImageFeatures],
    dataset: Dataset,
    reference: Dataset,
    *,
    training: Dataset | None = None,
    vision_language_model: Any = None,
    protocol: FidelityProtocol | None = None,
    dataset_name: str | None = None,
    reference_name: str | None = None,
    progress: bool = False,
) -> list[Result]:
    """
    Measure generated images against reference images that the generator has not seen.

    Every distance stands beside its floor: the same number of training images (or, without them, of other reference
    images) against the same reference. Bad records (specs with a defect) are left out of the reference. Findings are
    compared with what the reports ask for; what is asked for comes from the rows, and sides from the simulated studies
    of the same `study_id` or `id`.

    Args:
        model (`str`, `Path`, `FeatureExtractor` or mapping): Encoder whose features are compared; a classifier of ours
            also judges the findings. Or features by name: `"generated"`, `"reference"` and, with `training`,
            `"training"`.
        dataset (`Dataset`): The generated pairs.
        reference (`Dataset`): Real or simulated pairs, such as the test split of what the generator was trained on.
        training (`Dataset`, *optional*): What the generator was trained on; of other patients than the reference. Only
            with it copies are searched for.
        vision_language_model (`str`, `Path` or `Encoder`, *optional*): Says whether images go with their reports.
        protocol (`FidelityProtocol`, *optional*): Numbers of images, neighbours and resamples.
        dataset_name (`str`, *optional*): For the results.
        reference_name (`str`, *optional*): For the results.
        progress (`bool`, *optional*, defaults to `False`): Show progress bars.

    Returns:
        `list[Result]`: Of the generated images; the agreement of the reference's own images follows under its name.

    Raises:
        ValueError: When a set is too small, or training and reference share patients.
    """
    protocol = protocol or FidelityProtocol()
    _check_disjoint(reference, training)
    sets = {"generated": dataset, "reference": reference} | ({} if training is None else {"training": training})
    features = _features(model, sets, progress=progress)
    names = dataset_title(dataset, dataset_name), dataset_title(reference, reference_name)
    about = f"encoder={features['generated'].encoder}; reference={names[1]}; size={_size(dataset)}"
    about += f", reference {_size(reference)}; seed={protocol.seed}{describe_images(dataset)}"
    rows = _Rows(names[0], dataset_digest(dataset), protocol.seed, about)

    results = _distances(features, sets, protocol, rows)
    results += _similarities(dataset, reference, protocol, rows)
    if training is not None:
        results += _memorisation(features, sets, protocol, rows, progress=progress)
    results += _agreement(features, sets, vision_language_model, protocol, names)
    return results


def matching_rows(dataset: Dataset, reference: Dataset) -> dict[int, int]:
    """Rows of generated pairs to the rows of the studies whose reports they were drawn from, by `study_id` or `id`."""
    matches: dict[int, int] = {}
    for column in ("id", "study_id"):  # what the later finds stays
        if column in dataset.column_names and column in reference.column_names:
            place = {value: row for row, value in enumerate(column_values(reference, column)) if value}
            values = column_values(dataset, column)
            matches |= {row: place[value] for row, value in enumerate(values) if value in place}
    return dict(sorted(matches.items()))


@dataclass(frozen=True)
class _Rows:
    """What the results of one set of generated images have in common."""

    dataset: str
    revision: str
    seed: int
    about: str

    def result(
        self, metric: str, value: float, count: int, how: str, interval: tuple[float, float] | None = None
    ) -> Result:
        low, high = interval or (None, None)
        about = f"{how}; {self.about}"
        return Result(TASK, self.dataset, self.revision, metric, float(value), low, high, count, self.seed, about)

    def mean(self, metric: str, values: np.ndarray, how: str) -> Result:
        half = _NORMAL * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        centre = float(values.mean())
        return self.result(metric, centre, len(values), how, (float(centre - half), float(centre + half)))


def _features(
    model: str | Path | FeatureExtractor | Mapping[str, ImageFeatures], sets: Mapping[str, Dataset], *, progress: bool
) -> Mapping[str, ImageFeatures]:
    if isinstance(model, Mapping):
        for name, rows in sets.items():
            if name not in model or len(model[name].features) != len(rows):
                raise ValueError(f"There are no features of the {len(rows)} {name} images; expected one row each.")
        return model
    extractor = model if isinstance(model, FeatureExtractor) else load_feature_extractor(model)
    return {name: extractor.extract(rows, progress=progress) for name, rows in sets.items()}


def _check_disjoint(reference: Dataset, training: Dataset | None) -> None:
    shared = set() if training is None else set(patients(reference)) & set(patients(training))
    shared = {patient for patient in shared if not patient.startswith("row:")}  # nobody knows whose they are
    if shared:
        raise ValueError(
            f"Reference and training share {len(shared)} patients, such as {min(shared)!r}; expected none."
        )


def _good_rows(dataset: Dataset) -> np.ndarray:
    """Rows that are no bad records, as far as anybody knows."""
    specs = read_specs(dataset)
    return np.array([row for row, spec in enumerate(specs) if not (spec and spec["acquisition"].get("defect"))])


def _distances(
    features: Mapping[str, ImageFeatures], sets: Mapping[str, Dataset], protocol: FidelityProtocol, rows: _Rows
) -> list[Result]:
    rng = np.random.default_rng(protocol.seed)
    anchor, others, floor = _anchor_and_floor(sets, protocol, rng)
    count = min(len(others), len(features["generated"].features), protocol.max_images)
    if count <= protocol.k or len(anchor) <= protocol.k:
        raise ValueError(f"{count} generated and {len(anchor)} reference images; expected more than k={protocol.k}.")
    reference = features["reference"].features[anchor]
    chosen = np.sort(rng.permutation(len(features["generated"].features))[:count])
    compared = {
        "": features["generated"].features[chosen],
        "/floor": features[floor].features[np.sort(rng.permutation(others)[:count])],
    }
    how = f"n={count} against {len(reference)} good records; dim={reference.shape[1]}"
    results = []
    for subject, some in compared.items():
        what = how if not subject else f"{how}; {floor} images in place of generated ones"
        fid = frechet_distance(some, reference)
        results.append(rows.result(f"fid{subject}", fid, count, f"{what}; eigenvalues; bias depends on n"))
        blocks = max(2, min(20, count // 10, len(reference) // 10))
        kid = kernel_distance(some, reference, num_blocks=blocks, seed=protocol.seed)
        half = _NORMAL * kid.standard_error
        kernel = f"{what}; kernel=(x.y/dim+1)^3, unbiased, all pairs; interval=jackknife over {blocks} blocks"
        results.append(rows.result(f"kid{subject}", kid.value, count, kernel, (kid.value - half, kid.value + half)))
        overlap = manifold_overlap(reference, some, k=protocol.k)
        for name, value in vars(overlap).items():
            results.append(rows.result(f"{name}{subject}", value, count, f"{what}; k={protocol.k}"))
    return results


def _anchor_and_floor(
    sets: Mapping[str, Dataset], protocol: FidelityProtocol, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, str]:
    """Rows of the reference, rows that are compared with them to see what is no difference, and whose these are."""
    good = _good_rows(sets["reference"])
    if "training" in sets:
        return np.sort(rng.permutation(good)[: protocol.max_images]), _good_rows(sets["training"]), "training"
    of_row = np.array(patients(sets["reference"]))[good]
    names = rng.permutation(np.unique(of_row))
    first_half = np.isin(of_row, names[: len(names) // 2])
    return good[first_half][: protocol.max_images], good[~first_half], "reference"


def _similarities(dataset: Dataset, reference: Dataset, protocol: FidelityProtocol, rows: _Rows) -> list[Result]:
    size = _size(dataset).split("x")
    how = f"scales={num_scales(int(size[1]), int(size[0]))}"
    draw = {"num_pairs": protocol.num_pairs, "seed": protocol.seed}
    groups = _prompts(dataset)
    pairs = {
        "ms_ssim_within_prompt": (dataset, draw_pairs(groups, within=True, **draw)),
        "ms_ssim_across_prompts": (dataset, draw_pairs(groups, within=False, **draw)),
        "ms_ssim_across_prompts/reference": (reference, draw_pairs(patients(reference), within=False, **draw)),
    }
    return [
        rows.mean(metric, mean_similarity(images, some), f"{how}; pairs={len(some)}; interval=standard error")
        for metric, (images, some) in pairs.items()
        if len(some) > 1
    ]


def _prompts(dataset: Dataset) -> Sequence[str]:
    """What each image was drawn from: its prompt, or its report."""
    columns = [column_values(dataset, name) for name in ("prompt", "report") if name in dataset.column_names]
    prompts = zip(*columns, strict=True) if columns else [()] * len(dataset)
    return [next((text for text in texts if text), f"row {row}") for row, texts in enumerate(prompts)]


def _memorisation(
    features: Mapping[str, ImageFeatures],
    sets: Mapping[str, Dataset],
    protocol: FidelityProtocol,
    rows: _Rows,
    *,
    progress: bool,
) -> list[Result]:
    held_out = _good_rows(sets["reference"])
    pixels = {name: thumbnails(images, size=_THUMBNAIL, progress=progress) for name, images in sets.items()}
    spaces = {"": {name: item.features for name, item in features.items()}, "/pixels": pixels}
    results = []
    for subject, space in spaces.items():
        found = measure_memorisation(
            space["generated"], space["training"], space["reference"][held_out], quantile=protocol.quantile
        )
        count = len(space["generated"])
        within = f"{_THUMBNAIL}x{_THUMBNAIL} grey values, standardised" if subject else "features"
        how = f"space={within}; nearest of {len(space['training'])} training images; {len(held_out)} held out"
        share = binomtest(found.num_nearer, count).proportion_ci(CONFIDENCE, method="exact")
        interval = (float(share.low), float(share.high))
        near = f"{how}; nearer than the {protocol.quantile:g} quantile of the held-out images' distances"
        results.append(rows.result(f"share_near_training{subject}", found.share_nearer, count, near, interval))
        ratio = f"{how}; median distance of generated over held-out images"
        results.append(rows.result(f"nearest_distance_ratio{subject}", found.median_ratio, count, ratio))
    return results


def _agreement(
    features: Mapping[str, ImageFeatures],
    sets: Mapping[str, Dataset],
    vision_language_model: Any,
    protocol: FidelityProtocol,
    names: tuple[str, str],
) -> list[Result]:
    generated, reference = sets["generated"], sets["reference"]
    sources = [sets[name] for name in ("reference", "training") if name in sets]
    # Beside the generated images their own studies, or where there are none all of the reference.
    beside = sorted(set(matching_rows(generated, reference).values())) or list(range(len(reference)))
    own = reference.select(beside)
    compared = (
        (names[0], generated, features["generated"], _specs(generated, sources)),
        (names[1], own, features["reference"].of_rows(beside), read_specs(own)),
    )
    resampling = {"num_bootstrap": protocol.num_bootstrap, "seed": protocol.seed}
    encoder = None if vision_language_model is None else load_encoder(vision_language_model)
    results = []
    for name, images, seen, of_rows in compared:
        measured = []
        if seen.scores:
            targets = read_targets(images, specs=of_rows, as_reported=True)
            measured += measure_agreement(seen.scores, targets, images, scored_by=seen.encoder, **resampling)
        if encoder is not None:
            measured += measure_report_match(encoder, images, **resampling)
        results += [item.result(TASK, name, dataset_digest(images), protocol.seed) for item in measured]
    return results


def _specs(dataset: Dataset, sources: Sequence[Dataset]) -> list[Mapping[str, Any] | None]:
    """The spec of every row: its own, or that of the study whose report it was drawn from."""
    specs = read_specs(dataset)
    for source in sources:
        matches = matching_rows(dataset, source)
        found = read_specs(source.select(list(matches.values())))
        for row, spec in zip(matches, found, strict=True):
            specs[row] = specs[row] or spec
    return specs


def _size(dataset: Dataset) -> str:
    """Width and height of the first image; the others are taken to be like it."""
    image = dataset.select([0]).cast_column("image", Image())[0]["image"]
    return f"{image.width}x{image.height}"
