"""What each finding is called, and how much it matters to the reader."""

from __future__ import annotations

from ..ontology import FINDINGS
from .lexeme import Lexeme, lexeme


def _device(nouns: str, denied: str, *, place: str = "device") -> Lexeme:
    return lexeme("devices", nouns, denied, grade="none", change="device", place=place, importance=0, acute=False)


_LUNG = {"place": "lung", "grade": "extent"}
_FOCAL = {"place": "lung", "grade": "focal", "change": "focal"}
_AIR = {"grade": "volume", "change": "volume", "importance": 3}

LEXICON: dict[str, Lexeme] = {
    "enlarged_cardiomediastinum": lexeme(
        "mediastinum",
        "mediastinal widening; widening of the mediastinum; enlargement of the cardiomediastinal silhouette",
        "mediastinal widening; widening of the mediastinum",
        clauses="the mediastinum is {degree}widened; the cardiomediastinal silhouette is {degree}enlarged; "
        "the mediastinal contour is {degree}widened",
    ),
    "cardiomegaly": lexeme(
        "heart",
        "cardiomegaly; cardiomegaly; cardiac enlargement; enlargement of the cardiac silhouette",
        "cardiomegaly; cardiac enlargement",
        clauses="the heart is {degree}enlarged; the cardiac silhouette is {degree}enlarged; "
        "heart size is {degree}enlarged; {degree}enlarged heart; {degree}enlarged cardiac silhouette",
        acute=False,
    ),
    "lung_opacity": lexeme(
        "lungs",
        "opacity|opacities; airspace opacity|airspace opacities; pulmonary opacity|pulmonary opacities; "
        "parenchymal opacity|parenchymal opacities",
        "focal opacity; focal airspace opacity; focal airspace disease; airspace opacity; parenchymal opacity",
        **_LUNG,
    ),
    "lung_lesion": lexeme(
        "lungs",
        "lung lesion|lung lesions; pulmonary lesion|pulmonary lesions; focal lung lesion|focal lung lesions",
        "suspicious lung lesion; focal lung lesion; pulmonary lesion",
        **_FOCAL,
    ),
    "edema": lexeme(
        "lungs",
        "pulmonary edema; pulmonary edema; edema; pulmonary vascular congestion",
        "pulmonary edema; edema; overt pulmonary edema; pulmonary vascular congestion",
        place="lung",
        importance=3,
    ),
    "consolidation": lexeme(
        "lungs",
        "consolidation|consolidations; airspace consolidation|airspace consolidations; "
        "consolidative opacity|consolidative opacities; focal consolidation|focal consolidations",
        "focal consolidation; focal consolidation; consolidation; lobar consolidation; airspace consolidation; "
        "confluent consolidation",
        importance=3,
        **_LUNG,
    ),
    "pneumonia": lexeme(
        "lungs",
        "pneumonia; pneumonia; airspace opacity|airspace opacities ~ consistent with pneumonia; "
        "opacity|opacities ~ compatible with pneumonia; airspace disease ~ in keeping with pneumonia",
        "pneumonia; focal pneumonia; lobar pneumonia",
        importance=3,
        diagnosis=True,
        **_LUNG,
    ),
    "atelectasis": lexeme(
        "lungs", "atelectasis; atelectasis; atelectasis; =atelectatic changes", "atelectasis", place="lung"
    ),
    "pneumothorax": lexeme(
        "pleura",
        "pneumothorax|pneumothoraces",
        "pneumothorax",
        place="pleura",
        **_AIR,
    ),
    "pleural_effusion": lexeme(
        "pleura",
        "pleural effusion|pleural effusions; pleural effusion|pleural effusions; effusion|effusions",
        "pleural effusion; pleural effusion; effusion; pleural fluid",
        place="fluid",
        **_AIR,
    ),
    "pleural_other": lexeme(
        "pleura",
        "pleural abnormality|pleural abnormalities; pleural irregularity|pleural irregularities; =pleural changes",
        "pleural abnormality",
        place="pleura",
        importance=1,
        acute=False,
    ),
    "fracture": lexeme(
        "bones",
        "fracture|fractures",
        "displaced fracture; acute fracture; rib fracture; displaced rib fracture",
        grade="displacement",
        place="bone",
    ),
    "support_devices": _device(
        "=support devices; =lines and tubes; =monitoring and support devices", "support device; line or tube"
    ),
    "infiltration": lexeme(
        "lungs",
        "infiltrate|infiltrates; infiltrate|infiltrates; ill-defined infiltrate|ill-defined infiltrates; "
        "pulmonary infiltrate|pulmonary infiltrates; infiltration",
        "infiltrate; focal infiltrate; acute infiltrate",
        importance=3,
        **_LUNG,
    ),
    "nodule": lexeme(
        "lungs",
        "nodule|nodules; pulmonary nodule|pulmonary nodules; lung nodule|lung nodules; "
        "nodular opacity|nodular opacities",
        "pulmonary nodule; lung nodule; suspicious nodule",
        **_FOCAL,
    ),
    "mass": lexeme(
        "lungs",
        "mass|masses; lung mass|lung masses; pulmonary mass|pulmonary masses; masslike opacity|masslike opacities",
        "mass; lung mass; pulmonary mass",
        importance=3,
        **_FOCAL,
    ),
    "cavity": lexeme(
        "lungs",
        "cavity|cavities; cavitary lesion|cavitary lesions; cavitary lung lesion|cavitary lung lesions",
        "cavitation; cavity",
        importance=3,
        **_FOCAL,
    ),
    "granuloma": lexeme(
        "lungs",
        "calcified granuloma|calcified granulomas; calcified granuloma|calcified granulomas; granuloma|granulomas",
        "calcified granuloma",
        place="lung",
        grade="focal",
        change="focal",
        importance=0,
        acute=False,
    ),
    "fibrosis": lexeme(
        "lungs",
        "fibrosis; pulmonary fibrosis; =fibrotic changes; fibrotic scarring; parenchymal scarring",
        "pulmonary fibrosis; parenchymal scarring",
        place="lung",
        acute=False,
    ),
    "emphysema": lexeme(
        "lungs",
        "emphysema; =emphysematous changes; pulmonary emphysema; =changes of emphysema",
        "emphysema; emphysematous change",
        place="lung",
        importance=1,
        acute=False,
    ),
    "hyperinflation": lexeme(
        "lungs",
        "hyperinflation; pulmonary hyperinflation; hyperexpansion",
        "hyperinflation",
        place="lung",
        importance=1,
        acute=False,
        clauses="the lungs are {degree}hyperinflated; the lungs are {degree}hyperexpanded; "
        "{degree}hyperinflated lungs; {degree}hyperexpanded lungs",
    ),
    "hernia": lexeme(
        "mediastinum",
        "hiatal hernia|hiatal hernias; hiatal hernia|hiatal hernias; hiatus hernia|hiatus hernias",
        "hiatal hernia",
        grade="volume",
        change="volume",
        importance=1,
        acute=False,
    ),
    "pleural_thickening": lexeme(
        "pleura",
        "pleural thickening",
        "pleural thickening",
        place="pleura",
        importance=1,
        acute=False,
    ),
    "tuberculosis": lexeme(
        "lungs",
        "tuberculosis; pulmonary tuberculosis; opacity|opacities ~ consistent with tuberculosis; "
        "=changes of pulmonary tuberculosis; opacity|opacities ~ in keeping with tuberculosis",
        "active tuberculosis; pulmonary tuberculosis",
        importance=3,
        diagnosis=True,
        **_LUNG,
    ),
    "covid_19_pattern": lexeme(
        "lungs",
        "=peripheral opacities ~ in a pattern typical of COVID-19; =peripheral opacities ~ consistent with COVID-19; "
        "=hazy peripheral opacities ~ compatible with COVID-19; =peripheral opacities ~ typical of COVID-19 infection",
        "pattern typical of COVID-19; COVID-19 pattern",
        importance=3,
        **_LUNG,
    ),
    "aortic_enlargement": lexeme(
        "mediastinum",
        "aortic enlargement; enlargement of the thoracic aorta; dilatation of the thoracic aorta; aortic ectasia",
        "aortic enlargement; aortic dilatation",
        importance=1,
        acute=False,
        clauses="the thoracic aorta is {degree}dilated; the aorta is {degree}enlarged; the aorta is {degree}ectatic; "
        "{degree}enlarged thoracic aorta; {degree}dilated aorta",
    ),
    "scoliosis": lexeme(
        "bones",
        "scoliosis; thoracic scoliosis; scoliosis of the thoracic spine; scoliotic curvature of the spine",
        "scoliosis",
        place="spine",
        importance=0,
        acute=False,
    ),
    "pneumoperitoneum": lexeme(
        "abdomen",
        "pneumoperitoneum; pneumoperitoneum; free air; free intraperitoneal air",
        "free air beneath the diaphragm; pneumoperitoneum; free intraperitoneal air; free subdiaphragmatic air",
        place="diaphragm",
        **_AIR,
    ),
    "subcutaneous_emphysema": lexeme(
        "soft_tissues",
        "subcutaneous emphysema; subcutaneous emphysema; subcutaneous air; soft tissue gas; soft tissue emphysema",
        "subcutaneous emphysema; soft tissue gas",
        grade="extent",
        place="wall",
    ),
    "endotracheal_tube": _device("endotracheal tube|endotracheal tubes; ET tube|ET tubes", "endotracheal tube"),
    "nasogastric_tube": _device(
        "nasogastric tube|nasogastric tubes; enteric tube|enteric tubes; NG tube|NG tubes", "nasogastric tube"
    ),
    "central_venous_catheter": _device(
        "central venous catheter|central venous catheters; central venous line|central venous lines; "
        "central line|central lines",
        "central venous catheter; central line",
    ),
    "chest_tube": _device("chest tube|chest tubes; chest tube|chest tubes; chest drain|chest drains", "chest tube"),
    "pacemaker": _device(
        "pacemaker|pacemakers; cardiac pacemaker|cardiac pacemakers; chest wall pacemaker|chest wall pacemakers",
        "pacemaker",
    ),
    "sternotomy_wires": _device(
        "=sternotomy wires; =median sternotomy wires; =sternal wires", "sternotomy wires", place="any"
    ),
    "calcification": lexeme(
        "lungs",
        "calcification|calcifications; calcified density|calcified densities",
        "abnormal calcification",
        place="lung",
        change="focal",
        importance=0,
        acute=False,
    ),
    "clavicle_fracture": lexeme(
        "bones", "fracture|fractures", "clavicle fracture", grade="displacement", place="clavicle"
    ),
    "interstitial_lung_disease": lexeme(
        "lungs",
        "interstitial lung disease; =interstitial opacities; =reticular opacities; =coarse reticular opacities",
        "interstitial lung disease; interstitial abnormality",
        place="lung",
        acute=False,
    ),
    "hilar_enlargement": lexeme(
        "mediastinum", "enlargement; fullness; prominence", "hilar enlargement; hilar adenopathy", place="hilum"
    ),
    "lung_cyst": lexeme(
        "lungs",
        "lung cyst|lung cysts; pulmonary cyst|pulmonary cysts; bulla|bullae",
        "lung cyst",
        importance=1,
        acute=False,
        **_FOCAL,
    ),
    "mediastinal_shift": lexeme(
        "mediastinum",
        "mediastinal shift; shift of the mediastinum; shift of the mediastinal structures",
        "mediastinal shift",
        place="shift",
    ),
    "copd": lexeme(
        "lungs",
        "COPD; chronic obstructive pulmonary disease; =changes of chronic obstructive pulmonary disease",
        "chronic obstructive pulmonary disease",
        importance=1,
        acute=False,
    ),
    "pneumomediastinum": lexeme(
        "mediastinum", "pneumomediastinum; mediastinal air", "pneumomediastinum; mediastinal air", **_AIR
    ),
    "bronchiectasis": lexeme(
        "lungs",
        "bronchiectasis; =bronchiectatic changes; bronchial dilatation",
        "bronchiectasis",
        place="lung",
        importance=1,
        acute=False,
    ),
    "elevated_hemidiaphragm": lexeme(
        "abdomen", "elevation", "hemidiaphragm elevation", place="raised", importance=1, acute=False
    ),
}
_ORGAN_OF_KIND = {
    "lung": "lungs",
    "pleura": "pleura",
    "heart": "heart",
    "mediastinum": "mediastinum",
    "bone": "bones",
    "soft_tissue": "soft_tissues",
    "air": "abdomen",
    "device": "devices",
}
# A finding that the ontology gains is written by its name until it has an entry of its own.
for _id, _finding in FINDINGS.items():
    if _id not in LEXICON and _finding.kind != "none":
        LEXICON[_id] = lexeme(_ORGAN_OF_KIND[_finding.kind], _finding.name, _finding.name, acute=False)
