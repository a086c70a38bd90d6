"""What is MGCA's own: three alignments, weights of words and patches, prototypes."""

import math

import pytest
import torch
from tiny_models import VOCAB_SIZE, make_batch, make_model, make_text_config, make_vision_config
from torch.nn import functional as F
from transformers import AutoModel, CLIPVisionConfig, DistilBertConfig

from synthcxr.models import MgcaConfig, MgcaModel
from synthcxr.models.layers_towers import image_states


def slow_global_loss(images, texts, temperature):
    """Row by row, both directions summed."""
    total = 0.0
    for row in range(len(images)):
        for queries, keys in ((images, texts), (texts, images)):
            logits = [queries[row] @ key / temperature for key in keys]
            total += torch.stack(logits).logsumexp(dim=0) - logits[row]
    return total / len(images)


def slow_local_loss(patches, words, word_weights, patch_weights, temperature):
    """One study without padding: every word, then every patch, against the others of its kind."""
    patches, words = F.normalize(patches, dim=-1), F.normalize(words, dim=-1)
    total = 0.0
    for own, others, weights in ((words, patches, word_weights), (patches, words, patch_weights)):
        answers = []
        for query in own:
            attention = torch.stack([query @ other / temperature for other in others]).softmax(dim=0)
            answers.append(F.normalize((attention.unsqueeze(1) * others).sum(dim=0), dim=0))
        for place, weight in enumerate(weights):
            to_answers = torch.stack([own[place] @ answer / temperature for answer in answers])
            to_own = torch.stack([answers[place] @ other / temperature for other in own])
            for logits in (to_answers, to_own):
                total += 0.5 * weight * (logits.logsumexp(dim=0) - logits[place])
    return total


def slow_prototype_loss(images, texts, prototypes, config):
    """Sinkhorn as published: on exponentials, prototypes down and samples across."""
    directions = F.normalize(prototypes, dim=-1)
    scores = [images @ directions.T, texts @ directions.T]
    codes = []
    for score in scores:
        code = (score.detach() / config.sinkhorn_epsilon).exp().T
        for _ in range(config.num_sinkhorn_iterations):
            code = code / code.sum(dim=1, keepdim=True) / len(code)
            code = code / code.sum(dim=0, keepdim=True) / code.shape[1]
        codes.append((code / code.sum(dim=0, keepdim=True)).T)
    logs = [(score / config.prototype_temperature).softmax(dim=-1).log() for score in scores]
    return -(codes[0] * logs[1]).sum(dim=1).mean() / 2 - (codes[1] * logs[0]).sum(dim=1).mean() / 2


def slow_loss(model, output):
    """Of the fields of an output, a study at a time."""
    config, images, num_rows = model.config, output.image_embeds, len(output.image_embeds)
    views = output.text_embeds.split(num_rows)
    global_loss = sum(slow_global_loss(images, texts, config.temperature) for texts in views) / len(views)
    local_loss = 0.0
    for row in range(num_rows):
        real = output.word_mask[row].bool()
        parts = (output.patch_embeds[row], output.word_embeds[row][real], output.word_weights[row][real])
        local_loss += slow_local_loss(*parts, output.patch_weights[row], config.local_temperature) / num_rows
    prototype_loss = slow_prototype_loss(images, views[0], model.prototypes.weight, config)
    weights = (config.global_weight, config.local_weight, config.prototype_weight)
    return sum(weight * loss for weight, loss in zip(weights, (global_loss, local_loss, prototype_loss), strict=True))


def sentences(batch):
    ids, mask = batch["input_ids"].flip(0)[:, :4], batch["attention_mask"].flip(0)[:, :4]
    return {
        "sentence_input_ids": torch.stack([ids, ids.flip(1)], dim=1),
        "sentence_attention_mask": torch.stack([mask, mask], dim=1),
    }


@pytest.mark.parametrize("with_sentences", [False, True])
@pytest.mark.parametrize("family", ["mgca", "mgca-vit"])
def test_loss_and_gradients_equal_those_of_a_loop_over_studies(family, with_sentences, batch):
    model = make_model(family, global_weight=0.9, local_weight=0.7, prototype_weight=0.5).double().train()
    batch["pixel_values"] = batch["pixel_values"].double()
    model.word_index.piece_kinds[20:35] = 1  # some pieces continue a word
    inputs = batch | (sentences(batch) if with_sentences else {})
    gradients = []
    for slow in (False, True):
        torch.manual_seed(0)  # dropout
        output = model(**inputs, return_loss=True)
        loss = slow_loss(model, output) if slow else output.loss
        model.zero_grad()
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        if slow:
            torch.testing.assert_close(output.loss, loss, rtol=1e-6, atol=1e-6)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("num_images", [1, 5])
