"""Which parts of the low-data recipe, and of ours beside it, are on: numbers that need no model to be read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LowDataSettings:
    """
    The parts of the recipe; by default all of them are off.

    Args:
        local_loss_weight (`float`, *optional*, defaults to 0.0): Of the loss between regions and words.
        image_self_supervision_weight (`float`, *optional*, defaults to 0.0): Of SimSiam on two views of every image.
        masked_language_weight (`float`, *optional*, defaults to 0.0): Of guessing hidden words.
        num_image_views (`int`, *optional*, defaults to 1): Augmentations of an image that are positives of its texts.
        num_text_views (`int`, *optional*, defaults to 1): Texts of a report that are positives of its images.
        neighbour_weight (`float`, *optional*, defaults to 0.0): Of the loss between images and the nearest text of
            another report.
        neighbour_queue_size (`int`, *optional*, defaults to 4096): Texts of earlier batches that are searched.
        agreement_weight (`float`, *optional*, defaults to 0.0): Of the loss between images and sentences in which a
            sentence is right for every image whose report says the same; the model's own loss then sees no sentences.
            Not of the paper.
        outline_weight (`float`, *optional*, defaults to 0.0): Of telling at every place of the feature maps which
            findings are there, where masks say so. Not of the paper.

    Raises:
        ValueError: On a negative weight, or a number below 1.
    """

    local_loss_weight: float = 0.0
    image_self_supervision_weight: float = 0.0
    masked_language_weight: float = 0.0
    num_image_views: int = 1
    num_text_views: int = 1
    neighbour_weight: float = 0.0
    neighbour_queue_size: int = 4096
    agreement_weight: float = 0.0
    outline_weight: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            lowest = 0 if name.endswith("_weight") else 1
            if value < lowest:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected {lowest} or more.")

    @property
    def is_on(self) -> bool:
        """Whether any part is."""
        weights = (value for name, value in vars(self).items() if name.endswith("_weight"))
        return any(weights) or max(self.num_image_views, self.num_text_views) > 1

    @property
    def num_drawn_image_views(self) -> int:
        """Augmentations that a batch holds: SimSiam needs two, although one alone may meet the texts."""
        return max(self.num_image_views, 2 if self.image_self_supervision_weight else 1)
