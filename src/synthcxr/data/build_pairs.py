"""From study specs to a dataset of simulated pairs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from ..ontology import FINDINGS, REGIONS, StudySpec
from ..reports import split_sections, write_report
from .dataset_folder import plan_shards, write_dataset
from .schema import Pair
from .splitting import split_by_patient


logger = logging.getLogger(__name__)

DEFAULT_SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def build_pairs(
    specs: Sequence[StudySpec],
    *,
    image_size: int,
    output_dir: str | Path,
    splits: Mapping[str, float] | None = None,
    shard_size: int = 1000,
    num_proc: int = 1,
    regions: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """
    Simulate every study, write its report, and store the pairs as a dataset that `load_dataset` reads.

    The folder gets `data/{split}-%05d-of-%05d.parquet`, a `README.md` with the configuration, and a `manifest.json`
    with the request and the hash of every shard. A call with the same arguments continues what was interrupted; equal
    arguments give equal bytes, whatever `num_proc` is and however often it was killed.

    Args:
        specs (`Sequence[StudySpec]`): The studies, in the order of the rows.
        image_size (`int`): Side of the square images in pixels, 64 to 1024.
        output_dir (`str` or `Path`): The dataset's folder.
        splits (`Mapping[str, float]`, *optional*): Share of the patients per split; 80 % train, 10 % validation, 10 %
            test when absent. All studies of a patient are in one split.
        shard_size (`int`, *optional*, defaults to 1000): Rows per Parquet file.
        num_proc (`int`, *optional*, defaults to 1): Processes; each makes whole shards.
        regions (`Sequence[str]`, *optional*): Anatomy whose masks are stored; all that is simulated when absent.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar.

    Returns:
        `Path`: The folder.

    Raises:
        ValueError: On arguments that cannot be met, a spec that occurs twice, or a folder with the dataset of another
            request (the message says which parameter differs).
        OSError: If the disk is full or cannot be written; finished shards stay and the same call goes on from them.
    """
    specs = list(specs)
    splits = dict(DEFAULT_SPLITS if splits is None else splits)
    digests = [spec.digest() for spec in specs]
    _check(specs, digests, image_size=image_size, regions=regions)
    chosen = split_by_patient([spec.patient.patient_id for spec in specs], splits)
    for split in (name for name, share in splits.items() if share > 0 and name not in chosen):
        logger.warning("The split %s has no patient, so it is left out; %d studies are few.", split, len(specs))
    request = {
        "kind": "simulated pairs",
        "image_size": image_size,
        "num_studies": len(specs),
        "specs": _digest(digest.encode() for digest in digests),
        "splits": splits,
        "shard_size": shard_size,
        "regions": None if regions is None else list(regions),
        "synthcxr": version("synthcxr"),
        "simulator": _code_digest(),
    }
    make_rows = partial(_simulated_rows, image_size=image_size, regions=None if regions is None else tuple(regions))
    return write_dataset(
        output_dir,
        plan_shards(specs, chosen, shard_size=shard_size),
        make_rows,
        request=request,
        title="Simulated chest X-rays with reports",
        num_proc=num_proc,
        progress=progress,
    )


def simulate_pair(spec: StudySpec, *, image_size: int, regions: Sequence[str] | None = None) -> Pair:
    """
    One simulated study as a row: image, report, labels, boxes and exact masks.

    Args:
        spec (`StudySpec`): The study.
        image_size (`int`): Side of the square image in pixels.
        regions (`Sequence[str]`, *optional*): Anatomy whose masks are kept; all that is simulated when absent.
    """
    from ..simulation import simulate  # brings a compiler along, which loading a dataset does not need

    study = simulate(spec, image_size=image_size)
    report = write_report(spec)
    sections = split_sections(report)
    masks = {name: mask for name, mask in study.regions.items() if regions is None or name in regions}
    return Pair(
        id=f"{spec.study_id}-{spec.digest()}",
        image=study.image,
        report=report,
        origin="simulated",
        source=f"synthcxr-simulator/{spec.cohort}@{version('synthcxr')}",
        findings=sections["findings"],
        impression=sections["impression"],
        labels=spec.labels,
        uncertain=spec.uncertain,
        boxes=[item.bbox for item in study.objects],
        box_categories=[item.category for item in study.objects],
        box_masks=[item.mask for item in study.objects],
        regions={name: mask for name, mask in masks.items() if mask.any()},
        entities=_entities(spec),
        view=spec.acquisition.view,
        age=spec.patient.age,
        sex=spec.patient.sex,
        prompt=json.dumps(spec.to_dict(), sort_keys=True, separators=(",", ":")),
        seed=spec.seed,
        patient_id=spec.patient.patient_id,
        study_id=spec.study_id,
        prior_id=None if spec.prior is None else spec.prior.study_id,
    )


def _simulated_rows(specs: Sequence[StudySpec], *, image_size: int, regions: tuple[str, ...] | None) -> Iterator[Pair]:
    for spec in specs:
        try:
            pair = simulate_pair(spec, image_size=image_size, regions=regions)
        except ValueError as error:
            raise ValueError(f"Study {spec.study_id} cannot be simulated: {error}") from error
        yield pair


def _check(specs: list[StudySpec], digests: list[str], *, image_size: int, regions: Sequence[str] | None) -> None:
    if not specs:
        raise ValueError("There is no study to simulate; expected one spec or more.")
    if not 64 <= image_size <= 1024:
        raise ValueError(f"image_size is {image_size}; expected 64 to 1024.")
    unknown = [name for name in regions or () if name not in REGIONS or not REGIONS[name].simulated]
    if unknown:
        raise ValueError(f"regions has {unknown[0]!r}, of which no mask is simulated.")
    seen: set[str] = set()
    for spec, digest in zip(specs, digests, strict=True):
        if digest in seen:
            raise ValueError(f"The study {spec.study_id!r} occurs twice, patient and seeds included.")
        seen.add(digest)


def _entities(spec: StudySpec) -> list[tuple[str, str]]:
    """What the report is to say, each once: findings, how sure, and where."""
    found: dict[tuple[str, str], None] = {}
    silent = {*spec.report_omits, *spec.report_contradicts}
    for instance in spec.findings:
        if instance.finding in silent:
            continue
        kind = "finding" if instance.certainty == "certain" else "uncertain_finding"
        found[FINDINGS[instance.finding].name, kind] = None
        if instance.region is not None:
            found[REGIONS[instance.region].name, "region"] = None
    return list(found)


def _code_digest() -> str:
    """Changes with the code that makes the rows, so that two versions of it never share a dataset."""
    files = [Path(__file__), Path(__file__).with_name("png.py"), Path(__file__).with_name("shards.py")]
    for package in ("ontology", "reports", "simulation"):
        files += sorted((Path(__file__).parents[1] / package).glob("*.py"))
    return _digest(path.read_bytes() for path in files)


def _digest(parts: Iterator[bytes]) -> str:
    total = hashlib.blake2b(digest_size=8)
    for part in parts:
        total.update(hashlib.blake2b(part, digest_size=16).digest())
    return total.hexdigest()
