"""The findings and what is known of them."""

import re

import pytest

from synthcxr.ontology import FINDING_IDS, FINDINGS, REGIONS, ancestors, region_on, with_ancestors


CHEXPERT = (
    "no_finding enlarged_cardiomediastinum cardiomegaly lung_opacity lung_lesion edema consolidation pneumonia "
    "atelectasis pneumothorax pleural_effusion pleural_other fracture support_devices"
)
every_finding = pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDING_IDS)


def test_class_numbers_never_change():
    """The order is that of every `ClassLabel` ever written: new findings go to the end."""
    assert FINDING_IDS[:14] == tuple(CHEXPERT.split())
    assert FINDING_IDS.index("sternotomy_wires") == 35
    assert FINDING_IDS.index("elevated_hemidiaphragm") == 45


def test_at_least_eighteen_findings_are_simulated():
    assert sum(finding.simulated for finding in FINDINGS.values()) == 31


@every_finding
def test_a_finding_refers_only_to_what_exists(finding):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", finding.id)
    assert finding.parent is None or finding.parent in FINDINGS
    assert {*finding.excludes, *finding.excludes_same_side} <= set(FINDINGS) - {finding.id}
    for structure in finding.regions:
        assert REGIONS[structure].side is None
        assert region_on("left", structure) in REGIONS


@every_finding
def test_exclusions_hold_both_ways(finding):
    for other in finding.excludes:
        assert finding.id in FINDINGS[other].excludes
    for other in finding.excludes_same_side:
        assert finding.id in FINDINGS[other].excludes_same_side
        assert finding.sided
        assert FINDINGS[other].sided


@every_finding
def test_nothing_excludes_what_it_implies(finding):
    assert not set(ancestors(finding.id)) & {*finding.excludes, *finding.excludes_same_side}


@every_finding
def test_a_simulated_finding_says_where_and_how_grave_it_is(finding):
    if not finding.simulated:
        return
    assert finding.regions
    assert bool(finding.severities) == (finding.kind != "device")
    assert ("subtle" in finding.severities) == (finding.kind != "device")
    assert finding.sided or not finding.bilateral
    if finding.kind == "device" and finding.id != "sternotomy_wires":
        assert finding.positions[0] == "satisfactory"


@every_finding
def test_a_focal_finding_has_a_range_of_sizes(finding):
    if finding.size_cm is not None:
        assert 0 < finding.size_cm[0] < finding.size_cm[1] < 15
        assert finding.sided
        assert not finding.bilateral


def test_a_nodule_becomes_a_mass_above_three_centimetres():
    assert FINDINGS["nodule"].size_cm[1] == 3.0 < FINDINGS["mass"].size_cm[0]


def test_a_synonym_belongs_to_one_finding_and_is_lower_case():
    owners = {}
    for finding in FINDINGS.values():
        for synonym in (finding.name.lower(), *finding.synonyms):
            assert synonym == synonym.lower().strip()
            assert owners.setdefault(synonym, finding.id) == finding.id, synonym
        assert len(set(finding.synonyms)) == len(finding.synonyms)
        assert finding.name.lower() not in finding.synonyms


@every_finding
def test_every_finding_has_synonyms(finding):
    assert finding.synonyms


def test_ancestors_go_up_to_the_most_general():
    assert ancestors("nodule") == ("lung_lesion", "lung_opacity")
    assert ancestors("clavicle_fracture") == ("fracture",)
    assert ancestors("edema") == ("lung_opacity",)
    assert ancestors("no_finding") == ()


def test_closing_under_ancestors_keeps_ontology_order():
    assert with_ancestors(["nodule", "cardiomegaly"]) == [
        "enlarged_cardiomediastinum",
        "cardiomegaly",
        "lung_opacity",
        "lung_lesion",
        "nodule",
    ]
