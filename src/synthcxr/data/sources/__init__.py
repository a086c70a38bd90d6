"""Public datasets, read from local copies in their official layout."""

from .kermany_pediatric import load_kermany_pediatric
from .nih_chestxray14 import load_nih_chestxray14
from .preparing import SOURCES, prepare_source


__all__ = ["SOURCES", "load_kermany_pediatric", "load_nih_chestxray14", "prepare_source"]
