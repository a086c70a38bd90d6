import pytest

from synthcxr.training.arguments import PretrainingArguments, PretrainingScriptArguments, parse_arguments
from synthcxr.training.low_data_settings import LowDataSettings


def parse(tmp_path, *flags):
    flags = ("--dataset", "pairs", "--output-dir", str(tmp_path), *flags)
    return parse_arguments([PretrainingScriptArguments, PretrainingArguments], flags, program="pretrain")[0]


def test_everything_is_off_until_asked_for(tmp_path):
    assert not LowDataSettings().is_on
    assert parse(tmp_path).low_data == LowDataSettings()


@pytest.mark.parametrize(
    "part",
    [
        {"local_loss_weight": 0.1},
        {"image_self_supervision_weight": 1.0},
        {"masked_language_weight": 1.0},
        {"num_image_views": 2},
        {"num_text_views": 2},
        {"neighbour_weight": 1.0},
    ],
    ids=lambda part: next(iter(part)),
)
def test_every_part_is_a_flag_and_switches_the_recipe_on(tmp_path, part):
    assert LowDataSettings(**part).is_on
    (name, value), *_ = part.items()
    flags = (f"--{name.replace('_', '-')}", str(value), "--text-augmentation")
    assert parse(tmp_path, *flags).low_data == LowDataSettings(**part)


def test_a_longer_queue_alone_switches_nothing_on():
    assert not LowDataSettings(neighbour_queue_size=9).is_on


def test_image_self_supervision_draws_a_second_view():
    assert LowDataSettings(image_self_supervision_weight=1.0).num_drawn_image_views == 2
    assert LowDataSettings(image_self_supervision_weight=1.0, num_image_views=3).num_drawn_image_views == 3
    assert LowDataSettings().num_drawn_image_views == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--neighbour-weight", "-1"), "--neighbour-weight is -1.0; expected 0 or more"),
        (("--neighbour-queue-size", "0"), "--neighbour-queue-size is 0; expected 1 or more"),
        (("--num-image-views", "0"), "--num-image-views is 0; expected 1 or more"),
        (("--num-image-views", "2", "--augmentation-strength", "0"), "the views of an image would be equal"),
        (
            ("--image-self-supervision-weight", "1", "--augmentation-strength", "0"),
            "the views of an image would be equal",
        ),
        (("--num-text-views", "2"), "equal texts; add --text-augmentation"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, flags, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse(tmp_path, *flags)
    assert "\n" not in str(caught.value)


def test_sentences_that_are_drawn_make_texts_differ(tmp_path):
    assert parse(tmp_path, "--num-text-views", "2", "--sentences", "one").num_text_views == 2
