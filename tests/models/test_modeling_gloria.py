"""What is GLoRIA's own: the regions, the words, the local loss and the similarity that it predicts with."""

import pytest
import torch
from PIL import Image
from tiny_models import IMAGE_SIZE, make_batch, make_model, make_text_config, make_vision_config
from torch.nn import functional as F
from transformers import AutoModel, BertModel, BertTokenizer, ViTModel, pipeline

from synthcxr.models import CxrImageProcessor, CxrProcessor, GloriaConfig, GloriaModel, set_word_pieces
from synthcxr.models.layers_towers import image_states


LETTERS = "abcdefghijklmnopqrstuv"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
TEXTS = ["left effusion", "no", "a cab at bed", ""]


def make_tokenizer():
    """One piece per letter."""
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)})


@pytest.fixture
def tokens():
    return make_tokenizer()(
        ["abc deaf", "b fade a", "cab"], padding=True, return_token_type_ids=False, return_tensors="pt"
    )


@pytest.fixture
def words_batch(batch, tokens):
    """Three pairs whose texts have words of several pieces."""
    return {**tokens, "pixel_values": batch["pixel_values"]}


def make_gloria(family="gloria", **kwargs):
    model = make_model(family, **kwargs)
    set_word_pieces(model, make_tokenizer())
    return model


def slow_states(model, batch):
    """Per study: image vector, regions, text vector, and `[CLS]` with the words, piece by piece."""
    vision = model.vision_model(batch["pixel_values"], output_hidden_states=True)
    images = model.visual_projection(vision.pooler_output.flatten(1))
    regions = model.local_projection(vision.hidden_states[-2])
    text = model.text_model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True)
    states = sum(text.hidden_states[-4:])  # all three of a tower of two layers
    texts, words = [], []
    for row, (ids, mask) in enumerate(zip(batch["input_ids"], batch["attention_mask"], strict=True)):
        pieces = make_tokenizer().convert_ids_to_tokens(ids[mask == 1])
        texts.append(model.text_projection(states[row, : len(pieces)].mean(dim=0)))
        of_text = []
        for piece, state in zip(pieces, states[row], strict=False):
            if piece.startswith("##"):
                of_text[-1] = of_text[-1] + state
            elif piece != "[SEP]":
                of_text.append(state)
        words.append(model.text_projection(torch.stack(of_text)))
    return images, [region.flatten(1).T for region in regions], torch.stack(texts), words


def slow_word_scores(regions, words):
    """Cosine of each word `(num_words,)` with what it attends to among the regions of one image."""
    attention = (regions @ words.T).softmax(dim=1)  # over words
    attention = (4.0 * attention).softmax(dim=0)  # over regions
    return F.cosine_similarity(attention.T @ regions, words, dim=1)


def slow_matrix(regions, words, score):
    return torch.stack([torch.stack([score(slow_word_scores(one, other)) for other in words]) for one in regions])


def two_way(logits):
    targets = torch.arange(len(logits))
    return F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)


