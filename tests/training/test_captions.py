from collections import Counter

import numpy as np
import pytest

from synthcxr.training.captions import draw_caption


ROW = {
    "report": "FINDINGS: The heart is large. No effusion. IMPRESSION: Cardiomegaly.",
    "findings": "The heart is large. No effusion.",
    "impression": "Cardiomegaly.",
}


def draws(count=400, row=ROW, **kwargs):
    settings = {"column": "mixed", "dropout": 0.0, **kwargs}
    return [draw_caption(row, stream=np.random.default_rng(seed), **settings) for seed in range(count)]


def test_a_column_is_read_as_it_is():
    assert set(draws(5, column="impression")) == {"Cardiomegaly."}
    assert set(draws(5, column="report")) == {ROW["report"]}


def test_a_missing_section_is_read_by_the_whole_report():
    assert set(draws(5, row=ROW | {"impression": ""}, column="impression")) == {ROW["report"]}


def test_the_mix_holds_sections_and_single_sentences():
    counts = Counter(draws())
    assert counts["Cardiomegaly."] > 100
    assert counts["Cardiomegaly. The heart is large. No effusion."] > 50
    assert counts["No effusion."] > 5
    assert all("IMPRESSION" not in text for text in counts)


def test_captions_are_dropped_as_often_as_asked():
    dropped = draws(2000, dropout=0.2).count("")
    assert 330 < dropped < 470


def test_the_same_stream_gives_the_same_caption():
    assert draws(50) == draws(50)


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match="'title'; expected one of mixed"):
        draws(1, column="title")


def test_marks_of_de_identification_are_no_captions():
    row = {"report": "Compared to ___, no change.", "findings": "XXXX lungs are clear.", "impression": ""}
    assert not [text for text in draws(60, row=row) if "_" in text or "XXXX" in text]
