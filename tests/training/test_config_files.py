import pytest

from synthcxr.training.config_files import did_you_mean, read_config


def test_dashes_and_underscores_in_keys_are_the_same(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("image-size: 64\nnum_studies: 3\n")
    assert read_config(path, {"image_size", "num_studies"}) == {"image_size": 64, "num_studies": 3}


def test_an_empty_file_sets_nothing(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("")
    assert read_config(path, {"seed"}) == {}


def test_an_unknown_key_is_named_with_the_closest_known_one(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("learning_rte: 1\n")
    with pytest.raises(ValueError, match="run.yaml has an unknown key 'learning_rte'; did you mean 'learning_rate'"):
        read_config(path, {"learning_rate", "seed"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", "holds a list"),
        (b"[]", "holds a list"),
        (b"a: [1", "is not YAML"),
        (b"a: !!map [1, 2]", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
    ],
    ids=["list", "empty list", "broken", "no mapping", "binary"],
)
def test_what_is_no_mapping_is_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_config(path, {"a"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["seed: 1\nlr: 2\nseed: 3\n", "max-steps: 1\nmax_steps: 2\n"])
def test_a_key_that_stands_twice_is_refused(tmp_path, content):
    path = tmp_path / "run.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match="run.yaml is not YAML: key '(seed|max_steps)' stands twice"):
        read_config(path, {"seed", "lr", "max_steps"})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nothing.yaml: No such file"):
        read_config(tmp_path / "nothing.yaml", {"a"})


def test_yaml_cannot_build_python_objects(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ValueError, match="is not YAML"):
        read_config(path, {"a"})


def test_nothing_is_suggested_when_nothing_is_close():
    assert did_you_mean("zzz", {"seed"}) == ""
