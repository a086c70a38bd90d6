import json
import time

import pytest

from synthcxr.reports import split_sections, split_sentences, write_report


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("Clear lungs", ["Clear lungs"]),
        ("A 1.2 cm nodule. No effusion.", ["A 1.2 cm nodule.", "No effusion."]),
        ("Seen by Dr. Lee. Normal.", ["Seen by Dr. Lee.", "Normal."]),
        ("Seen by Dr. J. Lee. Normal.", ["Seen by Dr. J. Lee.", "Normal."]),
        ("The tip is at T4. The heart is normal.", ["The tip is at T4.", "The heart is normal."]),
        ("Loss of height at T4. vertebral level.", ["Loss of height at T4. vertebral level."]),
        ("Scarring, e.g. from infection. Stable.", ["Scarring, e.g. from infection.", "Stable."]),
        ("Called at 5 p.m. by phone. Read.", ["Called at 5 p.m. by phone.", "Read."]),
        ("1. Edema. 2. Effusion.", ["Edema.", "Effusion."]),
        ("1. Edema.\n2. Effusion.\n", ["Edema.", "Effusion."]),
        ("1) Edema\n2) Effusion", ["Edema", "Effusion"]),
        ("- Edema\n- Effusion", ["Edema", "Effusion"]),
        ("Compared to 2019. Stable.", ["Compared to 2019.", "Stable."]),
        ("A nodule of 4 mm. no effusion.", ["A nodule of 4 mm.", "no effusion."]),
        ("Clear\nlungs. Normal\nheart.", ["Clear lungs.", "Normal heart."]),
        ("Heart normal\n\nLungs clear", ["Heart normal", "Lungs clear"]),
        ("No acute process. .", ["No acute process."]),
        ("Is there fluid? No. Stable!", ["Is there fluid?", "No.", "Stable!"]),
        ("Fracture of rib no. 3. Stable.", ["Fracture of rib no. 3.", "Stable."]),
        ("Stable (compared with 2019.) Clear.", ["Stable (compared with 2019.)", "Clear."]),
        ("Change of XXXX. XXXX is seen.", ["Change of XXXX.", "XXXX is seen."]),
    ],
)
def test_cuts_dictated_radiology(text, sentences):
    assert split_sentences(text) == sentences


def test_written_sections_are_cut_at_every_full_stop(draw):
    for seed in range(300):
        sections = split_sections(write_report(draw(seed)))
        for sentence in split_sentences(sections["findings"]):
            assert sentence.endswith("."), sentence
            assert sentence.count(". ") == 0, sentence


def test_no_word_is_lost(shared_data):
    path = shared_data / "openi_reports" / "reports.jsonl"
    for line in path.read_text().splitlines():
        row = json.loads(line)
        for name in ("findings", "impression"):
            kept = [word for sentence in split_sentences(row[name]) for word in sentence.split()]
            words = row[name].split()
            assert [word for word in words if word in set(kept)] == kept
            lost = [word for word in words if word not in set(kept)]
            assert all(not any(map(str.isalpha, word)) for word in lost), lost


@pytest.mark.parametrize("value", [None, 3, b"text"])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(TypeError, match="expected a string"):
        split_sentences(value)


@pytest.mark.parametrize("unit", [". ", "1. ", "\n", " \n", ".", "a. ", "A. ", "\n- ", "Dr. "])
def test_any_text_takes_linear_time(unit):
    times = []
    for size in (25_000, 250_000):
        text = unit * (size // len(unit))
        start = time.process_time()
        split_sentences(text)
        times.append(time.process_time() - start)
    assert times[1] < 40 * max(times[0], 0.02)
