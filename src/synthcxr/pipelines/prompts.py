"""Reports to prompts: no traces of de-identification, the impression first, no longer than the text encoder reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


# What is not read: prompts this long are never meant, and everything below must stay fast on them.
MAX_CHARACTERS = 20_000

# Left behind where names and dates were taken out (MIMIC, Indiana, MIMIC-III, others). All repetitions are bounded.
_MARK = re.compile(
    r"\[\*\*[^\]\n]{0,200}\]|_{2,}-?|\bX{3,}\b-?|[*#@]{3,}"
    r"|[\[<(](?:redacted|removed|deidentified|de-identified|anonymi[sz]ed|name|date|phi)[\]>)]",
    re.IGNORECASE,
)
# Controls, marks that steer the direction of writing, blanks without width, halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_EMPTY_BRACKETS = re.compile(r"\([ ,.;:-]{0,8}\)|\[[ ,.;:-]{0,8}\]")
_BLANK_BEFORE_STOP = re.compile(r" (?=[,.;:!?](?: |$))")

_NAMES = {
    "impression": ("impressions?", "conclusions?", "opinion", "summary", "assessment", "diagnosis"),
    "findings": ("findings?", "findings (?:and|/|&) impression", "observations?", "report", "final report"),
    "other": (
        *("indications?", "clinical (?:information|history|indications?|data)", "history", "reason for [a-z ]{1,20}"),
        *("comparisons?", "techniques?", "procedure", "views", "examinations?", "exam", "study", "recommendations?"),
        *("notifications?", "addend(?:um|a)", "comments?", "wet read"),
    ),
}
_HEADER = re.compile(
    r"(?:(?<=^)|(?<=[\s.:;!?]))(?:"
    + "|".join(f"(?P<{key}>{'|'.join(sorted(names, key=len, reverse=True))})" for key, names in _NAMES.items())
    + r")(?:[ \t]?:|(?=[ \t]{0,4}$))",
    re.IGNORECASE | re.MULTILINE,
)
# Few: this file travels with the pipeline, without the package's own splitter.
_ABBREVIATIONS = ("approx", "ca", "dr", r"e\.g", "esp", "fig", r"i\.e", "incl", "vs")
_SENTENCE_END = re.compile(
    r"(?<=[.!?])"
    + "".join(rf"(?<!\b{short}\.)" for short in _ABBREVIATIONS)
    + r"\s+|\n(?=[ \t]{0,8}(?:\n|[-*\u2022][ \t]|\d{1,2}[.)][ \t]))",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class CleanedPrompt:
    """
    A text without traces of de-identification.

    Args:
        text (`str`): What is left, on one line.
        num_marks (`int`): De-identification marks that were taken out.
    """

    text: str
    num_marks: int


@dataclass(frozen=True)
class FittedPrompt:
    """
    A prompt as the generator reads it.

    Args:
        text (`str`): Cleaned, impression first, within the tokenizer's window.
        num_marks (`int`): De-identification marks that were taken out.
        num_sentences_cut (`int`): Sentences that were left out, or shortened, because the window was full.
    """

    text: str
    num_marks: int
    num_sentences_cut: int


def clean_prompt(text: str) -> CleanedPrompt:
    """
    Take de-identification marks and control characters out of a text, and write it on one line.

    Such marks (`___`, `XXXX`, `[**...**]`) make generators that were trained on real reports repeat training images
    ([Dutt, 2025](https://huggingface.co/papers/2502.07516)).

    Args:
        text (`str`): Any text; of more than 20,000 characters the rest is not read.

    Returns:
        `CleanedPrompt`: Its `text` is empty when nothing is left.

    Raises:
        ValueError: When the text is not a string.

    Example:

    ```python
    >>> from synthcxr.pipelines.prompts import clean_prompt

    >>> clean_prompt("Compared to ___, the  effusion (XXXX) has grown.")
    CleanedPrompt(text='Compared to, the effusion has grown.', num_marks=2)

    ```
    """
    text, num_marks = _without_marks(text)
    return CleanedPrompt(_one_line(text), num_marks)


def fit_prompt(text: str, tokenizer: Any, *, max_tokens: int | None = None) -> FittedPrompt:
    """
    Clean a report and cut it at sentences to what the text encoder reads.

    Of a report with section headers the impression comes first and then the findings; what does not describe the
    image (indication, comparison, technique) is left out. A first sentence that is too long is cut at a word.

    Args:
        text (`str`): A prompt or a whole report.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        max_tokens (`int`, *optional*): The window, special tokens included; `tokenizer.model_max_length` if not given.

    Returns:
        `FittedPrompt`: Never empty.

    Raises:
        ValueError: When the text is not a string, or nothing is left of it after cleaning.
    """
    unread = len(text) > MAX_CHARACTERS if isinstance(text, str) else False
    cleaned, num_marks = _without_marks(text)
    sentences = [sentence for section in _described(cleaned) for sentence in _sentences(section)]
    if not sentences:
        raise ValueError(
            f"The prompt {text[:40]!r} holds no words but {num_marks} de-identification marks; describe the image."
        )
    room = (tokenizer.model_max_length if max_tokens is None else max_tokens) - tokenizer.num_special_tokens_to_add()
    kept = _fitting(sentences, tokenizer, room)
    num_cut = len(sentences) - len(kept) + unread
    if kept:
        return FittedPrompt(" ".join(kept), num_marks, num_cut)
    return FittedPrompt(_shortened(sentences[0], tokenizer, room), num_marks, num_cut)


def fit_prompts(
    prompts: str | FittedPrompt | Sequence[str | FittedPrompt], tokenizer: Any, *, max_tokens: int | None = None
) -> list[FittedPrompt]:
    """
    [`fit_prompt`] of several; those that are fitted already stay as they are.

    Args:
        prompts (`str`, `FittedPrompt` or a list of them): Reports or prompts.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        max_tokens (`int`, *optional*): The window, special tokens included; `tokenizer.model_max_length` if not given.

    Returns:
        `list[FittedPrompt]`: In order.

    Raises:
        ValueError: When there is none, or one is empty or no text, with its number.
    """
    prompts = [prompts] if isinstance(prompts, str | FittedPrompt) else prompts
    fitted = []
    for number, prompt in enumerate(prompts):
        try:
            is_fitted = isinstance(prompt, FittedPrompt)
            fitted.append(prompt if is_fitted else fit_prompt(prompt, tokenizer, max_tokens=max_tokens))
        except ValueError as error:
            raise ValueError(f"Prompt {number}: {error}") from error
    if not fitted:
        raise ValueError("The list of prompts is empty; pass at least one.")
    return fitted


def fit_negative_prompts(
    negative_prompt: str | Sequence[str] | None, num_prompts: int, tokenizer: Any, *, max_tokens: int
) -> list[FittedPrompt]:
    """
    [`fit_prompt`] of negative prompts, which may be empty: that is the unconditional image.

    Args:
        negative_prompt (`str` or `Sequence[str]`, *optional*): One for all, or one per prompt; empty if not given.
        num_prompts (`int`): Prompts that they go with.
        tokenizer (`PreTrainedTokenizerBase`): Of the generator.
        max_tokens (`int`): The window, special tokens included.

    Returns:
        `list[FittedPrompt]`: One, or `num_prompts`.

    Raises:
        ValueError: When they are of another number.
    """
    texts = [negative_prompt or ""] if isinstance(negative_prompt, str | None) else list(negative_prompt)
    if len(texts) not in (1, num_prompts):
        raise ValueError(f"There are {len(texts)} negative prompts for {num_prompts} prompts; pass one or as many.")
    cleaned = [clean_prompt(text) for text in texts]
    return [
        fit_prompt(text, tokenizer, max_tokens=max_tokens) if clean.text else FittedPrompt("", clean.num_marks, 0)
        for text, clean in zip(texts, cleaned, strict=True)
    ]


def describe_changes(prompts: Iterable[FittedPrompt], *, kind: str = "prompts") -> str:
    """One line on what was taken out of prompts of a kind, empty if nothing was."""
    prompts = list(prompts)
    cut = [prompt.num_sentences_cut for prompt in prompts if prompt.num_sentences_cut]
    marked = [prompt.num_marks for prompt in prompts if prompt.num_marks]
    changes = []
    if cut:
        changes.append(f"{sum(cut)} sentences did not fit the text encoder in {len(cut)} of {len(prompts)} {kind}")
    if marked:
        changes.append(
            f"{sum(marked)} de-identification marks were taken out of {len(marked)} of {len(prompts)} {kind}"
        )
    return "; ".join(changes)


def _without_marks(text: str) -> tuple[str, int]:
    """A text without marks and control characters, its lines as they were, and the number of marks."""
    if not isinstance(text, str):
        raise ValueError(f"A prompt is of type {type(text).__name__}; expected a string.")
    text = _CONTROL.sub("", text[:MAX_CHARACTERS].replace("\r", "\n"))
    text, num_marks = _MARK.subn(" ", text)
    return (_EMPTY_BRACKETS.sub(" ", text) if num_marks else text), num_marks


def _one_line(text: str) -> str:
    return _BLANK_BEFORE_STOP.sub("", " ".join(text.split()))


def _described(text: str) -> list[str]:
    """The sections that describe the image, impression first; the whole text when it has no headers."""
    headers = [match for match in _HEADER.finditer(text) if _is_header(match, text)]
    if not headers:
        return [text]
    sections: dict[str, list[str]] = {"impression": [], "findings": [], "other": []}
    sections["findings"].append(text[: headers[0].start()])
    for match, following in zip(headers, [*headers[1:], None], strict=True):
        key = match.lastgroup or "other"
        sections[key].append(text[match.end() : following.start() if following else len(text)])
    described = [*sections["impression"], *sections["findings"]]
    # A report of an indication alone is still better than nothing.
    return described if any(_LETTER.search(section) for section in described) else sections["other"]


def _is_header(match: re.Match[str], text: str) -> bool:
    """A known name opens a section at the start of a line, in capitals, or with one after the end of a sentence."""
    name, before = match[0].rstrip(" \t:"), text[: match.start()].rstrip(" \t")[-1:]
    with_colon = match[0].endswith(":")
    if before in ("", "\n"):
        return with_colon or name.isupper()
    return with_colon and (name.isupper() or (name[0].isupper() and before in ".:;!?"))


def _sentences(text: str) -> list[str]:
    """Its sentences in order, those without a letter (numbers of a list) left out."""
    pieces = (_one_line(piece) for piece in _SENTENCE_END.split(text))
    return [piece for piece in pieces if _LETTER.search(piece)]


def _num_tokens(text: str, tokenizer: Any) -> int:
    # Silent: a tokenizer warns of texts beyond its window, and finding those is the purpose.
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _fitting(sentences: list[str], tokenizer: Any, room: int) -> list[str]:
    """As many sentences from the start as fit."""
    kept: list[str] = []
    num_tokens = 0
    for sentence in sentences:
        num_tokens += _num_tokens(sentence, tokenizer)
        if num_tokens > room:
            break
        kept.append(sentence)
    # Some tokenizers make more of the whole than of its parts.
    while kept and _num_tokens(" ".join(kept), tokenizer) > room:
        kept.pop()
    return kept


def _shortened(sentence: str, tokenizer: Any, room: int) -> str:
    """The longest start of a sentence that fits, up to the end of a word where it has several."""
    fits, too_long = 0, len(sentence) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _num_tokens(sentence[:middle], tokenizer) <= room:
            fits = middle
        else:
            too_long = middle
    if fits == 0:
        raise ValueError(f"The text encoder reads {room} tokens, too few for the prompt {sentence[:40]!r}.")
    start = sentence[:fits]
    if sentence[fits : fits + 1].strip():
        start = start.rpartition(" ")[0] or start
    return start.rstrip()
