"""Zero-shot prompts."""

import pytest

from synthcxr.ontology import FINDING_IDS, FINDINGS, PROMPT_SETS, zero_shot_prompts


every_set = pytest.mark.parametrize("prompt_set", PROMPT_SETS)


@every_set
def test_every_finding_has_both_sides_in_every_set(prompt_set):
    for finding in FINDING_IDS:
        prompts = zero_shot_prompts(finding, prompt_set)
        assert prompts.positive
        assert prompts.negative
        for texts in (prompts.positive, prompts.negative):
            assert len(set(texts)) == len(texts)
            assert all(text == " ".join(text.split()) and "{" not in text for text in texts)
        assert not set(prompts.positive) & set(prompts.negative)


@every_set
def test_two_findings_never_share_a_text_that_affirms_them(prompt_set):
    owners = {}
    for finding in FINDING_IDS:
        for text in zero_shot_prompts(finding, prompt_set).positive:
            assert owners.setdefault(text, finding) == finding


@every_set
def test_no_finding_is_not_negated_twice(prompt_set):
    prompts = zero_shot_prompts("no_finding", prompt_set)
    assert not any("no no" in text.lower() or "no finding" in text.lower() for text in prompts.negative)


def test_the_name_pair():
    prompts = zero_shot_prompts("fibrosis", "name")
    assert (prompts.positive, prompts.negative) == (("pulmonary fibrosis",), ("no pulmonary fibrosis",))


def test_the_chexzero_pair_spells_labels_as_chexpert_does():
    prompts = zero_shot_prompts("edema", "chexzero")
    assert (prompts.positive, prompts.negative) == (("Edema",), ("no Edema",))
    assert zero_shot_prompts("covid_19_pattern", "chexzero").negative == ("no COVID-19 Pattern",)
    assert zero_shot_prompts("nodule", "chexzero").positive == ("Pulmonary Nodule",)


def test_the_biovil_sentences_for_pneumonia_are_those_of_the_paper():
    prompts = zero_shot_prompts("pneumonia", "biovil")
    assert prompts.positive == (
        "Findings consistent with pneumonia",
        "Findings suggesting pneumonia",
        "This opacity can represent pneumonia",
        "Findings are most compatible with pneumonia",
    )
    assert prompts.negative == (
        "There is no pneumonia",
        "No evidence of pneumonia",
        "No evidence of acute pneumonia",
        "No signs of pneumonia",
    )


def test_biovil_sentences_are_grammatical():
    assert "Findings suggesting a pneumothorax" in zero_shot_prompts("pneumothorax", "biovil").positive
    assert "An endotracheal tube is in place" in zero_shot_prompts("endotracheal_tube", "biovil").positive
    assert "Sternotomy wires are seen" in zero_shot_prompts("sternotomy_wires", "biovil").positive


def test_gloria_prompts_combine_severity_subtype_and_location():
    prompts = zero_shot_prompts("pleural_effusion", "gloria")
    assert "large pleural effusion on the left" in prompts.positive
    assert len(prompts.positive) == 4 * 3 * 4
    assert "no pleural effusion" in prompts.negative


def test_gloria_prompts_favour_neither_side():
    for finding in FINDINGS.values():
        texts = " ".join(zero_shot_prompts(finding.id, "gloria").positive).split()
        assert texts.count("left") == texts.count("right")


def test_report_sentences_favour_neither_side():
    for finding in FINDING_IDS:
        words = " ".join(zero_shot_prompts(finding, "report").positive).lower().split()
        assert words.count("left") == words.count("right"), finding


def test_no_sentence_that_denies_a_finding_names_a_side():
    for finding in FINDING_IDS:
        words = " ".join(zero_shot_prompts(finding, "report").negative).lower().split()
        assert not {"left", "right"} & set(words)


@pytest.mark.parametrize(
    ("finding", "prompt_set", "message"),
    [
        ("cardiomegally", "name", "finding is 'cardiomegally'; the closest known one is 'cardiomegaly'"),
        ("edema", "chexero", "prompt_set is 'chexero'; the closest known one is 'chexzero'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_closest(finding, prompt_set, message):
    with pytest.raises(ValueError, match=message):
        zero_shot_prompts(finding, prompt_set)
