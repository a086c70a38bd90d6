"""Fast choices from a seeded stream that is the same on every machine and Python version."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar


_Option = TypeVar("_Option")


class Draws:
    """
    Choices drawn from one stream. Only `random.Random.random` is used: its sequence is guaranteed across versions of
    Python, which that of `choice` and `shuffle` is not.

    Args:
        seed (`int`): Any integer.
        name (`str`): Which stream of that seed.

    Example:

    ```python
    >>> from synthcxr.reports.draws import Draws

    >>> [Draws(3, "words").pick("abcdef") for _ in range(3)] == [Draws(3, "words").pick("abcdef")] * 3
    True

    ```
    """

    __slots__ = ("random",)

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed}\x1f{name}".encode(), digest_size=8).digest()
        self.random = random.Random(int.from_bytes(digest, "little")).random

    def pick(self, options: Sequence[_Option]) -> _Option:
        """One of the options, each as likely as it is often listed."""
        return options[int(self.random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random() < probability
