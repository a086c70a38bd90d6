"""Read a chest radiograph with words: scores of findings and a map of where they fit. Not for clinical use."""

from __future__ import annotations

import html
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from transformers import AutoModel, AutoProcessor

from synthcxr.data import read_radiograph
from synthcxr.data.reading import to_eight_bit
from synthcxr.ontology import FINDINGS, StudySpec, zero_shot_prompts
from synthcxr.simulation import sample_cohort, simulate


os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio is imported

import gradio as gr


BANNER = "Research only. Not for clinical use."
HERE = Path(__file__).resolve().parent
# Beside this file, as a Space ships it; or what `make demo` left in the checkout.
MODEL_FOLDERS = (HERE / "model", HERE.parent.parent / "demo_output" / "model")
MAX_FILE_SIZE = "50mb"
MAX_PIXELS = 40_000_000
MAX_PHRASE = 300
DISPLAY_SIZE = 768
PROMPT_SET = "report"
# Difference of cosines that gets all colours; a flatter map stays faint, so that noise does not look like a finding.
FULL_CONTRAST = 0.2
WITH_MAP, NO_MAP = "Yes", "No"
USUAL_FINDINGS = (
    *("no_finding", "pleural_effusion", "pneumothorax", "cardiomegaly", "consolidation", "edema"),
    *("atelectasis", "pneumonia", "nodule", "mass", "fracture", "pacemaker"),
)
CHOSEN_AT_START = ["pleural_effusion", "pneumothorax", "cardiomegaly", "consolidation"]
EXAMPLE_FINDINGS = ("pleural_effusion", "pneumothorax", "cardiomegaly", "consolidation", "pacemaker", "no_finding")


@dataclass(frozen=True)
class Line:
    """One line of the answer: a finding or a phrase, and where it fits (`heat` of shape `(height, width)`)."""

    name: str
    wording: str
    score: float
    heat: np.ndarray


class Reader:
    """
    A checkpoint that compares an image with words.

    Args:
        path (`str`): Folder or Hub id of a synthcxr model.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.model = AutoModel.from_pretrained(path).eval()
        self.processor = AutoProcessor.from_pretrained(path)

    def read(self, image: Image.Image, findings: Sequence[str], phrase: str = "") -> list[Line]:
        """
        Compare an image with findings and a phrase of one's own.

        Args:
            image (`PIL.Image.Image`): Radiograph.
            findings (`Sequence[str]`): Ontology ids.
            phrase (`str`): Any sentence; compared with the sentences of a normal study.
        """
        questions = []
        for finding in findings:
            prompts = zero_shot_prompts(finding, PROMPT_SET)
            questions.append((_title(finding), prompts.positive, prompts.negative))
        if phrase:
            questions.append((phrase, (phrase,), zero_shot_prompts("no_finding", PROMPT_SET).positive))
        texts = list(dict.fromkeys(text for _, *sides in questions for side in sides for text in side))
        inputs = self.processor(text=texts, images=[image], padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = dict(zip(texts, self.model(**inputs).logits_per_image[0].tolist(), strict=True))
            heats = [self._map(positive, inputs["pixel_values"]) for _, positive, _ in questions]
        lines = []
        for (name, positive, negative), heat in zip(questions, heats, strict=True):
            margin = np.mean([logits[text] for text in positive]) - np.mean([logits[text] for text in negative])
            wording = f"“{positive[0]}” against “{negative[0]}”"
            lines.append(Line(name, wording, float(1 / (1 + np.exp(-margin))), self._on_image(heat, image.size)))
        return lines

    def _map(self, texts: Sequence[str], pixel_values: torch.Tensor) -> np.ndarray:
        """Similarity map of a question, the mean over its wordings."""
        inputs = self.processor(text=list(texts), padding=True, return_tensors="pt")
        repeated = pixel_values.expand(len(texts), -1, -1, -1)
        maps = self.model.get_similarity_maps(repeated, inputs["input_ids"], inputs["attention_mask"])
        return maps.float().mean(dim=0).numpy()

    def _on_image(self, heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The map at the image's own size; what the processor padded is cut away again."""
        width, height = size
        canvas = (max(size), max(size)) if self.processor.image_processor.do_pad else size
        smooth = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(canvas, Image.Resampling.BICUBIC))
        left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
        return smooth[top : top + height, left : left + width]


