"""Sentences that deny what a report does not name."""

from synthcxr.ontology import FINDING_IDS
from synthcxr.reports import deny_unstated, read_findings


def test_every_finding_but_those_named_is_denied_in_words_that_are_read_as_a_denial():
    report = "Left pleural effusion. Possible pneumonia. Right upper lobe nodule."
    denied = set()
    for seed in range(3000):
        stated = read_findings(deny_unstated(report, seed))
        assert not stated.present
        assert not stated.uncertain, deny_unstated(report, seed)
        assert len(stated.absent) >= 1, deny_unstated(report, seed)
        denied |= stated.absent
    named = {"pleural_effusion", "pneumonia", "nodule", "lung_lesion", "lung_opacity"}
    assert denied == set(FINDING_IDS) - named - {"no_finding"}


def test_the_same_seed_gives_the_same_sentence():
    sentences = [deny_unstated("Clear lungs.", seed) for seed in (1, 1, 2, 3, 4)]
    assert sentences[0] == sentences[1]
    assert len(set(sentences)) > 2
