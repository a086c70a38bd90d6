"""The artefacts that these tests share."""

from tiny_artefacts import checkpoint as checkpoint
from tiny_artefacts import dataset_folder as dataset_folder
