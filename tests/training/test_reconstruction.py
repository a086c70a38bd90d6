import math

import numpy as np
import pytest
import torch

from synthcxr.training.reconstruction import peak_signal_to_noise, structure_loss


def radiographs(size=64, batch_size=2):
    """Smooth shapes with grain."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch_size, 1, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    return (0.8 * smooth + 0.2 * torch.rand(batch_size, 1, size, size, generator=generator)).clamp(0, 1)


def slow_loss(image, other):
    """The loss of one grey image, window by window, in double precision."""
    places = np.arange(11) - 5
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    while min(image.shape) >= 11 and len(values) < 5:
        structures = []
        for y in range(image.shape[0] - 10):
            for x in range(image.shape[1] - 10):
                a, b = image[y : y + 11, x : x + 11], other[y : y + 11, x : x + 11]
                a, b = a - (window * a).sum(), b - (window * b).sum()
                variances = (window * a**2).sum() + (window * b**2).sum()
                structures.append((2 * (window * a * b).sum() + 9e-4) / (variances + 9e-4))
        values.append(np.mean(structures))
        height, width = (side // 2 * 2 for side in image.shape)
        image, other = (
            array[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) for array in (image, other)
        )
    return 1 - float(np.mean(values))


def test_the_loss_equals_its_slow_definition():
    images = radiographs(size=46)
    others = (images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    expected = [slow_loss(images[i, 0].double().numpy(), others[i, 0].double().numpy()) for i in range(2)]
    assert structure_loss(images, others).tolist() == pytest.approx(expected, abs=1e-5)


def test_equal_images_are_perfect_and_more_noise_is_worse():
    images = radiographs()
    assert structure_loss(images, images) == pytest.approx([0.0, 0.0], abs=1e-6)
    assert peak_signal_to_noise(images, images) == pytest.approx([100.0, 100.0])
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    noisy = [(images + strength * noise).clamp(0, 1) for strength in (0.02, 0.05, 0.2)]
    for measure in (peak_signal_to_noise, lambda a, b: -structure_loss(a, b)):
        values = [measure(images, other).mean().item() for other in noisy]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]


def test_psnr_is_that_of_a_constant_error():
    images = torch.full((1, 1, 16, 16), 0.5)
    assert peak_signal_to_noise(images, images + 0.1).item() == pytest.approx(20.0, abs=1e-4)


def test_an_image_is_measured_without_regard_to_its_batch():
    images = radiographs(batch_size=3)
    others = images.flip(0)
    for measure in (peak_signal_to_noise, structure_loss):
        alone = torch.cat([measure(images[i : i + 1], others[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(measure(images, others), alone, atol=1e-6, rtol=0)


def test_the_loss_leads_from_noise_to_the_image():
    images = radiographs(size=32)
    guess = torch.rand(images.shape, generator=torch.Generator().manual_seed(3)).requires_grad_()
    optimizer = torch.optim.Adam([guess], lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        structure_loss(images, guess).mean().backward()
        optimizer.step()
    assert structure_loss(images, guess).max().item() < 0.05


def test_a_flat_image_gives_finite_gradients():
    flat = torch.full((1, 1, 32, 32), 0.3, requires_grad=True)
    structure_loss(radiographs(size=32, batch_size=1), flat).sum().backward()
    assert math.isfinite(flat.grad.abs().sum().item())


def test_images_below_the_window_are_refused():
    with pytest.raises(ValueError, match="An image is 8x8; expected 11 pixels"):
        structure_loss(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
