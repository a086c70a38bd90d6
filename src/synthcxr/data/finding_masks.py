"""Where the findings of simulated studies are, as maps of all findings, moved as their images are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..models import CxrImageProcessor
from ..ontology import FINDING_IDS, ancestors
from .image_views import ImageViews
from .schema import ORIGINS
from .transforms import RadiographAugmentation


# Places of a map along a side; a mask is moved at twice that.
MAP_SIZE = 16
_INDEX = {finding: index for index, finding in enumerate(FINDING_IDS)}
# A finding and its parents: a consolidation is an opacity.
_KINDS = [[_INDEX[name] for name in (finding, *ancestors(finding))] for finding in FINDING_IDS]
_SIMULATED = ORIGINS.index("simulated")


class FindingMaps:
    """
    Exact masks of findings to maps of coverage; only simulated studies have them for everything that is visible.

    Args:
        augmentation (`RadiographAugmentation`, *optional*): What moves the images.
    """

    def __init__(self, augmentation: RadiographAugmentation | None = None) -> None:
        self.augmentation = augmentation
        self.masks = ImageViews(CxrImageProcessor(size=2 * MAP_SIZE), cache_images=True)  # resizes as it does images

    def __call__(self, rows: Sequence[Mapping[str, Any]], seeds: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Maps of a batch.

        Args:
            rows (`Sequence[Mapping]`): With `objects` and `origin`, as [`~synthcxr.data.DrawnDataset`] gives them with
                masks.
            seeds (`torch.Tensor` of shape `(batch_size,)` and dtype int64): Those of the images' augmentation.

        Returns:
            `dict`: `finding_maps` of shape `(batch_size, num_findings, 16, 16)`, the share of every place that a
            finding covers, 0 to 1, in the order of `FINDING_IDS`; `has_maps` of shape `(batch_size,)`, dtype bool:
            whether the row is simulated.
        """
        maps = torch.zeros(len(rows) * len(FINDING_IDS), MAP_SIZE, MAP_SIZE)
        found = [(row, *item) for row, item in enumerate(rows) for item in self._objects(item)]
        if found:
            places, kinds, images = zip(*found, strict=True)
            covered = (self.masks(list(images), torch.zeros(1, len(images), dtype=torch.int64)) + 1) / 2
            if self.augmentation is not None:
                covered = self.augmentation.move(covered, seeds[torch.tensor(places)])
            covered = F.avg_pool2d(covered, 2).squeeze(1)
            targets = [
                (row * len(FINDING_IDS) + index, item)
                for item, (row, kind) in enumerate(zip(places, kinds, strict=True))
                for index in _KINDS[kind]
            ]
            into, items = torch.tensor(targets).T
            maps.scatter_reduce_(0, into.view(-1, 1, 1).expand(-1, MAP_SIZE, MAP_SIZE), covered[items], "amax")
        return {
            "finding_maps": maps.unflatten(0, (len(rows), -1)),
            "has_maps": torch.tensor([row["origin"] == _SIMULATED for row in rows]),
        }

    @staticmethod
    def _objects(row: Mapping[str, Any]) -> list[tuple[int, Any]]:
        """Number of the finding, and mask, of everything outlined in a simulated row."""
        objects = row["objects"] or {}
        if row["origin"] != _SIMULATED or not objects.get("mask"):
            return []
        pairs = zip(objects["category"], objects["mask"], strict=True)
        return [(kind, mask) for kind, mask in pairs if mask is not None]
