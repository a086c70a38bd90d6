"""What texts say of findings, as vectors."""

import numpy as np
import pytest

from synthcxr.data.finding_statements import NUM_STATEMENTS, statement_vector
from synthcxr.ontology import FINDING_IDS


def names(block):
    return {FINDING_IDS[index] for index in np.flatnonzero(block)}


def test_a_text_affirms_findings_and_their_parents_on_the_sides_it_names():
    affirmed, right, left, denied = statement_vector("Right upper lobe consolidation. Edema. No effusion.").reshape(
        4, -1
    )
    assert names(affirmed) == {"consolidation", "lung_opacity", "edema"}
    assert names(right) == {"consolidation", "lung_opacity"}
    assert names(left) == set()
    assert names(denied) == {"pleural_effusion"}


def test_doubt_affirms_nothing_and_denies_nothing():
    assert not statement_vector("Possible pneumonia.").any()


def test_the_vector_is_shared_and_cannot_be_changed():
    vector = statement_vector("No pneumothorax.")
    assert vector is statement_vector("No pneumothorax.")
    assert vector.shape == (NUM_STATEMENTS,)
    with pytest.raises(ValueError, match="read-only"):
        vector[0] = True
