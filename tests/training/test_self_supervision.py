import pytest
import torch
import torch.nn.functional as F
from tiny_models import make_batch, make_model

from synthcxr.training.self_supervision import MASKED_SHARE, MaskedLanguage, SimSiam
from synthcxr.training.tokenizer import train_tokenizer


WORDS = ("no left effusion", "tuft of lint", "unfit lens")


@pytest.fixture
def tokenizer():
    return train_tokenizer(WORDS)


@pytest.fixture
def long_texts(tokenizer):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, len(tokenizer), (64, 40), generator=generator)
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    mask = torch.ones_like(ids)
    mask[1::2, 21:] = 0
    return ids * mask, mask


def test_sim_siam_is_the_negative_cosine_of_prediction_and_fixed_projection():
    torch.manual_seed(0)
    heads, first, second = SimSiam(8), torch.randn(5, 8), torch.randn(5, 8)
    expected = []
    projections = [heads.projector(first), heads.projector(second)]
    predictions = [heads.predictor(projection) for projection in projections]
    for row in range(5):
        one = F.normalize(predictions[0][row], dim=0) @ F.normalize(projections[1][row], dim=0)
        two = F.normalize(predictions[1][row], dim=0) @ F.normalize(projections[0][row], dim=0)
        expected.append(-(one + two) / 2)
    torch.testing.assert_close(heads(first, second), torch.stack(expected))


def test_the_target_of_sim_siam_takes_no_gradient():
    torch.manual_seed(0)
    heads = SimSiam(8)
    for parameter in heads.predictor.parameters():
        parameter.data.zero_()
    heads.predictor[-1].bias.data.fill_(1.0)  # a prediction that depends on nothing
    first, second = (torch.randn(5, 8, requires_grad=True) for _ in range(2))
    heads(first, second).sum().backward()
    assert not first.grad.any()
    assert not second.grad.any()


def test_fifteen_percent_of_the_words_are_asked_for_and_no_special_token(tokenizer, long_texts):
    ids, mask = long_texts
    head = MaskedLanguage(tokenizer, 16, len(tokenizer))
    hidden, places, asked = head.hide(ids, mask)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    eligible = ((mask == 1) & ~special).sum(dim=1)
    assert asked.sum(dim=1).tolist() == [max(1, round(MASKED_SHARE * int(count))) for count in eligible]
    changed = hidden != ids
    assert not (changed & special).any()
    assert not (changed & (mask == 0)).any()
    at_places = torch.zeros_like(changed)
    for row in range(len(ids)):
        at_places[row, places[row, asked[row]]] = True
    assert not (changed & ~at_places).any()
    assert places.sort(dim=1).values.diff(dim=1).min() > 0


def test_eight_of_ten_are_hidden_one_is_exchanged_one_stays(tokenizer, long_texts):
    ids, mask = (values.repeat(40, 1) for values in long_texts)
    head = MaskedLanguage(tokenizer, 16, len(tokenizer))
    torch.manual_seed(0)
    hidden, places, asked = head.hide(ids, mask)
    shown, whole = hidden.gather(1, places)[asked], ids.gather(1, places)[asked]
    share_hidden = (shown == tokenizer.mask_token_id).float().mean().item()
    share_kept = (shown == whole).float().mean().item()
    assert share_hidden == pytest.approx(0.8, abs=0.02)
    assert share_kept == pytest.approx(0.1, abs=0.02)


def test_the_loss_of_a_text_is_the_sum_over_its_hidden_words(tokenizer):
    model = make_model("convirt").eval()
    batch = make_batch(batch_size=4)
    head = MaskedLanguage(tokenizer, 16, 50).eval()
    torch.manual_seed(3)
    summed, count = head(model.text_model, batch["input_ids"], batch["attention_mask"])
    torch.manual_seed(3)
    hidden, places, asked = head.hide(batch["input_ids"], batch["attention_mask"])
    states = model.text_model(input_ids=hidden, attention_mask=batch["attention_mask"]).last_hidden_state
    scores = head.transform(states) @ model.text_model.embeddings.word_embeddings.weight.T + head.bias
    for row in range(4):
        own = [place for place, wanted in zip(places[row].tolist(), asked[row].tolist(), strict=True) if wanted]
        losses = [F.cross_entropy(scores[row, place], batch["input_ids"][row, place]) for place in own]
        torch.testing.assert_close(summed[row], torch.stack(losses).sum())
        assert count[row] == len(own) > 0


def test_a_text_without_words_asks_for_nothing(tokenizer):
    model, head = make_model("convirt"), MaskedLanguage(tokenizer, 16, 50)
    ids = torch.tensor([[tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]])
    summed, count = head(model.text_model, ids, torch.tensor([[1, 1, 0]]))
    assert (summed.item(), count.item()) == (0.0, 0.0)


def test_the_words_are_tied_but_registered_once(tokenizer):
    head = MaskedLanguage(tokenizer, 16, 50)
    assert sorted(head.state_dict()) == sorted(
        ["bias", "transform.0.weight", "transform.0.bias", "transform.2.weight", "transform.2.bias"]
    )
    model = make_model("convirt")
    batch = make_batch()
    head(model.text_model, batch["input_ids"], batch["attention_mask"])[0].sum().backward()
    # A word that no text holds is an answer that was not right: the tie gives it a gradient.
    absent = next(word for word in range(5, 50) if word not in batch["input_ids"])
    assert model.text_model.embeddings.word_embeddings.weight.grad[absent].abs().sum() > 0


def test_a_tokenizer_of_another_tower_is_refused(tokenizer):
    with pytest.raises(ValueError, match=f"The tokenizer has {len(tokenizer)} entries, the text tower 9"):
        MaskedLanguage(tokenizer, 16, 9)


def test_a_tokenizer_without_a_mask_is_named(tokenizer):
    tokenizer.mask_token = None
    with pytest.raises(ValueError, match="has no mask token"):
        MaskedLanguage(tokenizer, 16, 50)
