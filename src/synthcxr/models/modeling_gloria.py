"""GLoRIA: images with reports, and regions with words (Huang et al., ICCV 2021)."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from .configuration_gloria import GloriaConfig
from .layers_distributed import gather_batch, gather_pairs
from .layers_dual_encoder import DualEncoderPreTrainedModel
from .layers_towers import hidden_width, image_states, pool_text
from .layers_words import WordIndex, WordReader, sum_word_pieces
from .loss_contrastive import check_pairs, cosine_similarity, info_nce_loss
from .loss_local_alignment import two_way_cross_entropy, word_region_scores
from .modeling_outputs import GloriaOutput


class GloriaModel(WordReader, DualEncoderPreTrainedModel):
    """
    Image and text encoders that are compared as wholes and, region by region and word by word, in parts.

    Words are sums of their word pieces, so the model knows the vocabulary: `set_word_pieces(model, tokenizer)` of
    `layers_words` tells a new model, [`~GloriaModel.from_vision_text_pretrained`] finds out, a checkpoint remembers.

    Args:
        config ([`GloriaConfig`]):
            Towers, projections and losses.

    Example:

    ```python
    >>> import torch
    >>> from synthcxr.models import GloriaConfig, GloriaModel

    >>> model = GloriaModel(GloriaConfig.tiny(vocab_size=100)).eval()
    >>> out = model(input_ids=torch.ones(3, 5, dtype=torch.long), pixel_values=torch.zeros(2, 1, 64, 64))
    >>> out.logits_per_image.shape, out.region_embeds.shape
    (torch.Size([2, 3]), torch.Size([2, 64, 128]))

    ```
    """

    config_class = GloriaConfig
    config: GloriaConfig
    base_model_prefix = "gloria"
    loss_inputs = ("image_embeds", "text_embeds", "region_embeds", "word_embeds", "word_mask")
    image_loss_inputs = ("image_embeds", "region_embeds")
    text_loss_inputs = ("text_embeds", "word_embeds", "word_mask")
    # What `score_pairs` gives, in the protocol of a measurement.
    score_name = "gloria local+global"

    def __init__(self, config: GloriaConfig) -> None:
        super().__init__(config)
        local_width = hidden_width(config.vision_config, stage=config.local_stage)
        text_width = hidden_width(config.text_config)
        self.visual_projection = nn.Linear(hidden_width(config.vision_config), config.projection_dim)
        self.local_projection = nn.Conv2d(local_width, config.projection_dim, kernel_size=1, bias=False)
        self.text_projection: nn.Module = nn.Identity()
        if text_width != config.projection_dim:
            self.text_projection = nn.Linear(text_width, config.projection_dim, bias=False)
        self.word_index = WordIndex(config.text_config.vocab_size)
        self.post_init()
        self._freeze()

    def get_image_states(self, pixel_values: torch.Tensor, **kwargs: Any) -> dict[str, torch.Tensor]:
        """
        Images as [`~GloriaModel.score_pairs`] takes them.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            kwargs (`dict`):
                Handed to the vision tower.

        Returns:
            `dict`: `image_embeds` `(batch_size, projection_dim)` of length 1; `region_embeds` `(batch_size,
            num_regions, projection_dim)`, row by row.
        """
        pooled, patches = image_states(self.vision_model, pixel_values, stage=self.config.local_stage, **kwargs)
        return {
            "image_embeds": F.normalize(self.visual_projection(pooled), dim=-1),
            "region_embeds": self.local_projection(patches).flatten(2).transpose(1, 2),
        }

    def get_text_states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        """
        Texts as [`~GloriaModel.score_pairs`] takes them.

        Args:
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 at padding.
            token_type_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Segments.
            kwargs (`dict`):
                Handed to the text tower.

        Returns:
            `dict`: `text_embeds` `(batch_size, projection_dim)` of length 1; `word_embeds` `(batch_size,
            sequence_length, projection_dim)`: `[CLS]`, then the words, then zeros; `word_mask` `(batch_size,
            sequence_length)`, 0 at the zeros.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        states = self._text_states(input_ids, attention_mask, token_type_ids, **kwargs)
        pooled = pool_text(states, attention_mask, pooling=self.config.text_pooling)
        in_words = attention_mask.masked_fill(self.word_index.closing(input_ids), 0)
        words, word_mask = sum_word_pieces(states, self.word_index(input_ids, in_words))
        return {
            "text_embeds": F.normalize(self.text_projection(pooled), dim=-1),
            "word_embeds": self.text_projection(words),
            "word_mask": word_mask,
        }

    def score_pairs(
        self,
        *,
        image_embeds: torch.Tensor,
        region_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        word_embeds: torch.Tensor,
        word_mask: torch.Tensor,
    ) -> torch.Tensor:
        """
        The similarity that GLoRIA predicts with: of every image with every text, embedded once each.

        It is the mean of the cosine of the wholes and of the local score: `score_temperature` times the cosine of the
        word that fits best, `[CLS]` left out. As published the two are on different scales. The authors then
        normalise the scores of a text over the images at hand, which no ranking of images notices.

        Args:
            image_embeds (`torch.Tensor` of shape `(num_images, projection_dim)`):
                From [`~GloriaModel.get_image_states`], as the next.
            region_embeds (`torch.Tensor` of shape `(num_images, num_regions, projection_dim)`):
                Regions.
            text_embeds (`torch.Tensor` of shape `(num_texts, projection_dim)`):
                From [`~GloriaModel.get_text_states`], as the next two.
            word_embeds (`torch.Tensor` of shape `(num_texts, num_words, projection_dim)`):
                `[CLS]` and words.
            word_mask (`torch.Tensor` of shape `(num_texts, num_words)`):
                0 at padding.

        Returns:
            `torch.Tensor` of shape `(num_images, num_texts)`: Scores.
        """
        local = word_region_scores(
            region_embeds,
            word_embeds,
            _without_cls(word_mask),
            attention_temperature=self.config.attention_temperature,
            score_temperature=self.config.score_temperature,
            reduction="max",
        )
        return (local + cosine_similarity(image_embeds, text_embeds)) / 2

    def get_similarity_maps(
        self,
        pixel_values: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        Where in image `i` is text `i`?

        Regions learn to resemble words, not texts, so this is the mean over the words of a text, `[CLS]` left out.

        Args:
            pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
                Normalised images.
            input_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`):
                Tokens of one text per image.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 at padding.
            token_type_ids (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*):
                Segments.

        Returns:
            `torch.Tensor` of shape `(batch_size, grid_height, grid_width)`: Mean cosine of every region with the
            words, -1 to 1, at the resolution of `local_stage`.
        """
        if len(pixel_values) != len(input_ids):
            counts = f"{len(pixel_values)} images, {len(input_ids)} texts"
            raise ValueError(f"A similarity map needs one text per image; got {counts}.")
        _, patches = image_states(self.vision_model, pixel_values, stage=self.config.local_stage)
        texts = self.get_text_states(input_ids, attention_mask, token_type_ids)
        mask = _without_cls(texts["word_mask"]).unsqueeze(-1)
        words = F.normalize(texts["word_embeds"].float(), dim=-1) * mask
        regions = F.normalize(self.local_projection(patches).float(), dim=1)
        return torch.einsum("bdhw,bd->bhw", regions, words.sum(dim=1) / mask.sum(dim=1).clamp(min=1))

    def compute_loss(
        self,
        image_embeds: torch.Tensor,
        text_embeds: torch.Tensor,
        region_embeds: torch.Tensor,
        word_embeds: torch.Tensor,
        word_mask: torch.Tensor,
    ) -> torch.Tensor:
        """
        The loss of a batch from its embeddings alone, wherever they were computed.

        While several processes train, the negatives are those of all.

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view. Only the first view has words.
            region_embeds (`torch.Tensor` of shape `(batch_size, num_regions, projection_dim)`):
                Regions of the images.
            word_embeds (`torch.Tensor` of shape `(batch_size, num_words, projection_dim)`):
                `[CLS]` and words of the first text of every study.
            word_mask (`torch.Tensor` of shape `(batch_size, num_words)`):
                0 at padding.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        loss = self.config.global_weight * self.compute_global_loss(image_embeds, text_embeds)
        if self.config.local_weight > 0:
            loss = loss + self.config.local_weight * self._local_loss(region_embeds, word_embeds, word_mask)
        return loss

    def compute_global_loss(self, image_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """
        The part of the loss that compares wholes.

        Args:
            image_embeds (`torch.Tensor` of shape `(batch_size, projection_dim)`):
                Image embeddings, or what stands for them.
            text_embeds (`torch.Tensor` of shape `(num_views * batch_size, projection_dim)`):
                Embeddings of texts of the same studies, view by view.

        Returns:
            `torch.Tensor` of shape `()`: The loss.
        """
        if self.training:
            image_embeds, text_embeds = gather_pairs(image_embeds, text_embeds)
        return info_nce_loss(
            image_embeds,
            text_embeds,
            temperature=1 / self.config.global_temperature,
            image_to_text_weight=1.0,
            text_to_image_weight=1.0,
        )

    def _local_loss(
        self, region_embeds: torch.Tensor, word_embeds: torch.Tensor, word_mask: torch.Tensor
    ) -> torch.Tensor:
        if self.training:
            # Every process scores its own texts against the images of all: so many columns of the whole matrix.
            region_embeds = gather_batch(region_embeds)
        columns = word_region_scores(
            region_embeds,
            word_embeds,
            word_mask,
            attention_temperature=self.config.attention_temperature,
            score_temperature=self.config.score_temperature,
        )
        if self.training:
            columns = gather_batch(columns.T.contiguous()).T
        return two_way_cross_entropy(self.config.loss_temperature * columns)

    def _freeze(self) -> None:
        super()._freeze()
        if self.config.local_weight == 0:
            # It has no gradient then, which distributed training refuses.
            self.local_projection.requires_grad_(requires_grad=False)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GloriaModel):
            init.normal_(module.local_projection.weight, std=module.local_projection.in_channels**-0.5)

    def _text_states(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None, **kwargs: Any
    ) -> torch.Tensor:
        """`(batch_size, sequence_length)` to the sum of the last layers `(batch_size, sequence_length, width)`."""
        if token_type_ids is not None:  # not every BERT has segments
            kwargs["token_type_ids"] = token_type_ids
        kwargs |= {"output_hidden_states": True, "return_dict": True}
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        return sum(outputs.hidden_states[-self.config.num_text_layers_summed :])

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        *,
        sentence_input_ids: torch.Tensor | None = None,
        sentence_attention_mask: torch.Tensor | None = None,
        return_loss: bool | None = None,
        return_logits: bool | None = None,
        **kwargs: Any,
    ) -> GloriaOutput:
        """
        Compare images with texts; train on them when they are `batch_size` pairs.

        Args:
            input_ids (`torch.Tensor` of shape `(num_texts, sequence_length)`):
                Tokens.
            pixel_values (`torch.Tensor` of shape `(num_images, num_channels, height, width)`):
                Normalised images.
            attention_mask (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                0 at padding.
            token_type_ids (`torch.Tensor` of shape `(num_texts, sequence_length)`, *optional*):
                Segments.
            sentence_input_ids (`torch.Tensor` of shape `(num_images, num_sentences, length)`, *optional*):
                Tokens of sentences of every image's report, for the global loss. They follow the texts of `input_ids`
                in `text_embeds`: the first of every image, then the second of every image.
            sentence_attention_mask (`torch.Tensor` of shape `(num_images, num_sentences, length)`, *optional*):
                0 at padding.
            return_loss (`bool`, *optional*):
                Compute the loss: `num_images = num_texts`, and text `i` belongs to image `i`.
            return_logits (`bool`, *optional*):
                Compute the logits, which cost as much as the local loss; when absent, not in training mode.
            kwargs (`dict`):
                `return_dict`, and arguments of both towers.
        """
        kwargs = {name: value for name, value in kwargs.items() if value is not None}
        states = self.get_image_states(pixel_values, **kwargs)
        states |= self.get_text_states(input_ids, attention_mask, token_type_ids, **kwargs)
        with_logits = not self.training if return_logits is None else return_logits
        logits_per_image = self.score_pairs(**states) if with_logits else None
        if sentence_input_ids is not None:
            sentences = self._pooled_sentences(sentence_input_ids, sentence_attention_mask, **kwargs)
            sentence_embeds = F.normalize(self.text_projection(sentences), dim=-1)
            states["text_embeds"] = torch.cat([states["text_embeds"], sentence_embeds])
        if return_loss:
            check_pairs(pixel_values, input_ids, sentence_input_ids)
        return GloriaOutput(
            loss=self.compute_loss(**states) if return_loss else None,
            logits_per_image=logits_per_image,
            logits_per_text=None if logits_per_image is None else logits_per_image.T,
            **states,
        )


def _without_cls(word_mask: torch.Tensor) -> torch.Tensor:
    """The mask `(batch_size, num_words)` without its first word, unless a text has no other."""
    alone = word_mask[:, 1:].sum(dim=1, keepdim=True) == 0
    return torch.cat([word_mask[:, :1] * alone, word_mask[:, 1:]], dim=1)


GloriaModel.register_for_auto_class("AutoModel")
