"""Importing is light, and yet the Auto classes know the models; and who has no package loads them all the same."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, IMAGE_SIZE, make_batch, make_model
from transformers import AutoConfig, BertTokenizer

from synthcxr.models import CxrImageProcessor, CxrProcessor


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] left right small large pleural effusion no finding".split()
LABELS = ["left pleural effusion", "no finding", "large right effusion"]
# What is imported first, by somebody who has the package.
FIRST = {
    "package": "import synthcxr",
    "package-then-transformers": "import synthcxr, transformers",
    "transformers-then-package": "import transformers, synthcxr",
    "auto-class-then-package": "from transformers import AutoModel\nimport synthcxr",
    "trainer-then-package": "from transformers import Trainer\nimport synthcxr",
    "package-then-bert": "import synthcxr\nfrom transformers import BertConfig, BertModel",
    "configuration-file": "from synthcxr.models.configuration_convirt import ConvirtConfig",
    "modeling-file": "from synthcxr.models.modeling_cxr_clip import CxrClipModel",
    "processor": "from synthcxr import CxrProcessor",
}
LATER = """
import json, torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForZeroShotImageClassification
from transformers import AutoProcessor, pipeline
batch = torch.load("batch.pt")
for family in FAMILIES:
    for auto_class in (AutoModel, AutoModelForZeroShotImageClassification):
        model = auto_class.from_pretrained("./" + family, **TRUST)
        assert type(model).__module__.startswith(ORIGIN), type(model)
    with torch.no_grad():
        torch.save(model(**batch).logits_per_image, family + "/logits.pt")
    model.save_pretrained(family + "/again")
processor = AutoProcessor.from_pretrained("./convirt", **TRUST)
image_processor = AutoImageProcessor.from_pretrained("./convirt", **TRUST)
assert processor.image_processor.to_json_string() == image_processor.to_json_string()
assert type(processor).__module__.startswith(ORIGIN), type(processor)
classify = pipeline("zero-shot-image-classification", model="./convirt", **TRUST)
print(json.dumps(classify(["image.png"] * 2, candidate_labels=LABELS, batch_size=2)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of every family, one with its processor, and a batch to try them on."""
    path = tmp_path_factory.mktemp("checkpoints")
    for family in FAMILIES:
        make_model(family).save_pretrained(path / family)
    tokenizer = BertTokenizer(vocab={word: index for index, word in enumerate(WORDS)}, model_max_length=8)
    CxrProcessor(CxrImageProcessor(size=IMAGE_SIZE), tokenizer).save_pretrained(path / "convirt")
    torch.save(make_batch(), path / "batch.pt")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)).save(path / "image.png")
    return path


def check_in_a_fresh_process(folder, first, trust, origin):
    given = f"TRUST, ORIGIN, FAMILIES, LABELS = {trust}, {origin!r}, {list(FAMILIES)}, {LABELS}"
    command = [sys.executable, "-I", "-W", "error::UserWarning", "-c", f"{first}\n{given}\n{LATER}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, other = json.loads(done.stdout.splitlines()[-1])
    assert one == other
    assert sorted(row["label"] for row in one) == sorted(LABELS)
    assert sum(row["score"] for row in one) == pytest.approx(1)
    for family in FAMILIES:
        with torch.no_grad():
            expected = make_model(family).eval()(**make_batch()).logits_per_image
        torch.testing.assert_close(torch.load(folder / family / "logits.pt"), expected, rtol=1e-4, atol=1e-4)
        code = {path.name: path.read_text() for path in (folder / family).glob("*_*.py") if "process" not in path.name}
        again = {path.name: path.read_text() for path in (folder / family / "again").glob("*.py")}
        assert again == code
        auto_map = AutoConfig.from_pretrained(folder / family / "again").auto_map
        assert auto_map == AutoConfig.from_pretrained(folder / family).auto_map


def test_everything_loads_where_the_package_is_absent(folder):
    """What a Hub user does: no `pip install`, only `trust_remote_code=True`; and then saves it again."""
    absent = "import sys; sys.modules['synthcxr'] = None"
    check_in_a_fresh_process(folder, absent, {"trust_remote_code": True}, "transformers_modules.")


def test_everything_loads_once_the_package_is_imported(folder):
    check_in_a_fresh_process(folder, FIRST["package"], {}, "synthcxr.models.")


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRST)
def test_the_order_of_imports_does_not_matter(first, folder):
    check_in_a_fresh_process(folder, FIRST[first], {}, "synthcxr.models.")


def test_importing_takes_no_torch_and_no_transformers():
    """Below a second, then; `transformers` alone takes one."""
    command = [sys.executable, "-c", "import sys, synthcxr; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "numpy", "PIL"} & set(loaded)


def test_unknown_names_are_attribute_errors():
    import synthcxr
    from synthcxr import models

    assert set(synthcxr.__all__) <= set(dir(synthcxr))
    for module in (synthcxr, models):
        with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
            getattr(module, "Nonsen" + "se")
