"""The low-data recipe (Windsor et al., MIDL 2023, arXiv 2303.17644) and more: more to learn from the same pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..models import GloriaModel, MgcaModel, set_word_pieces
from ..models.layers_distributed import gather_batch
from ..models.layers_towers import hidden_width, read_image_states
from .finding_outlines import FindingOutlines
from .local_alignment import LocalAlignment
from .low_data_settings import LowDataSettings
from .neighbour_queue import NeighbourQueue
from .self_supervision import MaskedLanguage, SimSiam
from .sentence_agreement import agreement_loss, true_sentences


# Of images with sentences: ConVIRT's.
_AGREEMENT_TEMPERATURE = 0.1


class LowDataRecipe(nn.Module):
    """
    A dual encoder with what it needs in training only; `recipe.model` is what is evaluated and saved.

    It trains as the models do: `loss_inputs`, `forward` and `compute_loss` from these fields alone. Views of images
    and texts pass the towers in one batch, view by view, and the loss of the model is averaged over all pairs of a
    view of the image with a view of the text. In evaluation it is the model and nothing else.

    Args:
        model (`PreTrainedModel`): Dual encoder.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        settings ([`LowDataSettings`]): Which parts are on.

    Raises:
        ValueError: If a local loss is asked for beside the model's own, or hidden words of a tokenizer without a mask.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models import ConvirtConfig, ConvirtModel
    >>> from synthcxr.training.low_data_recipe import LowDataRecipe
    >>> from synthcxr.training.low_data_settings import LowDataSettings
    >>> from synthcxr.training.tokenizer import train_tokenizer

    >>> tokenizer = train_tokenizer(["No effusion.", "Left effusion."])
    >>> model = ConvirtModel(ConvirtConfig.tiny(vocab_size=len(tokenizer)))
    >>> recipe = LowDataRecipe(model, tokenizer, LowDataSettings(masked_language_weight=0.5, num_image_views=2))
    >>> texts = tokenizer(["No effusion.", "Left effusion."], return_tensors="pt")
    >>> images = torch.rand(2, 2, 1, 64, 64)  # two pairs, two views each
    >>> recipe(texts["input_ids"], images, texts["attention_mask"], return_loss=True)["loss"].shape
    torch.Size([])

    ```
    """

    # The losses are means over the batch: `Trainer` must divide them by the steps that it accumulates.
    accepts_loss_kwargs = False

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: LowDataSettings) -> None:
        super().__init__()
        if settings.local_loss_weight and isinstance(model, (GloriaModel, MgcaModel)):
            kind = model.config.model_type
            raise ValueError(f"--local-loss-weight: {kind} has a local loss, of local_weight in its configuration.")
        self.model = model
        self.settings = settings
        config = model.config
        self.local_alignment = None
        if settings.local_loss_weight:
            self.local_alignment = LocalAlignment(config)
            set_word_pieces(self.local_alignment, tokenizer)
        self.sim_siam = SimSiam(hidden_width(config.vision_config)) if settings.image_self_supervision_weight else None
        self.masked_language = None
        if settings.masked_language_weight:
            width, vocab_size = hidden_width(config.text_config), config.text_config.vocab_size
            self.masked_language = MaskedLanguage(tokenizer, width, vocab_size)
        self.neighbours = None
        if settings.neighbour_weight:
            self.neighbours = NeighbourQueue(settings.neighbour_queue_size, config.projection_dim)
        self.outlines = FindingOutlines(_widths(config.vision_config)) if settings.outline_weight else None

    @property
    def config(self) -> Any:
        """That of the model."""
        return self.model.config

    @property
    def loss_inputs(self) -> tuple[str, ...]:
        """Fields of the output that `compute_loss` takes."""
        names = [*self.model.loss_inputs]
        if self.local_alignment is not None:
            names += ["local_regions", "local_words", "local_word_mask"]
        if self.sim_siam is not None:
            names += ["image_self_supervision"]
        if self.masked_language is not None:
            names += ["masked_language", "num_masked"]
        if self.neighbours is not None:
            names += ["report_key"]
        if self.settings.agreement_weight:
            names += ["report_statements", "sentence_statements"]
        if self.outlines is not None:
            names += ["outlines", "has_maps"]
        return tuple(names)

    def frozen_parameters(self, epoch: int) -> list[nn.Parameter]:
        """
        Those of the model.

        Args:
            epoch (`int`): Of the training, from 0.
        """
        return self.model.frozen_parameters(epoch)

    def gradient_checkpointing_enable(self, **kwargs: Any) -> None:
        """
        In both towers.

        Args:
            kwargs (`dict`): As for `PreTrainedModel.gradient_checkpointing_enable`.
        """
        self.model.gradient_checkpointing_enable(**kwargs)

    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        *,
        report_key: torch.Tensor | None = None,
        report_statements: torch.Tensor | None = None,
        sentence_statements: torch.Tensor | None = None,
        finding_maps: torch.Tensor | None = None,
        has_maps: torch.Tensor | None = None,
        return_loss: bool | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """
        Everything that the loss needs, of `batch_size` pairs.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, num_text_views, sequence_length)`):
                Tokens; `(batch_size, sequence_length)` with one view.
            pixel_values (`torch.Tensor` of shape `(batch_size, num_image_views, num_channels, height, width)`):
                Normalised images; `(batch_size, num_channels, height, width)` with one view.
            attention_mask (`torch.Tensor` of the shape of `input_ids`, *optional*):
                0 at padding.
            report_key (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                Of the reports, to tell neighbours from duplicates.
            report_statements (`torch.Tensor` of shape `(batch_size, num_statements)`, *optional*):
                What the reports say of findings.
            sentence_statements (`torch.Tensor` of shape `(batch_size, num_sentences, num_statements)`, *optional*):
                What the sentences say of findings.
            finding_maps (`torch.Tensor` of shape `(batch_size, num_findings, map_size, map_size)`, *optional*):
                What share of every place each finding covers, in the first view.
            has_maps (`torch.Tensor` of shape `(batch_size,)`, *optional*):
                Whether the findings of an image are known by place.
            return_loss (`bool`, *optional*):
                Compute the loss.
            kwargs (`dict`):
                Handed to the model, such as sentences.

        Returns:
            `dict`: The fields of `loss_inputs`, view by view: `(num_views * batch_size, ...)`; and `loss`. In
            evaluation, the output of the model.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "pixel_values": pixel_values}
        if not self.training:
            return self.model(return_loss=return_loss, **inputs, **kwargs)
        views = (self.settings.num_text_views, self.settings.num_text_views, self.settings.num_drawn_image_views)
        inputs = {
            name: _by_view(name, values, num_views)
            for (name, values), num_views in zip(inputs.items(), views, strict=True)
        }
        if self.neighbours is not None and report_key is None:
            raise ValueError("--neighbour-weight needs the report_key of every pair; let the collator add it.")
        if self.settings.agreement_weight and sentence_statements is None:
            raise ValueError("--agreement-weight needs sentences and what they say; let the collator add it.")
        if self.outlines is not None:
            if finding_maps is None:
                raise ValueError("--outline-weight needs finding_maps of every pair; let the collator add them.")
            kwargs["output_hidden_states"] = True
        with _Towers(self.model) as towers:
            output = self.model(return_loss=False, **inputs, **kwargs)
        fields = {name: output[name] for name in self.model.loss_inputs}
        fields |= self._own_fields(towers, inputs, batch_size=len(pixel_values))
        if self.neighbours is not None:
            fields["report_key"] = report_key
        if self.settings.agreement_weight:
            fields["report_statements"] = report_statements
            fields["sentence_statements"] = sentence_statements.transpose(0, 1).flatten(0, 1)
        if self.outlines is not None:
            states = [values[: len(pixel_values)] for values in towers.feature_maps(inputs["pixel_values"])]
            fields |= {"outlines": self.outlines(states, finding_maps), "has_maps": has_maps}
        return {"loss": self.compute_loss(**fields) if return_loss else None, **fields}

    def _own_fields(
        self, towers: _Towers, inputs: dict[str, torch.Tensor], *, batch_size: int
    ) -> dict[str, torch.Tensor]:
        fields = {}
        texts, mask = inputs["input_ids"], inputs["attention_mask"]
        if self.local_alignment is not None:
            _, patches = towers.image_states(inputs["pixel_values"])
            fields |= self.local_alignment(patches, towers.text_states(), texts, mask)
        if self.sim_siam is not None:
            pooled, _ = towers.image_states(inputs["pixel_values"])
            fields["image_self_supervision"] = self.sim_siam(pooled[:batch_size], pooled[batch_size : 2 * batch_size])
        if self.masked_language is not None:
            summed, count = self.masked_language(self.model.text_model, texts[:batch_size], mask[:batch_size])
            fields |= {"masked_language": summed, "num_masked": count}
        return fields

    def compute_loss(self, **fields: torch.Tensor) -> torch.Tensor:
        """
        The weighted sum of [`~LowDataRecipe.compute_losses`]; then the texts join the queue of neighbours.

        Args:
            fields (`torch.Tensor` of shape `(num_views * batch_size, ...)`): Those of `loss_inputs`.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        weights = {
            "local": self.settings.local_loss_weight,
            "image_self_supervision": self.settings.image_self_supervision_weight,
            "masked_language": self.settings.masked_language_weight,
            "neighbour": self.settings.neighbour_weight,
            "agreement": self.settings.agreement_weight,
            "outlines": self.settings.outline_weight,
        }
        losses = self.compute_losses(**fields)
        loss = losses.pop("pairs")
        for name, value in losses.items():
            loss = loss + weights[name] * value
        if self.neighbours is not None and self.training:
            texts = self._views("text_embeds", fields)[0].detach()
            self.neighbours.push(gather_batch(texts), gather_batch(fields["report_key"]))
        return loss

    def compute_losses(self, **fields: torch.Tensor) -> dict[str, torch.Tensor]:
        """
        Each part of the loss of a batch by itself, without its weight.

        Args:
            fields (`torch.Tensor` of shape `(num_views * batch_size, ...)`): Those of `loss_inputs`.

        Returns:
            `dict[str, torch.Tensor]`: `pairs`, the model's own; and, where they are on, `local`,
            `image_self_supervision`, `masked_language`, `neighbour`, `agreement` and `outlines`.
        """
        model = self.model
        losses = {
            "pairs": self._mean_over_pairs(
                model.compute_loss, fields, images=model.image_loss_inputs, texts=model.text_loss_inputs
            )
        }
        if self.local_alignment is not None:
            losses["local"] = self._mean_over_pairs(
                self.local_alignment.compute_loss,
                fields,
                images=("local_regions",),
                texts=("local_words", "local_word_mask"),
            )
        if self.sim_siam is not None:
            losses["image_self_supervision"] = self._gather(fields["image_self_supervision"]).mean()
        if self.masked_language is not None:
            summed, count = (self._gather(fields[name]).sum() for name in ("masked_language", "num_masked"))
            losses["masked_language"] = summed / count.clamp(min=1)
        if self.neighbours is not None:
            losses["neighbour"] = self._neighbour_loss(fields)
        if self.settings.agreement_weight:
            losses["agreement"] = self._agreement_loss(fields)
        if self.outlines is not None:
            known = self._gather(fields["has_maps"].float())
            losses["outlines"] = (self._gather(fields["outlines"]) * known).sum() / known.sum().clamp(min=1)
        return losses

    def _mean_over_pairs(
        self,
        compute_loss: Callable[..., torch.Tensor],
        fields: dict[str, torch.Tensor],
        *,
        images: Sequence[str],
        texts: Sequence[str],
    ) -> torch.Tensor:
        """Over every view of the images with every view of the texts; sentences go with each of them."""
        num_images, num_texts = self.settings.num_image_views, self.settings.num_text_views
        views = {name: self._views(name, fields) for name in (*images, *texts)}
        losses = []
        for image, text in product(range(num_images), range(num_texts)):
            pair = {name: views[name][image] for name in images}
            for name in texts:
                sentences = views[name][num_texts:] if not self.settings.agreement_weight else views[name][:0]
                pair[name] = torch.cat([views[name][text : text + 1], sentences]).flatten(0, 1)
            losses.append(compute_loss(**pair))
        return torch.stack(losses).mean()

    def _neighbour_loss(self, fields: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of images with neighbours of their first texts; 0 as long as no text in any process has one."""
        texts = self._views("text_embeds", fields)[0].detach()
        neighbours, found = self.neighbours.nearest(texts, fields["report_key"])
        # Who has no neighbour yet is its own.
        neighbours = torch.where(found.unsqueeze(1), neighbours.to(texts.dtype), texts)
        images = self._views("image_embeds", fields)[: self.settings.num_image_views]
        losses = [self.model.compute_global_loss(view, neighbours) for view in images]
        return torch.stack(losses).mean() * self._gather(found.float()).amax()

    def _agreement_loss(self, fields: dict[str, torch.Tensor]) -> torch.Tensor:
        """Of every view of the images with the sentences."""
        sentences = self._views("text_embeds", fields)[self.settings.num_text_views :]
        gathered = [
            gather_batch(values, num_views=len(sentences)) if self.training else values
            for values in (sentences.flatten(0, 1), fields["sentence_statements"].float())
        ]
        holds = true_sentences(gathered[1], self._gather(fields["report_statements"].float()))
        images = self._views("image_embeds", fields)[: self.settings.num_image_views]
        losses = [
            agreement_loss(self._gather(view), gathered[0], holds, temperature=_AGREEMENT_TEMPERATURE)
            for view in images
        ]
        return torch.stack(losses).mean()

    def _views(self, name: str, fields: dict[str, torch.Tensor]) -> torch.Tensor:
        """`(num_views * batch_size, ...)` to `(num_views, batch_size, ...)`."""
        batch_size = len(fields["image_embeds"]) // self.settings.num_drawn_image_views
        return fields[name].unflatten(0, (-1, batch_size))

    def _gather(self, values: torch.Tensor) -> torch.Tensor:
        """Those of all processes, in training as the models do."""
        return gather_batch(values) if self.training else values


