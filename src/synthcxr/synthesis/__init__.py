"""Making pairs: reports to synthetic images, at any scale."""

from .synthesize_pairs import synthesize_pairs


__all__ = ["synthesize_pairs"]
