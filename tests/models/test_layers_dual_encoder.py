"""What every dual encoder must do, asked of each of them."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny_models import FAMILIES, make_batch, make_config, make_model, make_text_config, make_vision_config
from transformers import AutoModel, BertModel, Trainer, TrainingArguments, ViTModel


LORA_TARGETS = {
    "vision": r"vision_model\..*(convolution|q_proj|query)",
    "text": r"text_model\..*(query|value)",
}


def embeds(model, batch):
    with torch.no_grad():
        output = model(**batch)
    return output.image_embeds, output.text_embeds


def test_saving_and_loading_keeps_the_outputs(model, batch, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert not loaded.training
    for one, other in zip(embeds(model, batch), embeds(loaded, batch), strict=True):
        assert torch.equal(one, other)


def test_reloading_restores_every_parameter_and_buffer(family, batch, tmp_path):
    model = make_model(family).train()
    model(**batch)  # moves the statistics of batch normalisation
    model.save_pretrained(tmp_path)
    before, after = model.state_dict(), type(model).from_pretrained(tmp_path).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    buffers = dict(type(model).from_pretrained(tmp_path).named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_a_checkpoint_without_our_own_weights_gets_fresh_ones(family, tmp_path):
    """Weights that are missing come from `_init_weights`, never from uninitialised memory."""
    model = make_model(family)
    model.vision_model.save_pretrained(tmp_path / "vision")
    model.text_model.save_pretrained(tmp_path / "text")
    state = {name: value for name, value in model.state_dict().items() if name.startswith(("vision_", "text_model"))}
    model.save_pretrained(tmp_path / "whole", state_dict=state)
    loaded, info = type(model).from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert info["missing_keys"]
    for name, value in loaded.named_parameters():
        assert value.isfinite().all(), name
        assert value.abs().max() < 20, name
    if family.startswith("cxr_clip"):
        assert loaded.logit_scale.log_scale.item() == pytest.approx(model.logit_scale.log_scale.item())


def test_padding_does_not_change_text_features(model, batch):
    padded = {name: torch.nn.functional.pad(batch[name], (0, 20)) for name in ("input_ids", "attention_mask")}
    padded["input_ids"][:, -20:] = 7  # whatever stands there
    with torch.no_grad():
        torch.testing.assert_close(
            model.get_text_features(**padded),
            model.get_text_features(batch["input_ids"], batch["attention_mask"]),
            rtol=1e-5,
            atol=1e-5,
        )


def test_no_mask_means_no_padding(model, batch):
    with torch.no_grad():
        everything = torch.ones_like(batch["attention_mask"])
        assert torch.equal(
            model.get_text_features(batch["input_ids"]), model.get_text_features(batch["input_ids"], everything)
        )


def test_a_row_does_not_depend_on_its_neighbours(model, batch):
    alone = {name: value[:1] for name, value in batch.items()}
    for one, other in zip(embeds(model, batch), embeds(model, alone), strict=True):
        torch.testing.assert_close(one[:1], other, rtol=1e-5, atol=1e-5)


def test_the_loss_reaches_every_parameter(family, batch):
    model = make_model(family).train()
    model(**batch, return_loss=True).loss.backward()
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    }
    # One segment, and never the last positions, in this batch. With a symmetric loss the shared bias of a
    # normalised key has no effect (softmax does not see a constant), so its gradient is rounding, or none.
    assert {name for name in silent if not name.endswith(("key.bias", "k_proj.bias"))} == set()


def test_the_output_holds_what_the_contract_names(model, batch):
    output = model(**batch, return_loss=True)
    assert output.loss.shape == ()
    assert output.logits_per_image.shape == output.logits_per_text.shape == (3, 3)
    assert torch.equal(output.logits_per_image, output.logits_per_text.T)
    for embeddings in (output.image_embeds, output.text_embeds):
        assert embeddings.shape == (3, model.config.projection_dim)
        torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))
    assert model(**batch, return_loss=True, return_dict=False)[0].item() == output.loss.item()
    assert model(**batch).loss is None


def test_features_are_the_embeddings_before_normalisation(model, batch):
    output = model(**batch)
    images = model.get_image_features(pixel_values=batch["pixel_values"])
    texts = model.get_text_features(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    torch.testing.assert_close(torch.nn.functional.normalize(images, dim=-1), output.image_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(texts, dim=-1), output.text_embeds)


def test_the_loss_can_be_computed_from_gathered_embeddings(model, batch):
    output = model(**batch, return_loss=True)
    gathered = model.compute_loss(**{name: output[name] for name in model.loss_inputs})
    torch.testing.assert_close(gathered, output.loss)


def test_numbers_of_images_and_texts_may_differ(model, batch):
    batch["pixel_values"] = batch["pixel_values"][:2]
    output = model(**batch)
    assert output.logits_per_image.shape == (2, 3)
    with pytest.raises(ValueError, match="got 2 images, 3 texts"):
        model(**batch, return_loss=True)


def test_similarity_maps_have_the_grid_of_the_tower(family, model, batch):
    maps = model.get_similarity_maps(**batch)
    assert maps.shape == ((3, 8, 8) if family in ("gloria", "mgca") else (3, 4, 4))  # these look at an earlier stage
    assert maps.abs().max() <= 1 + 1e-5
    with pytest.raises(ValueError, match="one text per image"):
        model.get_similarity_maps(**{**batch, "pixel_values": batch["pixel_values"][:2]})


def test_a_similarity_map_looks_where_the_image_differs(batch):
    """A patch changes the map around itself, not at the other end of the image."""
    model = make_model("convirt").eval()
    before = model.get_similarity_maps(**batch)
    batch["pixel_values"][:, :, :4, :4] += 3
    change = (model.get_similarity_maps(**batch) - before).abs()
    assert (change[:, 0, 0] > 1e-4).all()
    assert (change[:, 0, 0] > 3 * change[:, 3, 3]).all()


def test_images_of_wrong_shape_are_refused_in_one_line(model, batch):
    with pytest.raises(ValueError, match="expected \\(batch_size, num_channels, height, width\\)"):
        model.get_image_features(batch["pixel_values"][0])


@pytest.mark.parametrize("tower", LORA_TARGETS)
def test_lora_attaches_saves_and_reloads(family, tower, batch, tmp_path):
    config = LoraConfig(
        r=2,
        target_modules=LORA_TARGETS[tower],
        init_lora_weights=False,
        modules_to_save=["visual_projection", "logit_scale"],
        task_type="FEATURE_EXTRACTION",
    )
    base = make_model(family)
    base.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(AutoModel.from_pretrained(tmp_path / "base"), config).eval()
    adapted(**batch, return_loss=True).loss.backward()
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert any("lora_A" in name and tower in name for name in trained)
    if family.startswith("cxr_clip"):
        assert any("log_scale" in name for name in trained)
    assert not torch.equal(embeds(adapted, batch)[tower == "text"], embeds(base.eval(), batch)[tower == "text"])

    adapted.save_pretrained(tmp_path / "adapter")
    reloaded = PeftModel.from_pretrained(AutoModel.from_pretrained(tmp_path / "base"), tmp_path / "adapter").eval()
    for one, other in zip(embeds(adapted, batch), embeds(reloaded, batch), strict=True):
        assert torch.equal(one, other)


def test_bf16_weights_compare_like_full_precision(model, batch):
    exact = embeds(model, batch)
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    model = model.bfloat16()
    for one, other in zip(embeds(model, batch), exact, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0, atol=0.1)
    output = model.train()(**batch, return_loss=True)
    assert output.loss.dtype == torch.float32
    output.loss.backward()


def test_gradient_checkpointing_keeps_the_gradients(batch):
    gradients = []
    for checkpointing in (False, True):
        model = make_model("convirt-vit").train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.vision_model.is_activation_checkpointing
            assert model.text_model.is_activation_checkpointing
        torch.manual_seed(0)
        model(**batch, return_loss=True).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_eager_and_sdpa_attention_agree(batch, tmp_path):
    make_model("convirt-vit").save_pretrained(tmp_path)
    outputs = []
    for implementation in ("sdpa", "eager", {"vision_config": "eager", "text_config": "sdpa"}):
        model = AutoModel.from_pretrained(tmp_path, attn_implementation=implementation)
        outputs.append(embeds(model, batch)[1])
    assert model.config.vision_config._attn_implementation == "eager"
    assert model.config.text_config._attn_implementation == "sdpa"
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


def test_the_whole_model_compiles_to_the_same_numbers(batch):
    model = make_model("convirt").eval()
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(**batch).logits_per_image, model(**batch).logits_per_image, rtol=1e-4, atol=1e-4
        )


def test_device_maps_keep_layers_whole(family, batch, tmp_path):
    make_model(family).save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, device_map="auto")
    assert {"BertLayer", "BertEmbeddings"} <= set(model._no_split_modules)
    split = dispatch_model(model, {"": "cpu"}, force_hooks=True)
    for one, other in zip(embeds(split, batch), embeds(make_model(family).eval(), batch), strict=True):
        torch.testing.assert_close(one, other)


def test_a_trainer_resumes_bit_identically_with_a_vit(tmp_path):
    """Written under the old names of its weights, a ViT would silently not be restored."""
    rows = [{name: value[0] for name, value in make_batch(1).items()} | {"pixel_values": torch.randn(1, 32, 32)}] * 8

    def train(folder, resume):
        arguments = TrainingArguments(
            folder, max_steps=4, save_steps=2, per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True, seed=1
        )
        trainer = Trainer(make_model("convirt-vit"), arguments, train_dataset=rows, data_collator=collate)
        trainer.train(resume_from_checkpoint=resume)
        return trainer.model.state_dict()

    def collate(rows):
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]} | {"return_loss": True}

    whole = train(tmp_path / "whole", None)
    resumed = train(tmp_path / "resumed", tmp_path / "whole" / "checkpoint-2")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    saved = load_file(tmp_path / "whole" / "checkpoint-2" / "model.safetensors")
    assert saved.keys() == whole.keys()


@pytest.mark.parametrize("kind", ["resnet", "vit", "dinov2", "convnext", "swin"])
def test_any_image_encoder_can_be_a_tower(kind, batch, tmp_path):
    model = make_model("convirt", vision=kind).train()
    output = model(**batch, return_loss=True)
    output.loss.backward()
    assert {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    } == set()
    assert model.eval().get_similarity_maps(**batch).shape == (3, 4, 4)
    model.save_pretrained(tmp_path)
    for one, other in zip(embeds(model, batch), embeds(AutoModel.from_pretrained(tmp_path), batch), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_pretrained_towers_are_put_together(family, batch, tmp_path):
    vision = ViTModel(make_vision_config("vit")).eval()
    text = BertModel(make_text_config()).eval()
    vision.save_pretrained(tmp_path / "vision")
    text.save_pretrained(tmp_path / "text")
    model = FAMILIES[family][1].from_vision_text_pretrained(
        tmp_path / "vision", tmp_path / "text", projection_dim=12, text_num_hidden_layers=1
    )
    assert model.config.projection_dim == 12
    assert len(model.text_model.encoder.layer) == model.config.text_config.num_hidden_layers == 1
    own = model.text_model.state_dict()
    for name, value in text.state_dict().items():
        assert name.startswith(("pooler.", "encoder.layer.1.")) or torch.equal(own[name], value), name
    own = model.vision_model.state_dict()
    for name, value in vision.state_dict().items():
        assert name.startswith("pooler.") or torch.equal(own[name], value), name
    model.train()(**batch, return_loss=True).loss.backward()


def test_unknown_arguments_of_pretrained_towers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'projection_size' is unknown; expected a field of ConvirtConfig"):
        FAMILIES["convirt"][1].from_vision_text_pretrained("a", "b", projection_size=3)


def test_nothing_is_tied_and_embeddings_can_be_resized(model, batch):
    assert model.get_input_embeddings() is model.text_model.embeddings.word_embeddings
    model.resize_token_embeddings(60)
    assert model.get_input_embeddings().num_embeddings == model.config.text_config.vocab_size == 60
    embeds(model, batch)


def test_towers_share_the_configuration_of_the_whole(family):
    config = make_config(family)
    model = make_model(family)
    assert model.text_model.config is model.config.text_config
    assert model.config.to_dict() == config.to_dict() | {
        "architectures": None,
        "dtype": model.config.to_dict()["dtype"],
    }


@pytest.mark.slow
def test_the_common_model_tests_of_transformers_pass(root, tmp_path):
    """
    Only the source distribution holds them: `pip download --no-deps --no-binary :all: transformers==<installed>`,
    then `SYNTHCXR_TRANSFORMERS_SDIST=transformers-<installed>.tar.gz pytest -m slow`.
    """
    sdist = os.environ.get("SYNTHCXR_TRANSFORMERS_SDIST")
    if not sdist:
        pytest.skip("SYNTHCXR_TRANSFORMERS_SDIST does not name the source distribution of transformers")
    suite = tmp_path / "hf_tests"
    suite.mkdir()
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if re.fullmatch(r"[^/]+/tests/\w+\.py", member.name):
                (suite / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    # What the common tests import from parts of the repository that are not shipped.
    for name, code in {
        "hf_tests/__init__.py": "",
        "hf_tests/exporters/test_export.py": "class ExportTesterMixin: ...",
        "hf_tests/generation/test_utils.py": "class GenerationTesterMixin: ...",
        "hf_tests/utils/test_configuration_utils.py": "config_common_kwargs = {}",
        "utils/fetch_hub_objects_for_ci.py": "url_to_local_path = lambda url: url",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (suite / "test_ours.py").write_text((root / "tests" / "models" / "upstream_suite.py").read_text())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {root / 'tests'}\nfilterwarnings = ignore\n")
    command = [sys.executable, "-m", "pytest", "-q", "hf_tests/test_ours.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 200, done.stdout[-400:]


def sentences_of(batch):
    """Two sentences per study, of other tokens than its text."""
    ids, mask = batch["input_ids"].flip(0)[:, :3], batch["attention_mask"].flip(0)[:, :3]
    return {
        "sentence_input_ids": torch.stack([ids, ids.flip(1)], dim=1),
        "sentence_attention_mask": torch.stack([mask, mask], dim=1),
    }


def test_sentences_count_as_texts_view_by_view(family, model, batch):
    sentences = sentences_of(batch)
    with torch.no_grad():
        output = model(**batch, **sentences, return_loss=True)
        texts = [model.get_text_features(batch["input_ids"], batch["attention_mask"])]
        for view in range(2):
            ids, mask = (values[:, view] for values in sentences.values())
            texts.append(model.get_text_features(ids, mask))
        plain = model(**batch, return_loss=True).loss
    expected = torch.nn.functional.normalize(torch.cat(texts), dim=-1)
    torch.testing.assert_close(output.text_embeds, expected)
    # GLoRIA's logits need the words of a text; its sentences take part as wholes only.
    num_scored = len(texts[0]) if family.startswith("gloria") else len(expected)
    assert output.logits_per_image.shape == (len(batch["pixel_values"]), num_scored)
    inputs = {name: output[name] for name in model.loss_inputs} | {"text_embeds": expected}
    torch.testing.assert_close(output.loss, model.compute_loss(**inputs))
    assert output.loss != plain


def test_a_batch_that_is_cut_in_two_keeps_its_pairs(model, batch):
    """As `DataParallel` cuts it: along the first dimension of everything."""
    whole = {**batch, **sentences_of(batch)}
    with torch.no_grad():
        together = model(**whole)
        parts = [model(**{name: value[rows] for name, value in whole.items()}) for rows in (slice(0, 1), slice(1, 3))]
    views = [part.text_embeds.view(3, -1, part.text_embeds.shape[-1]) for part in parts]
    torch.testing.assert_close(torch.cat(views, dim=1).flatten(0, 1), together.text_embeds)


def test_sentences_of_other_studies_are_refused(model, batch):
    sentences = {name: value[:2] for name, value in sentences_of(batch).items()}
    with pytest.raises(ValueError, match="got 3 images, 3 texts and sentences of 2"):
        model(**batch, **sentences, return_loss=True)


def test_several_texts_of_one_image_are_no_batch_to_train_on(model, batch):
    batch["pixel_values"] = batch["pixel_values"][:1]
    with pytest.raises(ValueError, match="got 1 images, 3 texts"):
        model(**batch, return_loss=True)