def open_radiograph(path: str | None) -> Image.Image:
    """A file of somebody's as an 8-bit picture of display size; what is wrong with it is said in a `gr.Error`."""
    if not path:
        raise gr.Error("Drop a radiograph or take an example first.", title="No image", print_exception=False)
    name = Path(path).name
    try:
        image = to_eight_bit(read_radiograph(path, max_pixels=MAX_PIXELS))
    except (ValueError, OSError, ImportError) as error:
        words = html.escape(str(error).replace(str(path), name))
        raise gr.Error(words, title="Unreadable image", print_exception=False) from error
    image.thumbnail((DISPLAY_SIZE, DISPLAY_SIZE), Image.Resampling.LANCZOS)
    return image


def overlay(image: Image.Image, heat: np.ndarray | None, opacity: float) -> Image.Image:
    """
    A heat map on a radiograph.

    Args:
        image (`PIL.Image.Image`): Radiograph, mode "L".
        heat (`np.ndarray` of shape `(height, width)`, *optional*): Similarities of places with words.
        opacity (`float`): 0 to 1, where the map is hottest; colder places are more transparent.
    """
    if heat is None:
        return image.convert("RGB")
    level = (heat - heat.min()) / max(float(np.ptp(heat)), FULL_CONTRAST)
    colour = colormaps["inferno"](level)[..., :3] * 255  # (height, width, 3)
    alpha = opacity * level[..., None]
    grey = np.asarray(image.convert("RGB"), dtype=np.float32)
    return Image.fromarray(np.rint(grey * (1 - alpha) + colour * alpha).astype(np.uint8))


def score_table(lines: Sequence[Line]) -> str:
    """The answer as bars, highest first."""
    rows = "".join(
        f'<li><div class="name"><span>{html.escape(line.name)}</span><b>{line.score:.2f}</b></div>'
        f'<div class="track"><div class="bar" style="width:{100 * line.score:.0f}%"></div></div>'
        f'<div class="wording">{html.escape(line.wording)}</div></li>'
        for line in sorted(lines, key=lambda line: -line.score)
    )
    return (
        f'<div class="scores"><ul>{rows}</ul><p>Relative scores, <b>not probabilities</b>: at 0.5, the mark, the '
        "image is equally near to both sentences. Compare images on one line, not lines with each other.</p></div>"
    )


def map_note(line: Line) -> str:
    """What the colours of a map mean."""
    low, high = float(line.heat.min()), float(line.heat.max())
    return f"Nearness of places to the words: {low:.2f} where clear, {high:.2f} where bright. Flat maps stay faint."


def example_studies(folder: Path, model_path: str) -> list[tuple[str, str]]:
    """Pictures with captions: those of the checkpoint, otherwise simulated ones, written to `folder`."""
    shipped = sorted((Path(model_path) / "examples").glob("*.png"))
    if shipped:
        return [(str(path), path.stem.replace("_", " ")) for path in shipped]
    cohort = [spec for spec in sample_cohort(400, preset="balanced", seed=11) if spec.acquisition.defect is None]
    examples = []
    for finding in EXAMPLE_FINDINGS:
        path = folder / f"simulated_{finding}.png"
        Image.fromarray(simulate(_plain_case(cohort, finding), image_size=512).image).save(path)
        examples.append((str(path), _title(finding)))
    return examples


def _plain_case(cohort: Sequence[StudySpec], finding: str) -> StudySpec:
    """A study that shows a finding: grave enough to be seen, and with the least beside it."""

    def rank(spec: StudySpec) -> tuple[bool, int]:
        grave = any(item.finding == finding and item.severity in ("moderate", "severe") for item in spec.findings)
        return not grave, len(spec.findings)

    return min((spec for spec in cohort if finding in spec.labels), key=rank)


def read_study(
    reader: Reader, path: str | None, usual: list[str], more: list[str], phrase: str
) -> tuple[tuple[Image.Image, list[Line]], gr.Dropdown, gr.Row, str]:
    """What the button does: the image with its lines, the choice of maps, the controls, the table of scores."""
    image = open_radiograph(path)
    phrase = " ".join((phrase or "").split())[:MAX_PHRASE]
    if not (usual or more or phrase):
        raise gr.Error("Choose a finding or type a phrase.", title="No words", print_exception=False)
    lines = reader.read(image, [*usual, *more], phrase)
    best = max(lines, key=lambda line: line.score)
    maps = gr.Dropdown([line.name for line in lines], value=best.name)
    return (image, lines), maps, gr.Row(visible=True), score_table(lines)


