import pytest

from synthcxr.data import split_by_patient


FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}
PATIENTS = [f"patient-{index}" for index in range(5000)]


def test_studies_of_a_patient_stay_together():
    patients = [*PATIENTS[:100], *PATIENTS[50:150]]
    chosen = split_by_patient(patients, FRACTIONS)
    by_patient = {}
    for patient, split in zip(patients, chosen, strict=True):
        assert by_patient.setdefault(patient, split) == split


def test_shares_are_met_on_average():
    chosen = split_by_patient(PATIENTS, FRACTIONS)
    for split, share in FRACTIONS.items():
        assert abs(chosen.count(split) / len(chosen) - share) < 0.02


def test_new_patients_move_nobody():
    few, many = split_by_patient(PATIENTS[10:20], FRACTIONS), split_by_patient(PATIENTS, FRACTIONS)
    assert few == many[10:20]


def test_another_seed_divides_otherwise():
    assert split_by_patient(PATIENTS, FRACTIONS, seed=1) != split_by_patient(PATIENTS, FRACTIONS, seed=2)


def test_a_share_of_zero_gets_nobody_and_a_share_of_one_everybody():
    chosen = split_by_patient(PATIENTS, {"train": 0.0, "test": 1.0})
    assert set(chosen) == {"test"}


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": float("nan")}])
def test_fractions_must_be_shares_of_a_whole(fractions):
    with pytest.raises(ValueError, match="expected shares"):
        split_by_patient(["a"], fractions)


@pytest.mark.parametrize("patient", ["", None, 7])
def test_a_study_without_a_patient_is_refused(patient):
    with pytest.raises(ValueError, match="patient_ids has"):
        split_by_patient([patient], {"test": 1.0})
