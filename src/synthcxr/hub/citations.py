"""Names of the pre-training methods and what to cite for them."""

from __future__ import annotations


SOFTWARE = """@software{synthcxr,
  title = {synthcxr: medical vision-language pre-training on synthetic chest X-rays},
  author = {{The synthcxr contributors}},
  year = {2026}
}"""

CONVIRT = """@inproceedings{zhang2022convirt,
  title = {Contrastive Learning of Medical Visual Representations from Paired Images and Text},
  author = {Zhang, Yuhao and Jiang, Hang and Miura, Yasuhide and Manning, Christopher D. and Langlotz, Curtis P.},
  booktitle = {Machine Learning for Healthcare Conference},
  year = {2022}
}"""

CLIP = """@inproceedings{radford2021clip,
  title = {Learning Transferable Visual Models From Natural Language Supervision},
  author = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and others},
  booktitle = {International Conference on Machine Learning},
  year = {2021}
}"""

GLORIA = """@inproceedings{huang2021gloria,
  title = {GLoRIA: A Multimodal Global-Local Representation Learning Framework for Label-Efficient Medical Image
    Recognition},
  author = {Huang, Shih-Cheng and Shen, Liyue and Lungren, Matthew P. and Yeung, Serena},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2021}
}"""

MGCA = """@inproceedings{wang2022mgca,
  title = {Multi-Granularity Cross-modal Alignment for Generalized Medical Visual Representation Learning},
  author = {Wang, Fuying and Zhou, Yuyin and Wang, Shujun and Vardhanabhuti, Varut and Yu, Lequan},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022}
}"""

METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "convirt": ("ConVIRT", (CONVIRT,)),
    "cxr_clip": ("CXR-CLIP dual encoder", (CLIP,)),
    "gloria": ("GLoRIA", (GLORIA,)),
    "mgca": ("MGCA", (MGCA,)),
}
"""Per `model_type` of a configuration: the method's name and its references in BibTeX."""


def method_name(model_type: str) -> str:
    """Name of a method in running text; the model type itself when it is not one of ours."""
    return METHODS[model_type][0] if model_type in METHODS else model_type


def citations(model_type: str | None = None) -> str:
    """BibTeX of the software and, for a model, of its method."""
    references = METHODS[model_type][1] if model_type in METHODS else ()
    return "\n\n".join((SOFTWARE, *references))
