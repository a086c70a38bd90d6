import torch
from tiny_generators import tiny_flow_pipeline, tiny_stable_diffusion

from synthcxr.pipelines.text_conditioning import encode_prompts
from synthcxr.training.prompt_cache import PromptCache


TEXTS = ["large left effusion", "", "no pneumothorax", "large left effusion"]


def test_cached_prompts_are_those_of_the_encoder():
    pipeline = tiny_flow_pipeline()
    cache = PromptCache(pipeline.tokenizer, pipeline.text_encoder)
    for _ in range(2):
        embeds, mask = cache(TEXTS)
        expected, expected_mask = encode_prompts(TEXTS, pipeline.tokenizer, pipeline.text_encoder)
        assert torch.equal(mask, expected_mask)
        torch.testing.assert_close(embeds * mask[..., None], expected * mask[..., None])


def test_a_prompt_is_encoded_once():
    pipeline = tiny_flow_pipeline()
    seen = []
    pipeline.text_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    cache = PromptCache(pipeline.tokenizer, pipeline.text_encoder)
    cache(TEXTS)
    cache([*TEXTS, "clear lungs"])
    assert seen == [1, 1, 1, 1]
    small = PromptCache(pipeline.tokenizer, pipeline.text_encoder, max_bytes=1)
    small(TEXTS)
    small(TEXTS)
    assert len(seen) == 4 + 3 + 3


def test_where_nothing_is_kept_prompts_are_encoded_together():
    pipeline = tiny_flow_pipeline()
    (embeds, mask), (kept, kept_mask) = (
        PromptCache(pipeline.tokenizer, pipeline.text_encoder, **room)(TEXTS) for room in ({"max_bytes": 0}, {})
    )
    assert torch.equal(mask, kept_mask)
    torch.testing.assert_close(embeds * mask[..., None], kept * mask[..., None])
    assert not embeds.requires_grad


def test_clip_has_no_mask():
    pipeline = tiny_stable_diffusion(1)
    embeds, mask = PromptCache(pipeline.tokenizer, pipeline.text_encoder)(TEXTS)
    assert mask is None
    torch.testing.assert_close(embeds, encode_prompts(TEXTS, pipeline.tokenizer, pipeline.text_encoder)[0])


def test_who_asks_first_does_not_decide_the_type():
    pipeline = tiny_flow_pipeline()
    embeds = []
    for enabled in (False, True):
        cache = PromptCache(pipeline.tokenizer, pipeline.text_encoder)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            embeds.append(cache(TEXTS)[0])
    assert torch.equal(*embeds)
