import copy
import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from synthcxr.data import DrawnDataset, EpochSampler, PairCollator, RadiographAugmentation, load_pairs
from synthcxr.data.collators import TokenCache, report_sentences, row_seed
from synthcxr.data.text_augmentation import ReportAugmentation
from synthcxr.models import CxrImageProcessor, CxrProcessor
from synthcxr.ontology import FINDING_IDS
from synthcxr.reports import split_sentences


@pytest.fixture(scope="module")
def pairs(folder):
    return load_pairs(folder, "train")


@pytest.fixture(scope="module")
def processor(pairs):
    words = sorted(
        {word for report in pairs["report"] for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(report)}
    )
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )
    return CxrProcessor(CxrImageProcessor(size=48), fast)


def rows_of(pairs, count=4, draw=0):
    drawn = DrawnDataset(pairs)
    return [drawn[draw * len(pairs) + index] for index in range(count)]


def test_a_batch_is_what_the_processor_gives(pairs, processor):
    rows = rows_of(pairs)
    batch = PairCollator(processor)(rows)
    expected = processor(
        text=[row["report"] for row in rows],
        images=[pairs[index]["image"] for index in range(4)],
        padding=True,
        truncation=True,
        return_tensors="pt",
    )
    assert set(batch) == {"pixel_values", "input_ids", "attention_mask", "return_loss"}
    assert batch["return_loss"] is True
    for name in ("pixel_values", "input_ids", "attention_mask"):
        assert torch.equal(batch[name], expected[name]), name


def test_masks_are_read_on_request_and_stay_encoded(pairs):
    assert "objects" not in DrawnDataset(pairs)[0]
    rows = DrawnDataset(pairs, with_masks=True).__getitems__(list(range(len(pairs))))
    for row, pair in zip(rows, pairs, strict=True):
        masks = [np.asarray(Image.open(io.BytesIO(mask["bytes"])).convert("L")) for mask in row["objects"]["mask"]]
        assert len(masks) == len(pair["objects"]["mask"])
        assert all(np.array_equal(*both) for both in zip(masks, pair["objects"]["mask"], strict=True))


def test_rows_of_the_stock_dataset_serve_as_well(pairs, processor):
    collate = PairCollator(processor)
    stock, drawn = collate([pairs[index] for index in range(4)]), collate(rows_of(pairs))
    assert torch.equal(stock["pixel_values"], drawn["pixel_values"])


@pytest.mark.parametrize("column", ["report", "findings", "impression"])
def test_the_text_is_the_chosen_section(pairs, processor, column):
    batch = PairCollator(processor, text_column=column)(rows_of(pairs))
    texts = [pairs[index][column] or pairs[index]["report"] for index in range(4)]
    assert torch.equal(
        batch["input_ids"], processor.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")["input_ids"]
    )


def test_an_empty_section_is_read_by_the_whole_report(pairs, processor):
    rows = [row | {"findings": " "} for row in rows_of(pairs)]
    left, right = PairCollator(processor, text_column="findings")(rows), PairCollator(processor)(rows)
    assert torch.equal(left["input_ids"], right["input_ids"])


def test_a_row_without_words_is_named(pairs, processor):
    row = rows_of(pairs, 1)[0] | {"report": "", "findings": "", "impression": ""}
    with pytest.raises(ValueError, match=f"Row '{row['id']}' has an empty report"):
        PairCollator(processor)([row])


def test_long_texts_are_cut(pairs, processor):
    assert PairCollator(processor, max_length=7)(rows_of(pairs))["input_ids"].shape == (4, 7)
    long = [rows_of(pairs, 1)[0] | {"report": "lung " * 10_000}]
    assert PairCollator(processor)(long)["input_ids"].shape == (1, 64)


def test_one_sentence_is_drawn_per_epoch_and_all_come_up(pairs, processor):
    collate = PairCollator(processor, sentences="one")
    whole = report_sentences(pairs[0]["report"])
    sentences = {tuple(processor.tokenizer(sentence)["input_ids"]) for sentence in whole}
    drawn = {tuple(collate(rows_of(pairs, 1, draw=epoch))["input_ids"][0].tolist()) for epoch in range(60)}
    assert len(sentences) > 1
    assert drawn == sentences


def test_a_selection_has_one_to_all_sentences_and_follows_from_the_draw(pairs, processor):
    collate = PairCollator(processor, sentences="some")
    whole = split_sentences(pairs[0]["report"])

    def read(epoch):
        ids = collate(rows_of(pairs, 1, draw=epoch))["input_ids"][0]
        return len(split_sentences(processor.tokenizer.decode(ids, skip_special_tokens=True)))

    counts = [read(epoch) for epoch in range(60)]
    assert counts == [read(epoch) for epoch in range(60)]
    assert min(counts) == 1
    assert len(set(counts)) > 2
    assert max(counts) <= len(whole) + 1  # the tokenizer's spelling may split one more