class _Towers:
    """Keeps what both towers give first while the model runs, so that no part of the recipe runs them again."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._towers = {"image": model.vision_model, "text": model.text_model}
        self._outputs: dict[str, Any] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for name, tower in self._towers.items():
            # The first: sentences follow the texts.
            self._handles.append(
                tower.register_forward_hook(lambda _, __, output, name=name: self._keep(name, output))
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, name: str, output: Any) -> None:
        self._outputs.setdefault(name, output)

    def image_states(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pooled states and patches of `(batch_size, num_channels, height, width)`; see the function of that name."""
        return read_image_states(self._towers["image"], self._outputs["image"], pixel_values.shape[-2:])

    def feature_maps(self, pixel_values: torch.Tensor) -> list[torch.Tensor]:
        """Patches of the last two stages, the finer first; of the end of a tower that has no stages."""
        tower, output = self._towers["image"], self._outputs["image"]
        stages = range(-len(_widths(tower.config)), 0)
        return [read_image_states(tower, output, pixel_values.shape[-2:], stage=stage)[1] for stage in stages]

    def text_states(self) -> torch.Tensor:
        """Last hidden states `(batch_size, sequence_length, hidden_size)`."""
        return self._outputs["text"].last_hidden_state


def _widths(config: PreTrainedConfig) -> list[int]:
    """Channels of the maps that findings are outlined in."""
    if not hasattr(config, "hidden_sizes"):
        return [config.hidden_size]
    return [hidden_width(config, stage=stage) for stage in range(-min(2, len(config.hidden_sizes)), 0)]


def _by_view(name: str, values: torch.Tensor, num_views: int) -> torch.Tensor:
    """`(batch_size, num_views, ...)` to `(num_views * batch_size, ...)`; one view stays as it is."""
    if num_views == 1:
        return values
    if values.shape[1] != num_views:
        raise ValueError(f"{name} has shape {tuple(values.shape)}; expected (batch_size, {num_views}, ...).")
    return values.transpose(0, 1).flatten(0, 1)
