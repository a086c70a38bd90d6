import pytest
import torch
from tiny_models import make_batch, make_config, make_model

from synthcxr.models import set_word_pieces, word_region_loss
from synthcxr.models.layers_towers import image_states
from synthcxr.training.local_alignment import LocalAlignment
from synthcxr.training.tokenizer import train_tokenizer


TEMPERATURES = {"attention_temperature": 4.0, "score_temperature": 5.0, "loss_temperature": 10.0}


@pytest.fixture
def states():
    model, batch = make_model("convirt").eval(), make_batch()
    _, patches = image_states(model.vision_model, batch["pixel_values"])
    hidden = model._text_states(batch["input_ids"], batch["attention_mask"], None)
    return patches.detach(), hidden.detach(), batch["input_ids"], batch["attention_mask"]


def test_the_loss_is_gloria_s_between_projected_patches_and_words(states):
    torch.manual_seed(0)
    part = LocalAlignment(make_config("convirt"))
    patches, hidden, _, mask = states
    fields = part(*states)
    regions = torch.stack(
        [torch.stack([part.region_projection(row[:, y, x]) for y in range(4) for x in range(4)]) for row in patches]
    )
    torch.testing.assert_close(fields["local_regions"], regions)
    torch.testing.assert_close(fields["local_words"], part.word_projection(hidden) * mask.unsqueeze(-1))
    assert fields["local_word_mask"].equal(mask)
    expected = word_region_loss(fields["local_regions"], fields["local_words"], mask, **TEMPERATURES)
    torch.testing.assert_close(part.compute_loss(**fields), expected)


def test_word_pieces_are_summed_and_the_end_is_no_word():
    tokenizer = train_tokenizer(["left lung lesion"], vocab_size=24)
    torch.manual_seed(0)
    part = LocalAlignment(make_config("convirt"))
    set_word_pieces(part, tokenizer)
    tokens = tokenizer(["left lungs"], return_tensors="pt")
    pieces = tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])
    starts = [index for index, piece in enumerate(pieces[:-1]) if not piece.startswith("##")]
    assert starts[-1] < len(pieces) - 2  # a word of several pieces
    hidden = torch.randn(1, len(pieces), 16)
    fields = part(torch.zeros(1, 16, 2, 2), hidden, **tokens_of(tokens))
    assert fields["local_word_mask"].sum() == len(starts)
    for place, (start, end) in enumerate(zip(starts, [*starts[1:], len(pieces) - 1], strict=True)):
        expected = part.word_projection(hidden[0, start:end].sum(dim=0))
        torch.testing.assert_close(fields["local_words"][0, place], expected)


def tokens_of(tokens):
    return {name: tokens[name] for name in ("input_ids", "attention_mask")}


def test_padding_changes_nothing(states):
    part = LocalAlignment(make_config("convirt"))
    fields = part(*states)
    longer = {
        name: values if name == "local_regions" else torch.nn.functional.pad(values, pad)
        for (name, values), pad in zip(fields.items(), [None, (0, 0, 0, 4), (0, 4)], strict=True)
    }
    torch.testing.assert_close(part.compute_loss(**fields), part.compute_loss(**longer))
