import json
import time

import pytest

from synthcxr.reports import split_sections, write_report


MIMIC = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with ?pleural effusion  // change?

 COMPARISON:  ___

 FINDINGS:

 Large left pleural effusion is new.
 Small right effusion is new.

 IMPRESSION:

 1.  Large left pleural effusion.
"""
HEADERS = {
    "upper": lambda key: f"{key.upper()}: ",
    "title": lambda key: f"{key.title()}: ",
    "lower": lambda key: f"{key}: ",
    "own line": lambda key: f"{key.upper()}\n",
    "dash": lambda key: f"{key.upper()} - ",
    "markdown": lambda key: f"**{key.title()}:** ",
    "heading": lambda key: f"## {key.title()}\n",
    "wide": lambda key: f"   {key.upper()} :  ",
}
NAMES = ("indication", "comparison", "technique", "findings", "impression")


def test_reads_the_mimic_style():
    sections = split_sections(MIMIC)
    assert sections["findings"] == "Large left pleural effusion is new.\n Small right effusion is new."
    assert sections["impression"] == "1.  Large left pleural effusion."
    assert sections["examination"] == "CHEST (PA AND LAT)"
    assert sections["indication"].startswith("___ year old")
    assert sections["comparison"] == "___"
    assert "body" not in sections


@pytest.mark.parametrize("style", HEADERS)
def test_reads_every_style_of_header(style):
    report = "\n".join(f"{HEADERS[style](name)}The {name} text." for name in NAMES)
    assert split_sections(report) == {name: f"The {name} text." for name in NAMES}


def test_reads_a_report_without_line_breaks():
    report = " ".join(f"{name.upper()}: The {name} text." for name in NAMES)
    assert split_sections(report) == {name: f"The {name} text." for name in NAMES}
    assert split_sections("Findings: Clear. Impression: Normal.")["impression"] == "Normal."


def test_findings_always_and_impression_always():
    assert split_sections("") == {"findings": "", "impression": ""}
    assert split_sections("IMPRESSION: Normal.") == {"findings": "", "impression": "Normal."}


def test_text_without_header_is_the_body():
    assert split_sections("Normal chest.") == {"findings": "", "impression": "", "body": "Normal chest."}
    sections = split_sections("Portable study.\nIMPRESSION: Normal.")
    assert sections == {"findings": "", "impression": "Normal.", "body": "Portable study."}


@pytest.mark.parametrize(
    ("report", "key", "text"),
    [
        ("FINDINGS AND IMPRESSION: Clear.", "findings", "Clear."),
        ("HISTORY: Cough.", "indication", "Cough."),
        ("REASON FOR EXAM: Cough.", "indication", "Cough."),
        ("CONCLUSION: Normal.", "impression", "Normal."),
        ("IMPRESSION AND RECOMMENDATIONS: CT.", "impression", "CT."),
        ("WET READ: Clear.", "wet_read", "Clear."),
        ("RECOMMENDATION(S): CT.", "recommendation", "CT."),
        ("PORTABLE AP CHEST RADIOGRAPH: Clear.", "findings", "Clear."),
        ("PORTABLE AP CHEST RADIOGRAPH: Clear.", "technique", "PORTABLE AP CHEST RADIOGRAPH"),
        ("PA AND LATERAL VIEWS OF THE CHEST:  Clear.", "findings", "Clear."),
        ("IMPRESSION: One.\nADDENDUM: Two.\nIMPRESSION: Three.", "impression", "One.\nThree."),
        ("\ufeffFindings:\r\nClear.\r\nImpression:\r\nNormal.", "findings", "Clear."),
        ("FINDINGS:\x00Clear.\x0bHeart normal.", "findings", "Clear.\nHeart normal."),
        ("FINDINGS: LUNGS: Clear. HEART: Normal.", "findings", "LUNGS: Clear. HEART: Normal."),
    ],
)
def test_reads_other_names(report, key, text):
    assert split_sections(report)[key] == text


@pytest.mark.parametrize(
    "text",
    [
        "The following findings: a nodule and a mass.",
        "Findings are consistent with edema.",
        "there is no comparison: none exists.",
        "Impression of the heart on the esophagus.",
        "Heart: Normal. Lungs: Clear.",
    ],
)
def test_prose_is_no_header(text):
    assert split_sections(f"FINDINGS: {text}") == {"findings": text, "impression": ""}


@pytest.mark.parametrize(("value", "named"), [(None, "None"), (b"FINDINGS:", "bytes"), (float("nan"), "float")])
def test_what_is_no_text_is_refused(value, named):
    with pytest.raises(TypeError, match=rf"report is .*{named}; expected a string"):
        split_sections(value)


@pytest.mark.parametrize(
    "unit", [":", " ", " \n", "\n", "\t", "FINDINGS ", "FINDINGS:", "AP ", "AP CHEST \n", "*", "x", "1. "]
)
def test_any_text_takes_linear_time(unit):
    times = []
    for size in (25_000, 250_000):
        text = unit * (size // len(unit))
        start = time.process_time()
        split_sections(text)
        times.append(time.process_time() - start)
    assert times[1] < 40 * max(times[0], 0.02)


def test_no_text_is_lost(draw):
    for seed in range(300):
        report = write_report(draw(seed))
        sections = split_sections(report)
        assert set(sections) <= set(NAMES)
        again = "\n".join(f"{name.upper()}: {sections[name]}" for name in NAMES if name in sections)
        assert again == report


def test_reads_the_real_reports_in_every_style(shared_data):
    path = shared_data / "openi_reports" / "reports.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 800
    for row in rows:
        texts = {name: " ".join(row[name].split()) for name in NAMES if row.get(name, "").strip()}
        for style, header in HEADERS.items():
            report = "\n".join(f"{header(name)}{text}" for name, text in texts.items())
            read = split_sections(report)
            for name, text in texts.items():
                # One real indication begins with a second "INDICATION:".
                assert read[name] == text.removeprefix(f"{name.upper()}: "), (row["id"], style)
            assert set(read) <= {*texts, "findings", "impression"}, (row["id"], style)
