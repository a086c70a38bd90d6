"""What lies on top of the picture: collimation borders, side markers, burnt-in words."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..ontology import Acquisition


_WORDS = {
    "PA": ("PA", "ERECT", "CHEST PA", ""),
    "AP": ("AP", "PORTABLE", "SEMI-ERECT", "AP PORTABLE"),
    "supine": ("AP", "PORTABLE", "SUPINE", "AP SUPINE"),
}


def add_markers(grey: np.ndarray, acquisition: Acquisition, rng: np.random.Generator) -> None:
    """
    Set the side markers, `L` on the image's right and `R` on its left, and now and then a word about the view.

    Args:
        grey (`np.ndarray` of shape `(size, size)`, float32): Image from 0 to 1, changed in place.
        acquisition (`Acquisition`): Gives the words; what the patient has gives nothing.
        rng (`np.random.Generator`): Stream of the artefacts.
    """
    uniform = rng.random(14)
    for letter, odds, x, draws in (("L", 0.70, 0.86, uniform[:4]), ("R", 0.30, 0.08, uniform[4:8])):
        if draws[0] < odds:
            centre = (x + 0.09 * (draws[1] - 0.5), 0.05 + 0.10 * draws[2])
            _stamp(grey, letter, centre, height=(0.032 + 0.02 * draws[3]), style=int(3.999 * uniform[8]))
    if uniform[9] < (0.25 if acquisition.view == "AP" else 0.08):
        words = _WORDS["PA" if acquisition.view != "AP" else "supine" if acquisition.supine else "AP"]
        word = words[int(uniform[10] * len(words))]
        if word:
            _stamp(grey, word, (0.12 + 0.7 * uniform[11], 0.04 + 0.10 * uniform[12]), height=0.020, style=0)
    np.clip(grey, 0, 1, out=grey)


def add_collimation(grey: np.ndarray, rng: np.random.Generator) -> None:
    """Blacken what the shutters keep from the detector: up to four borders, askew; in a third of images."""
    uniform, normal = rng.random(8), rng.standard_normal(4)
    if uniform[0] > 0.35:
        return
    size = len(grey)
    shade = 0.03 * uniform[1] if uniform[2] < 0.97 else 1.0
    steps = (np.arange(size) - 0.5 * size) / size
    for border, margin in enumerate(np.where(uniform[4:8] < 0.55, 0.09 * uniform[4:8], -1.0)):
        if margin < 0:
            continue
        depth = (margin + 0.02 * normal[border] * steps) * size
        reach = int(np.ceil(depth.max())) + 1
        if reach <= 0:
            continue
        cover = np.clip(depth[None, :] - np.arange(reach)[:, None], 0, 1).astype(np.float32)
        strip = (grey[:reach], grey[::-1][:reach], grey.T[:reach], grey.T[::-1][:reach])[border]
        strip += cover * (np.float32(shade) - strip)


def burn_text(grey: np.ndarray, rng: np.random.Generator) -> None:
    """Cover parts of the picture with words and numbers, as bad records have them."""
    for _ in range(int(rng.integers(4, 9))):
        digits = "".join(str(value) for value in rng.integers(0, 10, 8))
        words = (
            "CHEST PORT",
            f"ID {digits}",
            f"{digits[:2]}:{digits[2:4]}:{digits[4:6]}",
            "ROOM " + digits[:3],
            "KV 110 MAS 4",
        )
        word = words[int(rng.integers(len(words)))]
        _stamp(
            grey,
            word,
            (0.05 + 0.6 * rng.random(), 0.04 + 0.9 * rng.random()),
            height=0.03 + 0.05 * rng.random(),
            style=0,
        )
    np.clip(grey, 0, 1, out=grey)


def _stamp(grey: np.ndarray, word: str, place: tuple[float, float], *, height: float, style: int) -> None:
    """Styles: 0 and 3 bright letters, 1 a bright plate with dark letters, 2 a dark disc with bright letters."""
    size = len(grey)
    cover = _glyphs(word, max(int(round(height * size * 1.35)), 6))
    top, left = int(place[1] * size), int(place[0] * size)
    pad = max(len(cover) // 5, 1)
    if style in (1, 2):
        cover = np.pad(cover, pad)
    cover = cover[: max(size - top, 0), : max(size - left, 0)]
    if not cover.size:
        return
    window = grey[top : top + cover.shape[0], left : left + cover.shape[1]]
    if style == 1:
        window += np.float32(0.85) * (np.float32(0.95) - window)
        window -= cover * window * np.float32(0.8)
    elif style == 2:
        window *= np.float32(0.15)
        window += cover * (1 - window)
    else:
        window += cover * np.float32(0.92) * (1 - window)


@lru_cache(maxsize=256)
def _glyphs(word: str, height: int) -> np.ndarray:
    font = ImageFont.load_default(size=height)
    left, top, right, bottom = font.getbbox(word)
    card = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(card).text((1 - left, 1 - top), word, fill=255, font=font)
    return np.asarray(card, dtype=np.float32) / 255
