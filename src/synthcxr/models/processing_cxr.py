"""One callable for radiographs and reports."""

from typing import Any

from transformers import ProcessorMixin
from transformers.processing_utils import ProcessingKwargs


class CxrProcessorKwargs(ProcessingKwargs, total=False):
    """What a call may change; texts are cut to the tokenizer's `model_max_length`."""

    _defaults = {"text_kwargs": {"truncation": True}}


class CxrProcessor(ProcessorMixin):
    """
    Turns radiographs and texts into the inputs of a model.

    Args:
        image_processor ([`CxrImageProcessor`], *optional*):
            Prepares the images.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            Prepares the texts; its `model_max_length` is the longest text that a model sees.
        kwargs (`dict`):
            As for `ProcessorMixin`.
    """

    valid_processor_kwargs = CxrProcessorKwargs

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any) -> None:
        super().__init__(image_processor, tokenizer, **kwargs)


CxrProcessor.register_for_auto_class()
