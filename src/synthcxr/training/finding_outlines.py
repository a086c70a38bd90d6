"""Where is each finding? The vision tower is asked, as long as it trains on images that come with the answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..ontology import FINDING_IDS


# A place shows a finding that covers more than this share of it: a tube is thin.
_COVERED = 0.05
# So that every place begins without findings: they are rare.
_FIRST_LOGIT = -4.0


class FindingOutlines(nn.Module):
    """
    A linear reader of every place of some feature maps, and its loss; for training only.

    A label says that a nodule is somewhere; a mask says where. Simulated studies have exact masks, so that the tower
    can be told at every place what is there, which real studies seldom can.

    Args:
        widths (`Sequence[int]`): Channels of the feature maps.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(nn.Conv2d(width, len(FINDING_IDS), kernel_size=1) for width in widths)
        for reader in self.readers:
            nn.init.constant_(reader.bias, _FIRST_LOGIT)

    def forward(self, states: Sequence[torch.Tensor], finding_maps: torch.Tensor) -> torch.Tensor:
        """
        The loss of every image.

        Args:
            states (`Sequence[torch.Tensor]`): Feature maps, each `(batch_size, width, grid_height, grid_width)`.
            finding_maps (`torch.Tensor` of shape `(batch_size, num_findings, map_size, map_size)`): What share of a
                place each finding covers, of [`~synthcxr.data.finding_masks.FindingMaps`].

        Returns:
            `torch.Tensor` of shape `(batch_size,)`: Binary cross-entropies, averaged over places, summed over findings
            and feature maps.
        """
        losses = []
        for reader, values in zip(self.readers, states, strict=True):
            covered = F.adaptive_avg_pool2d(finding_maps, values.shape[-2:])
            logits = reader(values)
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            targets = (covered > _COVERED).to(logits.dtype)
            loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            losses.append(loss.mean(dim=(2, 3)).sum(dim=1))
        return torch.stack(losses).sum(dim=0)
