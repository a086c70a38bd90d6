"""Sentences that deny a finding: what reports leave out because nobody asked, prompts ask."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..ontology import FINDING_IDS, FINDINGS, ancestors
from .labelling import read_findings
from .lexicon import LEXICON


_TEMPLATES = ("No {}.", "No {}.", "No evidence of {}.", "There is no evidence of {}.", "Negative for {}.")


def deny_unstated(report: str, seed: int) -> str:
    """
    A sentence that denies a finding of which the report says neither that it is nor that it may be there.

    Reports name what they find, and deny little of the rest: hardly one says that there is no pacemaker. What a
    report leaves out is taken for absent, as the field's labels of reports do; of a careless report that is wrong.

    Args:
        report (`str`): Any report.
        seed (`int`): Names the stream; the same report and seed give the same sentence.

    Example:

    ```python
    >>> from synthcxr.reports import deny_unstated

    >>> deny_unstated("Left pleural effusion.", seed=1)
    'No evidence of endotracheal tube.'

    ```
    """
    findings = _unstated(report)
    rng = np.random.default_rng((seed, 2))
    finding = findings[rng.integers(len(findings))]
    names = LEXICON[finding].denied if finding in LEXICON else (FINDINGS[finding].name,)
    return _TEMPLATES[rng.integers(len(_TEMPLATES))].format(names[rng.integers(len(names))])


@lru_cache(maxsize=2**16)  # the same reports come in every epoch
def _unstated(report: str) -> tuple[str, ...]:
    stated = read_findings(report)
    named = {name for finding in (*stated.present, *stated.uncertain) for name in (finding, *ancestors(finding))}
    left = tuple(finding for finding in FINDING_IDS if finding != "no_finding" and finding not in named)
    return left or FINDING_IDS[-1:]  # of a report that names everything
