import json
import shutil
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from recipe_steps import SETTINGS, steps, steps_in_groups
from safetensors.torch import load_file
from tiny_models import make_batch, make_model
from transformers import AutoModel

from synthcxr.data.finding_statements import NUM_STATEMENTS
from synthcxr.models import ConvirtModel, info_nce_loss
from synthcxr.ontology import FINDING_IDS
from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.gradient_cache import cached_backward
from synthcxr.training.low_data_recipe import LowDataRecipe
from synthcxr.training.low_data_settings import LowDataSettings
from synthcxr.training.pretrain import RECORD_NAME, build_model, build_trainer, load_splits, pretrain
from synthcxr.training.sentence_agreement import agreement_loss, true_sentences
from synthcxr.training.tokenizer import train_tokenizer


ALL_PARTS = LowDataSettings(
    local_loss_weight=0.5,
    image_self_supervision_weight=0.7,
    masked_language_weight=0.3,
    num_image_views=2,
    num_text_views=2,
    neighbour_weight=0.9,
    neighbour_queue_size=5,
    agreement_weight=0.6,
    outline_weight=0.8,
)
FAMILIES = ("convirt", "convirt-vit", "cxr_clip", "cxr_clip-sigmoid", "gloria", "mgca")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["no left effusion", "tuft of lint", "unfit lens"])


def make_recipe(tokenizer, settings=ALL_PARTS, family="convirt"):
    """In training mode, but without dropout, which would make two passes differ."""
    model = make_model(family)
    recipe = LowDataRecipe(model, tokenizer, settings)
    for module in recipe.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    return recipe


def make_views(settings=ALL_PARTS, batch_size=4):
    """Pairs with as many views as the settings draw, none of them equal."""
    images, texts = settings.num_drawn_image_views, settings.num_text_views
    batch = make_batch(batch_size=batch_size * max(images, texts))

    def views(name, count):
        values = batch[name][: count * batch_size].unflatten(0, (batch_size, count))
        return values if count > 1 else values.squeeze(1)

    made = {
        "pixel_values": views("pixel_values", images),
        "input_ids": views("input_ids", texts),
        "attention_mask": views("attention_mask", texts),
        "report_key": torch.arange(batch_size),
    }
    generator = torch.Generator().manual_seed(3)
    if settings.agreement_weight:
        made["sentence_input_ids"] = torch.randint(5, 50, (batch_size, 2, 6), generator=generator)
        made["report_statements"] = torch.rand(batch_size, NUM_STATEMENTS, generator=generator) < 0.3
        made["sentence_statements"] = torch.rand(batch_size, 2, NUM_STATEMENTS, generator=generator) < 0.005
    if settings.outline_weight:
        made["finding_maps"] = torch.rand(batch_size, len(FINDING_IDS), 16, 16, generator=generator)
        made["has_maps"] = torch.arange(batch_size) != 1
    return made