def test_the_loss_and_its_gradient_equal_the_slow_way(words_batch):
    model = make_gloria().double().eval()
    words_batch["pixel_values"] = words_batch["pixel_values"].double()
    images, regions, texts, words = slow_states(model, words_batch)
    local = 10.0 * slow_matrix(regions, words, lambda cosines: (5.0 * cosines).logsumexp(dim=0))
    wholes = 10.0 * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    expected = two_way(local) + two_way(wholes)
    loss = model(**words_batch, return_loss=True).loss
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for one, other in zip(
        torch.autograd.grad(loss, parameters, allow_unused=True),
        torch.autograd.grad(expected, parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_logits_are_the_mean_of_the_best_word_and_of_the_wholes(words_batch):
    model = make_gloria().eval()
    with torch.no_grad():
        images, regions, texts, words = slow_states(model, words_batch)
        output = model(**words_batch)
    without_cls = [of_text[1:] for of_text in words]
    local = slow_matrix(regions, without_cls, lambda cosines: 5.0 * cosines.max())
    expected = (local + F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T) / 2
    torch.testing.assert_close(output.logits_per_image, expected, rtol=1e-5, atol=1e-5)


def test_the_weights_choose_between_the_losses(words_batch):
    def loss(**weights):
        return make_gloria(**weights).eval()(**words_batch, return_loss=True).loss

    parts = loss(local_weight=0.0) + loss(global_weight=0.0)
    torch.testing.assert_close(loss(), parts)
    torch.testing.assert_close(loss(local_weight=0.0, global_weight=0.5), loss(local_weight=0.0) / 2)


def test_without_the_local_loss_its_projection_is_frozen(words_batch, tmp_path):
    make_gloria(local_weight=0.0).save_pretrained(tmp_path)
    for model in (make_gloria(local_weight=0.0), GloriaModel.from_pretrained(tmp_path)):
        model.train()(**words_batch, return_loss=True).loss.backward()
        assert all((item.grad is None) is not item.requires_grad for item in model.parameters())
        assert not model.local_projection.weight.requires_grad
    assert make_gloria().local_projection.weight.requires_grad


def test_a_stage_that_the_tower_lacks_is_named():
    with pytest.raises(ValueError, match="local_stage=-9, but the vision tower has the stages -2 to -1"):
        make_model("gloria", local_stage=-9)


def test_regions_come_from_an_earlier_stage_and_wholes_from_the_last(batch):
    fine, coarse = make_model("gloria").eval(), make_model("gloria", local_stage=-1).eval()
    assert fine(**batch).region_embeds.shape == (3, 64, 12)
    assert coarse(**batch).region_embeds.shape == (3, 16, 12)
    assert fine.local_projection.in_channels == 8
    assert coarse.local_projection.in_channels == 16
    assert make_model("gloria-vit")(**batch).region_embeds.shape == (3, 16, 16)


def test_words_of_the_towers_width_enter_the_space_as_they_are():
    assert list(make_model("gloria-vit").text_projection.parameters()) == []
    assert make_model("gloria").text_projection.weight.shape == (12, 16)


def test_padding_and_neighbours_change_no_word_and_no_score(words_batch):
    model = make_gloria().eval()
    padded = {name: F.pad(words_batch[name], (0, 12)) for name in ("input_ids", "attention_mask")}
    padded["input_ids"][:, -12:] = 9  # whatever stands there
    alone = {name: value[:1] for name, value in words_batch.items()}
    with torch.no_grad():
        output = model(**words_batch, return_loss=True)
        longer = model(**{**words_batch, **padded}, return_loss=True)
        single = model(**alone)
    length = words_batch["input_ids"].shape[1]
    torch.testing.assert_close(longer.word_embeds[:, :length], output.word_embeds, rtol=1e-5, atol=1e-5)
    assert torch.equal(longer.word_mask[:, :length], output.word_mask)
    assert not longer.word_mask[:, length:].any()
    for name in ("loss", "logits_per_image"):
        torch.testing.assert_close(longer[name], output[name], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single.logits_per_image, output.logits_per_image[:1, :1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(single.region_embeds, output.region_embeds[:1], rtol=1e-5, atol=1e-5)


def test_an_empty_text_is_scored_by_its_class_token(batch):
    tokens = make_tokenizer()(TEXTS, padding=True, return_tensors="pt")
    model = make_gloria().eval()
    with torch.no_grad():
        output = model(**tokens, pixel_values=batch["pixel_values"][:2])
        assert output.logits_per_image.shape == (2, 4)
        assert output.logits_per_image.isfinite().all()
        maps = model.get_similarity_maps(batch["pixel_values"][:1], **{name: tokens[name][3:] for name in tokens})
    assert maps.isfinite().all()
    assert maps.any()


def test_a_training_step_goes_without_logits_unless_asked(words_batch):
    model = make_gloria().train()
    assert model(**words_batch, return_loss=True).logits_per_image is None
    assert model(**words_batch, return_loss=True, return_logits=True).logits_per_image.shape == (3, 3)
    assert model(**words_batch).logits_per_image is None  # as when gradients are cached
    output = model.eval()(**words_batch, return_loss=True)
    assert output.logits_per_image.shape == (3, 3)
    assert model(**words_batch, return_logits=False).logits_per_image is None


def test_the_global_loss_can_be_had_alone(words_batch):
    output = make_gloria(local_weight=0.0).eval()(**words_batch, return_loss=True)
    torch.testing.assert_close(make_gloria().compute_global_loss(output.image_embeds, output.text_embeds), output.loss)


def test_a_map_is_the_mean_over_the_words_of_a_text(words_batch):
    model = make_gloria().eval()
    with torch.no_grad():
        maps = model.get_similarity_maps(**words_batch)
        _, regions, _, words = slow_states(model, words_batch)
    for row in range(3):
        cosines = F.cosine_similarity(regions[row].unsqueeze(1), words[row][1:].unsqueeze(0), dim=-1)
        torch.testing.assert_close(maps[row].flatten(), cosines.mean(dim=1), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_remembers_the_words(words_batch, tmp_path):
    model = make_gloria().eval()
    model.resize_token_embeddings(60)
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert torch.equal(loaded.word_index.piece_kinds, model.word_index.piece_kinds)
    assert len(loaded.word_index.piece_kinds) == 60
    index = loaded.word_index(words_batch["input_ids"], words_batch["attention_mask"])
    assert index[0].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 3]


def test_a_pretrained_text_tower_brings_its_words(tmp_path):
    ViTModel(make_vision_config("vit")).save_pretrained(tmp_path / "vision")
    BertModel(make_text_config()).save_pretrained(tmp_path / "text")
    make_tokenizer().save_pretrained(tmp_path / "text")
    model = GloriaModel.from_vision_text_pretrained(tmp_path / "vision", tmp_path / "text", projection_dim=16)
    assert torch.equal(model.word_index.piece_kinds, make_gloria().word_index.piece_kinds)


@pytest.mark.parametrize("kind", ["resnet", "vit", "dinov2", "convnext", "swin"])
def test_any_image_encoder_can_be_a_tower(kind, batch):
    model = make_model("gloria", vision=kind).train()
    output = model(**batch, return_loss=True)
    output.loss.backward()
    assert {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    } == set()
    side = 8 if kind in ("resnet", "convnext") else 4
    assert output.region_embeds.shape == (3, side * side, 12)
    assert model.eval().get_similarity_maps(**batch).shape == (3, side, side)


@pytest.mark.parametrize("size", [64, 128])
def test_the_embedded_default_trains_on_grey_images(size):
    model = GloriaModel(GloriaConfig.tiny(vocab_size=99)).train()
    assert sum(parameter.numel() for parameter in model.parameters()) < 3e6
    batch = make_batch(batch_size=2) | {"pixel_values": torch.randn(2, 1, size, size)}
    output = model(**batch, return_loss=True)
    assert output.region_embeds.shape[1] == (size // 8) ** 2
    output.loss.backward()


def test_the_published_sizes_are_built():
    """On the meta device: shapes without weights."""
    for vision, image_size, grid in (("resnet", 224, 14), ("resnet", 299, 19), ("vit", 224, 14)):
        with torch.device("meta"):
            model = GloriaModel(GloriaConfig.base(vision))
            pixel_values = torch.empty(2, 3, image_size, image_size)
            _, patches = image_states(model.vision_model, pixel_values, stage=model.config.local_stage)
            assert model.local_projection(patches).shape == (2, 768, grid, grid)


def test_gradient_checkpointing_keeps_the_gradients(words_batch):
    gradients = []
    for checkpointing in (False, True):
        model = make_gloria("gloria-vit").train()
        if checkpointing:
            model.activation_checkpointing_enable()
        torch.manual_seed(0)
        model(**words_batch, return_loss=True).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_a_training_step_compiles_in_one_piece(words_batch):
    model = make_gloria().double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    batch = words_batch | {"pixel_values": words_batch["pixel_values"].double()}
    expected = model(**batch, return_loss=True).loss  # before: hidden states hang on hooks, set up in the first call
    step = torch.compile(lambda batch: model(**batch, return_loss=True).loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(step(batch), expected)


def test_the_stock_pipeline_classifies_with_the_methods_own_score(batch, tmp_path):
    model = make_gloria().eval()
    model.save_pretrained(tmp_path)
    processor = CxrProcessor(CxrImageProcessor(size=IMAGE_SIZE), make_tokenizer())
    processor.save_pretrained(tmp_path)
    image = Image.effect_noise((40, 40), 60)
    labels = ["left effusion", "no face", "abcdef"]
    classify = pipeline("zero-shot-image-classification", model=str(tmp_path))
    rows = classify(image, candidate_labels=labels, hypothesis_template="{}")
    inputs = processor(images=[image], text=labels, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**inputs).logits_per_image.softmax(dim=1)[0]
    scores = {row["label"]: row["score"] for row in rows}
    assert [scores[label] for label in labels] == pytest.approx(expected.tolist(), abs=1e-5)


def test_training_on_pairs_lowers_the_loss():
    """Each image has its own bright corner, each text its own words."""
    model = make_gloria().train()
    pixel_values = torch.zeros(4, 1, IMAGE_SIZE, IMAGE_SIZE)
    for row in range(4):
        pixel_values[row, :, 16 * (row // 2) :, 16 * (row % 2) :] = row + 1
    tokens = make_tokenizer()(["cab", "no face", "bad deal", "mass"], padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = model(**tokens, pixel_values=pixel_values, return_loss=True).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > 4
    assert losses[-1] < 0.5, losses
