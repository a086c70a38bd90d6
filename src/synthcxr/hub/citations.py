"""Names of the pre-training methods, and what to cite for them and for generators."""

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

RECTIFIED_FLOW = """@inproceedings{liu2023flow,
  title = {Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow},
  author = {Liu, Xingchao and Gong, Chengyue and Liu, Qiang},
  booktitle = {International Conference on Learning Representations},
  year = {2023},
  note = {arXiv:2209.03003}
}"""

LOGIT_NORMAL_TIMES = """@inproceedings{esser2024scaling,
  title = {Scaling Rectified Flow Transformers for High-Resolution Image Synthesis},
  author = {Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others},
  booktitle = {International Conference on Machine Learning},
  year = {2024},
  note = {arXiv:2403.03206}
}"""

DIFFUSION = """@inproceedings{ho2020denoising,
  title = {Denoising Diffusion Probabilistic Models},
  author = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
  note = {arXiv:2006.11239}
}"""

VELOCITY = """@inproceedings{salimans2022progressive,
  title = {Progressive Distillation for Fast Sampling of Diffusion Models},
  author = {Salimans, Tim and Ho, Jonathan},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
  note = {arXiv:2202.00512}
}"""

MIN_SNR = """@inproceedings{hang2023efficient,
  title = {Efficient Diffusion Training via Min-{SNR} Weighting Strategy},
  author = {Hang, Tiankai and Gu, Shuyang and Li, Chen and Bao, Jianmin and Chen, Dong and Hu, Han and Geng, Xin and
    Guo, Baining},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2023},
  note = {arXiv:2303.09556}
}"""

GUIDANCE = """@misc{ho2022classifier,
  title = {Classifier-Free Diffusion Guidance},
  author = {Ho, Jonathan and Salimans, Tim},
  year = {2022},
  note = {arXiv:2207.12598}
}"""

LATENT_DIFFUSION = """@inproceedings{rombach2022high,
  title = {High-Resolution Image Synthesis with Latent Diffusion Models},
  author = {Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick and Ommer, Bj{\\"o}rn},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  year = {2022},
  note = {arXiv:2112.10752}
}"""

LORA = """@inproceedings{hu2022lora,
  title = {{LoRA}: Low-Rank Adaptation of Large Language Models},
  author = {Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and Wang, Shean
    and Wang, Lu and Chen, Weizhu},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
  note = {arXiv:2106.09685}
}"""

METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cxr_classification": ("Classifier", ()),
    "convirt": ("ConVIRT", (CONVIRT,)),
    "cxr_clip": ("CXR-CLIP dual encoder", (CLIP,)),
    "gloria": ("GLoRIA", (GLORIA,)),
    "mgca": ("MGCA", (MGCA,)),
}
"""Per `model_type` of a configuration: the method's name and its references in BibTeX."""


OBJECTIVES: dict[str, tuple[str, ...]] = {
    "flow": (RECTIFIED_FLOW, LOGIT_NORMAL_TIMES),
    "epsilon": (DIFFUSION,),
    "v_prediction": (DIFFUSION, VELOCITY),
}
"""Per objective of a generator its references in BibTeX."""


def method_name(model_type: str) -> str:
    """Name of a method in running text; the model type itself when it is not one of ours."""
    return METHODS[model_type][0] if model_type in METHODS else model_type


def citations(model_type: str | None = None) -> str:
    """BibTeX of the software and, for a model, of its method."""
    references = METHODS[model_type][1] if model_type in METHODS else ()
    return "\n\n".join((SOFTWARE, *references))


def generator_citations(
    objective: str, *, has_autoencoder: bool = False, min_snr: bool = False, is_adapter: bool = False
) -> str:
    """
    BibTeX of the software and of what a generator is made by.

    Args:
        objective (`str`): `"flow"`, `"epsilon"`, `"v_prediction"`, or another one, of which nothing is known.
        has_autoencoder (`bool`, *optional*, defaults to `False`): It draws latents.
        min_snr (`bool`, *optional*, defaults to `False`): The loss was weighted by the signal-to-noise ratio.
        is_adapter (`bool`, *optional*, defaults to `False`): It is LoRA.
    """
    references = [*OBJECTIVES.get(objective, ()), GUIDANCE]
    references += [LATENT_DIFFUSION] if has_autoencoder else []
    references += [MIN_SNR] if min_snr else []
    references += [LORA] if is_adapter else []
    return "\n\n".join((SOFTWARE, *references))
