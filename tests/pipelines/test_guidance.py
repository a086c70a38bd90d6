import torch

from synthcxr.pipelines.guidance import guide, join_conditions, repeat_condition


def test_guidance_of_one_is_the_conditional_prediction_and_more_leads_on():
    unconditional, conditional = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    predictions = torch.cat([unconditional, conditional])
    assert torch.equal(guide(predictions, 1.0), conditional)
    assert torch.equal(guide(predictions, 3.0), 3 * conditional)
    assert torch.equal(guide(predictions, 0.0), unconditional)


def test_conditions_of_one_length_need_no_mask():
    embeds, mask = join_conditions(torch.zeros(2, 7, 4), torch.ones(2, 7, 4))
    assert embeds.shape == (4, 7, 4)
    assert embeds[:2].eq(0).all()
    assert embeds[2:].eq(1).all()
    assert mask is None


def test_the_shorter_condition_is_padded_and_masked():
    prompt_mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    embeds, mask = join_conditions(torch.full((2, 2, 3), 5.0), torch.ones(2, 4, 3), torch.ones(2, 2), prompt_mask)
    assert embeds[:2, 2:].eq(0).all()
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]]
    _, mask = join_conditions(torch.ones(1, 2, 3), torch.ones(1, 4, 3))
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_images_of_a_prompt_follow_each_other():
    embeds, mask = repeat_condition(torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[1], [0]]), 4, "cpu")
    assert embeds.flatten().tolist() == [1, 1, 2, 2]
    assert mask.flatten().tolist() == [1, 1, 0, 0]
