import time

import pytest

from synthcxr.pipelines.prompts import (
    MAX_CHARACTERS,
    FittedPrompt,
    clean_prompt,
    describe_changes,
    fit_negative_prompts,
    fit_prompt,
    fit_prompts,
)


@pytest.mark.parametrize(
    ("text", "cleaned", "num_marks"),
    [
        ("Effusion seen on ___.", "Effusion seen on.", 1),
        ("XXXX-year-old with XXXX pneumothorax", "year-old with pneumothorax", 2),
        ("[**Known lastname 1234**] has edema, [**2101-3-4**]", "has edema,", 2),
        ("Discussed with Dr. [REDACTED] (<name>) by phone", "Discussed with Dr. by phone", 2),
        ("Line at T4 ******", "Line at T4", 1),
        ("two__underscores", "two underscores", 1),
    ],
)
def test_marks_of_deidentification_are_taken_out_and_counted(text, cleaned, num_marks):
    result = clean_prompt(text)
    assert (result.text, result.num_marks) == (cleaned, num_marks)


@pytest.mark.parametrize(
    "text", ["Xx sign", "snake_case", "Size 2 x 3 cm", "Grade ** opacity", "[normal] lungs", "Exxon"]
)
def test_ordinary_words_are_no_marks(text):
    assert clean_prompt(text).text == text
    assert clean_prompt(text).num_marks == 0


def test_control_characters_go_and_blanks_become_one():
    text = "Left\x00 \t effu\u200bsion\r\n\u202eis\ud800 large\x9f. "
    assert clean_prompt(text).text == "Left effusion is large."
    assert clean_prompt(text).num_marks == 0


def test_other_writing_systems_survive():
    assert clean_prompt("胸水。 Épanchement pleural").text == "胸水。 Épanchement pleural"


def test_the_impression_comes_first_and_what_describes_no_image_is_left_out(clip_tokenizer):
    report = (
        "FINAL REPORT\nINDICATION: Rule out pneumonia.\nCOMPARISON: None.\n\n"
        "FINDINGS:\nThe lungs are clear.\n\nIMPRESSION:\n1. Normal chest.\n2. No edema."
    )
    fitted = fit_prompt(report, clip_tokenizer, max_tokens=500)
    assert fitted == FittedPrompt("Normal chest. No edema. The lungs are clear.", 0, 0)


def test_headers_inside_a_line_need_capitals(clip_tokenizer):
    report = "FINDINGS: Clear lungs. The findings: none. IMPRESSION: Normal."
    assert fit_prompt(report, clip_tokenizer).text == "Normal. Clear lungs. The findings: none."
    assert fit_prompt("Findings: Clear. Impression: Normal.", clip_tokenizer).text == "Normal. Clear."


def test_a_text_without_headers_stays_in_order(clip_tokenizer):
    text = "Large left effusion. The impression is of a mass. No report of trauma."
    assert fit_prompt(text, clip_tokenizer).text == text


def test_a_report_of_an_indication_alone_is_still_a_prompt(clip_tokenizer):
    assert fit_prompt("INDICATION: Cough. IMPRESSION: ___", clip_tokenizer) == FittedPrompt("Cough.", 1, 0)


def test_a_long_report_is_cut_after_a_sentence_and_the_cut_is_counted(clip_tokenizer):
    sentences = ["Small left effusion.", "The heart is enlarged.", "There is a nodule in the right upper lobe."]
    # Every letter and stop is a token; the beginning and the end take one each.
    num_tokens = [len(sentence.replace(" ", "")) for sentence in sentences]
    two = fit_prompt(" ".join(sentences), clip_tokenizer, max_tokens=sum(num_tokens[:2]) + 2)
    assert two == FittedPrompt(" ".join(sentences[:2]), 0, 1)
    one = fit_prompt(" ".join(sentences), clip_tokenizer, max_tokens=sum(num_tokens[:2]) + 1)
    assert one == FittedPrompt(sentences[0], 0, 2)


def test_an_abbreviation_ends_no_sentence(clip_tokenizer):
    first = "A mass of approx. 3 cm, e.g. a tumor vs. Round pneumonia."
    fitted = fit_prompt(f"{first} Normal heart.", clip_tokenizer, max_tokens=len(first.replace(" ", "")) + 4)
    assert fitted == FittedPrompt(first, 0, 1)


def test_the_window_is_the_tokenizers_when_none_is_given(bert_tokenizer):
    fitted = fit_prompt("The lungs are clear. " * 20, bert_tokenizer)
    assert len(bert_tokenizer(fitted.text)["input_ids"]) == 32
    assert fitted.num_sentences_cut == 14


def test_a_first_sentence_that_is_too_long_is_cut_at_a_word(clip_tokenizer):
    fitted = fit_prompt("Large left pleural effusion with collapse. Normal heart.", clip_tokenizer, max_tokens=14)
    assert fitted == FittedPrompt("Large left", 0, 2)