def preview(path: str | None) -> tuple[Image.Image | None, None, gr.Row, str, str]:
    """A new file: show it, and forget what was said of the one before."""
    return open_radiograph(path) if path else None, None, gr.Row(visible=False), "", ""


def draw(seen: tuple[Image.Image, list[Line]] | None, name: str, mode: str, opacity: float) -> tuple[object, str]:
    """The radiograph with the map of one line, or without."""
    if seen is None:
        return gr.skip(), ""
    image, lines = seen
    line = next((line for line in lines if line.name == name), lines[0])
    if mode == NO_MAP:
        return overlay(image, None, opacity), ""
    return overlay(image, line.heat, opacity), map_note(line)


def build_demo(reader: Reader, examples: Sequence[tuple[str, str]]) -> gr.Blocks:
    """
    The page.

    Args:
        reader (`Reader`): The model.
        examples (`Sequence[tuple[str, str]]`): Path and caption of every example.
    """
    with gr.Blocks(title="synthcxr demo") as demo:
        gr.HTML(f'<div role="alert">{BANNER}</div>', elem_id="banner", padding=False)
        gr.Markdown("# Read a chest radiograph with words\nAn image, some findings, and where the model sees them.")
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                file, gallery, *words, button = _questions(examples)
            with gr.Column(scale=6, min_width=320):
                picture, controls, drawing, note, scores = _answers()
        _about(reader)
        seen = gr.State(None)

        def take_example(event: gr.SelectData) -> str:
            return examples[event.index][0]

        quiet = {"api_visibility": "private", "show_progress": "hidden"}
        draw_inputs = {"fn": draw, "inputs": [seen, *drawing], "outputs": [picture, note], **quiet}
        gallery.select(take_example, None, file, **quiet)
        file.change(preview, file, [picture, seen, controls, note, scores], api_visibility="private")
        for event in (button.click, words[-1].submit):
            answer = event(
                partial(read_study, reader), [file, *words], [seen, drawing[0], controls, scores], api_name="read"
            )
            answer.success(**draw_inputs).then(None, js=SHOW_PICTURE)
        maps, mode, opacity = drawing
        for event in (maps.input, mode.input, opacity.release):
            event(**draw_inputs)
    return demo


def _questions(examples: Sequence[tuple[str, str]]) -> tuple[gr.components.Component, ...]:
    """The left column: file, examples, usual findings, other findings, phrase, button."""
    others = [finding for finding in FINDINGS if finding not in USUAL_FINDINGS]
    file = gr.File(
        label="1. Frontal radiograph: PNG, JPEG, DICOM",
        file_types=[".png", ".jpg", ".jpeg", ".dcm", ".dicom"],
        height=140,
    )
    gr.Markdown("or take a simulated example:", visible=bool(examples))
    gallery = gr.Gallery(
        value=list(examples),
        show_label=False,
        container=False,
        columns=6,
        height="auto",
        allow_preview=False,
        object_fit="cover",
        format="png",
        interactive=False,
        buttons=[],
        elem_id="examples",
        visible=bool(examples),
    )
    usual = gr.CheckboxGroup(_choices(USUAL_FINDINGS), value=CHOSEN_AT_START, label="2. Findings", elem_id="findings")
    with gr.Accordion("More findings", open=False):
        more = gr.CheckboxGroup(_choices(others), show_label=False, container=False)
    phrase = gr.Textbox(label="and / or a phrase", placeholder="Large left pleural effusion.", max_length=MAX_PHRASE)
    button = gr.Button("3. Read", variant="primary", elem_id="read")
    return file, gallery, usual, more, phrase, button


def _answers() -> tuple:
    """The right column: picture, controls of the map, its note, scores."""
    picture = gr.Image(
        show_label=False, format="png", type="pil", interactive=False, height=440, elem_id="picture", buttons=[]
    )
    with gr.Row(visible=False) as controls:
        maps = gr.Dropdown([], label="Map of", scale=3, min_width=160, elem_id="map-of")
        mode = gr.Radio([WITH_MAP, NO_MAP], value=WITH_MAP, label="Show map", scale=2, min_width=170, elem_id="show")
        opacity = gr.Slider(0.1, 1, value=0.6, step=0.05, label="Opacity", scale=3, min_width=190)
    note = gr.Markdown(elem_id="map-note")
    scores = gr.HTML(elem_id="scores", padding=False)
    return picture, controls, (maps, mode, opacity), note, scores


