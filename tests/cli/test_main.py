import pytest

from synthcxr.cli.main import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    shown = capsys.readouterr()
    return caught.value.code, shown.out, shown.err


VERBS = ["demo", "simulate", "synthesize", "prepare", "pretrain", "evaluate", "publish", "env"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0
    assert "--" in out


def test_no_verb_shows_the_verbs_and_is_bad_usage(capsys):
    code, out, _ = run(capsys)
    assert code == 2
    assert all(verb in out for verb in VERBS)
    assert "not for clinical use" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulat"], "Did you mean 'simulate'"),
        (["simulate", "--num-studys", "3", "--output-dir", "x"], "--num-studies"),
        (["simulate"], "Missing option '--output-dir'"),
        (["simulate", "--output-dir", "x", "--image-size", "8"], "greater than or equal to 64"),
        (["simulate", "--output-dir", "x", "--preset", "ward"], "'ward' is not one of"),
        (["simulate", "--config", "nothing.yaml"], "nothing.yaml"),
        (["pretrain", "--dataset", "no/such/folder", "--output-dir", "x"], "no/such/folder"),
        (["pretrain", "--datset", "x"], "did you mean '--dataset'"),
        (["prepare", "nih", "/nowhere", "--output-dir", "x"], "nih_chestxray14"),
        (["demo", "--output-dir", "x", "--real", "nih"], "NAME=FOLDER"),
        (["publish", "dance", "x", "org/name", "--dry-run"], "dance"),
    ],
)
def test_bad_usage_is_one_line_and_exits_with_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.startswith("synthcxr: error: ")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_names_the_closest_known_one(capsys, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text("num-studis: 3\n")
    code, _, err = run(capsys, "simulate", "--config", str(config), "--output-dir", str(tmp_path / "out"))
    assert code == 2
    assert "did you mean 'num_studies'" in err


def test_env_prints_versions(capsys):
    code, out, _ = run(capsys, "env")
    assert code == 0
    assert "- torch: " in out
    assert "- python: " in out
