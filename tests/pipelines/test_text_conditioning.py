import pytest
import torch
from transformers import RobertaConfig, RobertaModel, T5Config, T5EncoderModel

from synthcxr.pipelines.text_conditioning import (
    encode_prompts,
    encode_tokens,
    mean_token,
    reads_whole_window,
    token_window,
    tokenize_prompts,
    unet_conditions,
)


TEXTS = ["Large left pleural effusion.", "Normal chest.", ""]


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def test_clip_reads_its_whole_window_without_a_mask(stable_diffusion):
    pipeline = stable_diffusion[1]
    assert reads_whole_window(pipeline.text_encoder)
    embeds, mask = encode_prompts(TEXTS, pipeline.tokenizer, pipeline.text_encoder)
    assert embeds.shape == (3, 77, 16)
    assert mask is None
    expected, _ = pipeline.encode_prompt(TEXTS, "cpu", 1, False)
    torch.testing.assert_close(embeds, expected)


def test_bert_is_padded_to_the_longest_and_masked(flow_pipeline):
    tokenizer, text_encoder = flow_pipeline.tokenizer, flow_pipeline.text_encoder
    assert not reads_whole_window(text_encoder)
    embeds, mask = encode_prompts(TEXTS, tokenizer, text_encoder)
    lengths = [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert mask.sum(dim=1).tolist() == lengths
    assert embeds.shape == (3, max(lengths), 16)


def test_other_texts_of_the_batch_do_not_change_a_text(flow_pipeline):
    together, _ = encode_prompts(TEXTS, flow_pipeline.tokenizer, flow_pipeline.text_encoder)
    for row, text in enumerate(TEXTS):
        alone, mask = encode_prompts([text], flow_pipeline.tokenizer, flow_pipeline.text_encoder)
        assert mask.all()
        torch.testing.assert_close(together[row, : alone.shape[1]], alone[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["flow", "clip"])
def test_texts_beyond_the_window_are_cut(kind, flow_pipeline, stable_diffusion):
    pipeline = flow_pipeline if kind == "flow" else stable_diffusion[2]
    tokens = tokenize_prompts(["effusion " * 500], pipeline.tokenizer, pipeline.text_encoder)
    assert tokens["input_ids"].shape == (1, pipeline.text_encoder.config.max_position_embeddings)
    assert ("attention_mask" in tokens) == (kind == "flow")


def test_tokens_may_be_encoded_apart_from_their_texts(flow_pipeline):
    tokens = tokenize_prompts(TEXTS, flow_pipeline.tokenizer, flow_pipeline.text_encoder)
    embeds, mask = encode_prompts(TEXTS, flow_pipeline.tokenizer, flow_pipeline.text_encoder)
    again = encode_tokens(tokens["input_ids"], flow_pipeline.text_encoder, attention_mask=tokens["attention_mask"])
    assert torch.equal(again, embeds)
    assert torch.equal(tokens["attention_mask"], mask)


def test_the_mean_of_a_text_leaves_its_padding_out(flow_pipeline):
    embeds, mask = encode_prompts(TEXTS, flow_pipeline.tokenizer, flow_pipeline.text_encoder)
    expected = torch.stack([tokens[keep.bool()].mean(dim=0) for tokens, keep in zip(embeds, mask, strict=True)])
    torch.testing.assert_close(mean_token(embeds, mask), expected)
    torch.testing.assert_close(mean_token(embeds, None), embeds.mean(dim=1))


def test_a_unet_of_ours_is_told_the_mean_and_one_of_stable_diffusion_is_not(flow_pipeline, stable_diffusion):
    embeds, mask = encode_prompts(TEXTS, flow_pipeline.tokenizer, flow_pipeline.text_encoder)
    told = unet_conditions(flow_pipeline.unet, embeds, mask)
    assert torch.equal(told["class_labels"], mean_token(embeds, mask))
    assert set(unet_conditions(stable_diffusion[1].unet, embeds, mask)) == set(told) - {"class_labels"}


def test_positions_of_roberta_begin_after_the_padding_token(flow_pipeline):
    tokenizer = flow_pipeline.tokenizer
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=20, pad_token_id=1, **sizes)
    text_encoder = RobertaModel(config)
    assert token_window(tokenizer, text_encoder) == 18
    embeds, _ = encode_prompts(["effusion " * 50], tokenizer, text_encoder)
    assert embeds.shape[1] == 18


def test_an_encoder_without_a_limit_reads_what_its_tokenizer_does(flow_pipeline):
    text_encoder = T5EncoderModel(T5Config(d_model=16, d_ff=16, num_layers=1, num_heads=2, vocab_size=200))
    assert token_window(flow_pipeline.tokenizer, text_encoder) == flow_pipeline.tokenizer.model_max_length