def test_one_endless_word_is_cut_inside(clip_tokenizer):
    assert fit_prompt("a" * 500, clip_tokenizer).text == "a" * 75


def test_a_cut_prompt_is_never_cut_again(clip_tokenizer):
    first = fit_prompt("FINDINGS: " + "A b c d e. " * 30 + "IMPRESSION: Normal.", clip_tokenizer)
    assert fit_prompt(first.text, clip_tokenizer) == FittedPrompt(first.text, 0, 0)


@pytest.mark.parametrize("text", ["", "   \n", "___", "XXXX XXXX.", "1. 2. 3.", "\x00\u200b", "IMPRESSION:"])
def test_a_prompt_without_words_is_refused(text, clip_tokenizer):
    with pytest.raises(ValueError, match="holds no words"):
        fit_prompt(text, clip_tokenizer)


@pytest.mark.parametrize("text", [None, 7, b"effusion", ["effusion"]])
def test_a_prompt_that_is_no_text_is_refused(text, clip_tokenizer):
    with pytest.raises(ValueError, match="expected a string"):
        fit_prompt(text, clip_tokenizer)
    with pytest.raises(ValueError, match="expected a string"):
        clean_prompt(text)


def test_a_window_without_room_is_refused(clip_tokenizer):
    with pytest.raises(ValueError, match="too few"):
        fit_prompt("Effusion.", clip_tokenizer, max_tokens=2)


@pytest.fixture
def _in_a_moment():
    """A huge text must not hold up a batch: a pattern that backtracks would take minutes."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 2.0


@pytest.mark.usefixtures("_in_a_moment")
@pytest.mark.parametrize(
    "text",
    [
        "effusion " * 200_000,
        "(" * 500_000 + "a" * 500_000,
        "[**" * 300_000,
        "a. " * 400_000,
        "reason for a b " * 50_000,
        "FINDINGS: " * 100_000,
    ],
    ids=["words", "brackets", "openings", "stops", "half headers", "headers"],
)
def test_a_huge_prompt_is_cut_in_a_moment(text, clip_tokenizer):
    text = f"Effusion. {text}"
    fitted = fit_prompt(text, clip_tokenizer)
    assert fitted.text.startswith("Effusion.")
    assert fitted.num_sentences_cut > 0
    assert len(clean_prompt(text).text) <= MAX_CHARACTERS


@pytest.mark.usefixtures("_in_a_moment")
@pytest.mark.parametrize(
    "text",
    ["_" * 1_000_000, "\n \t" * 300_000 + "a", "X" * 1_000_000],
    ids=["marks", "blanks", "crosses"],
)
def test_a_huge_prompt_without_words_is_refused_in_a_moment(text, clip_tokenizer):
    with pytest.raises(ValueError, match="holds no words") as error:
        fit_prompt(text, clip_tokenizer)
    assert len(str(error.value)) < 300


def test_an_error_names_the_prompt_of_a_batch(clip_tokenizer):
    with pytest.raises(ValueError, match="Prompt 1: .*holds no words"):
        fit_prompts(["Effusion.", "___"], clip_tokenizer)
    with pytest.raises(ValueError, match="empty"):
        fit_prompts([], clip_tokenizer)


def test_fitted_prompts_are_not_fitted_again(clip_tokenizer):
    fitted = FittedPrompt("Effusion.", 3, 2)
    assert fit_prompts(fitted, clip_tokenizer) == [fitted]
    assert fit_prompts([fitted, "Edema."], clip_tokenizer) == [fitted, FittedPrompt("Edema.", 0, 0)]


def test_negative_prompts_may_be_empty_but_are_cleaned(clip_tokenizer):
    assert fit_negative_prompts(None, 2, clip_tokenizer, max_tokens=77) == [FittedPrompt("", 0, 0)]
    expected = [FittedPrompt("", 1, 0), FittedPrompt("Lines.", 1, 0)]
    assert fit_negative_prompts(["___", "Lines ___."], 2, clip_tokenizer, max_tokens=77) == expected
    with pytest.raises(ValueError, match="3 negative prompts for 2"):
        fit_negative_prompts(["a", "b", "c"], 2, clip_tokenizer, max_tokens=77)


def test_changes_are_told_in_one_line():
    prompts = [FittedPrompt("a", 2, 0), FittedPrompt("b", 1, 4), FittedPrompt("c", 0, 0)]
    assert describe_changes(prompts) == (
        "4 sentences did not fit the text encoder in 1 of 3 prompts; "
        "3 de-identification marks were taken out of 2 of 3 prompts"
    )
    assert describe_changes(prompts[2:]) == ""
    assert describe_changes(prompts[1:2], kind="negative prompts").startswith(
        "4 sentences did not fit the text encoder in 1 of 1 negative prompts"
    )
