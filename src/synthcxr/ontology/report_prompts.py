"""Sentences a report would contain when a finding is there, and when it is not; `{side}` stands for right and left."""

from __future__ import annotations


# Finding: sentences that affirm it, sentences that deny it.
REPORT_SENTENCES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no_finding": (
        (
            "No acute cardiopulmonary process.",
            "No acute cardiopulmonary abnormality.",
            "Normal chest radiograph.",
            "The lungs are clear and the heart is normal in size.",
        ),
        (
            "Abnormal chest radiograph.",
            "There is an acute cardiopulmonary abnormality.",
            "The lungs are not clear.",
        ),
    ),
    "enlarged_cardiomediastinum": (
        ("The mediastinum is widened.", "Widening of the cardiomediastinal silhouette."),
        ("The cardiomediastinal silhouette is normal.", "The mediastinal contours are within normal limits."),
    ),
    "cardiomegaly": (
        ("The heart is enlarged.", "There is cardiomegaly.", "The cardiac silhouette is enlarged."),
        ("The heart is normal in size.", "The cardiac silhouette is within normal limits.", "No cardiomegaly."),
    ),
    "lung_opacity": (
        ("There is an opacity in the {side} lung.", "Bilateral airspace opacities."),
        ("The lungs are clear.", "No focal opacity."),
    ),
    "lung_lesion": (
        ("There is a focal lesion in the {side} lung.", "A {side} lung nodule or mass is present."),
        ("No suspicious lung nodule or mass.", "No focal lung lesion."),
    ),
    "edema": (
        (
            "There is pulmonary edema.",
            "Interstitial pulmonary edema with pulmonary vascular congestion.",
            "Mild pulmonary edema.",
        ),
        ("No pulmonary edema.", "The pulmonary vasculature is normal.", "There is no vascular congestion."),
    ),
    "consolidation": (
        ("There is a consolidation in the {side} lung.", "{side} lower lobe consolidation with air bronchograms."),
        ("No focal consolidation.", "There is no airspace consolidation."),
    ),
    "pneumonia": (
        ("{side} lower lobe pneumonia.", "Airspace opacity in the {side} lung consistent with pneumonia."),
        ("No evidence of pneumonia.", "There is no focal airspace disease to suggest pneumonia."),
    ),
    "atelectasis": (
        ("{side} basilar atelectasis.", "There is volume loss in the {side} lung, consistent with atelectasis."),
        ("No atelectasis.", "The lungs are well expanded and clear."),
    ),
    "pneumothorax": (
        ("There is a {side} pneumothorax.", "{side} apical pneumothorax."),
        ("No pneumothorax.", "There is no pneumothorax on either side."),
    ),
    "pleural_effusion": (
        ("There is a {side} pleural effusion.", "Blunting of the {side} costophrenic angle by a pleural effusion."),
        ("No pleural effusion.", "The costophrenic angles are sharp."),
    ),
    "pleural_other": (
        ("There is an abnormality of the {side} pleura.", "{side} pleural scarring."),
        ("The pleural surfaces are normal.", "No pleural abnormality."),
    ),
    "fracture": (
        ("There is a {side} rib fracture.", "Fracture of a {side} rib."),
        ("No acute fracture.", "The osseous structures are intact.", "No rib fracture."),
    ),
    "support_devices": (
        ("Support devices are in place.", "Lines and tubes are in standard position."),
        ("No support devices.", "No lines or tubes are seen."),
    ),
    "infiltration": (
        ("There is an infiltrate in the {side} lung.", "Patchy {side} lower lung infiltrate."),
        ("No infiltrate.", "There is no focal infiltrate."),
    ),
    "nodule": (
        ("There is a nodule in the {side} lung.", "{side} upper lung nodule."),
        ("No pulmonary nodule.", "There is no suspicious nodule."),
    ),
    "mass": (
        ("There is a mass in the {side} lung.", "Large mass in the {side} upper lung, suspicious for malignancy."),
        ("No lung mass.", "There is no mass lesion."),
    ),
    "cavity": (
        ("There is a cavity in the {side} lung.", "Cavitary lesion in the {side} upper lung."),
        ("No cavitary lesion.", "There is no cavitation."),
    ),
    "granuloma": (
        ("There is a calcified granuloma in the {side} lung.", "Calcified nodule in the {side} lung, a granuloma."),
        ("No calcified granuloma.", "There is no calcified nodule."),
    ),
    "fibrosis": (
        ("There is fibrosis in the {side} lung.", "{side} apical scarring with volume loss."),
        ("No pulmonary fibrosis.", "There is no scarring."),
    ),
    "emphysema": (
        ("There is emphysema.", "Emphysematous change with flattened diaphragms.", "Bullous emphysema."),
        ("No emphysema.", "There is no emphysematous change."),
    ),
    "hyperinflation": (
        ("The lungs are hyperinflated.", "Hyperexpanded lungs with flattened diaphragms."),
        ("The lungs are normally inflated.", "No hyperinflation."),
    ),
    "hernia": (
        ("There is a hiatal hernia.", "Retrocardiac air-fluid level, consistent with a hiatal hernia."),
        ("No hiatal hernia.", "There is no hernia."),
    ),
    "pleural_thickening": (
        ("There is {side} apical pleural thickening.", "{side} pleural thickening."),
        ("No pleural thickening.", "There is no thickening of the pleura."),
    ),
    "tuberculosis": (
        (
            "{side} upper lung opacities consistent with tuberculosis.",
            "Cavitary tuberculosis of the {side} upper lung.",
        ),
        ("No evidence of tuberculosis.", "There are no signs of active tuberculosis."),
    ),
    "covid_19_pattern": (
        (
            "Bilateral peripheral opacities, a pattern of COVID-19 pneumonia.",
            "Bilateral peripheral ground-glass opacities consistent with COVID-19.",
        ),
        ("No findings to suggest COVID-19 pneumonia.", "There are no peripheral opacities."),
    ),
    "aortic_enlargement": (
        ("The thoracic aorta is enlarged.", "Prominent aortic knob.", "Tortuous and dilated aorta."),
        ("The aorta is normal in calibre.", "The aortic contour is normal."),
    ),
    "scoliosis": (
        ("There is scoliosis of the thoracic spine.", "Scoliotic curvature of the spine."),
        ("The spine is straight.", "No scoliosis."),
    ),
    "pneumoperitoneum": (
        ("There is free air under the diaphragm.", "Pneumoperitoneum."),
        ("No free air under the diaphragm.", "There is no pneumoperitoneum."),
    ),
    "subcutaneous_emphysema": (
        ("There is subcutaneous emphysema in the {side} chest wall.", "{side} chest wall subcutaneous air."),
        ("No subcutaneous emphysema.", "The soft tissues of the chest wall are normal."),
    ),
    "endotracheal_tube": (
        ("An endotracheal tube is in place.", "The endotracheal tube tip lies above the carina."),
        ("No endotracheal tube.", "There is no endotracheal tube."),
    ),
    "nasogastric_tube": (
        ("A nasogastric tube is in place.", "The enteric tube passes below the diaphragm into the stomach."),
        ("No nasogastric tube.", "There is no enteric tube."),
    ),
    "central_venous_catheter": (
        ("A {side} central venous catheter is in place.", "The {side} central line ends in the superior vena cava."),
        ("No central venous catheter.", "There is no central line."),
    ),
    "chest_tube": (
        ("A {side} chest tube is in place.", "{side} chest drain."),
        ("No chest tube.", "There is no pleural drain."),
    ),
    "pacemaker": (
        ("A {side} chest wall pacemaker is in place.", "{side} pacemaker with leads over the heart."),
        ("No pacemaker.", "There is no implanted cardiac device."),
    ),
    "sternotomy_wires": (
        ("Median sternotomy wires are seen.", "Sternotomy wires are intact."),
        ("No sternotomy wires.", "There are no sternal wires."),
    ),
    "calcification": (("There is a calcification in the {side} lung.",), ("No calcification.",)),
    "clavicle_fracture": (("There is a {side} clavicle fracture.",), ("The clavicles are intact.",)),
    "interstitial_lung_disease": (
        (
            "Diffuse interstitial opacities, consistent with interstitial lung disease.",
            "Reticular interstitial pattern.",
        ),
        ("No interstitial lung disease.", "The interstitial markings are normal."),
    ),
    "hilar_enlargement": (("The {side} hilum is enlarged.",), ("The hila are normal.",)),
    "lung_cyst": (("There is a cyst in the {side} lung.",), ("No lung cyst or bulla.",)),
    "mediastinal_shift": (("The mediastinum is shifted to the {side}.",), ("The mediastinum is midline.",)),
    "copd": (
        ("Findings of chronic obstructive pulmonary disease.", "COPD."),
        ("No evidence of chronic obstructive pulmonary disease.",),
    ),
    "pneumomediastinum": (("There is pneumomediastinum.",), ("No pneumomediastinum.",)),
    "bronchiectasis": (("There is bronchiectasis in the {side} lung.",), ("No bronchiectasis.",)),
    "elevated_hemidiaphragm": (("The {side} hemidiaphragm is elevated.",), ("The hemidiaphragms are normal.",)),
}