def test_parts_of_the_loss_without_information_are_known_numbers(num_images):
    """All alike: every choice is even."""
    model = make_model("mgca")
    ones = torch.ones(num_images, 12)
    states = {
        "image_embeds": ones,
        "text_embeds": ones,
        "patch_embeds": torch.ones(num_images, 4, 12),
        "patch_weights": torch.ones(num_images, 4),
        "word_embeds": torch.ones(num_images, 6, 12),
        "word_weights": torch.tensor([[1.0, 2, 3, 0, 0, 0]]).repeat(num_images, 1),
        "word_mask": torch.tensor([[1, 1, 1, 0, 0, 0]]).repeat(num_images, 1),
    }
    with torch.no_grad():
        model.prototypes.weight.fill_(1.0)
    expected = 2 * math.log(num_images) + math.log(3) + math.log(4) + math.log(7)
    assert model.compute_loss(**states).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["mgca", "mgca-vit"])
def test_padding_changes_neither_words_nor_loss_nor_gradients(family, batch):
    """In training mode too, where batch normalisation looks at the batch."""
    results = []
    for extra in (0, 7):
        model = make_model(family).double().train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.text_model.config.attention_probs_dropout_prob = 0.0
        padded = {name: F.pad(batch[name], (0, extra)) for name in ("input_ids", "attention_mask")}
        output = model(**padded, pixel_values=batch["pixel_values"].double(), return_loss=True)
        output.loss.backward()
        words = output.word_embeds[output.word_mask.bool()]
        weights = output.word_weights[output.word_mask.bool()]
        assert not output.word_weights[output.word_mask == 0].any()
        results.append((output.loss, words, weights, model.text_model.embeddings.word_embeddings.weight.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_fields_that_are_filled_up_with_zeros_give_the_same_loss(batch):
    """What gradient caching does with micro-batches of unequal length."""
    model = make_model("mgca").train()
    output = model(**batch, return_loss=True)
    states = {name: output[name].detach() for name in model.loss_inputs}
    longer = {
        name: F.pad(value, (0, 0) * (value.ndim - 2) + (0, 5)) for name, value in states.items() if "word" in name
    }
    torch.testing.assert_close(model.compute_loss(**states | longer), output.loss.detach())


def test_padding_can_stay_among_the_negatives(batch):
    masked, kept = (make_model("mgca", padding_as_negatives=kept).eval() for kept in (False, True))
    with torch.no_grad():
        assert kept(**batch, return_loss=True).loss > masked(**batch, return_loss=True).loss
        whole = {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}
        torch.testing.assert_close(kept(**whole, return_loss=True).loss, masked(**whole, return_loss=True).loss)


@pytest.mark.parametrize("family", ["mgca", "mgca-vit"])
def test_words_and_patches_do_not_depend_on_their_neighbours(family, batch):
    model = make_model(family).eval()
    with torch.no_grad():
        together = model(**batch)
        alone = model(**{name: value[:1] for name, value in batch.items()})
    for name in ("patch_embeds", "patch_weights", "word_embeds", "word_weights", "word_mask"):
        length = alone[name].shape[1]  # words: as many as the longest text of the batch has
        torch.testing.assert_close(together[name][:1, :length], alone[name], rtol=1e-5, atol=1e-6, msg=name)
    assert not together.word_mask[0, alone.word_mask.shape[1] :].any()


def test_a_word_is_the_sum_of_its_pieces_and_weighs_as_much_as_they_do(batch):
    model = make_model("mgca-vit", low_quantile=0.0, high_quantile=1.0).eval()
    model.word_index.piece_kinds[int(batch["input_ids"][1, 3])] = 1
    with torch.no_grad():
        pieces = model.text_model(batch["input_ids"][1:2], attn_implementation="eager").last_hidden_state[0]
        model.text_model.set_attn_implementation("eager")
        maps = model.text_model(batch["input_ids"][1:2], output_attentions=True).attentions[-1]
        output = model(**{name: value[1:2] for name, value in batch.items()})
    word = pieces[2] + pieces[3]
    expected = model.word_projection(word.unsqueeze(0), torch.ones(1))
    torch.testing.assert_close(output.word_embeds[0, 1], expected[0], rtol=1e-5, atol=1e-5)
    attention = maps[0, :, 0].mean(dim=0)
    share = (attention[2] + attention[3]) / attention[1:].sum()
    torch.testing.assert_close(output.word_weights[0, 1], share, rtol=1e-5, atol=1e-6)
    assert output.word_mask[0].tolist() == [1] * 7  # nine pieces: [CLS], and one that continues


def test_weights_sum_to_one_and_those_of_a_resnet_are_even(batch):
    resnet, vit = make_model("mgca").eval()(**batch), make_model("mgca-vit").eval()(**batch)
    for output in (resnet, vit):
        torch.testing.assert_close(output.word_weights.sum(dim=1), torch.ones(3))
        torch.testing.assert_close(output.patch_weights.sum(dim=1), torch.ones(3))
    assert resnet.patch_weights.unique().numel() == 1
    assert vit.patch_weights.unique().numel() > 10


def test_weights_of_patches_are_the_clipped_attention_of_the_class_token(batch):
    model = make_model("mgca-vit").eval()
    with torch.no_grad():
        output = model(**batch)
        model.vision_model.set_attn_implementation("eager")
        maps = model.vision_model(batch["pixel_values"], output_attentions=True).attentions[-1]
    for row in range(3):
        attention = maps[row, :, 0, 1:].mean(dim=0)
        clipped = attention.clip(attention.quantile(0.1), attention.quantile(0.9))
        torch.testing.assert_close(output.patch_weights[row], clipped / clipped.sum(), rtol=1e-5, atol=1e-6)


def test_a_text_tower_of_another_family_shows_its_maps(batch, tmp_path):
    text_config = DistilBertConfig(vocab_size=VOCAB_SIZE, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    model = MgcaModel(
        MgcaConfig(vision_config=make_vision_config(), text_config=text_config, projection_dim=12, num_prototypes=7)
    )
    model(**batch, return_loss=True).loss.backward()
    model.eval().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(loaded(**batch).word_weights, model(**batch).word_weights)


@pytest.mark.parametrize("kind", ["dinov2", "convnext", "swin"])
def test_any_image_encoder_can_be_a_tower(kind, batch):
    model = make_model("mgca", vision=kind).train()
    output = model(**batch, return_loss=True)
    output.loss.backward()
    assert output.loss.isfinite()
    assert output.patch_embeds.shape[1] == model.eval().get_similarity_maps(**batch)[0].numel()


def test_a_class_token_that_is_not_read_is_logged(batch, caplog):
    vision = CLIPVisionConfig(
        **{"image_size": 32, "patch_size": 8, "num_channels": 1, "hidden_size": 16, "intermediate_size": 32},
        **{"num_hidden_layers": 2, "num_attention_heads": 2},
    )
    model = MgcaModel(MgcaConfig(vision_config=vision, text_config=make_text_config(), projection_dim=12)).eval()
    assert "Patches of CLIPVisionModel weigh alike" in caplog.text
    assert model(**batch).patch_weights.unique().numel() == 1
    caplog.clear()
    for kind in ("resnet", "vit", "dinov2", "convnext", "swin"):  # no class token, or one that is read
        make_model("mgca", vision=kind)
    assert "weigh alike" not in caplog.text


def test_patches_of_a_resnet_come_from_the_stage_before_its_last():
    with torch.device("meta"):
        for vision, grid in (("resnet", (14, 14)), ("vit", (14, 14))):
            model = MgcaModel(MgcaConfig.base(vision))
            stage = model.config.local_stage
            _, patches = image_states(model.vision_model, torch.empty(2, 3, 224, 224), stage=stage)
            assert patches.shape[2:] == grid
            assert model.patch_projection[0].in_features == patches.shape[1]


def test_logits_are_cosines_over_the_temperature(batch):
    output = make_model("mgca", temperature=0.2).eval()(**batch)
    torch.testing.assert_close(output.logits_per_image, output.image_embeds @ output.text_embeds.T / 0.2)


def test_a_similarity_map_is_the_cosine_of_patches_with_the_mean_word(batch):
    model = make_model("mgca").eval()
    with torch.no_grad():
        output, maps = model(**batch), model.get_similarity_maps(**batch)
    for row in range(3):
        words = F.normalize(output.word_embeds[row], dim=-1)
        text = (output.word_weights[row].unsqueeze(1) * words).sum(dim=0)
        expected = F.cosine_similarity(output.patch_embeds[row], text.unsqueeze(0), dim=-1)
        torch.testing.assert_close(maps[row].flatten(), expected, rtol=1e-5, atol=1e-5)


def test_only_the_direction_of_a_prototype_counts(batch):
    model = make_model("mgca").eval()
    with torch.no_grad():
        before = model(**batch, return_loss=True).loss
        model.prototypes.weight.mul_(torch.rand(7, 1) + 0.5)
        torch.testing.assert_close(model(**batch, return_loss=True).loss, before)


def test_prototypes_are_held_back_for_so_many_epochs():
    model = make_model("mgca", num_frozen_prototype_epochs=2)
    assert [len(model.frozen_parameters(epoch)) for epoch in (0, 1, 2, 3)] == [1, 1, 0, 0]
    assert model.frozen_parameters(0)[0] is model.prototypes.weight
    assert make_model("convirt").frozen_parameters(0) == []


def test_gradient_checkpointing_keeps_the_gradients(batch):
    gradients = []
    for checkpointing in (False, True):
        model = make_model("mgca-vit").train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(0)
        model(**batch, return_loss=True).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_autocast_trains_like_full_precision(batch):
    losses = []
    for enabled in (False, True):
        model = make_model("mgca-vit").eval()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(**batch, return_loss=True).loss
        loss.backward()
        assert all(p.grad is not None for name, p in model.named_parameters() if p.requires_grad), enabled
        losses.append(loss.detach())
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0.05)
    assert losses[1].dtype == torch.float32


@pytest.mark.parametrize("family", ["mgca", "mgca-vit"])
def test_a_training_step_compiles_in_one_piece(family, batch):
    model = make_model(family).double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.text_model.config.attention_probs_dropout_prob = 0.0
    batch["pixel_values"] = batch["pixel_values"].double()
    model.word_index.piece_kinds[5:] = 1  # every text is one word
    if family == "mgca":  # earlier stages hang on hooks of `transformers`, set up in the first call
        model(**batch)
    step = torch.compile(lambda batch: model(**batch, return_loss=True), backend="eager", fullgraph=True)
    output = step(batch)
    assert output.word_mask.shape == (3, 8)  # no shape hangs on a value
    loss, expected = output.loss, model(**batch, return_loss=True).loss
    torch.testing.assert_close(loss, expected)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = [torch.autograd.grad(item, parameters) for item in (loss, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("absent", ["local", "prototype"])
def test_a_loss_of_weight_zero_is_left_out_and_what_it_alone_trains_is_frozen(absent, batch, tmp_path):
    model = make_model("mgca", **{f"{absent}_weight": 0.0}).train()
    model.save_pretrained(tmp_path)
    for trained in (model, MgcaModel.from_pretrained(tmp_path).train()):
        output = trained(**batch, return_loss=True)
        output.loss.backward()
        assert all((item.grad is None) is not item.requires_grad for item in trained.parameters())
    frozen = {name.split(".")[0] for name, item in model.named_parameters() if not item.requires_grad}
    assert frozen == {"local": {"patch_projection", "word_projection"}, "prototype": {"prototypes"}}[absent]
    states = {name: output[name].detach() for name in model.loss_inputs}
    if absent == "local":
        states["word_embeds"].fill_(float("nan"))
    else:
        trained.prototypes.weight.data.fill_(float("nan"))
    torch.testing.assert_close(trained.compute_loss(**states), output.loss.detach())


def test_a_stage_that_the_tower_lacks_is_named():
    with pytest.raises(ValueError, match="local_stage=-9, but the vision tower has the stages -2 to -1"):
        make_model("mgca", local_stage=-9)


@pytest.mark.parametrize("family", ["mgca", "mgca-vit"])
def test_training_on_pairs_lowers_the_loss(family):
    """Each image has its own bright corner, each text its own word."""
    model = make_model(family).train()
    pixel_values = torch.zeros(4, 1, 32, 32)
    for row in range(4):
        pixel_values[row, :, 16 * (row // 2) :, 16 * (row % 2) :] = row + 1
    input_ids = torch.arange(10, 14).unsqueeze(1).expand(-1, 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        output = model(input_ids=input_ids, pixel_values=pixel_values, return_loss=True)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert model.compute_global_loss(output.image_embeds, output.text_embeds) < 1.0  # 2.8 at first
    assert output.logits_per_image.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_the_embedded_default_trains_on_a_grey_image_of_64_pixels():
    model = MgcaModel(MgcaConfig.tiny(vocab_size=99)).train()
    assert sum(parameter.numel() for parameter in model.parameters()) < 3e6
    batch = make_batch(batch_size=2) | {"pixel_values": torch.randn(2, 1, 64, 64)}
    output = model(**batch, return_loss=True)
    assert output.patch_embeds.shape == (2, 64, 128)
    output.loss.backward()


def test_pretrained_towers_bring_their_vocabulary(tmp_path):
    from transformers import BertModel, BertTokenizer, ViTModel

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "effusion", "effus", "##ion"]
    ViTModel(make_vision_config("vit")).save_pretrained(tmp_path / "vision")
    BertModel(make_text_config()).save_pretrained(tmp_path / "text")
    BertTokenizer(vocab={word: index for index, word in enumerate(words)}).save_pretrained(tmp_path / "text")
    model = MgcaModel.from_vision_text_pretrained(tmp_path / "vision", tmp_path / "text", num_prototypes=7)
    assert model.word_index.piece_kinds[:8].tolist() == [0, 0, 0, 2, 0, 0, 0, 1]
