import json

import pytest
from tiny_generators import tiny_bert_tokenizer

from synthcxr.synthesis.prompt_language import why_unreadable


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_bert_tokenizer()


@pytest.mark.parametrize(
    "text",
    [
        "Se observa derrame pleural izquierdo de moderada cuantía. No hay neumotórax. Silueta cardíaca normal.",
        "Épanchement pleural gauche de moyenne abondance. Pas de pneumothorax. Silhouette cardiaque normale.",
        "Kein Pneumothorax. Herzgröße im Normbereich. Kleiner Pleuraerguss links, keine Infiltrate oder Stauung.",
        "Versamento pleurico sinistro di modesta entità. Non pneumotorace. Ombra cardiaca nei limiti della norma.",
    ],
)
def test_other_languages_in_latin_letters_are_told_from_english(text, tokenizer):
    assert "has no common English word" in why_unreadable(text, tokenizer)


@pytest.mark.parametrize("text", ["Cardiomegaly.", "No pneumothorax, pleural effusion or consolidation. Normal."])
def test_telegrams_are_english(text, tokenizer):
    assert why_unreadable(text, tokenizer) == ""


def test_letters_that_the_generator_does_not_know_are_counted(tokenizer):
    assert "the generator knows 0 of" in why_unreadable("ß ß ß ß", tokenizer)


def test_real_reports_are_english(shared_data, tokenizer):
    rows = map(json.loads, (shared_data / "openi_reports" / "reports.jsonl").read_text().splitlines())
    sections = [row[name] for row in rows for name in ("findings", "impression") if row[name]]
    assert len(sections) > 900
    assert [text for text in sections if "English" in why_unreadable(text, tokenizer)] == []
