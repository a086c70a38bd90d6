import re

import pytest

from synthcxr.data.collators import report_sentences
from synthcxr.data.text_augmentation import SAME_MEANING, ReportAugmentation, plural
from synthcxr.ontology.findings import FINDINGS
from synthcxr.ontology.synonyms import SYNONYMS
from synthcxr.reports import write_report
from synthcxr.simulation import sample_cohort


EXCHANGE_ALL = ReportAugmentation(shuffle=False, drop=0.0, exchange=1.0)
# What must stand after an exchange as often as before: sides, negations, numbers, severities, doubts, changes.
FACTS = re.compile(
    r"left\w*|right\w*|bilateral\w*|both|bi(?:apical|basilar)|upper|lower|mid\w*|apical|apex|apices|basilar|bases?"
    r"|no|not|without|neither|nor|free of|clear|normal|resolved|absent|possibl[ey]|probabl[ey]|may|might|could"
    r"|cannot|suspicious|questionable|likely|\d+(?:\.\d+)?|[cm]m|tiny|small|moderate\w*|large|mild\w*|minimal\w*"
    r"|slight\w*|marked\w*|severe\w*|extensive|subtle|faint|unchanged|stable|new|increas\w+|decreas\w+|improv\w+"
    r"|worsen\w+|enlarging|persistent|satisfactory|unsatisfactory|suboptimal|standard"
)


def facts(text):
    return sorted(match.group() for match in re.finditer(rf"(?<![\w-])(?:{FACTS.pattern})(?![\w-])", text.lower()))


@pytest.fixture(scope="module")
def sentences():
    """All sentences of 400 simulated reports."""
    reports = (write_report(spec) for spec in sample_cohort(400, preset="balanced", seed=5))
    return sorted({sentence for report in reports for sentence in report_sentences(report)})


def test_an_exchange_keeps_sides_negations_numbers_and_severities(sentences):
    changed = 0
    for seed, sentence in enumerate(sentences):
        other = EXCHANGE_ALL(sentence, seed)
        assert facts(other) == facts(sentence), (sentence, other)
        changed += other != sentence
    assert changed > 0.2 * len(sentences)


def test_an_exchange_moves_nothing_beside_the_words(sentences):
    """What stands before and after the words of a finding stays, but for its article."""
    known = "|".join(sorted(map(re.escape, SAME_MEANING), key=len, reverse=True))
    frame = re.compile(rf"(?<![\w-])(?:an? )?(?:{known})(?![\w-])", re.IGNORECASE)
    for seed, sentence in enumerate(sentences):
        assert frame.split(EXCHANGE_ALL(sentence, seed)) == frame.split(sentence)


def test_an_exchange_names_the_same_finding(sentences):
    words = {name: {FINDINGS[name].name.lower(), *synonyms} for name, synonyms in SYNONYMS.items()}
    for row in set(SAME_MEANING.values()):
        assert len(row) > 1
        assert any(
            all(item in own or item in {plural(word) for word in own} for item in row) for own in words.values()
        ), row


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Small left LUNG NODULE.", "Small left PULMONARY NODULE."),
        ("Lung nodules on the right.", "Pulmonary nodules on the right."),
        ("There is an enlarged heart.", "There is an enlarged cardiac silhouette."),
        ("A dilated aorta is seen.", "An enlarged aorta is seen."),
        ("An elevated hemidiaphragm.", "A raised hemidiaphragm."),
        ("Parahiatal hernias and a hiatal herniation.", "Parahiatal hernias and a hiatal herniation."),
        ("Tension pneumothorax.", "Tension pneumothorax."),
        ("Bilateral hiatal hernias.", "Bilateral hiatus hernias."),
    ],
)
def test_case_number_and_article_fit(text, expected):
    assert EXCHANGE_ALL(text, seed=0) == expected


def test_sentences_come_in_other_orders_and_stay_whole(sentences):
    augment = ReportAugmentation(drop=0.0, exchange=0.0)
    text = "Mild cardiomegaly. No left effusion. Right nodule, 1.5 cm. Scoliosis."
    orders = {augment(text, seed) for seed in range(200)}
    assert len(orders) == 24
    assert {tuple(sorted(report_sentences(order))) for order in orders} == {tuple(sorted(report_sentences(text)))}


def test_sentences_are_left_out_but_never_all():
    augment = ReportAugmentation(drop=0.5, exchange=0.0)
    text = "Mild cardiomegaly. No left effusion. Right nodule."
    counts = [len(report_sentences(augment(text, seed))) for seed in range(200)]
    assert set(counts) == {1, 2, 3}
    assert ReportAugmentation(drop=1.0)("No left effusion. Right nodule.", seed=1)
    assert ReportAugmentation(drop=1.0)("INDICATION: Cough.", seed=1) == "INDICATION: Cough."


def test_what_was_asked_is_not_told_as_seen():
    text = "INDICATION: Pneumonia?\nFINDINGS: Clear lungs.\nIMPRESSION: 1. Normal."
    assert set(report_sentences(ReportAugmentation(drop=0.0)(text, seed=3))) == {"Clear lungs.", "Normal."}


def test_the_wording_follows_from_text_and_seed(sentences):
    augment, text = ReportAugmentation(), " ".join(sentences[:9])
    assert [augment(text, seed) for seed in range(20)] == [augment(text, seed) for seed in range(20)]
    assert len({augment(text, seed) for seed in range(20)}) > 15


def test_a_chance_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"drop is 1\.5; expected 0 to 1"):
        ReportAugmentation(drop=1.5)


@pytest.mark.parametrize(
    ("text", "together"),
    [
        (
            "Dense opacity in the left lung. No effusion. The remainder of the lungs is clear. Normal heart.",
            "Dense opacity in the left lung. No effusion. The remainder of the lungs is clear.",
        ),
        ("No fracture. There is a right effusion. It has resolved.", "There is a right effusion. It has resolved."),
    ],
)
def test_what_speaks_of_the_rest_or_of_what_was_said_stays_behind_it(text, together):
    augment = ReportAugmentation(drop=0.4, exchange=0.0)
    drawn = {augment(text, seed) for seed in range(60)}
    assert len(drawn) > 3
    last = report_sentences(together)[-1]
    assert all((together in other) == (last in other) for other in drawn)
    assert any(last not in other for other in drawn)


def test_plurals_are_those_of_the_language():
    assert [plural(noun) for noun in ("lung mass", "lung opacity", "chest tube")] == [
        "lung masses",
        "lung opacities",
        "chest tubes",
    ]
    assert "lung masses" in SAME_MEANING