def test_sentences_are_drawn_besides_the_text_view_by_view(pairs, processor):
    rows = rows_of(pairs)
    batch = PairCollator(processor, num_sentences=3)(rows)
    assert batch["input_ids"].equal(PairCollator(processor)(rows)["input_ids"])
    assert batch["sentence_input_ids"].shape == batch["sentence_attention_mask"].shape
    assert batch["sentence_input_ids"].shape[:2] == (len(rows), 3)

    def words(ids):
        return processor.tokenizer.decode(ids, skip_special_tokens=True)

    for index, row in enumerate(rows):
        known = [words(processor.tokenizer(sentence)["input_ids"]) for sentence in report_sentences(row["report"])]
        drawn = [words(ids) for ids in batch["sentence_input_ids"][index]]
        assert set(drawn) <= set(known)
        assert len(set(drawn)) == min(3, len(set(known)))
    assert not any("FINDINGS" in words(ids) for ids in batch["sentence_input_ids"].flatten(0, 1))
    alone = PairCollator(processor, num_sentences=3)(rows[1:2])["sentence_input_ids"]
    assert alone.equal(batch["sentence_input_ids"][1:2, :, : alone.shape[2]])


def test_sentences_say_what_is_seen_not_what_was_asked():
    report = (
        "INDICATION: Rule out pneumonia.\nCOMPARISON: None.\nFINDINGS: Clear lungs. No effusion.\nIMPRESSION: Normal."
    )
    assert report_sentences(report) == ("Clear lungs.", "No effusion.", "Normal.")
    assert report_sentences("Clear lungs. No effusion.") == ("Clear lungs.", "No effusion.")
    assert report_sentences("INDICATION: Cough.") == ("INDICATION: Cough.",)


