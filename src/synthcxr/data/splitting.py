"""Patient-disjoint splits that stay as they are when patients are added."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping


def split_by_patient(patient_ids: Iterable[str], fractions: Mapping[str, float], *, seed: int = 0) -> list[str]:
    """
    Name the split of every study, so that all studies of a patient fall into the same one.

    Each patient's place follows from a hash of its id and the seed alone: adding or removing patients moves nobody.
    Sizes are therefore met on average, not exactly.

    Args:
        patient_ids (`Iterable[str]`): Patient of every study.
        fractions (`Mapping[str, float]`): Share of the patients per split, summing to 1.
        seed (`int`, *optional*, defaults to 0): Another seed, another division.

    Returns:
        `list[str]`: A key of `fractions` per study.

    Raises:
        ValueError: If the fractions are no shares of one whole, or a patient id is empty.

    Example:

    ```python
    >>> from synthcxr.data import split_by_patient

    >>> split_by_patient(["a", "b", "a"], {"train": 0.5, "test": 0.5})
    ['train', 'test', 'train']

    ```
    """
    shares = list(fractions.values())
    if not shares or min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise ValueError(f"fractions are {dict(fractions)}; expected shares from 0 to 1 that sum to 1.")
    names = [name for name, share in fractions.items() if share > 0]
    bounds, total = [], 0.0
    for name in names:
        total += fractions[name]
        bounds.append(total)
    bounds[-1] = math.inf  # rounding of the sum must not leave anybody out

    placed: dict[str, str] = {}
    chosen = []
    for patient_id in patient_ids:
        if not isinstance(patient_id, str) or not patient_id:
            raise ValueError(f"patient_ids has {patient_id!r}; expected a text that is not empty.")
        if patient_id not in placed:
            place = _uniform(f"{seed}:{patient_id}")
            placed[patient_id] = next(name for name, bound in zip(names, bounds, strict=True) if place < bound)
        chosen.append(placed[patient_id])
    return chosen


def _uniform(key: str) -> float:
    digest = hashlib.blake2b(key.encode(), digest_size=8, person=b"patientsplit").digest()
    return int.from_bytes(digest, "big") / 2**64