def without_buffers(model, inputs):
    """A pass in training mode that leaves no trace in batch normalisation."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad():
        output = model(**inputs)
    for name, value in model.named_buffers():
        value.copy_(before[name])
    return output


@pytest.mark.parametrize("family", FAMILIES)
def test_without_parts_it_is_the_model_to_the_bit(tokenizer, family):
    """Loss, every gradient, and what dropout draws."""
    batch, losses, gradients = make_batch(), [], []
    for wrap in (False, True):
        model = make_model(family)
        trained = LowDataRecipe(model, tokenizer, LowDataSettings()) if wrap else model
        torch.manual_seed(1)
        loss = trained.train()(**batch, return_loss=True)["loss"]
        loss.backward()
        losses.append(loss)
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert losses[0].equal(losses[1])
    assert len(gradients[0]) == len(gradients[1]) > 0
    assert all(one.equal(other) for one, other in zip(*gradients, strict=True))


def test_in_evaluation_it_is_the_model(tokenizer):
    recipe = make_recipe(tokenizer).eval()
    batch = make_batch()
    expected, output = recipe.model(**batch, return_loss=True), recipe(**batch, return_loss=True)
    assert expected.loss.equal(output.loss)
    assert expected.logits_per_image.equal(output.logits_per_image)


@pytest.mark.parametrize("sentences", [0, 2])
def test_the_loss_of_views_is_the_mean_over_all_their_pairs(tokenizer, sentences):
    settings = LowDataSettings(num_image_views=2, num_text_views=3)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    model = recipe.model.eval()  # batch normalisation by running statistics: views do not meet
    extra = {}
    if sentences:
        extra["sentence_input_ids"] = torch.randint(5, 50, (4, sentences, 6))
    loss = recipe(**batch, **extra, return_loss=True)["loss"]
    expected = []
    for image, text in product(range(2), range(3)):
        pair = {"pixel_values": batch["pixel_values"][:, image]}
        pair |= {name: batch[name][:, text] for name in ("input_ids", "attention_mask")}
        expected.append(model(**pair, **extra, return_loss=True).loss)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


@pytest.mark.parametrize("family", FAMILIES)
def test_views_work_with_every_model(tokenizer, family):
    settings = LowDataSettings(num_image_views=2, num_text_views=2)
    recipe, batch = make_recipe(tokenizer, settings, family), make_views(settings)
    model = recipe.model
    fields = recipe(**batch)
    assert set(model.image_loss_inputs) | set(model.text_loss_inputs) == set(model.loss_inputs)
    assert all(len(fields[name]) == 2 * len(batch["pixel_values"]) for name in model.loss_inputs)
    expected = []
    for image, text in product(range(2), range(2)):
        pair = {name: fields[name][4 * image : 4 * image + 4] for name in model.image_loss_inputs}
        pair |= {name: fields[name][4 * text : 4 * text + 4] for name in model.text_loss_inputs}
        expected.append(model.compute_loss(**pair))
    loss = recipe.compute_loss(**{name: fields[name] for name in recipe.loss_inputs})
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_a_second_view_for_self_supervision_alone_meets_no_text(tokenizer):
    settings = LowDataSettings(image_self_supervision_weight=1.0)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    recipe.model.eval()
    fields = recipe(**batch)
    losses = recipe.compute_losses(**{name: fields[name] for name in recipe.loss_inputs})
    plain = recipe.model(**{**batch, "pixel_values": batch["pixel_values"][:, 0], "report_key": None})
    expected = recipe.model.compute_loss(plain.image_embeds, plain.text_embeds)
    torch.testing.assert_close(losses["pairs"], expected)


def test_the_parts_see_what_the_towers_gave_the_model(tokenizer):
    """Pooled states, patches and words are those of the model's own pass: the towers run once, and once for words."""
    recipe, batch = make_recipe(tokenizer), make_views()
    calls = []
    for name in ("vision_model", "text_model"):
        getattr(recipe.model, name).register_forward_hook(lambda *_, name=name: calls.append(name))
    recipe(**batch)
    # Images; texts, sentences, texts with hidden words.
    assert sorted(calls) == ["text_model", "text_model", "text_model", "vision_model"]


def test_the_loss_is_the_weighted_sum_of_the_parts(tokenizer):
    recipe, batch = make_recipe(tokenizer), make_views()
    recipe.neighbours.push(torch.randn(3, 12), torch.tensor([100, 101, 102]))
    fields = recipe(**batch)
    fields = {name: fields[name] for name in recipe.loss_inputs}
    parts = recipe.compute_losses(**fields)
    expected = parts["pairs"] + 0.5 * parts["local"] + 0.7 * parts["image_self_supervision"]
    expected = expected + 0.3 * parts["masked_language"] + 0.9 * parts["neighbour"]
    expected = expected + 0.6 * parts["agreement"] + 0.8 * parts["outlines"]
    torch.testing.assert_close(recipe.compute_loss(**fields), expected)
    torch.testing.assert_close(parts["image_self_supervision"], fields["image_self_supervision"].mean())
    torch.testing.assert_close(
        parts["masked_language"], fields["masked_language"].sum() / fields["num_masked"].sum().clamp(min=1)
    )


def test_sentences_are_right_for_every_image_whose_report_says_the_same(tokenizer):
    """The model's own loss sees whole texts alone; every view of the images meets the sentences."""
    settings = LowDataSettings(agreement_weight=1.0, num_image_views=2)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    fields = recipe(**batch)
    losses = recipe.compute_losses(**{name: fields[name] for name in recipe.loss_inputs})
    views, sentences = fields["image_embeds"].chunk(2), fields["text_embeds"][4:]
    said = batch["sentence_statements"].transpose(0, 1).flatten(0, 1)
    holds = true_sentences(said, batch["report_statements"])
    expected = [agreement_loss(view, sentences, holds, temperature=0.1) for view in views]
    torch.testing.assert_close(losses["agreement"], torch.stack(expected).mean())
    texts = fields["text_embeds"][:4]
    expected = [recipe.model.compute_loss(view, texts) for view in views]
    torch.testing.assert_close(losses["pairs"], torch.stack(expected).mean())


