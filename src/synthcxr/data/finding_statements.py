"""What texts say of findings, as vectors: to tell of which images a sentence is true."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..ontology import FINDING_IDS, ancestors
from ..reports import read_findings


NUM_STATEMENTS = 4 * len(FINDING_IDS)
_INDEX = {finding: index for index, finding in enumerate(FINDING_IDS)}


@lru_cache(maxsize=2**16)  # the same reports and sentences come in every epoch
def statement_vector(text: str) -> np.ndarray:
    """
    The findings that a text affirms, on the right, on the left, and those that it denies, one block behind the other.

    A finding brings its parents: who sees a consolidation sees an opacity. What is uncertain is in no block.

    Args:
        text (`str`): A report or a sentence.

    Returns:
        `np.ndarray` of shape `(4 * num_findings,)` and dtype bool: Findings in the order of `FINDING_IDS`; not to be
        written to.

    Example:

    ```python
    >>> from synthcxr.data.finding_statements import statement_vector
    >>> from synthcxr.ontology import FINDING_IDS

    >>> affirmed, right, left, denied = statement_vector("Left consolidation. No effusion.").reshape(4, -1)
    >>> [FINDING_IDS[index] for index in affirmed.nonzero()[0]], bool(right.any()), int(left.sum())
    (['lung_opacity', 'consolidation'], False, 2)
    >>> [FINDING_IDS[index] for index in denied.nonzero()[0]]
    ['pleural_effusion']

    ```
    """
    stated = read_findings(text)
    affirmed, right, left, denied = vector = np.zeros((4, len(FINDING_IDS)), dtype=bool)
    for finding, sides in stated.present.items():
        rows = [_INDEX[name] for name in (finding, *ancestors(finding))]
        affirmed[rows] = True
        right[rows] |= "right" in sides
        left[rows] |= "left" in sides
    denied[[_INDEX[name] for name in stated.absent]] = True
    vector = vector.reshape(-1)
    vector.flags.writeable = False
    return vector