def serve(demo: gr.Blocks, *, allowed_paths: Sequence[str] = (), **kwargs: object) -> tuple:
    """Launch the page with its looks; fonts come from the reader's machine, nothing from elsewhere."""
    theme = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    return demo.launch(
        theme=theme,
        css=CSS,
        max_file_size=MAX_FILE_SIZE,
        allowed_paths=list(allowed_paths),
        footer_links=["api"],
        **kwargs,
    )


def find_model(named: str | None = None, folders: Sequence[Path] = MODEL_FOLDERS) -> str:
    """The folder or Hub id of the checkpoint to serve: the one that is named, or the first that lies in `folders`."""
    found = [folder for folder in ([Path(named)] if named else folders) if (folder / "config.json").is_file()]
    if found:
        return str(found[0])
    if named and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", named):
        return named  # a Hub id
    places = named or " or ".join(map(str, folders))
    sys.exit(f"There is no model in {places}. Run `make demo` first, or name a checkpoint in SYNTHCXR_MODEL.")


def main() -> None:
    """Load the model, make the examples, serve the page."""
    path = find_model(os.environ.get("SYNTHCXR_MODEL"))
    try:
        reader = Reader(path)
    except (OSError, ValueError) as error:
        sys.exit(f"The model {path} cannot be loaded: {error}")
    with tempfile.TemporaryDirectory(prefix="synthcxr-examples-") as folder:
        examples = example_studies(Path(folder), path)
        serve(build_demo(reader, examples), allowed_paths=[folder, str(Path(path, "examples").resolve())])


def _about(reader: Reader) -> None:
    card = Path(reader.path) / "README.md"
    with gr.Accordion("About the model: its card", open=False):
        if card.is_file():
            gr.Markdown(_card_text(card.read_text(encoding="utf-8")))
        elif not Path(reader.path).is_dir():
            gr.Markdown(f"[Model card](https://huggingface.co/{reader.path})")
        else:
            gr.Markdown("This checkpoint has no card.")


def _card_text(card: str) -> str:
    """A card without its metadata, its figures (they lie in the checkpoint folder) and the Hub's mark of a warning."""
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
    text = re.sub(r"^## Figures$.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    return text.replace("> [!WARNING]\n", "")


def _title(finding: str) -> str:
    name = FINDINGS[finding].name
    return name[0].upper() + name[1:]


def _choices(findings: Sequence[str]) -> list[tuple[str, str]]:
    return [(_title(finding), finding) for finding in findings]


# On a phone the answer lies below the button.
SHOW_PICTURE = "() => document.getElementById('picture').scrollIntoView({behavior: 'smooth', block: 'nearest'})"
CSS = """
#banner { position: fixed; inset: 0 0 auto 0; z-index: 50; border-radius: 0; }
#banner .html-container { padding: 0; }
#banner div[role=alert] { background: #7f1d1d; color: #fff; font-weight: 600; text-align: center; padding: 8px 12px; }
.gradio-container { padding-top: 32px; }
#examples, #examples .grid-wrap { min-height: 0; }
#examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(78px, 1fr)); grid-auto-rows: 1fr; }
#examples .caption-label { left: 0; right: 0; bottom: 0; max-width: none; padding: 1px 2px; border-radius: 0;
  font-size: 10px; line-height: 1.3; text-align: center; white-space: normal; }
#picture, #picture .image-container { background: #000; }
#picture { scroll-margin: 56px 0 16px; }
@media (max-width: 640px) { #picture { height: 340px !important; } }
.scores ul { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.scores .name { display: flex; justify-content: space-between; overflow-wrap: anywhere; }
.scores .track { position: relative; height: 10px; border-radius: 5px; background: var(--border-color-primary);
  overflow: hidden; }
.scores .track::after { content: ""; position: absolute; left: 50%; top: 0; bottom: 0; width: 2px;
  background: var(--body-text-color); }
.scores .bar { height: 100%; background: var(--color-accent); }
.scores .wording, .scores p { font-size: 0.8rem; color: var(--body-text-color-subdued); margin: 2px 0 0; }
.scores p { margin-top: 12px; }
#map-note p { font-size: 0.8rem; color: var(--body-text-color-subdued); }
"""


if __name__ == "__main__":
    main()
