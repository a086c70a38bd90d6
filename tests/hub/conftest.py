"""The artefacts that these tests share."""

from tiny_artefacts import checkpoint as checkpoint
from tiny_artefacts import dataset_folder as dataset_folder
from tiny_publications import adapter as adapter
from tiny_publications import generator as generator
from tiny_publications import latent_generator as latent_generator
from tiny_publications import synthetic_folder as synthetic_folder
