"""Encoders whose scores are known, and datasets small enough to check by hand."""

import hashlib

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PILImage

from synthcxr.ontology import FINDING_IDS, PROMPT_SETS, zero_shot_prompts


FEATURES = Features(
    {
        "id": Value("string"),
        "image": Image(mode="L"),
        "report": Value("string"),
        "labels": List(ClassLabel(names=list(FINDING_IDS))),
        "uncertain": List(ClassLabel(names=list(FINDING_IDS))),
        "view": Value("string"),
        "origin": ClassLabel(names=["real", "simulated", "synthetic"]),
        "source": Value("string"),
        "patient_id": Value("string"),
    }
)
FINDINGS = ("pleural_effusion", "pneumothorax", "cardiomegaly")


class PerfectEncoder:
    """Knows every row by the number that its first two pixels spell: its findings and its report."""

    def __init__(self, dataset):
        names = dataset.features["labels"].feature.names
        self.labels = [[names[label] for label in labels] for labels in dataset["labels"][:]]
        self.reports = dataset["report"][:]
        self.num_texts = 0
        self.largest_batch = 0

    def embed_images(self, images):
        self.largest_batch = max(self.largest_batch, len(images))
        corners = [np.asarray(image)[0, :2].astype(int) for image in images]
        return np.stack([self._image(256 * high + low) for high, low in corners])

    def embed_texts(self, texts):
        self.num_texts += len(texts)
        return np.stack([self._text(text) for text in texts])

    def _image(self, number):
        findings = np.array([finding in self.labels[number] for finding in FINDING_IDS], dtype=np.float32)
        return unit(np.concatenate([unit(findings), direction(self.reports[number])]))

    def _text(self, text):
        findings = np.zeros(len(FINDING_IDS), dtype=np.float32)
        for sign, texts in zip((1, -1), PROMPTS, strict=True):
            if text in texts:
                findings[list(texts[text])] = sign
        report = np.zeros(64, dtype=np.float32) if findings.any() else direction(text)
        return unit(np.concatenate([findings, report]))


class RandomEncoder:
    """Knows nothing: every image and text has a direction of its own."""

    def __init__(self, seed=0):
        self.seed = seed

    def embed_images(self, images):
        return np.stack([direction(f"{self.seed}{image.tobytes()}") for image in images])

    def embed_texts(self, texts):
        return np.stack([direction(f"{self.seed}{text}") for text in texts])


def direction(text):
    digest = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return unit(np.random.default_rng(digest).normal(size=64)).astype(np.float32)


def unit(vector):
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def prompts_by_text():
    positive, negative = {}, {}
    for index, finding in enumerate(FINDING_IDS):
        for prompt_set in PROMPT_SETS:
            pair = zero_shot_prompts(finding, prompt_set)
            for known, texts in ((positive, pair.positive), (negative, pair.negative)):
                for text in texts:
                    known.setdefault(text, set()).add(index)
    return positive, negative


PROMPTS = prompts_by_text()


def make_rows(num_rows=120, *, seed=0, origin="simulated", images_per_patient=1, findings=FINDINGS):
    """Random labels; every report differs; the first two pixels of an image spell its row."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(num_rows):
        labels = [finding for finding in findings if random.random() < 0.3] or ["no_finding"]
        pixels = np.full((8, 8), random.integers(20, 235), dtype=np.uint8)
        pixels[0, :2] = divmod(index, 256)
        rows.append(
            {
                "id": f"row-{index}",
                "image": PILImage.fromarray(pixels),
                "report": f"Report {index} of {', '.join(labels)}.",
                "labels": labels,
                "uncertain": [],
                "view": "AP" if random.random() < 0.5 else "PA",
                "origin": origin,
                "source": "test",
                "patient_id": f"patient-{index // images_per_patient}",
            }
        )
    return rows


def make_dataset(rows):
    return Dataset.from_list(rows, features=FEATURES)
