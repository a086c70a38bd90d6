"""From line integrals to grey levels: photons, scatter and noise, then what a vendor's software makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ontology import Acquisition
from .resampling import apply_table, block_mean, blur, enlarge, smooth_coarsely


@dataclass(frozen=True)
class Exposure:
    """
    One exposure of the detector.

    Args:
        quanta (`float`): Photons that an unattenuated pixel of 1 cm^2 receives.
        scatter (`float`): Scattered over primary radiation behind the thickest parts, before the grid's share.
        scatter_cm (`float`): Reach of scatter.
        focus_cm (`float`): Blur of the focal spot and the screen.
        tilt (`tuple[float, float]`): Change of exposure across and down the image, in nepers.
    """

    quanta: float
    scatter: float
    scatter_cm: float
    focus_cm: float
    tilt: tuple[float, float]


@dataclass(frozen=True)
class Rendition:
    """
    How one image is displayed.

    Args:
        compression (`float`): Share of the large-scale contrast that is taken away.
        compression_cm (`float`): What counts as large.
        local_gain (`float`): Extra contrast of structures of about a centimetre.
        edge_gain (`float`): Extra contrast of the finest structures.
        lung_level (`float`): Grey of the lung, 0 to 1.
        dense_level (`float`): Grey of the mediastinum.
        gamma (`float`): Exponent of the tone curve.
    """

    compression: float
    compression_cm: float
    local_gain: float
    edge_gain: float
    lung_level: float
    dense_level: float
    gamma: float


@dataclass(frozen=True)
class Scanner:
    """
    Habits of one scanner; every value is a mean and a spread.

    Args:
        log_quanta (`tuple[float, float]`): Decimal logarithm of the photons on 1 cm^2.
        scatter (`tuple[float, float]`): Of `Exposure`.
        focus_cm (`tuple[float, float]`): Of `Exposure`.
        compression (`tuple[float, float]`): Of `Rendition`.
        local_gain (`tuple[float, float]`): Of `Rendition`.
        edge_gain (`tuple[float, float]`): Of `Rendition`.
        lung_level (`tuple[float, float]`): Of `Rendition`.
        dense_level (`tuple[float, float]`): Of `Rendition`.
        gamma (`tuple[float, float]`): Of `Rendition`, as a logarithm.
    """

    log_quanta: tuple[float, float] = (7.9, 0.3)
    scatter: tuple[float, float] = (0.5, 0.2)
    focus_cm: tuple[float, float] = (0.03, 0.015)
    compression: tuple[float, float] = (0.36, 0.10)
    local_gain: tuple[float, float] = (0.26, 0.10)
    edge_gain: tuple[float, float] = (0.65, 0.2)
    lung_level: tuple[float, float] = (0.49, 0.08)
    dense_level: tuple[float, float] = (0.80, 0.05)
    gamma: tuple[float, float] = (0.0, 0.12)


SCANNERS: dict[str, Scanner] = {
    "standard": Scanner(),
    "soft": Scanner(
        compression=(0.25, 0.10),
        local_gain=(0.10, 0.06),
        edge_gain=(0.35, 0.12),
        focus_cm=(0.05, 0.02),
        gamma=(0.05, 0.15),
    ),
    "sharp": Scanner(local_gain=(0.42, 0.12), edge_gain=(1.05, 0.3), focus_cm=(0.015, 0.01)),
    "compressed": Scanner(compression=(0.55, 0.08), local_gain=(0.45, 0.12), dense_level=(0.77, 0.05)),
    "portable_crt": Scanner(
        log_quanta=(7.5, 0.3),
        scatter=(1.0, 0.3),
        focus_cm=(0.05, 0.02),
        edge_gain=(0.5, 0.2),
        lung_level=(0.54, 0.08),
        dense_level=(0.76, 0.05),
    ),
    "vendor_b": Scanner(
        log_quanta=(8.1, 0.3),
        compression=(0.48, 0.08),
        local_gain=(0.5, 0.12),
        edge_gain=(0.9, 0.25),
        lung_level=(0.42, 0.08),
        dense_level=(0.84, 0.04),
        gamma=(-0.12, 0.12),
    ),
}
"""Processing profiles by the names that `Acquisition.scanner` may take."""


def scanner_profile(name: str) -> Scanner:
    """
    Look up a processing profile.

    Raises:
        ValueError: On a name that is not in `SCANNERS`.
    """
    if name not in SCANNERS:
        raise ValueError(f"scanner is {name!r}; expected one of {', '.join(SCANNERS)}.")
    return SCANNERS[name]


def sample_exposure(acquisition: Acquisition, rng: np.random.Generator) -> Exposure:
    """Draw the exposure of one study; `acquisition.dose` multiplies the photons."""
    profile = scanner_profile(acquisition.scanner)
    normal = rng.standard_normal(6).tolist()
    portable = acquisition.view == "AP"
    slope = 0.16 if portable else 0.07
    return Exposure(
        quanta=float(10 ** (profile.log_quanta[0] + profile.log_quanta[1] * normal[0])) * acquisition.dose,
        scatter=_clip(profile.scatter[0] + profile.scatter[1] * normal[1] + 0.3 * portable, 0.1, 1.6),
        scatter_cm=_clip(3.5 + 0.8 * normal[2], 2, 6),
        focus_cm=float(max(profile.focus_cm[0] + profile.focus_cm[1] * normal[3], 0.0)) * (1.6 if portable else 1.0),
        tilt=(float(slope * normal[4]), float(slope * normal[5])),
    )


def sample_rendition(acquisition: Acquisition, rng: np.random.Generator) -> Rendition:
    """Draw the display settings of one study, independent of what the image shows."""
    profile = scanner_profile(acquisition.scanner)
    normal = rng.standard_normal(7).tolist()
    portable = acquisition.view == "AP"
    drawn = {
        name: getattr(profile, name)[0] + getattr(profile, name)[1] * value
        for name, value in zip(
            ("compression", "local_gain", "edge_gain", "lung_level", "dense_level", "gamma"), normal, strict=False
        )
    }
    # Portable views are flatter and blurrier: more scatter, no fast grid, breathing patients.
    lung = _clip(drawn["lung_level"] + (0.05 if portable else 0.0), 0.2, 0.68)
    rise = 0.5 * (drawn["dense_level"] - lung) + (0.11 if portable else 0.16)
    return Rendition(
        compression=_clip(drawn["compression"], 0.0, 0.8),
        compression_cm=_clip(2.6 + 0.7 * normal[6], 1.2, 4.5),
        local_gain=float(max(drawn["local_gain"], 0.0)) * (0.75 if portable else 1.0),
        edge_gain=float(max(drawn["edge_gain"], 0.0)) * (0.75 if portable else 1.0),
        lung_level=lung,
        dense_level=_clip(lung + rise, lung + 0.15, 0.93),
        gamma=float(np.exp(drawn["gamma"])),
    )


def expose(attenuation: np.ndarray, exposure: Exposure, rng: np.random.Generator, *, pixel_cm: float) -> np.ndarray:
    """
    Detect what passes: Beer-Lambert, scatter, focal blur, photon noise; then the logarithm.

    Args:
        attenuation (`np.ndarray` of shape `(size, size)`, float32): Line integrals.
        exposure (`Exposure`): Settings.
        rng (`np.random.Generator`): Stream of the noise.
        pixel_cm (`float`): Side of a pixel.

    Returns:
        `np.ndarray` of shape `(size, size)`, float32: Negative logarithm of the detected share of the photons; equals
        `attenuation` without scatter, blur, tilt and noise.
    """
    primary = np.exp(-attenuation)
    _add_scatter(primary, exposure, pixel_cm)
    signal = blur(primary, float(np.hypot(exposure.focus_cm / pixel_cm, 0.30)))
    grain = rng.standard_normal(signal.shape, dtype=np.float32)
    grain *= np.sqrt(signal * np.float32(1 / (exposure.quanta * pixel_cm**2)))
    signal += grain
    np.maximum(signal, np.float32(1e-4), out=signal)
    density = np.log(signal, out=signal)
    np.negative(density, out=density)
    return _add_tilt(density, exposure)


def _add_scatter(primary: np.ndarray, exposure: Exposure, pixel_cm: float) -> None:
    """Scatter is the blurred primary, capped where the beam is bare: nothing there scatters it."""
    size = primary.shape[0]
    factor = max(size // 32, 1)
    coarse = np.minimum(block_mean(primary, factor), np.float32(0.25))
    wide = blur(coarse, exposure.scatter_cm / pixel_cm / factor)
    primary += enlarge(np.float32(exposure.scatter) * wide, factor, size)


def _add_tilt(density: np.ndarray, exposure: Exposure) -> np.ndarray:
    ramp = np.arange(len(density), dtype=np.float32) * np.float32(2 / (len(density) - 1)) - 1
    density += np.float32(exposure.tilt[0]) * ramp
    density += (np.float32(exposure.tilt[1]) * ramp)[:, None]
    return density


def measure_window(
    attenuation: np.ndarray,
    lungs: np.ndarray,
    exposure: Exposure,
    rendition: Rendition,
    *,
    pixel_cm: float,
) -> tuple[float, float]:
    """
    Find the densities of lung and mediastinum that the display is set by, on a coarse image.

    It is measured on the scene without findings: otherwise the grey of the whole image would tell whether a patient is
    ill, and a pair with and without a finding would differ everywhere.

    Args:
        attenuation (`np.ndarray` of shape `(size, size)`, float32): Without findings.
        lungs (`np.ndarray` of shape `(size, size)`, bool): Visible lung.
        exposure (`Exposure`): As will be used.
        rendition (`Rendition`): As will be used.
        pixel_cm (`float`): Side of a pixel.

    Returns:
        `tuple[float, float]`: Median density of lung, and of the densest third of the middle of the field.
    """
    factor = max(len(attenuation) // 32, 1)
    coarse = np.exp(-block_mean(attenuation, factor))
    scattered = np.minimum(coarse, np.float32(0.25))
    pixel = pixel_cm * factor
    coarse += np.float32(exposure.scatter) * blur(scattered, exposure.scatter_cm / pixel)
    density = _add_tilt(-np.log(np.maximum(coarse, 1e-4)), exposure)
    density = _compress(density, rendition, pixel)
    centres = np.minimum(np.arange(len(density)) * factor + factor // 2, len(lungs) - 1)
    inside = lungs[np.ix_(centres, centres)]
    size = len(density)
    middle = density[size // 5 : -(size // 5 + 1), size // 4 : -(size // 4 + 1)]
    lung = _quantile(density[inside], 0.5) if inside.any() else _quantile(middle, 0.2)
    dense = _quantile(middle, 0.80)
    return lung, max(dense, lung + 0.25)


def _quantile(values: np.ndarray, share: float) -> float:
    place = int(share * (values.size - 1))
    return float(np.partition(values, place, axis=None)[place])


def _compress(density: np.ndarray, rendition: Rendition, pixel_cm: float) -> np.ndarray:
    base = smooth_coarsely(density, rendition.compression_cm / pixel_cm)
    return density - np.float32(rendition.compression) * base


def develop(density: np.ndarray, rendition: Rendition, window: tuple[float, float], *, pixel_cm: float) -> np.ndarray:
    """
    Display a density image: compress, sharpen, window, bend the tone curve.

    Args:
        density (`np.ndarray` of shape `(size, size)`, float32): What `expose` gives.
        rendition (`Rendition`): Settings.
        window (`tuple[float, float]`): What `measure_window` gives.
        pixel_cm (`float`): Side of a pixel.

    Returns:
        `np.ndarray` of shape `(size, size)`, float32: Grey from 0 (black) to 1.
    """
    shown = _compress(density, rendition, pixel_cm)
    shown += np.float32(rendition.local_gain) * (density - smooth_coarsely(density, 0.7 / pixel_cm))
    if rendition.edge_gain > 0:
        # The kernel is fixed in centimetres but never finer than the pixels.
        shown += np.float32(rendition.edge_gain) * (density - blur(density, max(0.12 / pixel_cm, 0.7)))
    lung, dense = window
    scale = (rendition.dense_level - rendition.lung_level) / (dense - lung)
    apply_table(shown, scale, rendition.lung_level - scale * lung, _tone_table(rendition.gamma), shown)
    return shown


def _clip(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))


def _tone_table(gamma: float) -> np.ndarray:
    """Soft toe and shoulder for levels from -0.5 to 1.75; the gamma keeps 0.6 in place."""
    return np.clip(np.power(_TONE_CURVE / 0.6, gamma) * 0.6, 0, 1).astype(np.float32)


def _tone_curve() -> np.ndarray:
    levels = np.linspace(-0.5, 1.75, 1126)
    shoulder = np.where(levels > 0.78, 1 - 0.22 * np.exp(-(levels - 0.78) / 0.22), levels)
    return np.where(levels < 0.18, 0.18 * np.exp((levels - 0.18) / 0.18), shoulder)


_TONE_CURVE = _tone_curve()
