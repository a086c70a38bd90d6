"""Adapting a text encoder to reports before it meets an image: masked-language modelling on the texts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..data.collators import DrawnDataset, row_seed
from ..models.configuration_towers import base_towers, tiny_towers
from .adaptation import AdaptationScriptArguments, AdaptationTrainer, load_rows, run_adaptation
from .arguments import PretrainingArguments
from .self_supervision import MASKED_SHARE
from .tokenizer import train_tokenizer


@dataclass
class TextAdaptationArguments(AdaptationScriptArguments):
    """Which reports a text encoder reads."""

    text_column: Literal["report", "findings", "impression"] = field(
        default="report", metadata={"help": "Column that is read; rows without it are left out."}
    )
    vocab_size: int = field(
        default=2048, metadata={"help": "Word pieces of a tokenizer trained on the reports, for a fresh encoder."}
    )
    max_text_length: int = field(default=96, metadata={"help": "Tokens of a text that are read."})


class MaskedTextCollator:
    """
    Rows to texts with hidden words, by the collator of `transformers`.

    What is hidden follows from the seed, the rows and their draw: a resumed run hides the same words.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): Any with a mask token.
        text_column (`str`): Column that is read.
        max_length (`int`): Longest text in tokens.
        seed (`int`, *optional*, defaults to 0): Names the streams.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, text_column: str, max_length: int, seed: int = 0
    ) -> None:
        self.tokenizer = tokenizer
        self.text_column = text_column
        self.max_length = max_length
        self.seed = seed
        self.hide = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_SHARE)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels` of shape `(batch_size, longest)`."""
        texts = self.tokenizer([row[self.text_column] for row in rows], truncation=True, max_length=self.max_length)
        names = "\n".join(row["id"] for row in rows)
        stream = torch.Generator().manual_seed(row_seed(self.seed, names, rows[0].get("draw", 0)))
        self.hide.generator = stream
        examples = [
            {"input_ids": ids, "attention_mask": mask}
            for ids, mask in zip(texts["input_ids"], texts["attention_mask"], strict=True)
        ]
        return dict(self.hide(examples))


def adapt_text_encoder(script_args: TextAdaptationArguments, training_args: PretrainingArguments) -> dict[str, Any]:
    """
    Train a masked-language model on the reports and save it with its tokenizer in `training_args.output_dir`.

    `AutoModel.from_pretrained` takes its encoder out of the folder, and so does `pretrain --text-model`. A folder with
    the finished run is reused, a stopped run gone on with.

    Args:
        script_args (`TextAdaptationArguments`): Reports and encoder.
        training_args (`PretrainingArguments`): Optimisation.

    Returns:
        `dict`: The record of [`run_adaptation`]; `eval_loss` among its metrics is that of held-out reports.

    Raises:
        ValueError: If the folder holds another run, or the data are not pairs.
    """

    def load(split: str) -> Dataset | None:
        rows = load_rows(script_args, split)
        if rows is None:
            return None
        return rows.filter(lambda text: bool(text and text.strip()), input_columns=script_args.text_column)

    def build() -> AdaptationTrainer:
        train, validation = load("train"), load("validation")
        model, tokenizer = build_language_model(script_args, train, seed=training_args.seed)
        options = {"text_column": script_args.text_column, "max_length": script_args.max_text_length}
        collator = MaskedTextCollator(tokenizer, seed=training_args.seed, **options)
        trainer = AdaptationTrainer(
            model=model,
            args=training_args,
            train_dataset=DrawnDataset(train),
            eval_dataset=DrawnDataset(validation) if validation else None,
            data_collator=collator,
            eval_collator=collator,
            processing_class=tokenizer,
        )
        trainer.label_names = ["labels"]  # what a language model computes its loss from, in evaluation too
        return trainer

    return run_adaptation(script_args, training_args, build_trainer=build, save=_save)


def build_language_model(
    script_args: TextAdaptationArguments, train: Dataset, *, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """
    A masked-language model and its tokenizer: pre-trained, or fresh with a tokenizer of the reports.

    Args:
        script_args (`TextAdaptationArguments`): Says which of the two.
        train (`Dataset`): Rows whose texts a fresh tokenizer is trained on.
        seed (`int`): Of fresh weights.
    """
    set_seed(seed)
    if script_args.model_name_or_path:
        tokenizer = AutoTokenizer.from_pretrained(script_args.model_name_or_path)
        model = AutoModelForMaskedLM.from_pretrained(script_args.model_name_or_path)
    else:
        texts = train.unique(script_args.text_column)
        tokenizer = train_tokenizer(texts, vocab_size=script_args.vocab_size)
        size = len(tokenizer)
        towers = tiny_towers(size) if script_args.model_size == "tiny" else base_towers("resnet", vocab_size=size)
        model = AutoModelForMaskedLM.from_config(towers["text_config"])
    tokenizer.model_max_length = script_args.max_text_length
    return model, tokenizer


def _save(trainer: AdaptationTrainer, output_dir: Path) -> None:
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(output_dir)
    trainer.processing_class.save_pretrained(output_dir)