def test_a_row_with_no_more_than_a_section_gives_its_sentences(pairs, processor):
    rows = [row | {"report": None, "findings": "Clear lungs."} for row in rows_of(pairs, 1)]
    batch = PairCollator(processor, text_column="findings", num_sentences=1)(rows)
    assert batch["sentence_input_ids"][:, 0].equal(batch["input_ids"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_remembered_tokens_are_those_of_the_tokenizer(processor, side):
    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.padding_side = side
    tokens = TokenCache(tokenizer, max_length=4, max_texts=2)
    batches = [["No pneumothorax.", "Clear lungs."], ["Clear lungs.", "The heart is normal in size.", "Clear lungs."]]
    for texts in [*batches, *batches]:
        expected = tokenizer(texts, padding=True, truncation=True, max_length=4, return_tensors="pt")
        found = tokens(texts)
        assert all(found[name].equal(expected[name]) for name in ("input_ids", "attention_mask"))


def test_a_tokenizer_that_cannot_pad_is_named(processor):
    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="has no padding token"):
        TokenCache(tokenizer, max_length=4)


def test_a_text_is_tokenised_once(processor):
    read = []
    tokenizer = processor.tokenizer

    class Counting:
        padding_side, pad_token_id = tokenizer.padding_side, tokenizer.pad_token_id

        def __call__(self, texts, **kwargs):
            read.extend(texts)
            return tokenizer(texts, **kwargs)

    tokens = TokenCache(Counting(), max_length=None)
    for _ in range(2):
        tokens(["Clear lungs.", "No effusion.", "Clear lungs."])
    assert read == ["Clear lungs.", "No effusion."]


def test_a_report_with_fewer_sentences_than_asked_for_repeats_them(pairs, processor):
    rows = [row | {"report": "FINDINGS: Clear lungs."} for row in rows_of(pairs, 2)]
    ids = PairCollator(processor, num_sentences=2)(rows)["sentence_input_ids"]
    assert ids.shape[:2] == (2, 2)
    assert ids.equal(ids[:1, :1].expand_as(ids))


def test_a_negative_number_of_sentences_is_refused(processor):
    with pytest.raises(ValueError, match="num_sentences is -1; expected 0 or more"):
        PairCollator(processor, num_sentences=-1)


def test_an_unknown_selection_is_refused(processor):
    with pytest.raises(ValueError, match="sentences is 'few'; expected 'all', 'one' or 'some'"):
        PairCollator(processor, sentences="few")


def test_a_pair_looks_the_same_in_any_batch_and_another_in_the_next_epoch(pairs, processor):
    collate = PairCollator(processor, augmentation=RadiographAugmentation(), sentences="one", seed=5)
    whole, alone = collate(rows_of(pairs)), collate(rows_of(pairs)[2:3])
    assert torch.equal(whole["pixel_values"][2:3], alone["pixel_values"])
    length = alone["input_ids"].shape[1]
    assert torch.equal(whole["input_ids"][2:3, :length], alone["input_ids"])
    later = collate(rows_of(pairs, draw=1))
    assert not torch.equal(whole["pixel_values"], later["pixel_values"])
    other = PairCollator(processor, augmentation=RadiographAugmentation(), seed=6)(rows_of(pairs))
    assert not torch.equal(whole["pixel_values"], other["pixel_values"])


@pytest.mark.parametrize(("size", "num_channels"), [(64, 1), (48, 1), (48, 3)])
def test_cached_images_are_the_same_and_are_not_decoded_again(pairs, processor, size, num_channels):
    processor = CxrProcessor(CxrImageProcessor(size=size, num_channels=num_channels), processor.tokenizer)
    plain, cached = PairCollator(processor), PairCollator(processor, cache_images=True)
    rows = rows_of(pairs)
    expected = plain(rows)["pixel_values"]
    for _ in range(2):
        assert torch.allclose(cached(rows)["pixel_values"], expected, atol=3e-5)
    assert len(cached.images._cache) == 4
    assert cached.images._cached_bytes == 4 * size * size * 2

    augmented = [
        PairCollator(processor, cache_images=cache, augmentation=RadiographAugmentation()) for cache in (False, True)
    ]
    for _ in range(2):
        left, right = (collate(rows)["pixel_values"] for collate in augmented)
        assert torch.equal(left, right)
        assert left.shape == (4, num_channels, size, size)


def test_the_cache_is_bounded(pairs, processor):
    collate = PairCollator(processor, cache_images=True, cache_bytes=2 * 48 * 48 * 2)
    batches = [collate(rows_of(pairs))["pixel_values"] for _ in range(2)]
    assert len(collate.images._cache) == 2
    assert torch.equal(*batches)


def test_equal_ids_with_other_pixels_are_not_mixed_up(pairs, processor):
    collate = PairCollator(processor, cache_images=True)
    first, second = rows_of(pairs, 2)
    collate([first])
    swapped = collate([first | {"image": second["image"]}])["pixel_values"]
    assert torch.equal(swapped, collate([second])["pixel_values"])


def test_workers_give_the_batches_of_one_process(pairs, processor):
    collate = PairCollator(processor, augmentation=RadiographAugmentation(), cache_images=True)
    batches = {}
    for workers in (0, 2):
        sampler = EpochSampler(len(pairs), seed=1)
        sampler.set_epoch(3)
        loader = DataLoader(DrawnDataset(pairs), 3, sampler=sampler, collate_fn=collate, num_workers=workers)
        batches[workers] = torch.cat([batch["pixel_values"] for batch in loader])
    assert torch.equal(batches[0], batches[2])


def test_a_collator_can_be_sent_to_another_process(processor):
    assert pickle.loads(pickle.dumps(PairCollator(processor, seed=3))).seed == 3


def test_an_unknown_text_column_is_refused(processor):
    with pytest.raises(ValueError, match="text_column is 'caption'"):
        PairCollator(processor, text_column="caption")


def test_images_that_lie_in_files_are_taken(pairs, processor, tmp_path):
    row = rows_of(pairs, 1)[0]
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(tmp_path / "grey.png")
    batch = PairCollator(processor)([row | {"image": {"bytes": None, "path": str(tmp_path / "grey.png")}}])
    assert torch.allclose(batch["pixel_values"], torch.tensor((128 / 255 - 0.5) / 0.5), atol=1e-6)


def test_rows_know_their_epoch_and_masks_stay_closed(pairs):
    drawn = DrawnDataset(pairs)
    assert len(drawn) == len(pairs)
    row = drawn[2 * len(pairs) + 3]
    assert (row["draw"], row["id"]) == (2, pairs[3]["id"])
    assert set(row) == {"id", "image", "report", "findings", "impression", "draw"}
    assert set(row["image"]) == {"bytes", "path"}
    several = drawn.__getitems__([1, len(pairs)])
    assert [(item["id"], item["draw"]) for item in several] == [(pairs[1]["id"], 0), (pairs[0]["id"], 1)]


def test_a_missing_column_is_named(pairs):
    with pytest.raises(ValueError, match="no column 'impression'"):
        DrawnDataset(pairs.remove_columns("impression"))


def test_an_epoch_s_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(50, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 4) == order(0, 4)
    assert sorted(order(0, 4)) == list(range(200, 250))
    assert [index - 50 for index in order(0, 1)] != order(0, 0)
    assert order(1, 0) != order(0, 0)
    state = torch.random.get_rng_state()
    order(0, 7)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(EpochSampler(50)) == 50
    with pytest.raises(ValueError, match="num_rows is 0"):
        EpochSampler(0)


def test_views_have_streams_of_their_own_and_the_first_is_that_of_one_view(pairs, processor):
    rows = rows_of(pairs)
    options = {"augmentation": RadiographAugmentation(), "text_augmentation": ReportAugmentation(), "seed": 5}
    one = PairCollator(processor, **options)(rows)
    several = PairCollator(processor, num_image_views=3, num_text_views=2, **options)(rows)
    assert several["pixel_values"].shape == (4, 3, 1, 48, 48)
    assert several["pixel_values"][:, 0].equal(one["pixel_values"])
    assert several["input_ids"].shape == several["attention_mask"].shape
    assert several["input_ids"].shape[:2] == (4, 2)
    for row in range(4):
        length = one["attention_mask"][row].sum()
        assert several["input_ids"][row, 0, :length].equal(one["input_ids"][row, :length])
        assert not several["input_ids"][row, 0].equal(several["input_ids"][row, 1])
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert not several["pixel_values"][row, first].equal(several["pixel_values"][row, second])
    alone = PairCollator(processor, num_image_views=3, num_text_views=2, **options)(rows[2:3])
    assert alone["pixel_values"].equal(several["pixel_values"][2:3])
    again = PairCollator(processor, num_image_views=3, num_text_views=2, cache_images=True, **options)
    assert all(again(rows)["pixel_values"].equal(several["pixel_values"]) for _ in range(2))


def test_views_of_different_rows_and_draws_never_share_a_stream():
    ids = ("a", "0:a", "1:a", "a:1")
    seeds = {row_seed(0, name, draw, view=view) for name in ids for draw in range(3) for view in range(3)}
    assert len(seeds) == 36
    assert row_seed(0, "a", 1) == row_seed(0, "a", 1, view=0)


def test_an_augmented_text_says_the_same_in_another_draw_otherwise(pairs, processor):
    collate = PairCollator(processor, text_augmentation=ReportAugmentation(drop=0.0, exchange=0.0), num_sentences=2)
    plain = PairCollator(processor, num_sentences=2)(rows_of(pairs))
    first, later = collate(rows_of(pairs)), collate(rows_of(pairs, draw=1))
    assert not first["input_ids"].equal(later["input_ids"])
    assert first["sentence_input_ids"].equal(plain["sentence_input_ids"])


def test_texts_that_say_the_same_share_their_key_whatever_else_their_reports_say(pairs, processor):
    rows = [row | {"findings": f"Section {index}."} for index, row in enumerate(rows_of(pairs, 3))]
    rows[2]["findings"] = "  SECTION\n 0."
    batch = PairCollator(processor, text_column="findings", report_keys=True)(rows)
    first, second, third = batch["report_key"].tolist()
    assert batch["report_key"].dtype == torch.int64
    assert first == third != second
    assert "report_key" not in PairCollator(processor)(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_image_views": 2}, "2 views of an image without augmentation would be equal"),
        ({"num_text_views": 0}, "1 image and 0 text views; expected 1 or more"),
    ],
)
def test_views_that_cannot_be_are_refused(processor, options, message):
    with pytest.raises(ValueError, match=message):
        PairCollator(processor, **options)


def test_what_texts_say_comes_along_and_the_last_sentence_denies_what_the_report_does_not_name(pairs, processor):
    texts = ("Left pleural effusion. Possible pneumonia.", "The heart is enlarged. No edema.")
    rows = [row | {"report": text} for row, text in zip(rows_of(pairs, 2), texts, strict=True)]
    for draw in range(20):
        batch = PairCollator(processor, num_sentences=3, statements=True)([row | {"draw": draw} for row in rows])
        affirmed = [names(said[: len(FINDING_IDS)]) for said in batch["report_statements"]]
        assert affirmed == [{"pleural_effusion"}, {"cardiomegaly", "enlarged_cardiomediastinum"}]
        said = batch["sentence_statements"].unflatten(-1, (4, -1))  # (batch_size, num_sentences, 4, num_findings)
        assert said.shape[:2] == (2, 3)
        assert not said[:, -1, :3].any()
        for denied, known in zip(said[:, -1, 3], affirmed, strict=True):
            assert names(denied)
            assert not names(denied) & {*known, "pneumonia"}


def names(said):
    return {FINDING_IDS[index] for index in said.nonzero().flatten()}