def test_images_without_masks_take_no_part_in_the_outlines(tokenizer):
    settings = LowDataSettings(outline_weight=1.0)
    recipe, batch = make_recipe(tokenizer, settings).eval(), make_views(settings)
    recipe.training = True  # running statistics: images do not meet
    fields = recipe(**batch)
    loss = recipe.compute_losses(**{name: fields[name] for name in recipe.loss_inputs})["outlines"]
    torch.testing.assert_close(loss, fields["outlines"][[0, 2, 3]].mean())
    batch["has_maps"][:] = False
    fields = recipe(**batch)
    assert recipe.compute_losses(**{name: fields[name] for name in recipe.loss_inputs})["outlines"] == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_findings_are_outlined_in_the_last_two_stages_or_in_the_patches(tokenizer, family):
    settings = LowDataSettings(outline_weight=1.0)
    recipe, batch = make_recipe(tokenizer, settings, family), make_views(settings)
    hierarchical = hasattr(recipe.config.vision_config, "hidden_sizes")
    assert len(recipe.outlines.readers) == (2 if hierarchical else 1)
    recipe(**batch, return_loss=True)["loss"].backward()
    assert all(parameter.grad.any() for parameter in recipe.outlines.parameters())


def test_neighbours_are_positives_of_the_images(tokenizer):
    settings = LowDataSettings(neighbour_weight=2.0, num_image_views=2, neighbour_queue_size=6)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    queued = F.normalize(torch.randn(6, 12), dim=-1)
    recipe.neighbours.push(queued, torch.tensor([0, 1, 2, 3, 50, 51]))
    fields = recipe(**batch)
    fields = {name: fields[name] for name in recipe.loss_inputs}
    texts = fields["text_embeds"].detach()
    chosen = []
    for row in range(4):
        others = [place for place in range(6) if place != row]  # the place's key is the row's own
        chosen.append(queued[max(others, key=lambda place, row=row: (texts[row] @ queued[place]).item())])
    chosen = torch.stack(chosen)
    temperature = recipe.model.config.temperature
    losses = [
        info_nce_loss(view, chosen, temperature=temperature, image_to_text_weight=0.75)
        for view in fields["image_embeds"].chunk(2)
    ]
    torch.testing.assert_close(recipe.compute_losses(**fields)["neighbour"], torch.stack(losses).mean())


def test_an_empty_queue_weighs_nothing_and_gives_numbers(tokenizer):
    settings = LowDataSettings(neighbour_weight=1.0, neighbour_queue_size=8)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    fields = recipe(**batch)
    loss = recipe.compute_loss(**{name: fields[name] for name in recipe.loss_inputs})
    assert loss.equal(recipe.model.compute_loss(fields["image_embeds"], fields["text_embeds"]))
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in recipe.parameters() if parameter.grad is not None)
    assert recipe.neighbours.filled.sum() == 4
    again = recipe(**batch, return_loss=True)["loss"]  # one's own report is no neighbour, but the other three are
    assert again > loss


def test_the_queue_takes_a_batch_once_and_only_in_training(tokenizer):
    settings = LowDataSettings(neighbour_weight=1.0, neighbour_queue_size=64)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    recipe.eval()(**{**batch, "report_key": None}, return_loss=True)
    assert not recipe.neighbours.filled.any()
    recipe.train()(**batch)  # no loss, no step
    assert not recipe.neighbours.filled.any()
    cached_backward(recipe, batch | {"return_loss": True}, mini_batch_size=2)
    assert recipe.neighbours.keys[recipe.neighbours.filled].tolist() == [0, 1, 2, 3]


