"""What the labels of public datasets mean in our findings, and back."""

from __future__ import annotations

from difflib import get_close_matches

from .findings import FINDING_IDS
from .padchest_labels import PADCHEST_LABELS


_CHEXPERT: dict[str, str | None] = {
    "No Finding": "no_finding",
    "Enlarged Cardiomediastinum": "enlarged_cardiomediastinum",
    "Cardiomegaly": "cardiomegaly",
    "Lung Lesion": "lung_lesion",
    "Lung Opacity": "lung_opacity",
    "Edema": "edema",
    "Consolidation": "consolidation",
    "Pneumonia": "pneumonia",
    "Atelectasis": "atelectasis",
    "Pneumothorax": "pneumothorax",
    "Pleural Effusion": "pleural_effusion",
    "Pleural Other": "pleural_other",
    "Fracture": "fracture",
    "Support Devices": "support_devices",
}

LABEL_MAPS: dict[str, dict[str, str | None]] = {
    "chexpert": _CHEXPERT,
    "mimic_cxr": _CHEXPERT,
    "nih_chestxray14": {
        "No Finding": "no_finding",
        "Atelectasis": "atelectasis",
        "Cardiomegaly": "cardiomegaly",
        "Effusion": "pleural_effusion",
        "Infiltration": "infiltration",
        "Mass": "mass",
        "Nodule": "nodule",
        "Pneumonia": "pneumonia",
        "Pneumothorax": "pneumothorax",
        "Consolidation": "consolidation",
        "Edema": "edema",
        "Emphysema": "emphysema",
        "Fibrosis": "fibrosis",
        "Pleural_Thickening": "pleural_thickening",
        "Hernia": "hernia",
    },
    # The challenge marks opacities that its readers held to be pneumonia; others are "not normal", whatever they are.
    "rsna_pneumonia": {"Normal": "no_finding", "Lung Opacity": "pneumonia", "No Lung Opacity / Not Normal": None},
    "siim_pneumothorax": {"Pneumothorax": "pneumothorax", "No Pneumothorax": None},
    "vindr_cxr": {
        "Aortic enlargement": "aortic_enlargement",
        "Atelectasis": "atelectasis",
        "Calcification": "calcification",
        "Cardiomegaly": "cardiomegaly",
        "Clavicle fracture": "clavicle_fracture",
        "Consolidation": "consolidation",
        "Edema": "edema",
        "Emphysema": "emphysema",
        "Enlarged PA": "hilar_enlargement",
        "ILD": "interstitial_lung_disease",
        "Infiltration": "infiltration",
        "Lung Opacity": "lung_opacity",
        "Lung cavity": "cavity",
        "Lung cyst": "lung_cyst",
        "Mediastinal shift": "mediastinal_shift",
        "Nodule/Mass": "lung_lesion",
        "Pleural effusion": "pleural_effusion",
        "Pleural thickening": "pleural_thickening",
        "Pneumothorax": "pneumothorax",
        "Pulmonary fibrosis": "fibrosis",
        "Rib fracture": "fracture",
        "Other lesion": None,
        "COPD": "copd",
        "Lung tumor": "lung_lesion",
        "Pneumonia": "pneumonia",
        "Tuberculosis": "tuberculosis",
        "Other diseases": None,
        "Other disease": None,
        "No finding": "no_finding",
    },
    "padchest": PADCHEST_LABELS,
    "covidx": {
        "normal": "no_finding",
        "pneumonia": "pneumonia",
        "COVID-19": "covid_19_pattern",
        "positive": "covid_19_pattern",
        "negative": None,
    },
    "chestx_det": {
        "Atelectasis": "atelectasis",
        "Calcification": "calcification",
        "Cardiomegaly": "cardiomegaly",
        "Consolidation": "consolidation",
        "Effusion": "pleural_effusion",
        "Emphysema": "emphysema",
        "Fibrosis": "fibrosis",
        "Fracture": "fracture",
        "Mass": "mass",
        "Nodule": "nodule",
        "Diffuse Nodule": "nodule",
        "Pleural Thickening": "pleural_thickening",
        "Pneumothorax": "pneumothorax",
    },
    "tbx11k": {
        "health": "no_finding",
        "sick": None,
        "tb": "tuberculosis",
        "ActiveTuberculosis": "tuberculosis",
        "ObsoletePulmonaryTuberculosis": "tuberculosis",
        "PulmonaryTuberculosis": "tuberculosis",
    },
    "kermany_pediatric": {"NORMAL": "no_finding", "PNEUMONIA": "pneumonia"},
}


def to_finding(dataset: str, label: str) -> str | None:
    """
    The finding that a dataset's label means; case, underscores and hyphens do not matter.

    Args:
        dataset (`str`): Key of `LABEL_MAPS`.
        label (`str`): Label as the dataset spells it.

    Returns:
        `str` or `None`: Ontology id; `None` for a label that names none of our findings (`"Other lesion"`), which says
        nothing about any of them.

    Raises:
        ValueError: On a dataset or a label that is not known, naming the closest one.

    Example:

    ```python
    >>> from synthcxr.ontology import to_finding

    >>> to_finding("nih_chestxray14", "Pleural_Thickening")
    'pleural_thickening'
    >>> to_finding("chexpert", "pleural efusion")
    Traceback (most recent call last):
    ValueError: label of chexpert is 'pleural efusion'; the closest known one is 'Pleural Effusion'.

    ```
    """
    labels = _SPELLINGS[_known(dataset, tuple(LABEL_MAPS), "dataset")]
    if _plain(label) not in labels:
        _known(label, tuple(LABEL_MAPS[dataset]), f"label of {dataset}")
    return labels[_plain(label)]


def from_finding(dataset: str, finding: str) -> str | None:
    """
    The label that a dataset gives a finding: the most usual one where it has several, `None` where it has none.

    Example:

    ```python
    >>> from synthcxr.ontology import from_finding

    >>> from_finding("nih_chestxray14", "pleural_effusion"), from_finding("nih_chestxray14", "fracture")
    ('Effusion', None)

    ```

    Raises:
        ValueError: On a dataset or a finding that is not known, naming the closest one.
    """
    labels = LABEL_MAPS[_known(dataset, tuple(LABEL_MAPS), "dataset")]
    _known(finding, FINDING_IDS, "finding")
    return next((label for label, meant in labels.items() if meant == finding), None)


def _plain(label: str) -> str:
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())


_SPELLINGS = {
    dataset: {_plain(label): meant for label, meant in labels.items()} for dataset, labels in LABEL_MAPS.items()
}


def _known(value: str, choices: tuple[str, ...], what: str) -> str:
    if value in choices:
        return value
    plain = {_plain(choice): choice for choice in choices}
    closest = get_close_matches(_plain(value), plain, n=1, cutoff=0.0)[0]
    raise ValueError(f"{what} is {value!r}; the closest known one is {plain[closest]!r}.")