def test_cached_gradients_are_those_of_the_whole_batch(tokenizer):
    """All parts but hidden words, whose draws depend on the batch, and SimSiam, which normalises by it."""
    gradients = []
    for size in (None, 1, 3):
        recipe, batch = make_recipe(tokenizer, SETTINGS, "convirt-vit").double(), make_views(SETTINGS)
        batch |= {name: batch[name].double() for name in ("pixel_values", "finding_maps")}
        torch.manual_seed(0)
        recipe.neighbours.push(torch.randn(6, 12), torch.arange(6))
        if size is None:
            recipe(**batch, return_loss=True)["loss"].backward()
        else:
            cached_backward(recipe, batch | {"return_loss": True}, mini_batch_size=size)
        gradients.append({name: p.grad for name, p in recipe.named_parameters() if p.grad is not None})
    for others in gradients[1:]:
        assert others.keys() == gradients[0].keys()
        for name, gradient in others.items():
            torch.testing.assert_close(gradient, gradients[0][name], rtol=1e-5, atol=1e-9)


def test_cached_steps_with_all_parts_reach_every_weight(tokenizer):
    recipe, batch = make_recipe(tokenizer), make_views()
    recipe.neighbours.push(torch.randn(3, 12), torch.tensor([100, 101, 102]))
    loss = cached_backward(recipe, batch | {"return_loss": True}, mini_batch_size=2)
    assert loss.isfinite()
    assert [name for name, parameter in recipe.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("local", LowDataSettings(local_loss_weight=1.0)),
        ("image_self_supervision", LowDataSettings(image_self_supervision_weight=1.0)),
        ("masked_language", LowDataSettings(masked_language_weight=1.0)),
        ("pairs", LowDataSettings(num_image_views=2, num_text_views=2)),
        ("neighbour", LowDataSettings(neighbour_weight=1.0, neighbour_queue_size=8)),
        ("agreement", LowDataSettings(agreement_weight=1.0)),
        ("outlines", LowDataSettings(outline_weight=1.0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_part_lowers_its_own_loss(tokenizer, part, settings):
    torch.manual_seed(0)
    recipe, batch = make_recipe(tokenizer, settings), make_views(settings)
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        if recipe.neighbours is not None:
            # Much the same neighbours at every step, as many as pairs: the texts of other reports that say the same.
            recipe.neighbours.push(recipe(**batch)["text_embeds"].detach(), torch.arange(100, 104))
        fields = recipe(**batch)
        parts = recipe.compute_losses(**{name: fields[name] for name in recipe.loss_inputs})
        optimizer.zero_grad()
        parts[part].backward()
        optimizer.step()
        losses.append(parts[part].item())
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.1


def test_a_checkpoint_holds_heads_and_queue_and_nothing_twice(tokenizer):
    recipe = make_recipe(tokenizer)
    state = recipe.state_dict()
    assert {name.split(".")[0] for name in state} == {
        *("model", "local_alignment", "sim_siam", "masked_language", "neighbours", "outlines")
    }
    pointers = [value.data_ptr() for value in state.values() if value.numel()]
    assert len(set(pointers)) == len(pointers)
    assert {name.removeprefix("model.") for name in state if name.startswith("model.")} == {*recipe.model.state_dict()}


@pytest.mark.parametrize("family", ["gloria", "mgca"])
def test_a_second_local_loss_is_refused(tokenizer, family):
    with pytest.raises(ValueError, match=f"--local-loss-weight: {family} has a local loss, of local_weight"):
        LowDataRecipe(make_model(family), tokenizer, LowDataSettings(local_loss_weight=1.0))


def test_a_wrong_number_of_views_is_named(tokenizer):
    recipe, batch = make_recipe(tokenizer), make_views()
    with pytest.raises(ValueError, match=r"pixel_values has shape \(4, 1, 1, 32, 32\); expected \(batch_size, 2"):
        recipe(**batch | {"pixel_values": batch["pixel_values"][:, :1]})


def test_neighbours_need_keys(tokenizer):
    with pytest.raises(ValueError, match="report_key of every pair"):
        make_recipe(tokenizer)(**make_views() | {"report_key": None})


def test_sentences_and_maps_are_asked_for(tokenizer):
    batch = make_views()
    with pytest.raises(ValueError, match="--agreement-weight needs sentences"):
        make_recipe(tokenizer)(**batch | {"sentence_statements": None})
    with pytest.raises(ValueError, match="--outline-weight needs finding_maps"):
        make_recipe(tokenizer)(**batch | {"finding_maps": None})


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """The same two steps by one process and by groups of two and four: rank -> way -> what they found."""
    folder = tmp_path_factory.mktemp("groups")
    torch.multiprocessing.spawn(steps_in_groups, args=(str(folder), (4, 2)), nprocs=4)
    found = {size: [torch.load(folder / f"{size}-{rank}.pt") for rank in range(size)] for size in (2, 4)}
    return found | {1: [{"plain": steps(0, 1, cached=False)}]}


@pytest.mark.parametrize("way", ["plain", "cached"])
@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_together_have_the_loss_gradients_and_queue_of_one(groups, num_processes, way):
    alone = groups[1][0]["plain"]
    assert alone["queue"]["filled"].all()
    for found in (rank[way] for rank in groups[num_processes]):
        assert found["loss"] == pytest.approx(alone["loss"], abs=1e-9)
        assert found["gradients"].keys() == alone["gradients"].keys()
        for name, gradient in alone["gradients"].items():
            assert (found["gradients"][name] - gradient).abs().max() < 1e-9, name
        for name, values in alone["queue"].items():
            torch.testing.assert_close(found["queue"][name], values, rtol=0, atol=1e-12)


FLAGS = (
    *("--image-size", "64", "--per-device-train-batch-size", "8", "--per-device-eval-batch-size", "8", "--use-cpu"),
    *("--disable-tqdm", "true", "--max-steps", "6", "--save-steps", "4", "--save-total-limit", "3"),
    *("--local-loss-weight", "0.5", "--image-self-supervision-weight", "0.5", "--masked-language-weight", "0.5"),
    *("--num-image-views", "2", "--num-text-views", "2", "--text-augmentation", "--num-sentences", "2"),
    *("--neighbour-weight", "0.5", "--neighbour-queue-size", "20", "--text-learning-rate", "5e-4"),
    *("--agreement-weight", "0.5", "--outline-weight", "0.5"),
)


def arguments(folder, output_dir, *flags):
    flags = ("--dataset", str(folder), "--output-dir", str(output_dir), *FLAGS, *flags)
    return parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("recipe") / "model"
    return output_dir, pretrain(*arguments(pairs_folder, output_dir))


def test_the_saved_model_is_a_plain_one(finished):
    output_dir, record = finished
    model, loading = AutoModel.from_pretrained(output_dir, output_loading_info=True)
    assert type(model) is ConvirtModel
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert record["num_parameters"] == model.num_parameters()
    assert record["metrics"]["eval_loss"] > 0
    trained = load_file(output_dir / "checkpoint-6" / "model.safetensors")
    saved = load_file(output_dir / "model.safetensors")
    assert all(trained[f"model.{name}"].equal(value) for name, value in saved.items())


def test_a_run_resumed_within_an_epoch_ends_with_the_same_weights_and_queue(finished, pairs_folder, tmp_path):
    output_dir = tmp_path / "model"
    shutil.copytree(finished[0], output_dir)
    # As a kill after the first checkpoint leaves the folder.
    shutil.rmtree(output_dir / "checkpoint-6")
    record = json.loads((output_dir / RECORD_NAME).read_text()) | {"finished": False}
    (output_dir / RECORD_NAME).write_text(json.dumps(record))
    (output_dir / "model.safetensors").unlink()

    assert pretrain(*arguments(pairs_folder, output_dir))["resumed_from"] == "checkpoint-4"
    for name in ("model.safetensors", "checkpoint-6/model.safetensors"):
        whole, resumed = load_file(finished[0] / name), load_file(output_dir / name)
        assert whole.keys() == resumed.keys()
        assert all(whole[key].equal(resumed[key]) for key in whole)
    assert resumed["neighbours.filled"].all()


def test_the_text_tower_within_has_its_own_rate_and_the_heads_the_common_one(pairs_folder, tmp_path):
    script_args, training_args = arguments(pairs_folder, tmp_path)
    splits = load_splits(script_args)
    model, processor = build_model(script_args, texts=splits.train["report"], seed=0)
    trainer = build_trainer(model, processor, splits, script_args, training_args)
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    rates = {
        names[parameter]: group["lr"]
        for group in trainer.create_optimizer().param_groups
        for parameter in group["params"]
    }
    assert rates.keys() == set(names.values())
    assert all(rate == (5e-4 if name.startswith("model.text_") else 1e-3) for name, rate in rates.items())
